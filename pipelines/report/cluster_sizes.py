"""How many clusters of which size a corpus has: most are pairs, and one huge one is worth a look."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq

from gristmill.core.figures import BLUE, canvas, png
from gristmill.core.layout import Layout, Partition
from pipelines.damage import reading

ASSET = "duplicate_clusters"
REPRESENTATIVE_FOLDER = "_representatives"  # as pipelines.dedup.duplicate_files has it, which knows Spark
_ROWS = 1 << 16


def cluster_sizes(layout: Layout, partition: Partition) -> dict[int, int]:
    """Documents in a cluster to the number of such clusters, for the clusters whose representative `partition` has.

    Sizes are taken together by powers of two: 2, 3 to 4, 5 to 8, and so on, each named by its largest.
    """
    folder = f"{layout.partition_dir(ASSET, partition)}/{REPRESENTATIVE_FOLDER}"
    counts = np.zeros(64, np.int64)
    for path in layout.parts(folder):
        with reading(path), layout.fs.open(path, "rb") as file:
            for batch in pq.ParquetFile(cast(Any, file)).iter_batches(_ROWS, columns=["cluster_size"]):
                sizes = batch.column("cluster_size").to_numpy()
                counts += np.bincount(np.ceil(np.log2(np.maximum(sizes, 2))).astype(np.int64), minlength=64)
    return {1 << int(power): int(counts[power]) for power in np.flatnonzero(counts)}


def cluster_size_plot(sizes: Mapping[int, int], title: str) -> bytes:
    """Clusters over their size as a PNG, both in powers: bars with their numbers.

    Args:
        sizes: as `cluster_sizes` says.
        title: of the picture.
    """
    largest = max(sizes, default=2)
    bins = [1 << power for power in range(1, largest.bit_length())]
    names = ["2", *(f"{size // 2 + 1:,} to {size:,}" for size in bins[1:])]
    figure, axes = canvas(8.0, 1.2 + 0.32 * len(bins))
    values = [sizes.get(size, 0) for size in bins]
    axes.barh(names, values, color=BLUE)
    axes.set_xscale("symlog")
    axes.set_xlim(0, max([*values, 1]) * 3)
    for position, value in enumerate(values):
        axes.text(value * 1.05, position, f" {value:,}", va="center", fontsize=9)
    axes.invert_yaxis()
    axes.set_ylabel("documents in a cluster")
    axes.set_xlabel("clusters")
    axes.set_title(title, loc="left", fontsize=11)
    return png(figure)
