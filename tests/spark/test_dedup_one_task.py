"""The two ways to join what met, in one task and by shuffles: the same state and files, to the byte."""

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from dedup_corpus import FRAMES, ONE_TASK, UNVERIFIED, Document, document, remove_segment, write_segment
from test_dedup_incremental import write_texts

from gristmill.core.layout import Layout, Partition
from gristmill.core.progress import Reporter
from pipelines.dedup import one_task
from pipelines.dedup.clusters import Settings, run

pytestmark = [pytest.mark.spark, pytest.mark.filterwarnings("ignore::ResourceWarning")]
Limit = Callable[[int], None]


def written(layout: Layout) -> dict[str, list[bytes]]:
    """Every file of clusters and state but the manifests, which name versions and times.

    Files of one name lie in folders whose names are drawn, so that their order says nothing.
    """
    found: dict[str, list[bytes]] = {}
    for top in ("cluster_state", "duplicate_clusters"):
        for path in Path(layout.join(top)).rglob("*.parquet"):
            found.setdefault(f"{top} {path.parent.name} {path.name}", []).append(path.read_bytes())
    return {name: sorted(files) for name, files in found.items()}


def documents(count: int, seed: int) -> list[Document]:
    """Documents with pairs, chains, equal texts, and some without hash, signature or fetch time."""
    order = random.Random(seed)
    made: list[Document] = []
    for index in range(count):
        bands = [order.randrange(3 * count) if order.random() < 0.5 else 10**6 * seed + index for _ in range(4)]
        text = f"t{order.randrange(count)}" if order.random() < 0.2 else None
        row = document(f"{seed}-{index}", bands, text, float(order.randrange(3)))
        made.append(row | ({"content_hash": None} if index % 17 == 0 else {}))
    return made


def arrivals(layout: Layout) -> Iterator[None]:
    """Segments that come, are rebuilt and go."""
    for index in range(3):
        write_segment(layout, Partition("c", f"{index:05d}"), [documents(60, index), documents(60, index)[:20]])
        yield
    write_segment(layout, Partition("c", "00001"), [documents(30, 7)])
    remove_segment(layout, Partition("c", "00000"))
    yield


def test_both_ways_write_the_same_bytes_and_either_goes_on_from_the_other(
    spark: Any, tmp_path: Path, single_task_rows: Limit
) -> None:
    ways = {"frames": [FRAMES] * 4, "by turns": [ONE_TASK, FRAMES, ONE_TASK, ONE_TASK]}
    expected: list[dict[str, list[bytes]]] = []
    for name, limits in ways.items():
        layout = Layout(str(tmp_path / name))
        for place, _ in enumerate(arrivals(layout)):
            single_task_rows(limits[place])
            report = run(spark, layout, Partition("c"), UNVERIFIED, Reporter())
            assert report["near"] > 0
            is_on_frames = limits[place] == FRAMES or "documents_released" in report["tally"]
            assert (report["tally"]["rounds"] > 0) == is_on_frames
            files = written(layout)
            assert files
            if name == "frames":
                expected.append(files)
            else:
                assert files == expected[place]


def test_verified_edges_are_the_same(spark: Any, tmp_path: Path, single_task_rows: Limit) -> None:
    order = random.Random(5)
    words = [f"word{index}" for index in range(2000)]
    texts = [order.choices(words, k=60) for _ in range(8)]
    texts += [[word if order.random() > 0.02 else order.choice(words) for word in texts[i % 8]] for i in range(60)]
    found: list[tuple[dict[str, list[bytes]], dict[str, int]]] = []
    for limit in (FRAMES, ONE_TASK):
        single_task_rows(limit)
        layout = Layout(str(tmp_path / str(limit)))
        report: dict[str, Any] = {}
        for segment in range(2):
            write_texts(layout, f"{segment:05d}", [" ".join(text) for text in texts[segment::2]])
            report = run(spark, layout, Partition("c"), Settings(), Reporter())
        found.append((written(layout), {name: n for name, n in report["tally"].items() if name != "rounds"}))
    assert found[0] == found[1]
    assert found[0][1]["near"] > 0


def test_clusters_too_large_for_one_task_are_chosen_from_on_frames(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[dict[str, list[bytes]]] = []
    for most in (one_task.MAXIMUM_BYTES, 10_000):
        monkeypatch.setattr(one_task, "MAXIMUM_BYTES", most)
        layout = Layout(str(tmp_path / str(most)))
        for _ in itertools.islice(arrivals(layout), 2):
            run(spark, layout, Partition("c"), UNVERIFIED, Reporter())
        found.append(written(layout))
    assert found[0] == found[1]
