"""The peer of `make bench-pretrain`: Hugging Face Trainer with DeepSpeed ZeRO-1, bf16 and Liger's kernels.

Run by benchmarks/pretrain.py with the Python that has torch; its last line is one JSON object. By default the peer
attends over whole rows, across documents, which is less than ours does. `--apart` names an attention of transformers
that keeps documents apart by their position ids: `sdpa` and `flex_attention` by a mask, `flash_attention_4` by
boundaries, for which the micro-batch is one long row (transformers looks for packed documents in a single row only).
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

END_OF_TEXT = 0  # of benchmarks/training_root.py


def positions(ids: "np.typing.NDArray[np.int64]") -> "np.typing.NDArray[np.int64]":
    """Each token's place in its document, 0 at the row's start and after each end of text."""
    places = np.arange(len(ids))
    starts = np.flatnonzero(np.concatenate([[True], ids[:-1] == END_OF_TEXT]))
    return places - np.repeat(starts, np.diff(np.append(starts, len(ids))))


def main() -> None:
    """Train some steps and print seconds a step, memory and loss."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shard", type=Path, required=True)
    parser.add_argument("--config", required=True, help="LlamaConfig's arguments as JSON")
    parser.add_argument("--micro-batch", type=int, required=True)
    parser.add_argument("--accumulation", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--warm", type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--apart", default="", help="attention that keeps documents apart")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    os.environ |= {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29511",
    }

    import pyarrow as pa
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainerCallback, TrainingArguments

    batch = pa.ipc.open_file(pa.memory_map(str(given.shard))).get_batch(0)
    config = LlamaConfig(**json.loads(given.config))
    if given.apart:
        config._attn_implementation = given.apart
    rows = batch.column(0).values.to_numpy().reshape(batch.num_rows, -1)

    class Rows(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> dict[str, Any]:
            ids = rows[index].astype(np.int64)
            return {"input_ids": ids, "labels": ids} | ({"position_ids": positions(ids)} if given.apart else {})

    def one_row(features: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {key: torch.from_numpy(np.concatenate([f[key] for f in features])[None]) for key in features[0]}

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.times: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    zero = {"stage": 1, "reduce_bucket_size": 5e8, "allgather_bucket_size": 5e8, "contiguous_gradients": True}
    arguments = TrainingArguments(
        output_dir=str(given.out),
        per_device_train_batch_size=given.micro_batch,
        gradient_accumulation_steps=given.accumulation,
        max_steps=given.steps,
        bf16=True,
        optim="adamw_torch_fused",
        adam_beta2=0.95,
        weight_decay=0.1,
        max_grad_norm=1.0,
        learning_rate=3e-4,
        use_liger_kernel=True,
        torch_compile=given.compile,
        save_strategy="no",
        logging_steps=1000,
        report_to=[],
        dataloader_num_workers=2,
        dataloader_pin_memory=True,
        deepspeed={
            "zero_optimization": zero,
            "bf16": {"enabled": True},
            "zero_allow_untested_optimizer": True,
            "gradient_clipping": 1.0,
            "train_micro_batch_size_per_gpu": given.micro_batch,
            "gradient_accumulation_steps": given.accumulation,
        },
    )
    clock = Clock()
    model = LlamaForCausalLM(config)
    is_flash = given.apart.startswith("flash")
    trainer = Trainer(
        model=model,
        args=arguments,
        train_dataset=Rows(),
        callbacks=[clock],
        **({"data_collator": one_row} if is_flash else {}),
    )
    trainer.train()
    seconds = statistics.median(np.diff(clock.times[given.warm - 1 :]).tolist())
    engine = type(trainer.model_wrapped).__name__
    facts = {
        "seconds": seconds,
        "engine": engine,
        "parameters": sum(p.numel() for p in model.parameters()),
        "gib": torch.cuda.max_memory_allocated() / 2**30,
        "kernel": config._attn_implementation,
    }
    print("\n" + json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
