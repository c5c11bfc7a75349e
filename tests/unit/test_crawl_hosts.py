"""Lists of blocked hosts: what an entry matches, UT1's folder, archives, millions of entries, user mistakes."""

import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from pipelines.crawl import hosts
from pipelines.crawl.extraction import Settings, files
from pipelines.crawl.hostindex import KEPT_INDEXES
from pipelines.crawl.hostkeys import entry_keys, host_key, path_keys
from pipelines.crawl.hosts import open_lists


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A folder as Université Toulouse Capitole publishes it."""
    folder = tmp_path / "blacklists"
    for category, domains, urls in (
        ("adult", "bad.example\nBÜCHER.example\n*.stars.example\n.dots.example.\n192.0.2.7\n\n# a comment\n", ""),
        ("games", "play.example\nbad.example\n", "host.example/games\nwww.other.example/~me/x?id=1\n"),
    ):
        (folder / category).mkdir(parents=True)
        (folder / category / "domains").write_text(domains)
        (folder / category / "urls").write_text(urls)
        (folder / category / "usage").write_text("black\n")
    (folder / "porn").symlink_to("adult")
    return folder


@pytest.mark.parametrize(
    ("url", "category"),
    [
        ("http://bad.example/", "adult"),
        ("http://bad.example", "adult"),
        ("https://BAD.example:8443/x?y#z", "adult"),
        ("http://bad.example./x", "adult"),
        ("http://a.b.bad.example/", "adult"),
        ("http://user:secret@bad.example/", "adult"),
        ("http://b%61d.example/", "adult"),
        ("http://notbad.example/", None),
        ("http://bad.example.org/", None),
        ("http://example/", None),
        ("http://bücher.example/", "adult"),
        ("http://xn--bcher-kva.example/", "adult"),
        ("http://www.BÜCHER.example/", "adult"),
        ("http://ｂａｄ.example/", "adult"),
        ("http://x.stars.example/", "adult"),
        ("http://dots.example/", "adult"),
        ("http://192.0.2.7/x", "adult"),
        ("http://1.192.0.2.7/", "adult"),
        ("http://2.7/", None),
        ("http://play.example/", "games"),
        ("http://host.example/games", "games"),
        ("http://host.example/games/1.html?x=y", "games"),
        ("http://www.host.example//Games/./1", "games"),
        ("http://host.example/%67ames/", "games"),
        ("http://host.example/gamesome", None),
        ("http://host.example/", None),
        ("http://sub.host.example/games", None),
        ("http://other.example/~me/x?id=1", "games"),
        ("http://other.example/%7Eme/x?id=2", None),
        ("http://[::1]/x", None),
        ("http://[bad/", None),
        ("mailto:x@bad.example", None),
        ("http://" + "a." * 2000 + "bad.example/", "adult"),
        ("http://host.example/" + "x/" * 5000, None),
    ],
)
def test_what_an_entry_matches(lists: Path, url: str, category: str | None) -> None:
    blocked = open_lists((str(lists),), ())
    assert blocked is not None
    assert blocked.category_of(url) == category


def test_categories_are_chosen(lists: Path) -> None:
    games = open_lists((str(lists),), ("games",))
    assert games is not None
    assert [games.category_of(f"http://{h}.example/") for h in ("bad", "play", "dots")] == ["games", "games", None]
    assert open_lists((), ()) is None


def test_files_are_named_for_the_fingerprint(lists: Path) -> None:
    names = [f"{category}/{name}" for category in ("adult", "games") for name in ("domains", "urls")]
    assert files(Settings(blocked_hosts=(str(lists),))) == tuple(str(lists / name) for name in names)
    some = Settings(blocked_hosts=(str(lists),), blocked_categories=("games",))
    assert files(some) == (str(lists / "games/domains"), str(lists / "games/urls"))
    assert files(Settings()) == ()


def test_other_forms_of_a_list(tmp_path: Path, lists: Path) -> None:
    (tmp_path / "mine.txt").write_text("one.example\nhttp://two.example/path\n")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"three.example\n"))
    with tarfile.open(tmp_path / "ut1.tar.gz", "w:gz") as archive:
        archive.add(lists, "blacklists")
        member = tarfile.TarInfo("blacklists/more/domains")
        member.size = 13
        archive.addfile(member, io.BytesIO(b"four.example\n"))
    paths = tuple(str(tmp_path / name) for name in ("mine.txt", "packed.gz", "ut1.tar.gz"))
    blocked = open_lists(paths, ())
    assert blocked is not None
    found = [blocked.category_of(f"http://{h}.example/path/x") for h in ("one", "two", "three", "four", "play")]
    assert found == ["mine", "mine", "packed", "more", "games"]
    alone = open_lists((str(lists / "adult"), str(lists / "games" / "urls")), ())
    assert alone is not None
    assert alone.category_of("http://bad.example/") == "adult"
    assert alone.category_of("http://host.example/games") == "games"


def test_a_changed_list_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("one.example\n")
    before = open_lists((str(path),), ())
    path.write_text("another.example\n")
    after = open_lists((str(path),), ())
    assert before is not None
    assert after is not None
    assert [b.category_of("http://one.example/") for b in (before, after)] == ["mine", None]


def test_without_a_cache_folder(lists: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    blocked = open_lists((str(lists),), ())
    assert blocked is not None
    assert blocked.category_of("http://bad.example/") == "adult"


def test_the_index_is_mapped_not_held(lists: Path) -> None:
    blocked = open_lists((str(lists),), ())
    assert blocked is not None
    assert isinstance(blocked._index.hashes, np.memmap)


def test_mistakes_are_one_clear_line(tmp_path: Path, lists: Path) -> None:
    with pytest.raises(SettingsError, match="nowhere does not exist; give a folder or file in UT1's format"):
        files(Settings(blocked_hosts=(str(tmp_path / "nowhere"),)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match="holds no file called domains or urls"):
        files(Settings(blocked_hosts=(str(tmp_path / "empty"),)))
    with pytest.raises(
        SettingsError, match="blocked_categories: sports is in none of the lists; there are adult, games"
    ):
        files(Settings(blocked_hosts=(str(lists),), blocked_categories=("sports",)))
    (tmp_path / "bad.tar.gz").write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(SettingsError, match=r"bad\.tar\.gz can't be read"):
        open_lists((str(tmp_path / "bad.tar.gz"),), ())
    (tmp_path / "bad.gz").write_bytes(b"nonsense")
    with pytest.raises(SettingsError, match=r"bad\.gz can't be read"):
        open_lists((str(tmp_path / "bad.gz"),), ())


@pytest.mark.parametrize(
    ("line", "keys"),
    [
        ("0.0.0.0 example.org", ("example.org",)),
        ("127.0.0.1\ta.example b.example # both", ("a.example", "b.example")),
        ("::  a.example", ("a.example",)),
        ("127.0.0.1 localhost", ()),
        ("0.0.0.0 0.0.0.0", ()),
        ("255.255.255.255 broadcasthost", ()),
        ("192.0.2.1 a.example", None),
        ("a.example # a remark", ("a.example",)),
        ("||example.org^", ("example.org",)),
        ("||example.org^$important", ("example.org",)),
        ("||example.org^$third-party", None),
        ("@@||example.org^", None),
        ("example.org##.banner", None),
        ("! Title", ()),
        ("[Adblock Plus 2.0]", ()),
        ("example.org,malware", None),
        ("see http://example.org/", None),
        ("<a href='http://example.org/'>", None),
        ("*.zip", ("zip",)),
        ("2001:db8::1", ("2001:db8::1",)),
    ],
)
def test_lines_of_every_kind_of_list(line: str, keys: tuple[str, ...] | None) -> None:
    assert entry_keys(line) == keys


@pytest.mark.parametrize(
    "content",
    [
        b"# hosts\n127.0.0.1 localhost\n0.0.0.0 bad.example\r\n",
        b"! Title\n||bad.example^\n",
        "bad.example\n".encode("utf-16"),
        b"\xef\xbb\xbfbad.example\n",
        b"bad.example",
        b".example\n",
    ],
    ids=["hosts", "adblock", "utf16", "utf8_bom", "no_line_end", "top_level"],
)
def test_lists_of_other_kinds_block(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_bytes(content)
    blocked = open_lists((str(tmp_path / "mine.txt"),), ())
    assert blocked is not None
    assert blocked.category_of("http://www.bad.example/x") == "mine"


USELESS = {
    "empty": (b"", "it is empty"),
    "comments": (b"# one\n! two\n127.0.0.1 localhost\n", "it has comments alone"),
    "binary": (bytes(range(128, 256)) * 40, "line 1 is not UTF-8"),
    "words": (b"casino\nviagra\n", "line 1 is the single word 'casino'"),
    "utf16_no_mark": ("bad.example\n" * 20).encode("utf-16-le"),
    "utf16_cut": "bad.example\n".encode("utf-16")[:-1],
    "cosmetic": b"bad.example\n" + b"example.org##.banner\n" * 20,
    "latin1": ("b\xe4d.example\n" * 11).encode("latin-1") + b"bad.example\n",
}


@pytest.mark.parametrize("name", USELESS)
def test_a_list_that_blocks_nothing_is_refused(name: str, tmp_path: Path) -> None:
    given = USELESS[name]
    content, line = given if isinstance(given, tuple) else (given, "")
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    for _ in range(2):  # of many partitions each asks
        with pytest.raises(SettingsError) as caught:
            files(Settings(blocked_hosts=(str(path),)))
        assert str(caught.value).startswith(f"blocked_hosts: {path}")
        assert line in str(caught.value)
        assert "give a" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_archive_without_a_list_and_a_category_without_entries_are_refused(tmp_path: Path, lists: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(lists / "adult" / "usage", "usage")
    with pytest.raises(SettingsError, match="holds no file called domains or urls"):
        files(Settings(blocked_hosts=(str(tmp_path / "a.tar.gz"),)))
    (lists / "adult" / "domains").write_text("")
    with pytest.raises(SettingsError, match=r"blacklists has no line that names a host \(it is empty\)"):
        files(Settings(blocked_hosts=(str(lists),), blocked_categories=("adult",)))
    files(Settings(blocked_hosts=(str(lists),)))  # other categories have some


def test_single_bad_lines_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"bad.example\nb\xe4d.example\nworse.example\na, b\n")
    hosts._warn.cache_clear()
    for _ in range(2):
        files(Settings(blocked_hosts=(str(path),)))
    told = f"blocked_hosts: {path}: 2 of 4 lines name no host and are skipped (line 2 is not UTF-8)"
    assert [record.getMessage() for record in caplog.records] == [told]


def _cut(folder: Path) -> None:
    (folder / "hashes.npy").write_bytes((folder / "hashes.npy").read_bytes()[:-9])


def _zero(folder: Path) -> None:
    values = np.load(folder / "hashes.npy")
    np.save(folder / "hashes.npy", np.zeros_like(values))


def _other_facts(folder: Path) -> None:
    facts = json.loads((folder / "facts.json").read_text())
    (folder / "facts.json").write_text(json.dumps(facts | {"names": []}))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": _cut,
    "empty": lambda folder: (folder / "category.npy").write_bytes(b""),
    "zeroed": _zero,
    "no_json": lambda folder: (folder / "facts.json").write_bytes(b"\xff{"),
    "no_mapping": lambda folder: (folder / "facts.json").write_text("[]"),
    "other_facts": _other_facts,
    "gone": lambda folder: (folder / "hashes.npy").unlink(),
    "a_file": lambda folder: (shutil.rmtree(folder), folder.write_text("")),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_index_is_made_again(name: str, lists: Path) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "gristmill" / "blocked_hosts"
    for is_damaged in (False, True, False):
        hosts._opened.cache_clear()
        blocked = open_lists((str(lists),), ())
        assert blocked is not None
        assert blocked.category_of("http://bad.example/") == "adult"
        assert isinstance(blocked._index.hashes, np.memmap)  # stored again
        (folder,) = (path for path in cache.iterdir() if path.name != "lock")
        if not is_damaged:
            DAMAGE[name](folder)


def test_the_newest_indexes_are_kept(tmp_path: Path) -> None:
    cache = Path(os.environ["XDG_CACHE_HOME"]) / "gristmill" / "blocked_hosts"
    for number in range(KEPT_INDEXES + 3):
        (tmp_path / f"{number}.txt").write_text("bad.example\n")
        hosts._opened.cache_clear()
        for path in (tmp_path / "0.txt", tmp_path / f"{number}.txt"):  # the first is used all the time
            open_lists((str(path),), ())
        for at, folder in enumerate(sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(folder, (at, at))  # however coarse the clock is
    assert len([path for path in cache.iterdir() if path.is_dir()]) == KEPT_INDEXES
    inode = {path.stat().st_ino for path in cache.glob("*/facts.json")}
    hosts._opened.cache_clear()
    open_lists((str(tmp_path / "0.txt"),), ())
    assert {path.stat().st_ino for path in cache.glob("*/facts.json")} == inode


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_line_and_any_host(text: str) -> None:
    entry_keys(text)
    assert isinstance(host_key(text), str)
    path_keys(text, text)
