"""metrics.jsonl survives a kill and loses what is made again."""

from pathlib import Path

from training.metrics import MetricsLog, read_metrics


def test_resuming_drops_the_steps_that_are_made_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(1, 6):
        log.write(step=step, loss=1.0 / step)
    log.close()
    MetricsLog(path, resumed_step=3).close()
    assert [row["step"] for row in read_metrics(path)] == [1, 2, 3]


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert [row["step"] for row in read_metrics(path)] == [1]


def test_a_new_run_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    MetricsLog(path).close()
    assert read_metrics(path) == []
