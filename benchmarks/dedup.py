"""Duplicates: Gristmill against datatrove's MinHash deduplication, in CPU seconds of all processes.

    python -m benchmarks.dedup [--pages N] [--texts DIR] [--smoke]

Texts: the pages of debdocs, extracted by the product (or Parquet with doc_id and text from --texts DIR); both sides get
the same in as many files. Signatures: our map stage by the runtime that Spark's workers use, in a process of its own,
with scheme `datatrove` and with the default scheme; datatrove's first step with two workers. Every signature of the
first is held against datatrove's files: all 14 buckets of all documents. From buckets to what is kept: our
`duplicate_clusters` and `deduplicated_documents` over these signatures, one Spark session for both, three times: of
scheme `datatrove` as datatrove does it, equal bands being enough (like for like); the same verified by the texts, which
is our default and datatrove does not do; and with our default scheme, verified. datatrove's three other steps, a
process each. What starting costs (Spark's JVM with us, three times Python with datatrove) is measured on a single
document and shown apart; it is part of `all` on both sides. `ratio` is that of the signatures of scheme `datatrove`,
`after_ratio` of each row the one from buckets to what is kept, start-up included on both sides. --smoke: a few texts,
ours alone, no Spark.
"""

import argparse
import json
import os
import posixpath
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import warcs
from benchmarks.gold import SHARED
from benchmarks.peers import REPOSITORY, interpreter
from benchmarks.usage import Usage, measured
from gristmill.core.layout import Layout, Partition
from gristmill.core.settings import build, to_plain
from pipelines.schema import DOCUMENT_SCHEMA

PEER = "datatrove 0.10.1"
UNIT = "CPU-s per 1,000 documents"
CORPUS, FILES = "bench", 2
DOCUMENTS, SIGNATURES, CLUSTERS, KEPT = (
    "quality_filtered_documents", "minhash_signatures", "duplicate_clusters", "deduplicated_documents",
)  # fmt: skip
PEER_STEPS = ("signatures", "buckets", "cluster", "filter")
BUCKETS, ROWS = 14, 8
AFTER = {  # scheme of the signatures: name of a row to settings of duplicate_clusters
    "gristmill": {"default": "{}"},
    "datatrove": {"as datatrove": '{"verified_jaccard": 0}', "verified": "{}"},
}
SMOKE_TEXTS = [f"{warcs.PROSE} The {number}th copy of it." for number in range(20)]


class BenchError(RuntimeError):
    """A run of either side did not succeed, or the two disagree."""


@dataclass(frozen=True)
class Input:
    """The same documents for both sides: a home with a materialized corpus, a folder of JSONL."""

    home: Path
    jsonl: Path
    count: int
    megabytes: float

    @classmethod
    def of(cls, texts: Sequence[str], folder: Path) -> "Input":
        """Write `texts` below `folder`, a file for each of the peer's workers."""
        given = cls(folder / "home", folder / "jsonl", len(texts), sum(len(text.encode()) for text in texts) / 1e6)
        given.jsonl.mkdir(parents=True)
        layout = Layout(str(given.home))
        partition = Partition(CORPUS, "00000")
        target = Path(layout.partition_dir(DOCUMENTS, partition))
        target.mkdir(parents=True)
        size = -(-len(texts) // FILES)
        for number in range(min(FILES, len(texts))):
            rows = [
                {"doc_id": f"{number}-{index:031d}", "url": "https://host/", "corpus": CORPUS, "text": text}
                for index, text in enumerate(texts[number * size : (number + 1) * size])
            ]
            pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), target / f"part-{number:05d}.parquet")
            lines = "".join(json.dumps({"id": row["doc_id"], "text": row["text"]}) + "\n" for row in rows)
            (given.jsonl / f"part-{number:05d}.jsonl").write_text(lines)
        layout.write_json(f"{target}/report.json", {"rows_kept": len(texts), "fingerprint": CORPUS})
        return given

    @property
    def parts(self) -> list[str]:
        """The files of its documents."""
        layout = Layout(str(self.home))
        return layout.parts(layout.partition_dir(DOCUMENTS, Partition(CORPUS, "00000")))


def page_texts(pages: int, work: Path) -> list[str]:
    """The texts of the first pages of debdocs, as the product extracts them."""
    from benchmarks.document_path import run_staged
    from pipelines.crawl.corpora import add_corpus

    source = work / "warc"
    warcs.sample(sorted((SHARED / "data/crawls/debdocs").glob("*.warc.gz")), pages, source)
    layout = Layout(str(work / "extraction"))
    add_corpus(layout, CORPUS, [str(source)], segments=1)
    run_staged(layout, CORPUS, ("extracted_documents",))
    return list(read_texts(Path(layout.root, "attempts", "extracted_documents", "output")))


def read_texts(folder: Path) -> Iterator[str]:
    """The texts of a folder of Parquet."""
    for path in sorted(folder.rglob("*.parquet")):
        yield from (text for text in pq.read_table(path, columns=["text"]).column("text").to_pylist() if text)


def sign_here(home: str, scheme: str) -> int:
    """The child's part: sign all documents of a home and commit them."""
    from pipelines.parts import PartTask, run_part
    from pipelines.stages import stage

    layout, partition, row = Layout(home), Partition(CORPUS, "00000"), stage(SIGNATURES)
    settings = to_plain(build(row.settings_class, {"scheme": scheme}, "--scheme"))
    folder = layout.partition_dir(SIGNATURES, partition)
    shutil.rmtree(folder, ignore_errors=True)
    attempt = layout.new_temporary_dir(SIGNATURES, partition)
    for name in ("output", "quarantine", "signals", "progress"):
        layout.fs.makedirs(posixpath.join(attempt, name))
    rows = 0
    for source in layout.parts(layout.partition_dir(DOCUMENTS, partition)):
        name = posixpath.basename(source)
        rows += run_part(PartTask(SIGNATURES, home, CORPUS, "00000", source, name, attempt, settings)).rows_kept
    Path(folder).parent.mkdir(parents=True, exist_ok=True)
    layout.fs.mv(posixpath.join(attempt, "output"), folder, recursive=True)
    layout.write_json(f"{folder}/report.json", {"rows_kept": rows, "fingerprint": scheme, "settings": settings})
    return 0


def deduplicate_here(home: str, settings: str) -> int:
    """The child's part: both stages after the signatures, in one session as `gristmill run` has one; from nothing."""
    from pipelines import worker
    from pipelines.serve import KeptSession

    for folder in (CLUSTERS, KEPT, "cluster_state"):
        shutil.rmtree(Path(home, folder), ignore_errors=True)
    session = KeptSession()
    try:
        for name, key in ((CLUSTERS, CORPUS), (KEPT, f"{CORPUS}|00000")):
            arguments = [name, "--root", home, "--partition", key, "--master", "local[2]"]
            arguments += ["--settings", settings] if name == CLUSTERS else []
            if code := worker.main(arguments, open_session=session.open):
                return code
    finally:
        session.close()
    return 0


def ours(what: str, given: Input, *more: str) -> Usage:
    """One of our steps in a process of its own."""
    usage = measured([sys.executable, "-m", "benchmarks.dedup", what, str(given.home), *more], cwd=REPOSITORY)
    return _checked(usage, f"ours, {what}")


def peer(step: str, python: Path, given: Input, work: Path) -> Usage:
    """One of datatrove's steps."""
    script = str(Path(__file__).with_name("peer_datatrove_dedup.py"))
    environment = os.environ | {"HF_HOME": str(work / "huggingface"), "HF_HUB_OFFLINE": "1"}
    return _checked(
        measured([str(python), script, step, str(given.jsonl), str(work)], env=environment), f"{PEER}, {step}"
    )


def _checked(usage: Usage, what: str) -> Usage:
    if usage.exit_code:
        raise BenchError(f"{what} ended with code {usage.exit_code}:\n{usage.output[-2000:]}")
    return usage


def require_equal(given: Input, work: Path) -> int:
    """Hold every signature of scheme `datatrove` against datatrove's files; returns how many there are.

    Raises:
        BenchError: a document has other values, or one side alone has any.
    """
    layout, signed = Layout(str(given.home)), 0
    record = np.dtype([("values", "<u8", ROWS), ("document", "<u4")])
    paths = layout.parts(layout.partition_dir(SIGNATURES, Partition(CORPUS, "00000")))
    for number, path in enumerate(paths):
        mine = pq.read_table(path, columns=["signature"]).column("signature").to_pylist()
        rows = [index for index, value in enumerate(mine) if value is not None]
        values = np.frombuffer(b"".join(mine[index] for index in rows), "<u8").reshape(len(rows), BUCKETS, ROWS)
        for bucket in range(BUCKETS):
            theirs = np.fromfile(work / "signatures" / f"bucket_{bucket:03d}" / f"{number:05d}.minhash.sig", record)
            theirs = theirs[np.argsort(theirs["document"])]
            if theirs["document"].tolist() != rows or not np.array_equal(theirs["values"], values[:, bucket]):
                raise BenchError(f"file {number}, bucket {bucket}: our signatures are not datatrove's")
        signed += len(rows)
    return signed


def kept_by_peer(work: Path) -> int:
    """Documents that datatrove keeps."""
    import gzip

    return sum(sum(1 for _ in gzip.open(path)) for path in (work / "kept").glob("*.jsonl.gz"))


def kept_by_us(given: Input) -> int:
    """Documents that we keep."""
    report = Layout(str(given.home)).require_report(KEPT, Partition(CORPUS, "00000"))
    return int(report["rows_kept"])


def compare(texts: Sequence[str], python: Path | None, work: Path) -> dict[str, Any]:
    """Run everything over `texts` and over one of them; print the tables; return the figures."""
    given, one = Input.of(texts, work / "all"), Input.of([warcs.PROSE], work / "one")
    figures: dict[str, Any] = {"documents": given.count, "megabytes": round(given.megabytes, 1)}
    print(f"{given.count:,} documents, {given.megabytes:.1f} MB of text; CPU seconds per 1,000 documents")
    print(f"{'':36}{'all':>9}{'start-up':>10}{'net':>9}{'MB/s/core':>11}", flush=True)

    def tell(name: str, label: str, usages: Sequence[Usage], starts: Sequence[Usage]) -> None:
        cpu, start = sum(usage.cpu for usage in usages), sum(usage.cpu for usage in starts)
        whole, net = 1000 * cpu / given.count, 1000 * max(cpu - start, 1e-3) / given.count
        speed = given.megabytes / max(cpu - start, 1e-3)
        figures[name] = {"all": round(whole, 3), "start_up_seconds": round(start, 2), "net": round(net, 3)}
        print(f"{label:36}{whole:9.3f}{start:9.2f}s{net:9.3f}{speed:11.2f}", flush=True)

    peers, starts = dict[str, Usage](), dict[str, Usage]()
    if python is not None:
        peers = {step: peer(step, python, given, work / "peer") for step in PEER_STEPS}
        starts = {step: peer(step, python, one, work / "peer-one") for step in PEER_STEPS}
        tell("peer_signatures", f"{PEER}, signatures", [peers["signatures"]], [starts["signatures"]])
    rest = PEER_STEPS[1:]
    for scheme, ways in AFTER.items():
        start = min((ours("sign", one, scheme) for _ in range(2)), key=lambda usage: usage.cpu)
        tell(f"signatures_{scheme}", f"ours, scheme {scheme}", [ours("sign", given, scheme)], [start])
        for name, settings in ways.items() if python is not None else ():
            usages = [ours("deduplicate", given, settings)], [ours("deduplicate", one, settings)]
            tell(name, f"ours, to what is kept, {name}", *usages)
            figures[name]["kept"] = kept_by_us(given)
    if python is None:
        return figures
    figures["equal_signatures"] = require_equal(given, work / "peer")
    print(f"signatures equal to {PEER}'s in all {BUCKETS} buckets: {figures['equal_signatures']:,} documents")
    for step in rest:
        tell(f"peer_{step}", f"{PEER}, {step}", [peers[step]], [starts[step]])
    tell("peer_after", f"{PEER}, buckets to filter", [peers[s] for s in rest], [starts[s] for s in rest])
    figures["peer_after"]["kept"] = kept_by_peer(work / "peer")
    for name in [name for ways in AFTER.values() for name in ways]:
        whole, net = (figures["peer_after"][of] / figures[name][of] for of in ("all", "net"))
        figures[name] |= {"after_ratio": round(whole, 2), "after_ratio_net": round(net, 2)}
        kept = f"kept {figures[name]['kept']:,} beside {figures['peer_after']['kept']:,} of {given.count:,}"
        print(f"to what is kept, {name}: {whole:.2f} times cheaper, {net:.2f} without start-up; {kept}")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=10_190, help="of debdocs; default all")
    parser.add_argument("--texts", type=Path, help="a folder of Parquet with extracted documents")
    parser.add_argument("--smoke", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-dedup-") as folder:
        work = Path(folder)
        if given.smoke:
            figures = compare(SMOKE_TEXTS, None, work)
        else:
            texts = list(read_texts(given.texts)) if given.texts else page_texts(given.pages, work)
            figures = compare(texts, interpreter("datatrove"), work)
    peer_cost = figures.get("peer_signatures", {}).get("all")
    cost = figures["signatures_datatrove"]["all"]
    line = {
        "bench": "dedup",
        "ours": cost,
        "peer": peer_cost,
        "peer_name": PEER if peer_cost else None,
        "unit": UNIT,
        "ratio": round(peer_cost / cost, 2) if peer_cost else None,
    }
    print(json.dumps(line | figures))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["sign"]:
        sys.exit(sign_here(sys.argv[2], sys.argv[3]))
    if sys.argv[1:2] == ["deduplicate"]:
        sys.exit(deduplicate_here(sys.argv[2], sys.argv[3]))
    sys.exit(main())
