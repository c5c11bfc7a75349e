"""Lists of blocked hosts: what an entry matches, UT1's folder, archives, millions of entries, user mistakes."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from pipelines.crawl.extraction import Settings, files
from pipelines.crawl.hostkeys import entry_key, host_key, path_keys
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


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_line_and_any_host(text: str) -> None:
    entry_key(text)
    assert isinstance(host_key(text), str)
    path_keys(text, text)
