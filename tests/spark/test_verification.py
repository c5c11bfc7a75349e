"""Verified edges against brute force over the same texts: small corpora, a chain, hostile buckets, changed texts."""

import itertools
import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from gristmill.core.settings import to_plain
from pipelines.dedup import clusters, signatures
from pipelines.dedup.candidate_texts import TextPart
from pipelines.dedup.schemes import parameters
from pipelines.dedup.verification import Limits, verified_edges
from pipelines.schema import DOCUMENT_SCHEMA
from pipelines.spark.errors import explain

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]

SIGNED_WITH = signatures.Settings(bands=20, rows=3)  # many false candidates
MADE_WITH = parameters(SIGNED_WITH)


def written(layout: Layout, texts: Sequence[str], parts: int) -> list[TextPart]:
    """Documents and their signatures in `parts` files of one segment."""
    partition = Partition("c", "00000")
    found: list[TextPart] = []
    for index in range(parts):
        rows = [{"doc_id": f"{index}-{row}", "text": text} for row, text in enumerate(texts[index::parts])]
        batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)
        folder = layout.partition_dir("minhash_signatures", partition)
        layout.fs.makedirs(folder, exist_ok=True)
        part = TextPart.of(layout, partition, f"{folder}/part-{index:05d}.parquet", index)
        layout.fs.makedirs(part.path.rpartition("/")[0], exist_ok=True)
        pq.write_table(pa.Table.from_batches([batch]), part.path, row_group_size=7)
        signed = signatures.score(batch, SIGNED_WITH)
        pq.write_table(pa.Table.from_batches([signed.slice(0, 3), signed.slice(3)]), part.signatures)
        found.append(part)
    return found


def bucket_rows(parts: Sequence[TextPart]) -> list[tuple[bytes, int, bytes]]:
    """Rows (key, node, content_hash) of every band, one document per content hash."""
    rows: list[tuple[bytes, int, bytes]] = []
    seen: set[bytes] = set()
    for part in parts:
        table = pq.read_table(part.signatures).combine_chunks()
        columns = (table.column(name).to_pylist() for name in ("content_hash", "signature"))
        for row, (digest, signature) in enumerate(zip(*columns, strict=True)):
            if digest not in seen and not seen.add(digest):
                width = len(signature) // MADE_WITH.bands
                bands = (signature[band * width : (band + 1) * width] for band in range(MADE_WITH.bands))
                rows += [(bytes([band]) + key, part.ordinal << 32 | row, digest) for band, key in enumerate(bands)]
    return rows


def edges(
    spark: Any, layout: Layout, parts: Sequence[TextPart], rows: Any, threshold: float, limits: Any = None
) -> Any:
    frame = spark.createDataFrame(rows, "key binary, node bigint, content_hash binary")
    return verified_edges(spark, layout, frame, parts, MADE_WITH, threshold, limits).collect()


def components(nodes: Any, pairs: Any) -> set[frozenset[int]]:
    group = {node: {node} for node in nodes}
    for a, b in pairs:
        if group[a] is not group[b]:
            merged = group[a] | group[b]
            group |= dict.fromkeys(merged, merged)
    return {frozenset(members) for members in group.values() if len(members) > 1}


def similarity(left: str, right: str) -> float:
    a, b = ({tuple(w[i : i + 5]) for i in range(max(len(w) - 4, 1))} for w in (left.split(), right.split()))
    return len(a & b) / len(a | b)


def brute_force(rows: Any, texts: dict[int, str], threshold: float) -> set[frozenset[int]]:
    buckets: defaultdict[bytes, list[int]] = defaultdict(list)
    for key, node, _ in rows:
        buckets[key].append(node)
    pairs = {pair for nodes in buckets.values() for pair in itertools.combinations(sorted(nodes), 2)}
    return components(texts, [(a, b) for a, b in pairs if similarity(texts[a], texts[b]) >= threshold])


def corpus(seed: int, families: int, size: int) -> list[str]:
    """Families of texts, each member its family's first with a few more words replaced."""
    order = random.Random(seed)
    texts: list[str] = []
    for _ in range(families):
        words = [f"w{order.randrange(5000)}" for _ in range(order.randrange(4, 120))]
        for _ in range(order.randrange(1, size)):
            texts.append(" ".join(words))
            for _ in range(order.randrange(3)):
                words[order.randrange(len(words))] = f"w{order.randrange(5000)}"
    order.shuffle(texts)
    return texts


def test_equal_to_brute_force_however_sharded(spark: Any, tmp_path: Any) -> None:
    texts = corpus(4, 30, 9)
    groups: list[set[frozenset[str]]] = []
    for parts in (1, 3):
        layout = Layout(tmp_path / str(parts))
        sources = written(layout, texts, parts)
        rows = bucket_rows(sources)
        by_node = {s.ordinal << 32 | row: t for s in sources for row, t in enumerate(texts[s.ordinal :: parts])}
        found = edges(spark, layout, sources, rows, 0.7)
        assert all(row.is_verified and row.node > row.other for row in found)
        assert all(similarity(by_node[row.node], by_node[row.other]) >= 0.7 for row in found)
        connected = components(by_node, [(row.node, row.other) for row in found])
        assert connected == brute_force(rows, by_node, 0.7)
        assert connected != brute_force(rows, by_node, 0.0)  # there was something to tell apart
        groups.append({frozenset(by_node[node] for node in group) for group in connected})
    assert groups[0] == groups[1]


def test_a_chain_is_connected_and_hostile_buckets_are_joined_unverified(spark: Any, layout: Layout) -> None:
    order = random.Random(1)
    words = [f"w{order.randrange(10**6)}" for _ in range(1300)]
    chain = [" ".join(words[start : start + 100]) for start in range(0, 1200, 4)]
    (source,) = sources = written(layout, chain, 1)
    rows = [(node, digest) for _, node, digest in bucket_rows(sources)]
    hashes: dict[int, bytes] = dict(rows)
    one_bucket = [(b"k", node, digest) for node, digest in hashes.items()]
    found = edges(spark, layout, sources, one_bucket, 0.9)
    assert components(hashes, [(r.node, r.other) for r in found]) == {frozenset(hashes)}
    assert len(found) == len(chain) - 1
    assert edges(spark, layout, sources, one_bucket, 0.99) == []
    alone = [(bytes([node % 256, node // 256]), node, digest) for node, digest in hashes.items()]
    assert edges(spark, layout, sources, alone, 0.1) == []
    for limits in (Limits(texts=len(chain) - 1), Limits(shingles=len(chain) * 90)):
        found = edges(spark, layout, sources, one_bucket, 0.99, limits)
        assert components(hashes, [(r.node, r.other) for r in found]) == {frozenset(hashes)}
        assert not any(row.is_verified for row in found)
    assert source.path != source.signatures


def test_documents_that_could_not_be_signed_shift_no_row_and_changed_texts_are_refused(
    spark: Any, layout: Layout
) -> None:
    texts = [text for index in range(6) for text in [f"{index} alpha beta gamma delta epsilon zeta {index} eta"] * 2]
    (source,) = sources = written(layout, texts, 1)
    table = pq.read_table(source.signatures)
    pq.write_table(table.take(pa.array([row for row in range(12) if row not in (0, 5)])), source.signatures)
    hashes = pq.read_table(source.signatures).column("content_hash").to_pylist()
    rows = [(b"k", row, digest) for row, digest in enumerate(hashes)]
    found = edges(spark, layout, sources, rows, 1.0)
    expected = {frozenset(np.flatnonzero([h == digest for h in hashes]).tolist()) for digest in set(hashes)}
    assert components(range(10), [(r.node, r.other) for r in found]) == {group for group in expected if len(group) > 1}
    changed = pq.read_table(source.path)
    texts[7] += " theta"
    pq.write_table(changed.set_column(changed.schema.get_field_index("text"), "text", pa.array(texts)), source.path)
    with pytest.raises(Exception, match="other texts") as error:
        edges(spark, layout, sources, rows, 1.0)
    problem = explain(error.value, "duplicate_clusters")
    assert isinstance(problem, MissingDataError)
    assert "--through minhash_signatures" in str(problem)
    layout.fs.rm(source.path)
    with pytest.raises(Exception, match="it is not there") as error:
        edges(spark, layout, sources, rows, 1.0)
    problem = explain(error.value, "duplicate_clusters")
    assert isinstance(problem, MissingDataError)
    assert "--through quality_filtered_documents" in str(problem)
    assert "verified_jaccard: 0" in str(problem)


@pytest.mark.usefixtures("each_way")
def test_verified_clusters_whatever_arrives_when(spark: Any, tmp_path: Any) -> None:
    texts = corpus(11, 40, 8)
    half = signatures.Settings(bands=8, rows=8)  # which are looked up in shorter bands
    expected = None
    for name, arrivals in (("whole", [4]), ("arrivals", [2, 4])):
        layout = Layout(tmp_path / name)
        for segment in range(4):
            partition = Partition("c", f"{segment:05d}")
            rows = [{"doc_id": f"{place:04d}", "text": texts[place]} for place in range(segment, len(texts), 4)]
            batch = pa.RecordBatch.from_pylist(rows, schema=DOCUMENT_SCHEMA)
            tables = {"quality_filtered_documents": batch, "minhash_signatures": signatures.score(batch, half)}
            for asset, table in tables.items():
                folder = layout.partition_dir(asset, partition)
                layout.fs.makedirs(folder)
                pq.write_table(pa.Table.from_batches([table]), f"{folder}/part-00000.parquet")
        written = 0
        for until in arrivals:
            for segment in range(written, until):
                folder = layout.partition_dir("minhash_signatures", Partition("c", f"{segment:05d}"))
                report = {"rows_kept": len(texts[segment::4]), "fingerprint": str(segment), "settings": to_plain(half)}
                layout.write_json(f"{folder}/report.json", report)
            written = until
            settings = clusters.Settings(verified_jaccard=0.7)
            clusters.run(spark, layout, Partition("c"), settings, Reporter())
        folder = layout.partition_dir("duplicate_clusters", Partition("c"))
        rows = [row for path in layout.parts(folder) for row in pq.read_table(path).to_pylist()]
        found = {row["doc_id"]: row["representative_id"] for row in rows}
        assert found == (expected or found)
        expected = found
    names = [f"{place:04d}" for place in range(len(texts))]
    pairs = itertools.combinations(range(len(texts)), 2)
    alike = [(names[a], names[b]) for a, b in pairs if similarity(texts[a], texts[b]) >= 0.7]
    wanted = components(names, alike)
    groups = components(names, list((expected or {}).items()))
    # No cluster has members that the texts don't connect; bands may miss a pair near the threshold.
    assert all(any(group <= whole for whole in wanted) for group in groups)
    assert sum(len(group) - 1 for group in groups) >= 0.97 * sum(len(group) - 1 for group in wanted)
