"""The benchmarks' measures: the score of a text, the cost of a command, the samples they run on."""

import gzip
import sys
from pathlib import Path

import pytest

from benchmarks import gold, usage, warcs
from benchmarks.shingles import Score, f1, macro_score, page_score, shingles


def test_shingles_are_four_words_and_count_repeats():
    assert shingles("a b c d e")[("a", "b", "c", "d")] == 1
    assert shingles("a b c d a b c d")[("a", "b", "c", "d")] == 2
    assert shingles("two words") == {("two", "words"): 1}
    assert shingles(" \n ") == {}


def test_scripts_without_spaces_count_characters():
    assert shingles("日本語の文")[("日", "本", "語", "の")] == 1


def test_page_score_of_half_a_page():
    # 7 words give 4 shingles, the first 5 of them 2: all that was found is right, half of what was wanted is found
    score = page_score("a b c d e", "a b c d e f g")
    assert (score.precision, score.recall) == (1.0, 0.5)
    assert score.f1 == pytest.approx(2 / 3)


def test_page_score_of_a_page_with_a_menu():
    score = page_score("x y a b c d", "a b c d")
    assert (score.precision, score.recall) == (pytest.approx(1 / 3), 1.0)


def test_page_score_ignores_white_space_and_punctuation():
    assert page_score("a, b\n\nc -- d", "a b c d") == Score(1.0, 1.0, 1.0)


@pytest.mark.parametrize(("text", "wanted", "value"), [("", "", 1.0), ("", "a", 0.0), ("a", "", 0.0), ("a", "b", 0.0)])
def test_page_score_of_nothing(text: str, wanted: str, value: float):
    assert page_score(text, wanted) == Score(value, value, value)


def test_macro_score_counts_pages_alike():
    score = macro_score([Score(1.0, 0.5, 2 / 3), Score(0.0, 0.5, 0.0)])
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, pytest.approx(1 / 3))
    assert f1(score.precision, score.recall) == 0.5
    assert macro_score([]) == Score(0.0, 0.0, 0.0)


def test_gold_text_has_blocks_on_lines_and_no_scripts():
    html = "<p>one <b>t</b>wo</p><script>no</script><nav>menu</nav><ul><li>three</li></ul><pre>a\n  b</pre>"
    assert gold.html_text(html) == "one two\nthree\na\nb"


def test_gold_of_a_sphinx_page_is_its_body_without_header_links():
    html = (
        '<div role="navigation">next</div><div class="body" role="main"><h1>Title<a class="headerlink">¶</a></h1>'
        "<p>Text.</p></div><div>sidebar</div>"
    )
    assert gold.main_text(html) == ("sphinx", "Title\nText.")


def test_gold_of_a_page_of_no_known_generator_is_empty():
    assert gold.main_text("<p>Text.</p>") == ("", "")


def test_gold_pages_survive_a_file(tmp_path: Path):
    pages = [gold.GoldPage("1", "<p>a\u2028b</p>", "a b", "f")]
    path = tmp_path / "set.jsonl.gz"
    assert gold.write_pages(pages, path) == {"f": 1}
    assert list(gold.file_pages(path)) == pages


_BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_usage_counts_an_orphan_that_was_killed():
    # The command starts a burner and kills it without waiting for it; init would have got its account.
    program = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {_BURN.format(seconds=99)!r}])\n"
        "time.sleep(1.5)\nchild.kill()\n"
        "import os\nos._exit(3)\n"
    )
    spent = usage.measured([sys.executable, "-c", program])
    assert spent.exit_code == 3
    assert spent.cpu > 0.2
    assert spent.reaped > 0.2


def test_usage_counts_children_of_a_parent_that_ignores_them():
    program = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"child = subprocess.Popen([sys.executable, '-c', {_BURN.format(seconds=1)!r}])\n"
        "child.wait()\n"  # till it is gone; its account is lost, as SIGCHLD is ignored
    )
    spent = usage.measured([sys.executable, "-W", "ignore", "-c", program])
    assert spent.sampled > 0.5
    assert spent.cpu >= spent.sampled


def test_usage_hands_back_the_output():
    assert usage.measured([sys.executable, "-c", "print('here')"]).output == "here\n"


def test_tiny_warc_is_one_page(tmp_path: Path):
    warcs.tiny(tmp_path)
    assert len(list(warcs.responses(tmp_path / "tiny.warc.gz"))) == 1
    text = gzip.decompress((tmp_path / "tiny.warc.gz").read_bytes()).decode()
    header, _, rest = text.partition("\r\n\r\n")
    declared = int(header.rpartition("Content-Length: ")[2])
    assert rest[declared:] == "\r\n\r\n"


def test_sample_copies_whole_records(tmp_path: Path):
    warcs.tiny(tmp_path / "one")
    member = (tmp_path / "one" / "tiny.warc.gz").read_bytes()
    many = tmp_path / "many.warc.gz"
    many.write_bytes(member * 5)
    assert warcs.sample([many], 3, tmp_path / "out") == 3
    (written,) = (tmp_path / "out").glob("*.warc.gz")
    assert written.read_bytes() == member * 3


def test_repeated_links_until_it_weighs_enough(tmp_path: Path):
    path = tmp_path / "a.warc.gz"
    path.write_bytes(b"x" * 10)
    assert warcs.repeated([path], 25, tmp_path / "out") == 30
    assert len(list((tmp_path / "out").iterdir())) == 3
