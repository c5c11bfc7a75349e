"""The main text of a page: which blocks are read, which are chosen, and the form they take."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from resiliparse.parse.html import HTMLTree

from pipelines.crawl.blocks import read_blocks, written_body
from pipelines.crawl.main_content import ALL_TEXT, CAREFUL, FAST, MainContentSettings, main_text
from pipelines.crawl.markers import BODY, COMMENT, NAVIGATION, SHARE, SIDE, UNSEEN, marks_of

SENTENCE = "The mill by the river was older than anyone in the village could remember, and it still turned. "
ARTICLE = "".join(f"<p>{i}: {SENTENCE * 2}</p>" for i in range(5))


def extract(body: str, **fields: bool) -> tuple[str, str]:
    html = f"<!doctype html><html><head><title>T</title></head><body>{body}</body></html>"
    return main_text(HTMLTree.parse(html), html, MainContentSettings(**fields))


def test_article_is_taken_from_the_page_around_it() -> None:
    text, way = extract(
        "<header><a href=/>Site</a></header><nav><ul><li><a href=/a>News</a></ul></nav>"
        f"<main><h1>Title</h1><div class='entry-content'>{ARTICLE}</div></main>"
        "<aside><p>Another article, and a teaser of it that is long enough to be a sentence.</p></aside>"
        "<footer>© 2026 All rights reserved</footer>"
    )
    assert way == FAST
    assert text.split("\n") == [f"{i}: {SENTENCE * 2}".strip() for i in range(5)]


@pytest.mark.parametrize(
    "junk",
    [
        '<div class="share-buttons">Share this article with your friends, or send it by mail</div>',
        '<div class="related-posts"><h3>Related</h3><p>Another article, with its first lines</p></div>',
        '<div id="comments"><p>First! A comment by a reader, who had not read the article before.</p></div>',
        '<figcaption class="wp-caption-text">The mill, in autumn</figcaption>',
        '<div class="newsletter-signup">Subscribe to our newsletter and never miss a story</div>',
        '<div class="author-bio">Jane Doe writes about mills, and has done so for ten years.</div>',
        '<ul><li><a href="/1">First other article</a></li><li><a href="/2">Second other article</a></li></ul>',
        '<form action="/s"><input name="q"><button>Search the whole site</button></form>',
        '<div role="navigation">Home, News, Sport, Weather, Contact</div>',
        "<script>if (1 < 2) { document.write('<p>hello</p>') }</script><style>p { color: red }</style>",
    ],
    ids=[
        "share",
        "related",
        "comments",
        "caption",
        "newsletter",
        "author",
        "links",
        "form",
        "navigation",
        "script",
    ],
)
def test_what_is_no_content_is_left_out(junk: str) -> None:
    clean, _ = extract(f"<article>{ARTICLE}</article>")
    assert extract(f"<article>{ARTICLE}{junk}</article>") == (clean, FAST)
    assert extract(f"<article>{junk}{ARTICLE}</article>") == (clean, FAST)


def test_no_mark_is_trusted_blindly() -> None:
    text, way = extract(f"<div class='sidebar share related hidden'>{ARTICLE}</div><p>{SENTENCE}</p>")
    assert way == FAST
    assert text.count(SENTENCE.strip()) >= 10


def test_a_word_that_the_site_uses_for_its_paragraphs_is_not_believed() -> None:
    paragraphs = "".join(f"<p class='paragraph share'>{i}: {SENTENCE}</p>" for i in range(8))
    assert len(extract(f"<article>{paragraphs}</article>")[0].split("\n")) == 8


def test_thread_of_a_forum_is_content() -> None:
    posts = "".join(f"<li class='comment'><p>{i}: {SENTENCE * 2}</p></li>" for i in range(9))
    text, _ = extract(f"<h1>A question</h1><ol class='comments'>{posts}</ol>")
    assert len(re.findall(r"\d: ", text)) == 9


def test_comments_are_kept_on_request() -> None:
    body = f"<article>{ARTICLE}<div class='comments'><p>x: {SENTENCE}</p></div></article>"
    assert "x: " not in extract(body)[0]
    assert "x: " in extract(body, has_comments=True)[0]


def test_first_paragraph_outside_the_box_is_taken() -> None:
    lead = "What follows was found in the mill, and nobody has been able to explain it to this very day."
    text, _ = extract(f"<div><div><h1>Title</h1><p>{lead}</p></div><div itemprop='articleBody'>{ARTICLE}</div></div>")
    assert text.split("\n")[0] == lead


def test_hidden_copy_is_dropped_and_hidden_text_kept() -> None:
    once, _ = extract(f"<article>{ARTICLE}</article>")
    assert extract(f"<article>{ARTICLE}<div style='display: none'>{ARTICLE}</div></article>")[0] == once
    tab = f"<article>{ARTICLE}<div hidden><p>Tab: {SENTENCE}</p></div></article>"
    assert "Tab: " in extract(tab)[0]


def test_form_of_the_text() -> None:
    text, _ = extract(
        f"<article>{ARTICLE}<h2>A <em>heading</em></h2><ul><li>one<li>two <b>and</b> more</ul>"
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1 &lt; 2</td><td>&amp;amp;</td></tr></table>"
        "<pre>def f():\n    return 1\n</pre><p>line<br>break</p></article>"
    )
    assert text.split("\n")[5:] == [
        *("A heading", "• one", "• two and more", "a b", "1 < 2 &amp;", "def f():", "return 1", "line", "break")
    ]


def test_teasers_are_dropped_and_lists_kept() -> None:
    teasers = "".join(
        f"<li><h3><a href='/{i}'>Another article number {i}</a></h3><p>{i} teaser: {SENTENCE}</p></li>"
        for i in range(4)
    )
    items = "".join(f"<li>{i} item: {SENTENCE}</li>" for i in range(4))
    text, _ = extract(f"<main>{ARTICLE}<ul>{items}</ul><ul>{teasers}</ul></main>")
    assert "item: " in text
    assert "teaser: " not in text


def test_table_of_data_does_not_become_the_page() -> None:
    rows = "".join(f"<tr><td>{i}</td><td>{SENTENCE * 3}</td></tr>" for i in range(20))
    text, _ = extract(f"<article><p>Before: {SENTENCE}</p><table>{rows}</table><p>After: {SENTENCE}</p></article>")
    assert text.startswith("Before: ")
    assert "After: " in text


def test_anchors_without_a_target_are_no_links() -> None:
    text, _ = extract(f'<div><a name="top"><h1>Title</h1>{ARTICLE}</a></div>')
    assert text.count(SENTENCE.strip()) >= 5


@pytest.mark.parametrize(
    "text",
    [
        "漢字と仮名が交じる文を書いてみる。それはとても長い。" * 3,
        "ข้อความภาษาไทยที่ไม่มีช่องว่าง" * 4,
        "Русский текст о мельнице у реки. " * 4,
    ],
    ids=["japanese", "thai", "russian"],
)
def test_other_scripts(text: str) -> None:
    body = f"<ul><li><a href=/>{text[:9]}</a></ul><div>" + f"<p>{text}</p>" * 4 + "</div>"
    assert extract(body) == ("\n".join([text.strip()] * 4), FAST)


def test_falls_back_to_what_is_there() -> None:
    assert extract("<p>Short.</p>") == ("Short.", CAREFUL)
    assert extract("<nav><a href=/>Only a link</a></nav>") == ("Only a link", ALL_TEXT)
    assert extract("<nav><a href=/>Only a link</a></nav>", is_falling_back=False) == ("", CAREFUL)
    assert extract("<nav>Menu</nav><p>Text</p>", is_main_content=False) == ("Menu\nText", ALL_TEXT)
    assert extract("") == ("", ALL_TEXT)


def test_page_of_noscript_is_read() -> None:
    assert extract(f"<noscript><div>{ARTICLE}</div></noscript>")[0].count(SENTENCE.strip()) >= 5


def test_boxes_hold_ranges_of_blocks() -> None:
    page = read_blocks(
        written_body(HTMLTree.parse("<div><p>a</p><!-- > x --><ul><li>b<li>c</ul></div><p title='>'>d</p>"))
    )
    assert page.texts == ["a", "• b", "• c", "d"]
    ranges = {tag: (page.starts[i], page.ends[i]) for i, tag in enumerate(page.tags) if tag in ("body", "div", "ul")}
    assert ranges == {"body": (0, 4), "div": (0, 3), "ul": (1, 3)}
    assert [page.tags[box] for box in page.boxes] == ["p", "li", "li", "p"]


@pytest.mark.parametrize(
    ("attributes", "mark"),
    [
        (' class="post-share"', SHARE),
        (' class="SideBar"', SIDE),
        (' class="no-sidebar"', 0),
        (' class="overflow-hidden"', 0),
        (' class="hidden"', UNSEEN),
        (' style="color: red; display:none"', UNSEEN),
        (' id="comments"', COMMENT),
        (' id="sharing-with-a-single-developer"', 0),
        (' role="navigation"', NAVIGATION),
        (' itemprop="articleBody"', BODY),
        ("", 0),
    ],
    ids=str,
)
def test_marks(attributes: str, mark: int) -> None:
    assert marks_of("div", attributes) & (SHARE | SIDE | UNSEEN | COMMENT | NAVIGATION | BODY) == mark


_PIECES = st.sampled_from(
    re.findall(
        r"\S+",
        "<div> </div> <p> </p> <a> </a> <table> <tr> <td> </table> <ul> <li> </ul> <pre> </pre> <br> <h1> <nav> <form> "
        "<article/class=share> </article> <script> </script> <!-- --> <svg> <noscript> <select> < & > &lt; 漢 word",
    )
)


@given(st.lists(_PIECES, max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_page_gives_lines_of_text(pieces: list[str]) -> None:
    text, way = extract(" ".join(pieces))
    assert way in (FAST, CAREFUL, ALL_TEXT)
    assert all(line == line.strip() and line for line in text.split("\n") if text)
    assert extract(" ".join(pieces)) == (text, way)


def test_nested_silent_elements_are_removed_safely() -> None:
    nest = "<nav><button>x<nav><footer><select><option>y</select></footer></nav></button></nav>"
    assert extract(nest * 200 + f"<article>{ARTICLE}</article>")[0].count(SENTENCE.strip()) >= 5


@pytest.mark.shared
def test_holds_on_the_readability_pages(shared_data: Path) -> None:
    """Macro F1 of 4-word shingles; resiliparse's main content gives .936, trafilatura .928 by the same measure."""
    scores: list[float] = []
    with gzip.open(shared_data / "extraction/readability.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            gold = _shingles(
                main_text(HTMLTree.parse(row["expected_html"]), "", MainContentSettings(is_main_content=False))[0]
            )
            ours = _shingles(main_text(HTMLTree.parse(row["html"]), row["html"], MainContentSettings())[0])
            both = (gold & ours).total()
            scores.append(2 * both / (gold.total() + ours.total() or 1))
    assert sum(scores) / len(scores) > 0.955


def _shingles(text: str) -> Counter[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return Counter(zip(words, words[1:], words[2:], words[3:], strict=False)) or Counter([tuple(words)])
