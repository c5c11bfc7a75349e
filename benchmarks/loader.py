"""Batches for training: our loader beside litdata's and mosaicml-streaming's, on the same tokens.

    make bench-loader
    make bench-loader ARGS="--tokens 4e7 --rounds 1"

Two sources in proportion 7 : 3, shuffled, batches of 16 x 2048 as torch tensors, one process, warm cache. Peers get
the same rows in their own formats, written once. Tokens per CPU second (all threads), the median of some rounds in
turn; wall beside it. Then the time to the first batch and to the one at 90 %, memory that is not page cache, 10^10
tokens (sparse files), and what reading ahead gives on a cold cache.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.shard_files import make_root, make_sparse_root
from gristmill.core.layout import Layout
from training.loader import READ_AHEAD, Loader
from training.shards import read_mixture

BATCH, LENGTH = 16, 2048
SHARES = {"a": 0.7, "b": 0.3}
SHARD_ROWS = 15_625  # 64 MB of uint16
HUGE_SHARDS = 313  # of 64 MB: 10^10 tokens
PEERS = ("litdata", "litdata-mixed", "mosaic", "mosaic-mixed")
KINDS = ("tokens", "input_ids", "all")  # uint16 as stored; int64; input_ids, labels and position_ids as int64


def measure(root: str, kind: str, count: int, first: int, read_ahead: int) -> dict[str, Any]:
    """One process's figures, as `peer_loaders.measure` takes them."""
    import torch

    torch.set_num_threads(1)
    begun = time.perf_counter()
    loader = Loader(Layout(root), read_ahead=read_ahead)
    batches = _tensors(loader, kind, first)
    tensor = next(batches)
    seconds_to_first = time.perf_counter() - begun
    cpu, wall = time.process_time(), time.perf_counter()
    for read in range(count):
        if read == count // 4:
            cpu, wall = time.process_time(), time.perf_counter()
        next(batches)
    done = (count - count // 4) * BATCH * LENGTH
    return {
        "library": f"gristmill {kind}",
        "batch": f"{tensor.dtype} {tuple(tensor.shape)}",
        "tokens_per_cpu_second": done / max(time.process_time() - cpu, 1e-9),
        "tokens_per_second": done / max(time.perf_counter() - wall, 1e-9),
        "seconds_to_first": seconds_to_first,
        "anonymous_mb": _anonymous_mb(),
    }


def _tensors(loader: Loader, kind: str, first: int) -> Iterator[Any]:
    for batch in loader.batches(first, None, BATCH):
        if kind == "tokens":
            yield batch.tensor()
        elif kind == "input_ids":
            import torch

            yield torch.from_numpy(batch.input_ids)
        else:
            yield batch.to_torch()["input_ids"]


def _anonymous_mb() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("Anonymous:"))


def _ours(root: Path, kind: str, count: int, *, first: int = 0, read_ahead: int = READ_AHEAD) -> dict[str, Any]:
    numbers = ["--count", str(count), "--first", str(first), "--read-ahead", str(read_ahead)]
    return _json([sys.executable, "-m", "benchmarks.loader", "--measure", str(root), "--kind", kind, *numbers])


def _json(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY, timeout=600)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"{' '.join(command[:4])}… failed: {done.stderr.strip()[-400:]}")
    return json.loads(lines[-1])


def _write_for_peers(python: Path, work: Path, layout: Layout) -> dict[str, list[str]]:
    """The same rows in each peer's format; the folders by library."""
    mixture = read_mixture(layout)
    folders: dict[str, list[str]] = {"litdata": [], "mosaic": []}
    for name in SHARES:
        rows: list[Any] = []
        for shard in mixture.of(name, "train"):
            with pa.memory_map(layout.join(shard.path)) as file:
                column = pa.ipc.open_file(file).get_batch(0).column(0)
                rows.append(column.flatten().to_numpy().reshape(-1, LENGTH).copy())
        np.save(work / f"{name}.npy", np.concatenate(rows))
        for library, its in folders.items():
            folder = work / f"{library}-{name}"
            script = str(REPOSITORY / "benchmarks" / "peer_loaders.py")
            command = [str(python), script, "write", library, str(work / f"{name}.npy"), str(folder)]
            subprocess.run(command, check=True, capture_output=True, timeout=600)
            its.append(str(folder))
        (work / f"{name}.npy").unlink()
    return folders


def _evict(root: Path) -> None:
    for path in root.rglob("*.arrow"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _line(name: str, found: list[dict[str, Any]]) -> None:
    middle = {k: statistics.median(f[k] for f in found) for k in found[0] if isinstance(found[0][k], float)}
    print(
        f"{name:24} {found[0]['batch']:32} {middle['tokens_per_cpu_second'] / 1e6:8.0f} M tokens/CPU-s "
        f"{middle['tokens_per_second'] / 1e6:8.0f} M/s   first batch {middle['seconds_to_first']:7.3f} s   "
        f"{middle['anonymous_mb']:6.0f} MB",
        flush=True,
    )


def _median(found: list[dict[str, Any]]) -> float:
    return statistics.median(f["tokens_per_cpu_second"] for f in found)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=1e8, help="in all, of which 2 bytes each are written thrice")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", metavar="ROOT", help="only this, of a root that is there; prints JSON")
    parser.add_argument("--kind", choices=KINDS, default=KINDS[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--read-ahead", type=int, default=READ_AHEAD)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.kind, given.count, given.first, given.read_ahead)))
        return 0
    work = Path(tempfile.mkdtemp(prefix="gristmill-loader-"))
    try:
        return _compare(work, int(given.tokens), given.rounds)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compare(work: Path, tokens: int, rounds: int) -> int:
    sequences = tokens // LENGTH
    shards: dict[str, list[int]] = {}
    for name, share in SHARES.items():
        whole, rest = divmod(int(share * sequences), SHARD_ROWS)
        shards[name] = [SHARD_ROWS] * whole + [rest] * (rest > 0)
    layout = make_root(work / "root", shards, length=LENGTH)
    root, last = Path(layout.root), int(0.9 * sequences / BATCH)
    python = interpreter("loader")
    folders = _write_for_peers(python, work, layout) if python else {}
    script = str(REPOSITORY / "benchmarks" / "peer_loaders.py")

    def peer(library: str, count: int, first: int = 0) -> dict[str, Any]:
        its = folders[library.removesuffix("-mixed")]
        chosen = its if library.endswith("-mixed") else its[:1]
        numbers = ["--batches", str(count), "--first", str(first)]
        return _json([str(python), script, "measure", library, *chosen, *numbers])

    per_pass = sequences // BATCH
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(rounds):
        for kind in KINDS:
            found.setdefault(f"gristmill {kind}", []).append(_ours(root, kind, 4 * per_pass))
        for library in PEERS if python else ():
            count = min(per_pass // 3, 1000 if library.startswith("litdata") else 200)
            found.setdefault(library, []).append(peer(library, count))
    for name, its in found.items():
        _line(name, its)
    print("at 90 %:")
    _line("gristmill", [_ours(root, "tokens", 50, first=last)])
    for library in ("litdata", "mosaic") if python else ():
        _line(library, [peer(library, 20, int(0.9 * shards["a"][0] / BATCH))])

    huge = make_sparse_root(
        work / "huge", {"a": [SHARD_ROWS] * 219, "b": [SHARD_ROWS] * (HUGE_SHARDS - 219)}, length=LENGTH
    )
    in_all = HUGE_SHARDS * SHARD_ROWS
    print(f"{in_all * LENGTH:,} tokens in {HUGE_SHARDS} sparse shards, first batch and at 90 %:")
    for first in (0, int(0.9 * in_all / BATCH)):
        _line("gristmill", [_ours(Path(huge.root), "tokens", 200, first=first)])

    print("cold page cache, wall:")
    for read_ahead in (0, READ_AHEAD, 0, READ_AHEAD):
        _evict(root)
        _line(f"read_ahead={read_ahead}", [_ours(root, "tokens", 200, read_ahead=read_ahead)])

    peers = {name: _median(its) for name, its in found.items() if name in PEERS}
    ours = _median(found["gristmill tokens"])
    best = max(peers, key=lambda name: peers[name]) if peers else None
    summary = {"bench": "loader", "ours": round(ours / 1e6, 1), "peer": best and round(peers[best] / 1e6, 1)}
    ratio = best and round(ours / peers[best], 2)
    print(json.dumps(summary | {"peer_name": best, "unit": "million tokens per CPU second", "ratio": ratio}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
