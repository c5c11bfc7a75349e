"""The schedule and the sensor, evaluated as the daemon does, on an instance of the test's own."""

import json
import os
import time
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import defs
from assets.schedules import weekly_crawl_schedule
from assets.sensors import SETTLED_SECONDS, inbox_sensor
from gristmill.core.layout import Layout, Partition
from pipelines.crawl.corpora import add_corpus, list_corpora


def arrive(layout: Layout, name: str, *, is_whole: bool = True, age: float = 0) -> Path:
    folder = Path(layout.join("inbox", name))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.jsonl").write_text('{"text": "hello"}\n')
    if is_whole:
        (folder / "_SUCCESS").touch()
    if age:
        for path in (*folder.iterdir(), folder):
            os.utime(path, (time.time() - age, time.time() - age))
    return folder


def look(instance: dg.DagsterInstance, cursor: str | None = None) -> tuple[dg.SensorResult | dg.SkipReason, str | None]:
    context = dg.build_sensor_context(instance, cursor=cursor, definitions=defs)
    result = inbox_sensor(context)
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result, result.cursor if isinstance(result, dg.SensorResult) else context.cursor


def test_a_folder_that_is_whole_becomes_a_corpus_once(layout: Layout, instance: dg.DagsterInstance) -> None:
    arrive(layout, "news")
    result, cursor = look(instance)
    assert isinstance(result, dg.SensorResult)
    [request] = result.run_requests or []
    assert request.partition_key == "news"
    added = {(r.partitions_def_name, *r.partition_keys) for r in result.dynamic_partitions_requests or []}
    assert added == {("corpus", "news"), ("segment", "00000")}
    assert [c.name for c in list_corpora(layout)] == ["news"]
    assert isinstance(look(instance, cursor)[0], dg.SkipReason)


def test_a_folder_that_grows_is_taken_in_again(layout: Layout, instance: dg.DagsterInstance) -> None:
    folder = arrive(layout, "news")
    _, cursor = look(instance)
    (folder / "b.jsonl").write_text('{"text": "more"}\n')
    result, _ = look(instance, cursor)
    assert isinstance(result, dg.SensorResult)
    assert len(list_corpora(layout)[0].files) == 2


def test_a_folder_still_being_copied_waits(layout: Layout, instance: dg.DagsterInstance) -> None:
    arrive(layout, "fresh", is_whole=False)
    arrive(layout, "settled", is_whole=False, age=2 * SETTLED_SECONDS)
    result, cursor = look(instance)
    assert isinstance(result, dg.SensorResult)
    assert [r.partition_key for r in result.run_requests or []] == ["settled"]
    assert set(json.loads(cursor or "{}")) == {"settled"}


def test_what_is_no_corpus_is_said_once_and_stops_nothing(layout: Layout, instance: dg.DagsterInstance) -> None:
    arrive(layout, "bad name")
    (arrive(layout, "empty") / "a.jsonl").unlink()
    result, cursor = look(instance)
    assert isinstance(result, dg.SkipReason)
    assert "bad name" in str(result.skip_message)
    again, _ = look(instance, cursor)
    assert isinstance(again, dg.SkipReason)
    assert "nothing new" in str(again.skip_message)


def test_without_an_inbox_there_is_nothing_to_do(instance: dg.DagsterInstance) -> None:
    assert isinstance(look(instance)[0], dg.SkipReason)


def tick(instance: dg.DagsterInstance) -> object:
    return weekly_crawl_schedule(dg.build_schedule_context(instance, repository_def=defs.get_repository_def()))


def test_the_schedule_asks_for_corpora_that_are_not_there_yet(
    layout: Layout, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for name in ("books", "news"):
        file = tmp_path / f"{name}.jsonl"
        file.write_text('{"text": "hello"}\n')
        add_corpus(layout, name, [str(file)])
    done = layout.partition_dir("clean_documents", Partition("books", "00000"))
    layout.write_json(f"{done}/report.json", {"rows_in": 1, "rows_kept": 1})
    requests = tick(instance)
    assert isinstance(requests, list)
    assert [r.partition_key for r in requests] == ["news"]
    assert instance.has_dynamic_partition("corpus", "news")


def test_the_schedule_skips_and_says_why(
    layout: Layout, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRISTMILL_FOLLOW_CRAWLS", "CC-MAIN-2026-43")
    monkeypatch.setenv("GRISTMILL_COMMONCRAWL_URL", "http://127.0.0.1:9")
    answer = tick(instance)
    assert isinstance(answer, dg.SkipReason)
    assert "every registered corpus is curated" in str(answer.skip_message)
    assert "can't reach Common Crawl" in str(answer.skip_message)
    assert list_corpora(layout) == []


def test_both_are_off_until_somebody_turns_them_on() -> None:
    assert weekly_crawl_schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert inbox_sensor.default_status == dg.DefaultSensorStatus.STOPPED
