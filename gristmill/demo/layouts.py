"""How pages look: nine HTML styles around the same main text, from 1996 to today."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from gristmill.demo import vocabulary as words
from gristmill.demo.sites import Site

_COMMENTS = (
    "I read this to my {kin} and we talked about it for an hour.",
    "Thank you, this reminds me of {village}.",
    "Is there a second part? I liked the {thing}.",
    "My {kin} tells it quite differently, but never mind.",
    "First! Also: the {thing} should have been {colour}.",
    "Shared with everyone at work, they were {trait} about it.",
    "I do not believe a word of it, yet I read it twice.",
    "Greetings from {village}, where the {thing} is still on show.",
)
_COOKIES = (
    "We use cookies to remember you. By staying on this site you accept them.",
    "This site stores small files on your device. Accept all or change your choice.",
    "Your privacy matters to us: choose which cookies we may set.",
)
_SCRIPT = (
    "(function(w,d){{w.dataLayer=w.dataLayer||[];var s=d.createElement('script');s.async=1;"
    "s.src='/static/count-{0}.js';d.head.appendChild(s);}})(window,document);"
)
_STYLE = "body{{font-family:serif;margin:0 auto;max-width:{0}em}} nav li{{display:inline}} .ad{{float:right}}"


@dataclass(frozen=True)
class Frame:
    """What surrounds the main text of one page."""

    site: Site
    title: str
    rng: random.Random
    head: str = ""  # more lines for <head>
    has_comments: bool = True

    @property
    def meta(self) -> str:
        """Charset declaration and whatever else belongs in <head>."""
        if self.site.declares not in ("meta", "both"):
            return self.head
        label = self.site.charset
        if self.site.style in ("semantic", "div_soup", "blog", "wiki"):
            return f'<meta charset="{label}">\n{self.head}'
        end = " /" if self.site.style == "xhtml" else ""
        return f'<meta http-equiv="Content-Type" content="text/html; charset={label}"{end}>\n{self.head}'

    @property
    def links(self) -> list[str]:
        """The navigation's links."""
        return [f'<a href="/{i}.html">{escape(label)}</a>' for i, label in enumerate(self.site.navigation)]

    @property
    def teasers(self) -> list[str]:
        """Links to other pages, as sidebars have them."""
        rng = self.rng
        if self.site.language != "en":
            return self.links[1:4]
        pairs = [(rng.choice(words.OBJECTS), rng.choice(words.VILLAGES)) for _ in range(rng.randint(3, 6))]
        return [f'<a href="/read/{thing}-{place.lower()}">The {thing} of {place}</a>' for thing, place in pairs]

    @property
    def comments(self) -> list[tuple[str, str]]:
        """(author, text) of some readers' comments."""
        rng = self.rng
        if self.site.language != "en" or not self.has_comments:
            return []
        return [
            (
                rng.choice(words.WOMEN + words.MEN),
                text.format(
                    kin=rng.choice(words.KIN),
                    village=rng.choice(words.VILLAGES),
                    thing=rng.choice(words.OBJECTS),
                    colour=rng.choice(words.COLOURS),
                    trait=rng.choice(words.TRAITS),
                ),
            )
            for text in rng.sample(_COMMENTS, rng.randint(0, 3))
        ]

    @property
    def cookies(self) -> str:
        """A cookie banner's text; empty where the language is not English."""
        return self.rng.choice(_COOKIES) if self.site.language == "en" else ""

    @property
    def footer(self) -> str:
        """The last line of the page."""
        return f"&copy; {self.rng.randint(1998, 2025)} {escape(self.site.name)}"

    @property
    def scripts(self) -> str:
        """A style sheet and a script, as every page drags along."""
        return (
            f"<style>{_STYLE.format(self.rng.randint(36, 72))}</style>\n"
            f"<script>{_SCRIPT.format(self.rng.randint(100, 999))}</script>"
        )


def _paragraphs(texts: Sequence[str], tag: str = "p") -> str:
    return "\n".join(f"<{tag}>{escape(text, quote=False)}</{tag}>" for text in texts)


def _list(items: Sequence[str], attributes: str = "") -> str:
    return f"<ul{attributes}>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _semantic(frame: Frame, title: str, main: str) -> str:
    comments = "".join(f"<article><h4>{who}</h4><p>{text}</p></article>" for who, text in frame.comments)
    return f"""<!DOCTYPE html>
<html lang="{frame.site.language}">
<head>
{frame.meta}<title>{title} | {escape(frame.site.name)}</title>
{frame.scripts}
</head>
<body>
<header><p class="site-name">{escape(frame.site.name)}</p><nav>{_list(frame.links)}</nav></header>
<main><article><h1>{title}</h1>
{main}
</article></main>
<aside class="sidebar">{_list(frame.teasers)}</aside>
<section class="comments" id="comments">{comments}</section>
<footer><p>{frame.footer}</p></footer>
<div class="cookie-banner" role="dialog">{frame.cookies} <button>OK</button></div>
</body>
</html>
"""


def _div_soup(frame: Frame, title: str, main: str) -> str:
    return f"""<!DOCTYPE html>
<html><head>
{frame.meta}<title>{title}</title>
{frame.scripts}
</head><body>
<div id="cookie-notice" class="cookie-consent"><div>{frame.cookies}</div></div>
<div id="wrapper"><div id="top"><div class="navbar">{_list(frame.links, ' class="menu"')}</div></div>
<div class="row"><div class="col-8"><div class="content"><div class="headline"><h1>{title}</h1></div>
<div class="article-body">
{main}
</div></div></div>
<div class="col-4 sidebar"><div class="widget">{_list(frame.teasers)}</div></div></div>
<div class="footer"><div class="copyright">{frame.footer}</div></div></div>
</body></html>
"""


def _table(frame: Frame, title: str, main: str) -> str:
    rows = "<br>\n".join(frame.links)
    return f"""<html><head><title>{title}</title>
{frame.meta}</head>
<body bgcolor="#ffffff" text="#000000">
<table width="760" border="0" cellpadding="4" align="center">
<tr><td colspan="2" class="header"><font size="5">{escape(frame.site.name)}</font></td></tr>
<tr><td width="140" valign="top" class="nav">{rows}</td>
<td valign="top" class="content"><h2>{title}</h2>
{main}
</td></tr>
<tr><td colspan="2" class="footer" align="center"><font size="1">{frame.footer}</font></td></tr>
</table></body></html>
"""


def _html32(frame: Frame, title: str, main: str) -> str:
    body = main.replace("<p>", "<P>").replace("</p>", "")
    return f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<HTML><HEAD><TITLE>{title}</TITLE>
{frame.meta}</HEAD>
<BODY BGCOLOR=#FFFFEE>
<CENTER><H1>{title}</H1></CENTER>
<HR NOSHADE>
{body}
<HR>
<CENTER><FONT SIZE=-1>{" | ".join(frame.links)}</FONT></CENTER>
<ADDRESS>{frame.footer}</ADDRESS>
</BODY></HTML>
"""


def _blog(frame: Frame, title: str, main: str) -> str:
    comments = "".join(
        f'<li class="comment"><cite>{who}</cite><div class="comment-body"><p>{text}</p></div></li>'
        for who, text in frame.comments
    )
    return f"""<!DOCTYPE html>
<html lang="{frame.site.language}"><head>
{frame.meta}<title>{title} &#8211; {escape(frame.site.name)}</title>
{frame.scripts}
</head><body class="post-template single">
<div id="page"><header id="masthead" class="site-header"><a href="/" rel="home">{escape(frame.site.name)}</a>
<nav class="main-navigation">{_list(frame.links)}</nav></header>
<div id="content"><article class="post hentry">
<header class="entry-header"><h1 class="entry-title">{title}</h1></header>
<div class="entry-content">
{main}
</div></article>
<div id="comments" class="comments-area"><ol class="comment-list">{comments}</ol></div></div>
<aside id="secondary" class="widget-area">{_list(frame.teasers)}</aside>
<footer id="colophon" class="site-footer">{frame.footer}</footer></div>
</body></html>
"""


def _plain(frame: Frame, title: str, main: str) -> str:
    return f"""<html>
<head>
{frame.meta}<title>{title}</title>
</head>
<body>
<h1>{title}</h1>
{main}
<!-- last change by hand, {frame.rng.randint(1998, 2020)} -->
</body>
</html>
"""


def _xhtml(frame: Frame, title: str, main: str) -> str:
    return f"""<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN"
  "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="{frame.site.language}">
<head>
{frame.meta}<title>{title}</title>
<style type="text/css">/*<![CDATA[*/ #menu {{ float: left }} /*]]>*/</style>
</head>
<body>
<div id="header">{escape(frame.site.name)}</div>
<div id="menu">{_list(frame.links)}</div>
<div id="main"><h1>{title}</h1>
{main}
</div>
<div id="footer">{frame.footer}</div>
</body>
</html>
"""


def _wiki(frame: Frame, title: str, main: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="{frame.site.language}"><head>
{frame.meta}<title>{title} - {escape(frame.site.name)}</title>
{frame.scripts}
</head><body>
<div id="content" class="mw-body" role="main"><h1 id="firstHeading">{title}</h1>
<div id="bodyContent"><div id="mw-content-text">
{main}
</div></div></div>
<div id="mw-navigation"><div class="portal" role="navigation">{_list(frame.links)}</div></div>
<div id="catlinks" class="catlinks">{_list(frame.teasers)}</div>
<div id="footer" role="contentinfo">{frame.footer}</div>
</body></html>
"""


def _line_breaks(frame: Frame, title: str, main: str) -> str:
    body = main.replace("</p>\n<p>", "<br><br>\n").replace("<p>", "").replace("</p>", "")
    return f"""<HTML><head><title>{title}</title>
{frame.meta}</head><body>
<b>{title}</b><br><br>
<div align="justify">{body}</div>
<div class="footer"><small>{frame.footer}</small></div>
</body></HTML>
"""


_LAYOUTS: dict[str, Callable[[Frame, str, str], str]] = {
    "semantic": _semantic,
    "div_soup": _div_soup,
    "table": _table,
    "html32": _html32,
    "blog": _blog,
    "plain": _plain,
    "xhtml": _xhtml,
    "wiki": _wiki,
    "line_breaks": _line_breaks,
}


def render(frame: Frame, paragraphs: Sequence[str], html: str | None = None) -> str:
    """The page as HTML; `html` stands in for the paragraphs where they are not what the page holds."""
    main = _paragraphs(paragraphs) if html is None else html
    return _LAYOUTS[frame.site.style](frame, escape(frame.title), main)


def encode(page: str, charset: str) -> bytes:
    """The page in its site's charset; what the charset lacks becomes a character reference."""
    codec = {"iso-8859-1": "windows-1252"}.get(charset, charset)
    return page.encode(codec, errors="xmlcharrefreplace")
