"""The worker as a program: how it ends when it is killed, told to stop, starved, or run on a cluster."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.schema import DOCUMENT_SCHEMA

pytestmark = pytest.mark.spark
SEGMENTS, PARTS, DOCUMENTS, WORDS = 2, 2, 60, 12_000  # a few seconds of work: time enough to be killed in
STAGE = "minhash_signatures"
PATIENCE_SECONDS = 240


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Quality-filtered documents, as if committed."""
    root = tmp_path_factory.mktemp("source")
    order = random.Random(5)
    vocabulary = ["".join(order.choices("abcdefghij", k=order.randint(2, 8))) for _ in range(3000)]
    for segment in range(SEGMENTS):
        folder = root / f"quality_filtered_documents/corpus=toy/segment={segment:05d}"
        folder.mkdir(parents=True)
        for part in range(PARTS):
            rows = [
                {"doc_id": f"{segment:04d}{part:04d}{i:024d}", "text": " ".join(order.choices(vocabulary, k=WORDS))}
                for i in range(DOCUMENTS)
            ]
            pq.write_table(pa.Table.from_pylist(rows, DOCUMENT_SCHEMA), folder / f"part-{part:05d}.parquet")
        (folder / "report.json").write_text(json.dumps({"fingerprint": f"toy{segment}", "rows_kept": 1}))
    return root


@pytest.fixture
def root(source: Path, tmp_path: Path) -> Path:
    """A root of the test's own over the shared source."""
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(source, home, dirs_exist_ok=True, copy_function=os.link)
    (tmp_path / "scratch").mkdir()
    return home


@pytest.fixture(scope="module")
def sums(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What an undisturbed run on one core writes."""
    home = tmp_path_factory.mktemp("undisturbed") / "home"
    shutil.copytree(source, home)
    (home.parent / "scratch").mkdir()
    run = start(home, "--master", "local[1]")
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, errors
    return digests(home)


def start(root: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    partitions = [a for segment in range(SEGMENTS) for a in ("--partition", f"toy|{segment:05d}")]
    command = [sys.executable, "-m", "pipelines.worker", STAGE, "--root", str(root), *partitions, *arguments]
    scratch = str(root.parent / "scratch")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SPARK", "DAGSTER", "GRISTMILL"))}
    env |= {"TMPDIR": scratch} | environment
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def digests(root: Path) -> dict[str, str]:
    files = sorted((root / STAGE).rglob("*.parquet"))
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def wait_until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


def wait_until_writing(root: Path) -> None:
    wait_until(lambda: list((root / ".tmp").rglob("output/*")), "a task writes")


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def leftovers(root: Path) -> list[str]:
    return [str(p) for p in (root.parent / "scratch").iterdir() if not p.name.startswith("hsperf")]


def assert_nothing_half_committed(root: Path, sums: dict[str, str]) -> None:
    for report in (root / STAGE).rglob("report.json"):
        for file in report.parent.glob("*.parquet"):
            name = str(file.relative_to(root))
            assert digests(root)[name] == sums[name]


def finish(root: Path, sums: dict[str, str]) -> None:
    again = start(root, "--master", "local[2]")
    _, errors = again.communicate(timeout=PATIENCE_SECONDS)
    assert again.returncode == 0, errors
    assert digests(root) == sums
    assert not (root / ".tmp").exists()
    assert leftovers(root) == []


def test_the_bundled_java_on_two_cores_writes_the_same_and_says_nothing_strange(root: Path, sums) -> None:
    run = start(root, "--master", "local[2]", GRISTMILL_FORCE_JAVA_SHIM="1", JAVA_HOME="/nowhere")
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, errors
    assert digests(root) == sums
    strange = [line for line in errors.splitlines() if not line.startswith(("Spark 4", STAGE))]
    assert strange == []
    report = json.loads((root / STAGE / "corpus=toy/segment=00000/report.json").read_text())
    assert report["engine"]["master"] == "local[2,4]"
    assert leftovers(root) == []


def test_told_to_stop_it_cleans_up_and_leaves_no_process(root: Path, sums) -> None:
    run = start(root, "--master", "local[2]")
    wait_until_writing(root)
    children = family(run)
    assert any("java" in child.name() for child in children)
    run.send_signal(signal.SIGTERM)
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 143, errors
    assert "Traceback" not in errors
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert not (root / ".tmp").exists()
    assert leftovers(root) == []
    assert_nothing_half_committed(root, sums)


def test_interrupted_by_hand_it_says_so_in_one_line(root: Path, sums) -> None:
    run = start(root, "--master", "local[2]")
    wait_until_writing(root)
    children = family(run)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert "run the same command again" in errors
    wait_until(lambda: not any(child.is_running() for child in children), "the stopped worker's children end")
    assert_nothing_half_committed(root, sums)


def test_killed_it_leaves_nothing_half_and_the_next_run_finishes(root: Path, sums) -> None:
    run = start(root, "--master", "local[2]")
    wait_until_writing(root)
    children = family(run)
    run.kill()
    run.communicate()
    assert_nothing_half_committed(root, sums)
    wait_until(lambda: not any(child.is_running() for child in children), "the killed worker's children end")
    finish(root, sums)


def command_line(process: psutil.Process) -> str:
    """Empty for a process that has just ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_killed_python_worker_is_started_again(root: Path, sums) -> None:
    run = start(root, "--master", "local[2]")
    wait_until_writing(root)
    workers = [p for p in family(run) if "pipelines.spark.daemon" in command_line(p) and not p.children()]
    workers[0].kill()
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 0, errors
    assert "Traceback" not in errors
    assert digests(root) == sums


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize(("stage", "size"), [(STAGE, "60k"), ("duplicate_clusters", "300k")])
def test_a_full_disk_is_one_line_and_nothing_half(root: Path, tmp_path: Path, stage: str, size: str) -> None:
    if shutil.which("mount") is None:
        pytest.skip("needs mount")
    with small_disk(tmp_path / "disk", size) as disk:
        (disk / "quality_filtered_documents").symlink_to(root / "quality_filtered_documents")
        if stage == "duplicate_clusters":
            many_signatures(disk)
        arguments = [sys.executable, "-m", "pipelines.worker", stage, "--root", str(disk), "--master", "local[2]"]
        partitions = ["toy|00000", "toy|00001"] if stage == STAGE else ["toy"]
        arguments += [a for key in partitions for a in ("--partition", key)]
        if stage == "duplicate_clusters":
            arguments += ["--settings", '{"verified_jaccard": 0}']  # there are no texts beside the signatures
        env = os.environ | {"TMPDIR": str(root.parent / "scratch")}
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_SECONDS, env=env)
        assert run.returncode == 2, run.stderr
        assert "Traceback" not in run.stderr
        (line,) = [line for line in run.stderr.splitlines() if line.startswith("error: ")]
        assert "No space left" in line or "no space left" in line
        assert "run the same command again" in line
        assert not (disk / ".tmp").exists()
        assert list((disk / stage).rglob("report.json")) == []


def many_signatures(disk: Path) -> None:
    """More duplicates than the disk has room for, read from elsewhere."""
    from pipelines.schema import SIGNATURE_SCHEMA

    elsewhere = disk.parent / "elsewhere"
    folder = elsewhere / "corpus=toy/segment=00000"
    folder.mkdir(parents=True)
    rows = [
        {"doc_id": hashlib.sha256(str(i).encode()).hexdigest()[:32], "content_hash": b"x" * 16, "quality": 1.0}
        for i in range(30_000)
    ]
    pq.write_table(pa.Table.from_pylist(rows, SIGNATURE_SCHEMA), folder / "part-00000.parquet")
    settings = {"bands": 14, "rows": 8, "shingle_words": 5, "seed": 1}
    (folder / "report.json").write_text(json.dumps({"fingerprint": "x", "rows_kept": 30_000, "settings": settings}))
    (disk / STAGE).symlink_to(elsewhere)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def standalone_cluster(folder: Path) -> Iterator[str]:
    """A master and a worker of Spark's own on loopback."""
    import pyspark

    from pipelines.spark.java import find_java, write_shim

    home = Path(pyspark.__file__).parent
    port = free_port()
    env = os.environ | {
        "JAVA_HOME": str(write_shim(find_java(), folder / "java")),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
    }
    deploy = "org.apache.spark.deploy"
    master = f"spark://127.0.0.1:{port}"
    commands = [
        [f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0"],
        [
            f"{deploy}.worker.Worker",
            "--host",
            "127.0.0.1",
            "--cores",
            "2",
            "--memory",
            "1g",
            "--webui-port",
            "0",
            master,
        ],
    ]
    with (folder / "log").open("w+") as log:
        processes = [
            subprocess.Popen([str(home / "bin/spark-class"), *command], env=env, stdout=log, stderr=log)
            for command in commands
        ]
        try:
            wait_until(lambda: "Registering worker" in (folder / "log").read_text(), "the worker registers")
            yield master
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(timeout=60)


def test_a_standalone_cluster_writes_the_same(root: Path, tmp_path: Path, sums) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    with standalone_cluster(folder) as master:
        run = start(root, "--master", master)
        _, errors = run.communicate(timeout=PATIENCE_SECONDS)
        assert run.returncode == 0, errors
        assert digests(root) == sums
        command = [sys.executable, "-m", "pipelines.worker", "duplicate_clusters", "--root", str(root)]
        done = subprocess.run(
            [*command, "--partition", "toy", "--master", master],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        assert not list((root / "duplicate_clusters").rglob(".checkpoints"))
    report = json.loads((root / STAGE / "corpus=toy/segment=00000/report.json").read_text())
    assert report["engine"]["master"] == master


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--master", "yarm"), "settings of spark: master is 'yarm'"),
        (("--settings", "{bands: 3"), "--settings is not valid JSON"),
        (("--settings", '{"bands": 0}'), "bands is 0"),
        (("--settings", '{"band": 3}'), "unknown setting 'band'"),
        (("--partition", "toy/..|0"), "can't name a corpus"),
        (("--settings-file", "missing.yaml"), "settings file missing.yaml"),
    ],
)
def test_a_wrong_argument_is_one_line_before_spark_starts(root: Path, arguments, words: str) -> None:
    run = start(root, *arguments)
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 2
    assert errors.count("\n") == 1
    assert words in errors


def test_a_missing_segment_does_not_keep_the_others_from_being_written(root: Path, sums) -> None:
    run = start(root, "--partition", "toy|00077", "--master", "local[2]")
    _, errors = run.communicate(timeout=PATIENCE_SECONDS)
    assert run.returncode == 2, errors
    assert "error: quality_filtered_documents toy|00077 is not materialized" in errors
    assert "Traceback" not in errors
    assert digests(root) == sums
