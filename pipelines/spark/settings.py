"""How Spark is started: section `spark` of the settings file; imports no Spark."""

import re
from dataclasses import dataclass

TASK_ATTEMPTS = 4  # Spark's own default on a cluster; a local master has 1 unless told
_LOCAL = re.compile(r"local(\[(\d+|\*)\])?")


@dataclass(frozen=True)
class SparkSettings:
    """How Spark is started; section `spark` of the settings file."""

    master: str = "local[*]"  # or spark://host:7077, yarn, k8s://…; GRISTMILL_SPARK_MASTER goes before it
    driver_memory: str = "1g"  # heap of the driver's JVM, which on one machine does all the work
    shuffle_partitions: int = 8  # per local core this is plenty; raise it with the cluster
    # Clustering of new documents that meet in at most so many edges and candidates is a few tasks without a shuffle,
    # one of which holds these (a hundred bytes each); with more of them everything is shuffled. 0: always. The result
    # has the same bytes either way.
    single_task_rows: int = 1 << 20

    def __post_init__(self) -> None:
        is_cluster = self.master.startswith(("spark://", "k8s://")) or self.master == "yarn"
        if not (is_cluster or re.fullmatch(r"local(\[(\d+|\*)(,\d+)?\])?", self.master)):
            raise ValueError(f"master is {self.master!r}; give local[N], spark://host:port, yarn or k8s://…")
        if not re.fullmatch(r"\d+[kmgtKMGT]?", self.driver_memory):
            raise ValueError(f"driver_memory is {self.driver_memory!r}; give a size such as 2g")
        if self.shuffle_partitions < 1:
            raise ValueError(f"shuffle_partitions is {self.shuffle_partitions}; give 1 or more")
        if self.single_task_rows < 0:
            raise ValueError(f"single_task_rows is {self.single_task_rows}; give 0 or more")

    @property
    def is_local(self) -> bool:
        """Whether Spark runs in one JVM on this machine."""
        return self.master.startswith("local")

    @property
    def retrying_master(self) -> str:
        """The master, told to try a task again when its Python worker died."""
        match = _LOCAL.fullmatch(self.master)
        return self.master if match is None else f"local[{match[2] or 1},{TASK_ATTEMPTS}]"
