"""Files below a base (Common Crawl, a mirror of it, a folder that holds one), read whole or here and there."""

import io
from pathlib import Path
from typing import IO, Any, Self, cast

import fsspec

from gristmill.core.errors import CorpusError
from pipelines.crawl.answers import ChangedError, Version, public_url
from pipelines.crawl.download import Client, DownloadSettings
from pipelines.crawl.kinds import ZIP_MAGIC

_TAIL_BYTES = 256 << 10  # holds a Parquet footer, and tells the length: one request instead of three


class RemoteBase:
    """A base and the files below it; to be closed."""

    def __init__(self, base: str, settings: DownloadSettings, folder: Path) -> None:
        self.base = base.rstrip("/")
        self._client = (
            Client(settings, folder, is_interactive=True) if self.base.startswith(("http://", "https://")) else None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()

    def url(self, path: str) -> str:
        """Where a file below the base lies."""
        return f"{self.base}/{path}"

    def read_whole(self, path: str, limit: int) -> bytes:
        """A small file, up to `limit` bytes."""
        if self._client is not None:
            return self._client.fetch_whole(self.url(path), limit)
        with self.open(path) as file:
            return file.read(limit)

    def read_span(self, path: str, start: int, stop: int) -> bytes:
        """Bytes `start` to before `stop` of a file, with one request."""
        if self._client is not None:
            try:
                return b"".join(self._client.fetch(self.url(path), start, stop))
            except ChangedError as error:
                raise CorpusError(f"{error}: run the same command again") from None
        with self.open(path) as file:
            file.seek(start)
            return file.read(stop - start)

    def open(self, path: str) -> IO[bytes]:
        """A file to seek and read in; each read is one request."""
        if self._client is not None:
            return cast(IO[bytes], RangeFile(self._client, self.url(path)))
        try:
            fs, stored = cast(tuple[Any, str], fsspec.core.url_to_fs(self.url(path)))
            return cast(IO[bytes], fs.open(stored, "rb"))
        except (OSError, ValueError, ImportError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise CorpusError(f"can't read {public_url(self.url(path))}: {why}") from None


class RangeFile(io.RawIOBase):
    """A remote file of which only what is read is fetched; its end is kept."""

    def __init__(self, client: Client, url: str, *, is_owner: bool = False) -> None:
        super().__init__()
        self._client, self._url, self._version, self._is_owner = client, url, Version(), is_owner
        try:
            self._tail = client.tail(url, _TAIL_BYTES, self._version)
        except ChangedError as error:
            raise CorpusError(f"{error}: run the same command again") from None
        self._size = self._version.total if self._version.total is not None else len(self._tail)
        self._position = 0
        self.bytes_read = len(self._tail)

    def close(self) -> None:
        """Let go of it, and of a client of its own."""
        if self._is_owner:
            self._client.close()
        super().close()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        self._position = max(0, offset + (0, self._position, self._size)[whence])
        return self._position

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, less at the end."""
        view = memoryview(buffer).cast("B")
        start, stop = self._position, min(self._position + len(view), self._size)
        if start >= stop:
            return 0
        data = self._span(start, stop)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _span(self, start: int, stop: int) -> bytes:
        begin_of_tail = self._size - len(self._tail)
        if start >= begin_of_tail:
            return self._tail[start - begin_of_tail : stop - begin_of_tail]
        try:
            data = b"".join(self._client.fetch(self._url, start, stop, self._version))
        except ChangedError as error:
            raise CorpusError(f"{error}: run the same command again") from None
        self.bytes_read += len(data)
        return data


class WebFile:
    """One file on a web server, with the methods of an fsspec file system that `discovery` calls."""

    def __init__(self, url: str, head_bytes: int) -> None:
        self._url, self._version = url, Version()
        with Client(DownloadSettings(), None, is_interactive=True) as client:
            self._head = b"".join(client.fetch(url, 0, head_bytes, self._version))

    def info(self, _: str) -> dict[str, Any]:
        """Size and what tells the version."""
        return {
            "size": len(self._head) if self._version.total is None else self._version.total,
            "ETag": self._version.etag,
            "LastModified": self._version.modified,
        }

    def open(self, _: str, mode: str = "rb") -> IO[bytes]:
        """Its beginning; all of it, by ranges, where it is a zip, whose directory lies at its end."""
        if not self._head.startswith(ZIP_MAGIC):
            return io.BytesIO(self._head)
        client = Client(DownloadSettings(), None, is_interactive=True)
        return io.BufferedReader(RangeFile(client, self._url, is_owner=True))
