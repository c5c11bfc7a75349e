"""The hosts of the demo web: what each site looks like, which charset it speaks and how it says so."""

import random
from dataclasses import dataclass

from gristmill.demo.languages import LANGUAGES

_TOPICS = (
    "millpond", "lantern", "harbour", "orchard", "clocktower", "fernvalley", "copperkettle", "northwind", "oldbridge",
    "saltroad", "willowbank", "threegates", "moonfield", "honeycomb", "stonewell", "quietriver", "redbarn", "farpass",
    "greenferry", "hearthside", "ravenhill", "sundial", "tallgrass", "winterlight",
)  # fmt: skip
_ENDINGS = ("stories", "gazette", "almanac", "tales", "notebook", "journal", "readers", "library")
ENGLISH_NAVIGATION = ("Home", "Stories", "Archive", "About us", "Contact", "Sitemap")
SERVERS = ("Apache/2.4.58 (Unix)", "nginx/1.24.0", "Microsoft-IIS/6.0", "lighttpd/1.4.71", "Caddy", "Apache/1.3.27")


@dataclass(frozen=True)
class Site:
    """One host."""

    host: str
    style: str  # a layout of gristmill.demo.layouts
    charset: str  # a Python codec name that is also the web's label
    declares: str  # header, meta, both or nothing
    language: str
    navigation: tuple[str, ...]
    server: str
    is_typographic: bool  # curly quotation marks and dashes

    @property
    def name(self) -> str:
        """The site's name as its pages show it."""
        return self.host.removesuffix(".example").replace("-", " ").title()


STYLES = ("semantic", "div_soup", "table", "html32", "blog", "plain", "xhtml", "wiki", "line_breaks")
# What the English sites speak; the web reads iso-8859-1 as windows-1252, and so is it written.
_CHARSETS = (
    ("utf-8", "both"), ("utf-8", "header"), ("utf-8", "meta"), ("utf-8", "both"), ("windows-1252", "header"),
    ("iso-8859-1", "meta"), ("utf-8", "nothing"), ("iso-8859-1", "header"), ("windows-1252", "meta"),
    ("iso-8859-1", "nothing"), ("utf-8", "both"), ("utf-16", "header"),
)  # fmt: skip
_DECLARATIONS = ("header", "meta", "both", "nothing")


def english_sites(rng: random.Random) -> list[Site]:
    """The sites that tell stories."""
    sites: list[Site] = []
    for position, topic in enumerate(_TOPICS):
        charset, declares = _CHARSETS[position % len(_CHARSETS)]
        style = STYLES[position % len(STYLES)]
        host = f"{'www.' if position % 3 == 0 else ''}{topic}-{rng.choice(_ENDINGS)}.example"
        sites.append(
            Site(host, style, charset, declares, "en", ENGLISH_NAVIGATION, rng.choice(SERVERS), position % 2 == 0)
        )
    return sites


def mirror_sites(rng: random.Random) -> list[Site]:
    """Hosts that show other hosts' pages in their own frame."""
    return [
        Site(f"{name}.example", style, "utf-8", "both", "en", ENGLISH_NAVIGATION, rng.choice(SERVERS), False)
        for name, style in (("mirror-one", "semantic"), ("storydump", "plain"), ("best-reads", "blog"))
    ]


def junk_sites(rng: random.Random) -> list[Site]:
    """Hosts of link farms and other pages that nobody reads."""
    return [
        Site(f"{name}.example", style, "utf-8", declares, "en", ENGLISH_NAVIGATION, rng.choice(SERVERS), False)
        for name, style, declares in (
            ("cheap-best-deals", "plain", "nothing"),
            ("topdirectory", "table", "header"),
            ("price-tables", "div_soup", "both"),
            ("under-construction", "semantic", "both"),
        )
    ]


def foreign_sites(rng: random.Random) -> list[Site]:
    """One or more hosts per language: one for each charset it comes in."""
    sites: list[Site] = []
    for language in LANGUAGES:
        for position, charset in enumerate(language.charsets):
            host = f"{language.host}{'' if position == 0 else position + 1}.example"
            declares = _DECLARATIONS[(len(sites) + position) % len(_DECLARATIONS)]
            style = STYLES[len(sites) % len(STYLES)]
            sites.append(
                Site(host, style, charset, declares, language.code, language.navigation, rng.choice(SERVERS), False)
            )
    return sites
