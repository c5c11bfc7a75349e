"""Make the demo web: plan its pages, serve them, fetch them, archive them, and say what should become of each.

`python -m gristmill.demo.web FOLDER [--seed N] [--pages N]`
"""

import argparse
import contextlib
import hashlib
import json
import shutil
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from gristmill.core.errors import GristmillError, SettingsError, one_line
from gristmill.core.layout import storage_error
from gristmill.demo.archive import Archive, Location
from gristmill.demo.fetch import Fetcher
from gristmill.demo.instructions import examples
from gristmill.demo.kinds import KEPT, STORY
from gristmill.demo.plan import Page, plan_pages
from gristmill.demo.prose import Story
from gristmill.demo.server import serve

COMMIT_NAME = "demo.json"  # written last
WARC_FILES = 4
INSTRUCTIONS_PER_PAGE = 0.7
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class DemoWeb:
    """A finished demo web."""

    folder: Path
    warc_files: tuple[Path, ...]
    manifest: Path  # one JSON object per page: where it lies and what should become of it
    instructions: Path  # one chat example per line
    pages: int
    counts: dict[str, int]  # pages by kind


def make_demo(folder: Path, seed: int = 7, pages: int = 3000, on_progress: Progress | None = None) -> DemoWeb:
    """Make the demo web below `folder`, or reuse the one that is there for the same seed, size and code.

    Written beside `folder` and renamed, so that a killed run leaves nothing half made.

    Args:
        folder: gets `warc/`, `manifest.jsonl`, `instructions.jsonl` and `demo.json`; made if need be.
        seed: everything follows from it, to the byte.
        pages: how many pages the web holds, at least 60.
        on_progress: called with pages done, pages in all and what is being done.

    Raises:
        SettingsError: too few pages, or `folder` holds something else.
        EnvironmentProblemError: the disk is full or read-only, or the loopback is closed.
    """
    wanted = {"seed": seed, "pages": pages, "code": code_version()}
    found = _finished(folder)
    if found is not None and {name: found.get(name) for name in wanted} == wanted and _is_whole(folder, found):
        return _open(folder, found)
    if found is None and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SettingsError(f"{folder} holds something that is no demo web: name an empty or new folder")
    report = on_progress or (lambda done, total, what: None)
    making = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.making"
    try:
        for stale in folder.parent.glob(f".{folder.name}.*.making"):  # what a killed run left
            shutil.rmtree(stale, ignore_errors=True)
        (making / "warc").mkdir(parents=True)
        counts = _make(making, seed, pages, report)
        _commit(making, wanted | {"counts": counts})
        if folder.exists():
            folder.rename(making / "replaced")
        making.rename(folder)
        shutil.rmtree(folder / "replaced", ignore_errors=True)
    except OSError as error:
        raise storage_error(error, str(folder)) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return _open(folder, wanted | {"counts": counts})


@lru_cache
def code_version() -> str:
    """Hash of the generator's source and of the library it draws people from."""
    import importlib.metadata

    digest = hashlib.sha256(importlib.metadata.version("Faker").encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        if source.name != "fates.py":
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]


def _make(folder: Path, seed: int, pages: int, report: Progress) -> dict[str, int]:
    report(0, pages, "writing pages")
    planned = _torn_last(plan_pages(seed, pages))
    rows: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        names = [f"GRISTMILL-DEMO-{seed}-{n:05d}.warc.gz" for n in range(WARC_FILES)]
        archives = [stack.enter_context(Archive(folder / "warc" / name, seed)) for name in names]
        port = stack.enter_context(serve(planned))
        for number, answer in enumerate(Fetcher(port).fetch_all([page.url for page in planned])):
            archive = archives[number * WARC_FILES // len(planned)]
            location = archive.add(planned[number], answer, number, is_last=number == len(planned) - 1)
            rows.append(_row(planned[number], location))
            if number % 50 == 49:
                report(number + 1, pages, "crawling")
    _write_lines(folder / "manifest.jsonl", rows)
    told: list[Story] = [p.story for p in planned if p.kind is STORY and p.story is not None]
    _write_lines(folder / "instructions.jsonl", examples(told, round(INSTRUCTIONS_PER_PAGE * pages), seed))
    report(pages, pages, "done")
    return dict(sorted(Counter(page.kind.name for page in planned).items()))


def _torn_last(planned: list[Page]) -> list[Page]:
    """The pages with one truncated one at the end: a file that stops in a record, as after a crawler's crash."""
    last = max(n for n, page in enumerate(planned) if page.kind.name == "truncated")
    return [*planned[:last], *planned[last + 1 :], planned[last]]


def _row(page: Page, location: Location) -> dict[str, Any]:
    title = page.story.title if page.story is not None else ""
    return {
        "url": page.url,
        "host": page.site.host,
        "warc_file": location.warc_file,
        "warc_offset": location.warc_offset,
        "kind": page.kind.name,
        "fate": page.kind.fate,
        "stage": page.kind.stages[0] if page.kind.stages else None,
        "stages": list(page.kind.stages),
        "reasons": list(page.kind.reasons),
        "language": page.site.language,
        "charset": page.site.charset,
        "declares": page.site.declares,
        "style": page.site.style,
        "status": page.status[0],
        "cluster": page.cluster,
        "pii": [{"type": instance.type, "value": instance.value} for instance in page.personal_data],
        "title": title,
        "main_text": f"{title}\n{page.main_text}" if title else page.main_text,  # a heading is part of the text
    }


def _write_lines(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _commit(folder: Path, facts: dict[str, Any]) -> None:
    files = {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}
    (folder / COMMIT_NAME).write_text(json.dumps(facts | {"files": files}, indent=1) + "\n", encoding="utf-8")


def _finished(folder: Path) -> dict[str, Any] | None:
    try:
        loaded = json.loads((folder / COMMIT_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return loaded if isinstance(loaded, dict) else None


def _is_whole(folder: Path, facts: dict[str, Any]) -> bool:
    return all((folder / n).is_file() and (folder / n).stat().st_size == b for n, b in facts.get("files", {}).items())


def _open(folder: Path, facts: dict[str, Any]) -> DemoWeb:
    warc_files = tuple(sorted((folder / "warc").glob("*.warc.gz")))
    manifest, instructions = folder / "manifest.jsonl", folder / "instructions.jsonl"
    return DemoWeb(folder, warc_files, manifest, instructions, int(facts["pages"]), dict(facts["counts"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m gristmill.demo.web", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--pages", type=int, default=3000)
    given = parser.parse_args(arguments)
    try:
        demo = make_demo(given.folder, given.seed, given.pages)
    except GristmillError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return error.exit_code
    kept = sum(count for name, count in demo.counts.items() if name in (STORY.name, "personal_data"))
    print(f"{demo.pages:,} pages ({kept:,} worth keeping: {KEPT}) in {demo.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
