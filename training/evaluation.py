"""What a run looks at now and then: the held-out loss, per token and per byte, and texts it writes."""

import torch

from training.bits_per_byte import bits_per_byte, labelled_bytes, perplexity
from training.model import labelled_tokens
from training.place import sum_over_ranks
from training.run_state import RunState
from training.sampling import continue_tokens

SAMPLE_TEMPERATURE = 0.7


def look(s: RunState, *, is_evaluated: bool = True, is_sampled: bool = True) -> None:
    """Held-out loss and sample texts; every rank takes part (ZeRO-3 gathers weights in each forward pass)."""
    if is_evaluated and (found := heldout(s)):
        s.progress.heldout_first = s.progress.heldout_first or found
        s.progress.heldout_last = found
        s.log(**found)
    if is_sampled and s.settings.sample_tokens:
        sample(s)


def heldout(s: RunState) -> dict[str, float]:
    """heldout_loss (nats per token), heldout_perplexity and heldout_bits_per_byte; empty where nothing is held out."""
    settings = s.settings
    nats, tokens, text_bytes = 0.0, 0, 0
    s.engine.eval()
    with torch.no_grad():
        for batch in s.loader.held_out_batches(settings.global_batch_size, settings.evaluate_sequences):
            for start in range(0, len(batch), settings.micro_batch):
                micro = batch[start : start + settings.micro_batch]
                nats += float(s.engine(**micro.to_torch(s.place.device)))
            tokens += labelled_tokens(batch.labels)
            text_bytes += labelled_bytes(batch.labels, s.token_bytes)
    s.engine.train()
    nats, count, size = sum_over_ranks(s.place, nats, tokens, text_bytes)
    if not count:
        return {}
    loss = nats / count
    found = {
        "heldout_loss": loss,
        "heldout_perplexity": perplexity(loss),
        "heldout_bits_per_byte": bits_per_byte(nats, size),
    }
    return {name: value for name, value in found.items() if value is not None}


def sample(s: RunState) -> None:
    """Texts that continue the prompts of the settings, drawn with the run's seed."""
    p, stop_id = s.progress, s.loader.mixture.eot_id
    for prompt in s.settings.sample_prompts:
        made = continue_tokens(
            s.engine.module,  # the objective generates as its model does, with what an engine hooks in
            s.tokenizer.encode(prompt, add_special_tokens=False).ids or [stop_id],
            max_new_tokens=s.settings.sample_tokens,
            stop_ids=(stop_id,),
            temperature=SAMPLE_TEMPERATURE,
            seed=s.settings.seed,
        )
        text = s.tokenizer.decode(made)
        p.samples.append({"step": p.step, "prompt": prompt, "text": text})
        if s.telemetry is not None:
            s.reporter.info(f"step {p.step:,}: {prompt!r} -> {text!r}")
            s.telemetry.write_text(p.step, f"sample/{prompt}", text)
