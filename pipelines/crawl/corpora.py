"""The registry of corpora: `<root>/corpora/<name>.json` says which files a corpus has and in which segments."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from gristmill.core.errors import CorpusError, MissingDataError
from gristmill.core.layout import Layout, is_safe_name
from pipelines.commit import now
from pipelines.crawl.commoncrawl import CrawlChoice, crawl_files, is_crawl_id
from pipelines.crawl.discovery import FoundFile, SkippedFile, discover
from pipelines.crawl.kinds import Kind
from pipelines.crawl.segments import assign, default_segments
from pipelines.recipes import Recipe, load_recipe

FORMAT_VERSION = 1


@dataclass(frozen=True, order=True)
class CrawlFile:
    """One file of a corpus."""

    name: str  # path below the folder that was given, or the file's name: its identity in doc_id
    path: str  # absolute local path or URL
    segment: str
    bytes: int  # as stored; 0 = not known
    kind: Kind
    fingerprint: str  # changes when the file does: of name, size and modification time, or of its ETag


@dataclass(frozen=True)
class Corpus:
    """A registered corpus; `files` are sorted by name."""

    name: str
    files: tuple[CrawlFile, ...]
    skipped: tuple[SkippedFile, ...] = ()
    created_at: str = ""
    recipe: Recipe | None = None  # settings of its own, as they were when it was registered

    @property
    def segments(self) -> tuple[str, ...]:
        """Names of the segments, sorted."""
        return tuple(sorted({file.segment for file in self.files}))

    @property
    def bytes(self) -> int:
        """Size of all files as stored."""
        return sum(file.bytes for file in self.files)

    def files_of(self, segment: str) -> tuple[CrawlFile, ...]:
        """The files of one segment, sorted by name; none for a segment that is not there."""
        return tuple(file for file in self.files if file.segment == segment)


def add_corpus(
    layout: Layout,
    name: str,
    paths: Sequence[str],
    *,
    kind: Kind | None = None,
    segments: int | None = None,
    is_replacing: bool = False,
    recipe: str | None = None,
    choice: CrawlChoice | None = None,
) -> Corpus:
    """Register the files below `paths` as corpus `name`; the same set again changes nothing.

    Args:
        layout: where the registry lies.
        name: one path component of letters, digits, '.', '_' and '-'.
        paths: files or folders, local or fsspec URLs, or a Common Crawl id alone; empty where the name is one.
        kind: what the files are; told from their content where it is None.
        segments: how many partitions, at most one per file; by size where it is None.
        is_replacing: put these files in the place of a corpus that has others.
        recipe: a built-in recipe or a settings file, whose content is stored; None leaves a registered corpus its
            own, `none` takes it away.
        choice: what of a crawl is wanted; None for all of it.

    Raises:
        CorpusError: one line that says what is wrong with the name, a path or a file, and the way out.
        SettingsError: the same of the recipe.
    """
    if not is_safe_name(name):
        raise CorpusError(f"{name!r} can't name a corpus: use letters, digits, '.', '_' and '-' (not first), no '..'")
    if segments is not None and segments < 1:
        raise CorpusError(f"{segments} segments asked for corpus {name}: give 1 or more")
    known = _read(layout, name)
    chosen = load_recipe(recipe) if recipe is not None else known.recipe if known is not None else None
    found, skipped, assignment = _find(layout, name, paths, kind, segments, choice)
    if known is not None:
        if segments is None and [_facts(f) for f in known.files] == [_facts(f) for f in found]:
            return _with_recipe(layout, known, chosen)
        if not is_replacing and _with_segments(found, assignment) != known.files:
            raise CorpusError(
                f"corpus {name} is already registered with {_difference(known, found)}: "
                f"give it another name, or replace it with --replace"
            )
    files = _with_segments(found, assignment)
    if known is not None and files == known.files:
        return _with_recipe(layout, known, chosen)
    return _write(layout, Corpus(name, files, tuple(skipped), now(), chosen))


def load_corpus(layout: Layout, name: str) -> Corpus:
    """Read the registration of corpus `name`.

    Raises:
        CorpusError: it is not registered, or its registration can't be read.
    """
    if not is_safe_name(name):
        raise CorpusError(f"{name!r} can't name a corpus: use letters, digits, '.', '_' and '-' (not first), no '..'")
    corpus = _read(layout, name)
    if corpus is None:
        known = ", ".join(c.name for c in list_corpora(layout)) or "none yet"
        raise CorpusError(
            f"corpus {name} is not registered under {layout.root} (known: {known}): "
            f"run `gristmill corpus add {name} PATH` first"
        )
    return corpus


def known_corpus(layout: Layout, name: str) -> Corpus | None:
    """The registration of corpus `name`; None where there is none.

    Raises:
        CorpusError: it can't be read.
    """
    return _read(layout, name) if is_safe_name(name) else None


def recipe_of(layout: Layout, name: str) -> Recipe | None:
    """The recipe of a corpus; None where it has none, or was never registered (data put there by hand)."""
    corpus = known_corpus(layout, name)
    return corpus.recipe if corpus is not None else None


def list_corpora(layout: Layout) -> list[Corpus]:
    """Every registered corpus, sorted by name."""
    names = [path.rsplit("/", 1)[-1].removesuffix(".json") for path in layout.parts(layout.join("corpora"), ".json")]
    return [corpus for name in sorted(names) if (corpus := _read(layout, name)) is not None]


def _with_recipe(layout: Layout, known: Corpus, recipe: Recipe | None) -> Corpus:
    """The same files under another recipe need no --replace: stages see that their settings have changed."""
    return known if recipe == known.recipe else _write(layout, replace(known, recipe=recipe))


def _write(layout: Layout, corpus: Corpus) -> Corpus:
    from pipelines.crawl.selection import remove_other_selections

    layout.write_json(layout.corpus_path(corpus.name), {"format_version": FORMAT_VERSION, **asdict(corpus)})
    remove_other_selections(layout, corpus.name, {file.path for file in corpus.files})
    return corpus


def _find(
    layout: Layout,
    name: str,
    paths: Sequence[str],
    kind: Kind | None,
    segments: int | None,
    choice: CrawlChoice | None,
) -> tuple[list[FoundFile], list[SkippedFile], dict[str, str]]:
    crawl = name if not paths else paths[0] if len(paths) == 1 and not Path(paths[0]).exists() else ""
    if is_crawl_id(crawl):
        found, assignment = crawl_files(layout, name, crawl, segments, choice or CrawlChoice())
        return found, [], assignment
    if choice is not None and not choice.is_all:
        raise CorpusError(
            f"corpus {name}: --host, --tld, --language, --mime and the limits choose pages of a Common Crawl id; "
            f"give one in place of a path"
        )
    if not paths:
        raise CorpusError(
            f"corpus {name} needs a path: give folders or files, "
            f"or name it after a Common Crawl id such as CC-MAIN-2024-10"
        )
    found, skipped = discover([str(path) for path in paths], kind)
    sizes = {file.name: file.bytes for file in found}
    return found, skipped, assign(sizes, segments or default_segments(sizes))


def _with_segments(found: Sequence[FoundFile], assignment: dict[str, str]) -> tuple[CrawlFile, ...]:
    return tuple(CrawlFile(f.name, f.path, assignment[f.name], f.bytes, f.kind, f.fingerprint) for f in found)


def _facts(file: FoundFile | CrawlFile) -> tuple[str, str, int, str, str]:
    return file.name, file.path, file.bytes, file.kind, file.fingerprint


def _difference(known: Corpus, found: Sequence[FoundFile]) -> str:
    old, new = {_facts(f) for f in known.files}, {_facts(f) for f in found}
    if old == new:
        return f"the same files in {len(known.segments)} segments"
    changed = {f[0] for f in old} & {f[0] for f in new} & {f[0] for f in old ^ new}
    if changed:
        return f"{len(known.files)} files, of which {len(changed)} have changed since, such as {min(changed)}"
    return f"other files ({len(known.files)} then, {len(found)} now)"


def _read(layout: Layout, name: str) -> Corpus | None:
    path = layout.corpus_path(name)
    try:
        value = layout.read_json(path)
        if value is None:
            return None
        if value["format_version"] != FORMAT_VERSION:
            raise CorpusError(f"{path} has format {value['format_version']}, this version reads {FORMAT_VERSION}")
        files = tuple(CrawlFile(**file) for file in cast(list[dict[str, Any]], value["files"]))
        skipped = tuple(SkippedFile(**file) for file in cast(list[dict[str, Any]], value["skipped"]))
        recipe = Recipe(**value["recipe"]) if value.get("recipe") else None  # none in registrations of before 0.2
        return Corpus(str(value["name"]), files, skipped, str(value["created_at"]), recipe)
    except (KeyError, TypeError, MissingDataError, UnicodeDecodeError):
        raise CorpusError(f"{path} is not a corpus registration: remove it and add the corpus again") from None
