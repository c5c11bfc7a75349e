"""Batches for training: our loader beside litdata's and mosaicml-streaming's, on the same tokens.

    make bench-loader
    make bench-loader ARGS="--tokens 4e7 --rounds 1"

One source, and two in proportion 7 : 3, shuffled; batches of 16 x 2048 as torch tensors of one dtype on both sides; one
process and one thread. Peers get the same rows in their own formats; before each measurement the files are read
through, so that all lies in the page cache. Tokens per CPU second (all threads), the median of some rounds in turn:
`first`, each row read for the first time by a fresh process, as a training run reads it, pages not mapped yet; `again`,
the same rows once more. The last line takes `first`. Then the time to the first batch and to a late one, memory that is
not page cache, 10^10 tokens (sparse files), and what reading ahead gives on a cold cache.
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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.shard_files import make_root, make_sparse_root, write_mixture
from gristmill.core.layout import Layout
from training.loader import READ_AHEAD, Loader
from training.shards import read_mixture

BATCH, LENGTH = 16, 2048
SHARES = {"a": 0.7, "b": 0.3}
SHARD_ROWS = 15_625  # 64 MB of uint16
HUGE_SHARDS = 313  # of 64 MB: 10^10 tokens
PEERS = ("litdata", "litdata-mixed", "mosaic", "mosaic-mixed")
KINDS = ("tokens", "input_ids", "all")  # uint16 as stored; int64; input_ids, labels and position_ids as int64
WARM_UP = 20  # batches before the clocks start: imports, opening files
MOSAIC_BATCHES = 200  # it is slow, and as fast in the first ones


def measure(root: str, kind: str, count: int, first: int, read_ahead: int) -> dict[str, Any]:
    """One process's figures, as `peer_loaders.measure` takes them."""
    import torch

    torch.set_num_threads(1)
    begun = time.perf_counter()
    loader = Loader(Layout(root), read_ahead=read_ahead)
    batches = _tensors(loader, kind, first, count)
    tensor = next(batches)
    seconds_to_first = time.perf_counter() - begun
    for _ in range(WARM_UP - 1):
        next(batches)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in batches:
        pass
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    again = time.process_time()
    for _ in _tensors(loader, kind, first, count):
        pass
    again = time.process_time() - again
    done = (count - WARM_UP) * BATCH * LENGTH
    return {
        "library": f"gristmill {kind}",
        "batch": f"{tensor.dtype} {tuple(tensor.shape)}",
        "tokens_per_cpu_second": done / cpu,
        "again_per_cpu_second": count * BATCH * LENGTH / again,
        "tokens_per_second": done / wall,
        "seconds_to_first": seconds_to_first,
        "anonymous_mb": _anonymous_mb(),
    }


def _tensors(loader: Loader, kind: str, first: int, count: int) -> Iterator[Any]:
    for batch in loader.batches(first, first + count, BATCH):
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
            os.fsync(file.fileno())  # what is not written yet would stay
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _fill_cache(folders: Iterable[Path]) -> None:
    """Read all files below the folders, so that they are in the page cache: a kernel may let idle ones go."""
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb", buffering=0) as file:
                    while file.read(1 << 20):
                        pass


def _line(name: str, found: list[dict[str, Any]]) -> None:
    middle = {k: statistics.median(f[k] for f in found) for k in found[0] if isinstance(found[0][k], float)}
    again = middle.get("again_per_cpu_second")
    print(
        f"{name:26} {found[0]['batch']:32} {middle['tokens_per_cpu_second'] / 1e6:6.0f} M tokens/CPU-s first, "
        f"{f'{again / 1e6:6.0f}' if again else '     –'} again, {middle['tokens_per_second'] / 1e6:6.0f} M/s   "
        f"first batch {middle['seconds_to_first']:7.3f} s   {middle['anonymous_mb']:5.0f} MB",
        flush=True,
    )


def _median(found: list[dict[str, Any]]) -> float:
    return statistics.median(f["tokens_per_cpu_second"] for f in found)


def main() -> int:
    """Run the benchmark; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--tokens", type=float, default=1e8, help="in all, of which 2 bytes each are written three times"
    )
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
    roots = {"": Path(_one_source(layout, work / "one").root), "-mixed": Path(layout.root)}
    per_pass = {"": sum(shards["a"]) // BATCH, "-mixed": sequences // BATCH}
    root, last = roots["-mixed"], int(0.9 * sequences / BATCH)
    python = interpreter("loader")
    folders = _write_for_peers(python, work, layout) if python else {}
    script = str(REPOSITORY / "benchmarks" / "peer_loaders.py")

    def peer(library: str, count: int, *more: str) -> dict[str, Any]:
        its = folders[library.removesuffix("-mixed")]
        chosen = its if library.endswith("-mixed") else its[:1]
        _fill_cache(map(Path, chosen))
        return _json([str(python), script, "measure", library, *chosen, "--batches", str(count), *more])

    found: dict[str, list[dict[str, Any]]] = {}
    for turn in range(rounds):
        for mixed, count in per_pass.items():
            for kind in KINDS:
                _fill_cache([roots[mixed]])
                found.setdefault(f"gristmill{mixed} {kind}", []).append(_ours(roots[mixed], kind, count))
        for library in PEERS if python else ():
            if library.startswith("litdata"):
                count = (
                    per_pass["-mixed" if library.endswith("-mixed") else ""] - 2 * WARM_UP
                )  # its shares are not exact
                found.setdefault(f"{library} tokens", []).append(peer(library, count))
                found.setdefault(f"{library} input_ids", []).append(peer(library, count, "--long"))
            elif turn == 0:
                found.setdefault(f"{library} tokens", []).append(peer(library, min(MOSAIC_BATCHES, per_pass[""])))
    for name, its in found.items():
        _line(name, its)
    print("at 90 % (peers, whose epochs end: at 80 %):")
    _fill_cache([root])
    _line("gristmill", [_ours(root, "tokens", 50, first=last)])
    for library in ("litdata", "mosaic") if python else ():
        _line(library, [peer(library, 2 * WARM_UP, "--first", str(int(0.8 * per_pass[""])))])

    huge = make_sparse_root(
        work / "huge", {"a": [SHARD_ROWS] * 219, "b": [SHARD_ROWS] * (HUGE_SHARDS - 219)}, length=LENGTH
    )
    in_all = HUGE_SHARDS * SHARD_ROWS
    print(f"{in_all * LENGTH:,} tokens in {HUGE_SHARDS} sparse shards, first batch and at 90 %:")
    for first in (0, int(0.9 * in_all / BATCH)):
        _line("gristmill", [_ours(Path(huge.root), "tokens", 200, first=first)])

    print("cold page cache:")
    for read_ahead in (0, READ_AHEAD, 0, READ_AHEAD):
        _evict(root)
        _line(f"read_ahead={read_ahead}", [_ours(root, "tokens", 200, read_ahead=read_ahead)])

    print(json.dumps(_summary(found)))
    return 0


def _one_source(layout: Layout, root: Path) -> Layout:
    """A root with the first source alone, on the same files."""
    sources: list[tuple[Path, int, str]] = []
    for shard in read_mixture(layout).of("a", "train"):
        path = root / shard.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.hardlink_to(layout.join(shard.path))
        sources.append((path, shard.sequences, shard.sha256))
    return write_mixture(root, {"a": sources}, {"a": sum(n for _, n, _ in sources)}, length=LENGTH)


def _summary(found: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The last line: the work of uint16 batches where we are ahead by less; other ratios are printed."""
    medians = {name: _median(its) for name, its in found.items()}
    ratios: dict[str, tuple[float, float, str | None]] = {}
    for work in ("tokens", "input_ids"):
        for mixed in ("", "-mixed"):
            ours = medians[f"gristmill{mixed} {work}"]
            names = [n for n in medians if n in {f"{library}{mixed} {work}" for library in ("litdata", "mosaic")}]
            best = max(names, key=lambda name: medians[name], default=None)
            if best:
                print(f"{ours / medians[best]:6.2f} times {best}: {ours / 1e6:.0f} to {medians[best] / 1e6:.0f}")
            if work == "tokens":
                ratios[mixed] = (ours / medians[best] if best else 0.0, ours, best)
    ratio, ours, best = min(ratios.values())
    return {
        "bench": "loader",
        "ours": round(ours / 1e6, 1),
        "peer": round(medians[best] / 1e6, 1) if best else None,
        "peer_name": best,
        "unit": "million tokens per CPU second",
        "ratio": round(ratio, 2) if best else None,
    }


if __name__ == "__main__":
    sys.exit(main())
