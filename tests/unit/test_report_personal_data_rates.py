"""What is far off is seen, and small numbers cry no wolf."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gristmill.core.layout import Layout, Partition
from pipelines.dedup import duplicate_files
from pipelines.report.cluster_sizes import cluster_size_plot, cluster_sizes
from pipelines.report.personal_data_rates import Settings, counts, drifts, rates


def report(documents: int, **findings: int) -> dict[str, Any]:
    tally = {f"pii_{name}": n for name, n in findings.items()}
    return {"rows_kept": documents, "tally": {**tally, "pii_total": sum(findings.values()), "documents_with_pii": 7}}


def test_counts_and_rates() -> None:
    one = report(2000, email_address=50, iban_code=0)
    assert counts(one) == {"email_address": 50, "iban_code": 0}
    assert rates(one) == {"email_address": 25.0, "iban_code": 0.0}
    assert rates(report(0, email_address=0)) == {}
    assert rates({}) == {}


@pytest.mark.parametrize(
    ("documents", "found", "usual", "is_far"),
    [
        (1000, 59, [20, 20, 21], False),
        (1000, 60, [20, 20, 21], True),
        (1000, 9, [60, 60, 60], True),
        (1000, 0, [29, 29, 29], False),
        (1000, 0, [30, 30, 30], True),
        (1000, 40, [0, 0, 0], True),
        (100, 29, [1, 1, 1], False),
        (1000, 61, [20, 20, 900], True),
        (1000, 61, [], False),
        (0, 0, [50, 50, 50], False),
    ],
    ids=[
        "less than three times", "three times", "far fewer", "none of few", "none of many", "new", "few findings",
        "an odd neighbour", "nothing to compare", "no documents",
    ],
)  # fmt: skip
def test_drift(documents: int, found: int, usual: list[int], is_far: bool) -> None:
    others = [report(1000, email_address=n) for n in usual]
    drifted = drifts(report(documents, email_address=found), others, Settings())
    assert bool(drifted) == is_far


def test_the_farthest_comes_first_and_is_told_in_numbers() -> None:
    others = [report(1000, email_address=20, ip_address=10)] * 3
    first, second = drifts(report(1000, email_address=100, ip_address=200), others, Settings())
    assert str(first) == "ip_address 200.0 per 1,000 documents, usual are 10.0"
    assert second.entity == "email_address"


def test_a_type_that_others_did_not_look_for_is_no_drift() -> None:
    assert drifts(report(1000, crypto=500), [report(1000, email_address=1)] * 3, Settings()) == ()


@pytest.mark.parametrize("wrong", [{"rescan_documents": 0}, {"drift_ratio": 1.0}, {"drift_min_segments": 0}], ids=str)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


def test_cluster_sizes_are_taken_together_by_powers_of_two(tmp_path: Path) -> None:
    layout, books = Layout(str(tmp_path)), Partition("books")
    folder = Path(layout.partition_dir("duplicate_clusters", books), duplicate_files.REPRESENTATIVE_FOLDER)
    folder.mkdir(parents=True)
    for number, sizes in enumerate([[2, 2, 3, 4, 5], [8, 9, 10_000]]):
        pq.write_table(pa.table({"doc_id": ["x"] * len(sizes), "cluster_size": sizes}), folder / f"p{number}.parquet")
    assert cluster_sizes(layout, books) == {2: 2, 4: 2, 8: 2, 16: 1, 16384: 1}
    assert cluster_size_plot(cluster_sizes(layout, books), "Clusters of books").startswith(b"\x89PNG")
    assert cluster_sizes(layout, Partition("news")) == {}
