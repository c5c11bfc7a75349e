"""A crawl file of a corpus, opened: local, fetched from a server first, inside a zip, or pages here and there."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import fsspec

from gristmill.core.layout import Layout
from gristmill.core.settings import build
from pipelines.crawl.cache import DownloadCache, Span, download_folder, download_settings
from pipelines.crawl.corpora import CrawlFile
from pipelines.crawl.download import DownloadSettings
from pipelines.crawl.selection import SCHEME, SelectedPages, read_bundle
from pipelines.crawl.stored import open_stored
from pipelines.crawl.wacz import open_member, split_member


@contextlib.contextmanager
def open_crawl_file(file: CrawlFile, layout: Layout | None) -> Iterator[Any]:
    """A seekable file of bytes, or `SelectedPages` where the crawl file is a bundle of chosen pages.

    What lies on a web server is fetched into the download folder of `layout` first; without a layout into a
    temporary folder that goes when the file is closed.

    Raises:
        CorpusError: a server refuses or fails for too long, or a list of chosen pages is gone.
        OSError: the file can't be opened.
    """
    if file.path.startswith(SCHEME):
        assert layout is not None
        with _open_bundle(file, layout) as pages:
            yield pages
        return
    container, member = split_member(file.path)
    with _open_whole(container, file.name, layout) as stored:
        if member is None:
            yield stored
        else:
            with open_member(stored, member) as inner:
                yield inner


def release_downloads(layout: Layout, files: Sequence[CrawlFile]) -> None:
    """Let go of what was fetched for `files`: their partition is committed."""
    settings = download_settings(layout)
    folder = download_folder(layout, settings)
    if not folder.exists():
        return
    cache = DownloadCache(folder, settings)
    for file in files:
        if file.path.startswith(SCHEME):
            bundle = read_bundle(layout, file.path)
            if _is_http(bundle.base):
                cache.release(bundle.spans(settings.gap_bytes))
        elif _is_http(file.path):
            cache.release([Span(split_member(file.path)[0])])


@contextlib.contextmanager
def _open_bundle(file: CrawlFile, layout: Layout) -> Iterator[SelectedPages]:
    settings = download_settings(layout)
    bundle = read_bundle(layout, file.path)
    spans = bundle.spans(settings.gap_bytes)
    if not _is_http(bundle.base):
        yield SelectedPages(bundle, spans, _read_span)
        return
    cache = DownloadCache(download_folder(layout, settings), settings)
    with cache.open(spans, f"{file.name}, {len(bundle.pages)} pages") as fetched:
        yield SelectedPages(bundle, spans, lambda span: fetched.read(span.end - span.begin))


@contextlib.contextmanager
def _open_whole(path: str, label: str, layout: Layout | None) -> Iterator[Any]:
    if not _is_http(path):
        with open_stored(path) as stored:
            yield stored
        return
    with contextlib.ExitStack() as held:
        if layout is None:
            settings = build(DownloadSettings, {}, "downloads")
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="gristmill-")))
        else:
            settings = download_settings(layout)
            folder = download_folder(layout, settings)
        yield held.enter_context(DownloadCache(folder, settings).open([Span(path)], label))


def _read_span(span: Span) -> bytes:
    fs, stored = cast(tuple[Any, str], fsspec.core.url_to_fs(span.url))
    return cast(bytes, fs.cat_file(stored, span.begin, span.end))


def _is_http(path: str) -> bool:
    return path.startswith(("http://", "https://"))
