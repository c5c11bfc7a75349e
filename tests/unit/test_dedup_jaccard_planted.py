"""The growth benchmark's documents are as alike as it says, and its comparison with the plan finds every fault."""

import itertools

import numpy as np

from benchmarks.planted import CLUSTERS, Plan, batches, document_id, document_number, plan, wrongly_clustered
from pipelines.dedup.jaccard import jaccard, shingle_set


def test_planted_documents_are_as_alike_as_said() -> None:
    made = plan(2_000, 200, 100)
    rows = [row for batch in batches(made, 0, len(made), 300) for row in batch.to_pylist()]
    assert [document_number(row["doc_id"]) for row in rows] == list(range(2_100))
    assert document_id(7) != document_id(8)
    sets = [shingle_set(row["text"].split(), 5) for row in rows]
    members: dict[int, list[int]] = {}
    for number in range(len(made)):
        members.setdefault(int(made.cluster[number]), []).append(number)
    (chain,) = (sorted(found, key=lambda n: made.member[n]) for cluster, found in members.items() if cluster == 0)
    assert len(chain) == 200
    assert min(jaccard(sets[a], sets[b]) for a, b in itertools.pairwise(chain)) > 0.96
    assert jaccard(sets[chain[0]], sets[chain[70]]) == 0
    heads = [sets[found[0]] for found in members.values()]
    assert max(jaccard(a, b) for a, b in itertools.combinations(heads[:150], 2)) == 0
    alike = [jaccard(sets[found[0]], sets[other]) for c, found in members.items() if c for other in found[1:]]
    assert min(alike) > 0.93
    assert 1.0 in alike
    assert {size for size, _ in CLUSTERS} <= set(np.bincount(plan(2_000, 200).cluster).tolist())


def test_a_cluster_in_two_or_with_a_stranger_is_seen() -> None:
    made = Plan(np.array([0, 0, 0, 1, 1, 2]), np.zeros(6))
    assert wrongly_clustered(made, np.array([1, 1, 1, 3, 3, 5])) == 0
    assert wrongly_clustered(made, np.array([1, 1, 2, 3, 3, 5])) == 3
    assert wrongly_clustered(made, np.array([1, 1, 1, 3, 3, 3])) == 3
    assert wrongly_clustered(made, np.arange(6)) == 5
