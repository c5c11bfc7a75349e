"""Every page of the demo web before anything is served: its address, its bytes and its fate."""

import dataclasses
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gristmill.demo import nuisances, personal, sites
from gristmill.demo.kinds import BROKEN_RECORDS, BY_NAME, DUPLICATES, ONE_OF_CLUSTER, STORY, Kind, allot
from gristmill.demo.languages import LANGUAGES
from gristmill.demo.layouts import Frame, encode, render
from gristmill.demo.personal import PersonalData
from gristmill.demo.prose import Story
from gristmill.demo.sites import Site
from gristmill.demo.stories import write_story

_OPT_OUT_HEADERS = (("X-Robots-Tag", "noai, noimageai"), ("TDM-Reservation", "1"), ("X-Robots-Tag", "noai"))
_OPT_OUT_METAS = ('<meta name="robots" content="noai">\n', '<meta name="tdm-reservation" content="1">\n')
_FILES = (
    ("application/pdf", "pdf", b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\n%%EOF\n"),
    ("image/png", "png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde"),
    ("application/json", "json", b'{"stories": [], "total": 0}\n'),
    ("text/css", "css", b"body { color: black }\n"),
)
_STATUSES = ((404, "Not Found"), (301, "Moved Permanently"), (500, "Internal Server Error"), (403, "Forbidden"))
_TOKEN = re.compile(r"\w+|[^\w\s]")
_MIN_WORDS = 0.84
_FRAMINGS = ("length", "length", "chunked", "close")


@dataclass(frozen=True)
class Page:
    """One page as its server will send it, and what is known about it."""

    kind: Kind
    site: Site
    path: str
    body: bytes  # before any transfer or content coding
    main_text: str = ""
    status: tuple[int, str] = (200, "OK")
    content_type: str = "text/html"
    headers: tuple[tuple[str, str], ...] = ()
    framing: str = "length"  # length, chunked, close, long (says more than it sends) or torn (bad chunks)
    is_gzipped: bool = False
    is_stored_raw: bool = False  # archived as it came over the wire, as some crawlers do
    cluster: int | None = None
    personal_data: tuple[PersonalData, ...] = ()
    story: Story | None = None

    @property
    def url(self) -> str:
        """The page's address in the demo web."""
        return f"http://{self.site.host}{self.path}"


class _Planner:
    """Draws pages of every kind; the sites are those of one seed."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(f"{seed}/sites")
        self.seed = seed
        self.english = sites.english_sites(rng)
        self.mirrors = sites.mirror_sites(rng)
        self.junk = sites.junk_sites(rng)
        self.foreign = sites.foreign_sites(rng)
        self._paths: dict[tuple[str, str], int] = {}
        self._originals: list[Page] = []
        self._sources: list[int] = []

    def make(self, kind: Kind, number: int) -> Page:
        """The page `number` of `kind`; depends on the seed, the kind and the number."""
        rng = random.Random(f"{self.seed}/{kind.name}/{number}")
        page = getattr(self, f"_{kind.name}", self._story)(kind, rng, number)
        if page.framing == "length" and not page.is_gzipped and kind.name not in BROKEN_RECORDS:
            page = dataclasses.replace(
                page, framing=rng.choice(_FRAMINGS), is_gzipped=bool(page.body) and rng.random() < 0.5
            )
            if kind is STORY and number % 40 == 7:
                page = dataclasses.replace(page, is_stored_raw=True)
            elif kind is STORY and number % 90 == 11:
                page = dataclasses.replace(page, framing="long", is_gzipped=False)
        return page

    def choose_originals(self, stories: Sequence[Page], duplicates: int) -> None:
        """Pick the stories that duplicates will repeat, some of them several times."""
        rng = random.Random(f"{self.seed}/clusters")
        candidates = [i for i, p in enumerate(stories) if not p.is_stored_raw and p.framing != "long"]
        chosen = rng.sample(candidates, min(len(candidates), max(1, duplicates * 2 // 3)))
        self._originals = list(stories)
        self._sources = [*chosen, *(rng.choice(chosen) for _ in range(duplicates - len(chosen)))]
        rng.shuffle(self._sources)

    def clustered(self, page: Page, number: int) -> Page:
        """`page`, story `number`, as a member of its cluster if it has one."""
        if number not in self._sources:
            return page
        return dataclasses.replace(page, kind=dataclasses.replace(page.kind, fate=ONE_OF_CLUSTER), cluster=number)

    # -- pages by kind -----------------------------------------------------------------------------
    def _prose(
        self, kind: Kind, rng: random.Random, site: Site, story: Story, paragraphs: list[str], head: str = ""
    ) -> Page:
        if site.is_typographic:
            paragraphs = [_curl(p) for p in paragraphs]
        frame = Frame(site, story.title, rng, head, has_comments=kind.name != "too_short")
        body = encode(render(frame, paragraphs), site.charset)
        return Page(kind, site, self._path(rng, site, story.title), body, "\n".join(paragraphs), story=story)

    def _story(self, kind: Kind, rng: random.Random, number: int) -> Page:
        while True:
            story = write_story(rng)
            paragraphs = [" ".join(p) for p in story.paragraphs]
            if rng.random() < 0.1:
                paragraphs[-1] += " " + personal.harmless(rng)
            if _is_mostly_words(paragraphs):
                break
        return self._prose(kind, rng, rng.choice(self.english), story, paragraphs)

    def _personal_data(self, kind: Kind, rng: random.Random, number: int) -> Page:
        while True:
            story = write_story(rng)
            paragraphs = [" ".join(p) for p in story.paragraphs]
            sentences, truth = personal.sentences(rng)
            for sentence in sentences:
                paragraphs[rng.randrange(len(paragraphs))] += " " + sentence
            if _is_mostly_words(paragraphs):
                break
        page = self._prose(kind, rng, rng.choice(self.english), story, paragraphs)
        return dataclasses.replace(page, personal_data=tuple(truth))

    def _duplicate_source(self) -> tuple[int, Page]:
        source = self._sources.pop()
        return source, self._originals[source]

    def _mirror(self, kind: Kind, rng: random.Random, number: int) -> Page:
        cluster, original = self._duplicate_source()
        assert original.story is not None
        site = rng.choice(self.mirrors)
        paragraphs = original.main_text.split("\n")
        page = self._prose(kind, rng, site, original.story, paragraphs)
        return dataclasses.replace(page, cluster=cluster)

    def _exact_copy(self, kind: Kind, rng: random.Random, number: int) -> Page:
        cluster, original = self._duplicate_source()
        path = f"{original.path}?print={number}"
        return dataclasses.replace(original, kind=kind, path=path, cluster=cluster)

    def _near_duplicate(self, kind: Kind, rng: random.Random, number: int) -> Page:
        cluster, original = self._duplicate_source()
        assert original.story is not None
        paragraphs = nuisances.near_duplicate(rng, original.main_text.split("\n"))
        site = rng.choice([original.site, rng.choice(self.english)])
        page = self._prose(kind, rng, dataclasses.replace(site, is_typographic=False), original.story, paragraphs)
        return dataclasses.replace(page, cluster=cluster)

    def _foreign_language(self, kind: Kind, rng: random.Random, number: int) -> Page:
        # One language after the other, so that even a small demo speaks eight.
        language = LANGUAGES[number % len(LANGUAGES)]
        site = rng.choice([s for s in self.foreign if s.language == language.code])
        title, written = language.page(rng)
        paragraphs = [language.separator.join(p) for p in written]
        body = encode(render(Frame(site, title, rng), paragraphs), site.charset)
        return Page(kind, site, self._path(rng, site, f"{language.code}-{number}"), body, "\n".join(paragraphs))

    def _link_farm(self, kind: Kind, rng: random.Random, number: int) -> Page:
        title, html = nuisances.link_farm(rng)
        return self._junk(kind, rng, title, html, self.junk[:2])

    def _symbol_soup(self, kind: Kind, rng: random.Random, number: int) -> Page:
        title, lines = nuisances.symbol_soup(rng)
        page = self._junk(kind, rng, title, "<p>" + "</p>\n<p>".join(lines) + "</p>", self.junk[2:3])
        return dataclasses.replace(page, main_text="\n".join(lines))

    def _boilerplate(self, kind: Kind, rng: random.Random, number: int) -> Page:
        return self._junk(kind, rng, "Coming soon", nuisances.boilerplate(rng), self.junk[3:])

    def _junk(self, kind: Kind, rng: random.Random, title: str, html: str, where: Sequence[Site]) -> Page:
        site = rng.choice(where)
        body = encode(render(Frame(site, title, rng, has_comments=False), [], html), site.charset)
        return Page(kind, site, self._path(rng, site, title), body)

    def _too_short(self, kind: Kind, rng: random.Random, number: int) -> Page:
        story = write_story(rng)
        paragraphs = nuisances.too_short(rng, story)
        return self._prose(kind, rng, rng.choice(self.english), story, paragraphs)

    def _repetitive(self, kind: Kind, rng: random.Random, number: int) -> Page:
        story = write_story(rng)
        paragraphs = nuisances.repetitive(rng, story)
        return self._prose(kind, rng, rng.choice(self.english), story, paragraphs)

    def _opted_out(self, kind: Kind, rng: random.Random, number: int) -> Page:
        story = write_story(rng)
        paragraphs = [" ".join(p) for p in story.paragraphs]
        ways = len(_OPT_OUT_HEADERS) + len(_OPT_OUT_METAS)
        way = number % ways
        if way < len(_OPT_OUT_HEADERS):
            page = self._prose(kind, rng, rng.choice(self.english), story, paragraphs)
            return dataclasses.replace(page, headers=(_OPT_OUT_HEADERS[way],))
        head = _OPT_OUT_METAS[way - len(_OPT_OUT_HEADERS)]
        return self._prose(kind, rng, rng.choice(self.english), story, paragraphs, head)

    def _not_html(self, kind: Kind, rng: random.Random, number: int) -> Page:
        content_type, suffix, data = _FILES[number % len(_FILES)]
        site = rng.choice(self.english)
        path = f"/files/{rng.choice(('map', 'list', 'plan', 'picture'))}-{number}.{suffix}"
        return Page(
            kind, site, path, data + rng.randbytes(64) if suffix in ("pdf", "png") else data, content_type=content_type
        )

    def _http_status(self, kind: Kind, rng: random.Random, number: int) -> Page:
        status = _STATUSES[number % len(_STATUSES)]
        site = rng.choice(self.english)
        body = f"<html><head><title>{status[1]}</title></head><body><h1>{status[1]}</h1></body></html>\n".encode()
        headers = (("Location", f"http://{site.host}/stories/new-{number}.html"),) if status[0] == 301 else ()
        return Page(kind, site, f"/old/page-{number}.html", body, status=status, headers=headers)

    def _empty(self, kind: Kind, rng: random.Random, number: int) -> Page:
        body = (b"", b"<html><head><title></title></head><body></body></html>", b" \r\n \r\n")[number % 3]
        return Page(kind, rng.choice(self.english), f"/empty/{number}", body)

    def _broken_chunking(self, kind: Kind, rng: random.Random, number: int) -> Page:
        return dataclasses.replace(self._story(kind, rng, number), framing="torn", is_stored_raw=True)

    def _broken_gzip(self, kind: Kind, rng: random.Random, number: int) -> Page:
        page = self._story(kind, rng, number)
        packed = bytearray(gzip_bytes(page.body))
        for position in range(10, len(packed)):  # the header stays, so that it still looks like gzip
            packed[position] ^= 0x5A
        headers = (("Content-Encoding", "gzip"),)
        return dataclasses.replace(page, body=bytes(packed), headers=headers, framing="close", is_stored_raw=True)

    def _path(self, rng: random.Random, site: Site, title: str) -> str:
        slug = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "page"
        if site.style in ("table", "html32"):
            path = f"/{slug[:8].strip('-')}{rng.randint(1, 99)}.htm"
        elif site.style == "wiki":
            path = f"/wiki/{slug}"
        elif site.style == "blog":
            path = f"/{rng.randint(2006, 2025)}/{rng.randint(1, 12):02d}/{slug}/"
        else:
            path = f"/stories/{slug}.html"
        seen = self._paths[(site.host, path)] = self._paths.get((site.host, path), 0) + 1
        return path if seen == 1 else f"{path}?id={seen}"


def _is_mostly_words(paragraphs: Sequence[str]) -> bool:
    """Whether a page worth keeping is clear of Gopher's limit for words without a letter (0.8), marks counted."""
    tokens = _TOKEN.findall(" ".join(paragraphs))
    return sum(token[0].isalpha() for token in tokens) >= _MIN_WORDS * len(tokens)


def _curl(text: str) -> str:
    text = re.sub(r'(^|[\s(])"', "\\1\u201c", text).replace('"', "\u201d")
    return text.replace("'", "\u2019").replace("; ", " \u2013 ")


def gzip_bytes(data: bytes) -> bytes:
    """`data` as one gzip member without name or time: equal for equal input."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def plan_pages(seed: int, pages: int) -> list[Page]:
    """Every page of the demo web of `seed`, shuffled as a crawl would meet them."""
    planner = _Planner(seed)
    counts = allot(pages)
    stories = [planner.make(STORY, n) for n in range(counts.pop(STORY.name))]
    planner.choose_originals(stories, sum(counts[name] for name in DUPLICATES))
    planned = [planner.clustered(page, n) for n, page in enumerate(stories)]
    planned.extend(planner.make(BY_NAME[name], n) for name, count in counts.items() for n in range(count))
    random.Random(f"{seed}/order").shuffle(planned)
    return planned


def clusters(pages: Sequence[Page]) -> Iterator[tuple[int, list[Page]]]:
    """The duplicate clusters: number and members."""
    found: dict[int, list[Page]] = {}
    for page in pages:
        if page.cluster is not None:
            found.setdefault(page.cluster, []).append(page)
    yield from sorted(found.items())
