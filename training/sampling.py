"""Text from a model: what training shows now and then, and what `training.generate` prints."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gristmill.core.errors import MissingDataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def load_tokenizer(folder: Path) -> "Tokenizer":
    """The tokenizer.json of a folder.

    Raises:
        MissingDataError: it is not there or can't be read.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise MissingDataError(f"{path} is not there: give a folder that holds a tokenizer")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises a bare Exception for whatever is wrong in the file
        raise MissingDataError(f"{path} can't be read as a tokenizer: {' '.join(str(error).split())}") from None


def continue_tokens(
    model: Any,
    prompt_ids: list[int],
    *,
    max_new_tokens: int,
    stop_ids: tuple[int, ...],
    temperature: float = 0.0,
    seed: int = 0,
) -> list[int]:
    """The tokens that follow `prompt_ids`, without the one that stopped them.

    Args:
        model: a transformers causal model.
        prompt_ids: at least one token.
        max_new_tokens: at most so many are made.
        stop_ids: tokens that end the text.
        temperature: 0 takes the likeliest token each time; above, tokens are drawn, flatter as it grows.
        seed: of the draw; the process's own random state stays as it is.
    """
    import torch

    model_device = next(model.parameters()).device
    ids = torch.tensor([prompt_ids], device=model_device)
    is_training = model.training
    model.eval()
    options: dict[str, Any] = {"do_sample": False}
    if temperature > 0:
        options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    try:
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),  # one document without padding: nothing to isolate here
                max_new_tokens=max_new_tokens,
                eos_token_id=list(stop_ids),
                pad_token_id=stop_ids[0],
                use_cache=True,
                **options,
            )
    finally:
        model.train(is_training)
    new = cast(list[int], made[0, len(prompt_ids) :].tolist())
    for position, token in enumerate(new):
        if token in stop_ids:
            return new[:position]
    return new
