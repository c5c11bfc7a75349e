"""The peers' loaders, run by the Python of `.venv-peers-loader`; uses nothing of the project.

    python peer_loaders.py write litdata|mosaic SOURCE.npy OUT --dtype uint16
    python peer_loaders.py measure litdata|litdata-mixed|mosaic|mosaic-mixed FOLDER… --batches N [--first N] [--long]

`measure` prints one JSON object: tokens per CPU second and per second of the first pass, per CPU second of a second
one, seconds to the first batch from the import of the library's data set on, MB of anonymous memory. Batches are of 16
sequences, shuffled, in one process.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

BATCH = 16
WARM_UP = 20  # batches before the clocks start
_KEPT: list[torch.library.Library] = []  # what it declares goes with it


def import_streaming():
    """mosaicml-streaming, which imports torchvision at its start though it reads tokens without it.

    torchvision's own compiled operators do not load beside a CPU build of torch; declaring the two names that its
    Python code registers fakes for is enough for it to be imported.
    """
    if "streaming" not in sys.modules:
        library = torch.library.Library("torchvision", "DEF")
        _KEPT.append(library)
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import streaming

    return streaming


def write(library: str, source: Path, out: Path, dtype: str) -> None:
    tokens = np.load(source, mmap_mode="r")
    if library == "litdata":
        from litdata.streaming import Cache, TokensLoader

        cache = Cache(str(out), chunk_bytes="64MB", item_loader=TokensLoader(block_size=tokens.shape[1]))
        for number, row in enumerate(tokens):
            cache._add_item(number, torch.from_numpy(np.array(row)).to(getattr(torch, dtype)))
        cache.done()
        cache.merge()
        return
    streaming = import_streaming()
    columns = {"tokens": f"ndarray:{dtype}:{tokens.shape[1]}"}
    with streaming.MDSWriter(out=str(out), columns=columns, size_limit=64 << 20) as writer:
        for row in tokens:
            writer.write({"tokens": np.array(row).astype(dtype)})


def dataset(library: str, folders: list[str], length: int):
    if library.startswith("litdata"):
        from litdata import CombinedStreamingDataset, StreamingDataset, TokensLoader

        parts = [
            StreamingDataset(folder, item_loader=TokensLoader(block_size=length), shuffle=True, seed=0)
            for folder in folders
        ]
        if len(parts) == 1:
            return parts[0]
        return CombinedStreamingDataset(parts, seed=0, weights=[0.7, 0.3], iterate_over_all=False)
    streaming = import_streaming()
    if len(folders) == 1:
        made = streaming.StreamingDataset(local=folders[0], shuffle=True, batch_size=BATCH)
    else:
        parts = [streaming.Stream(local=f, proportion=p) for f, p in zip(folders, (0.7, 0.3), strict=True)]
        made = streaming.StreamingDataset(streams=parts, shuffle=True, batch_size=BATCH)
    return made


def batches(library: str, folders: list[str], length: int, state: dict | None):
    """The library's own loader, from the beginning or from a state."""
    data = dataset(library, folders, length)
    if library.startswith("litdata"):
        from litdata import StreamingDataLoader
    else:
        StreamingDataLoader = import_streaming().StreamingDataLoader  # noqa: N806
    loader = StreamingDataLoader(data, batch_size=BATCH, num_workers=0)
    if state is not None:
        loader.load_state_dict(state)
    return loader


def state_after(library: str, folders: list[str], length: int, count: int) -> dict:
    """The state of the library's loader after `count` batches, without reading them all."""
    loader = batches(library, folders, length, None)
    if library.startswith("mosaic"):
        return loader.dataset.state_dict(count * BATCH, from_beginning=True)
    next(iter(loader))
    state = loader.state_dict()
    samples = count * BATCH
    state["num_samples_yielded"] = samples
    state["dataset"] |= {"num_samples_yielded": samples, "sample_in_epoch": samples}
    return state


def measure(library: str, folders: list[str], length: int, count: int, first: int, is_long: bool) -> dict:
    state = state_after(library, folders, length, first) if first else None
    begun = time.perf_counter()
    loader = batches(library, folders, length, state)
    seconds_to_first, facts = 0.0, ""
    passes: list[tuple[int, float, float]] = []  # batches, CPU and wall seconds
    # litdata's second pass reads what the process read before, in another order. mosaic's would take too long.
    for _ in range(2 if library.startswith("litdata") and not first else 1):
        read, cpu, wall = 0, time.process_time(), time.perf_counter()
        for batch in loader:
            tokens = batch["tokens"] if isinstance(batch, dict) else batch
            if is_long:
                tokens = tokens.long()
            if not seconds_to_first:
                seconds_to_first = time.perf_counter() - begun
                facts = f"{tokens.dtype} {tuple(tokens.shape)}"
            read += 1
            if read == WARM_UP:
                cpu, wall = time.process_time(), time.perf_counter()
            if read == count:
                break
        passes.append((read - WARM_UP, time.process_time() - cpu, time.perf_counter() - wall))
    tokens_read, cpu, wall = passes[0][0] * BATCH * length, passes[0][1], passes[0][2]
    found = {
        "library": library,
        "batch": facts,
        "batches": passes[0][0] + WARM_UP,
        "tokens_per_cpu_second": tokens_read / max(cpu, 1e-9),
        "tokens_per_second": tokens_read / max(wall, 1e-9),
        "seconds_to_first": seconds_to_first,
        "anonymous_mb": anonymous_mb(),
    }
    if len(passes) > 1:
        found["again_per_cpu_second"] = passes[1][0] * BATCH * length / max(passes[1][1], 1e-9)
    return found


def anonymous_mb() -> float:
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Anonymous:"):
            return int(line.split()[1]) / 1e3
    return 0.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("action")
    parser.add_argument("library")
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--dtype", default="uint16")
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--batches", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--long", action="store_true", help="make each batch int64, as a model takes it")
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("DATA_OPTIMIZER_CACHE_FOLDER", tempfile.mkdtemp())
    if given.action == "write":
        write(given.library, Path(given.paths[0]), Path(given.paths[1]), given.dtype)
        return
    print(json.dumps(measure(given.library, given.paths, given.length, given.batches, given.first, given.long)))
    sys.stdout.flush()
    os._exit(0)  # litdata's threads would keep it


if __name__ == "__main__":
    main()
