"""From wishes to whole sequences: what is asked is met exactly, or one line says what binds and what would do."""

import math
import re

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gristmill.core.errors import SettingsError
from pipelines.tokens.mixture_table import worth
from pipelines.tokens.pass_size import Group, Stock
from pipelines.tokens.shares import Share, mean_epochs, resolve

LENGTH = 100
STOCKS = {"a": Stock(100_000, 1000), "b": Stock(50_000, 500), "c": Stock(10_000, 100)}
# Touvron et al. 2023, Table 1: proportion in per mille of 1.4T tokens, epochs in hundredths, disk size in GB.
LLAMA = {
    "CommonCrawl": (670, 110, 3300),
    "C4": (150, 106, 783),
    "Github": (45, 64, 328),
    "Wikipedia": (45, 245, 83),
    "Books": (45, 223, 85),
    "ArXiv": (25, 106, 92),
    "StackExchange": (20, 103, 78),
}
LLAMA_TOKENS = 1.4e12


def corpus(name: str, proportion: float | None = None, epochs: float | None = None, cap: float = 16.0) -> Group:
    return Group(name, {name: 1.0 if epochs is None else epochs}, proportion, epochs is not None, {name: cap})


def shares(*groups: Group, tokens: float = 0.0, **options: float) -> dict[str, tuple[float, float]]:
    stocks = {name: STOCKS[name] for group in groups for name in group.weights}
    found = resolve(groups, stocks, tokens, **options)
    return {name: (round(s.token_proportion, 6), round(s.epochs, 6)) for name, s in found.items()}


def test_by_default_everything_is_read_once() -> None:
    assert shares(corpus("a"), corpus("b"), corpus("c")) == {"a": (0.625, 1), "b": (0.3125, 1), "c": (0.0625, 1)}


def test_epochs_weigh() -> None:
    assert shares(corpus("a"), corpus("b", epochs=2)) == {"a": (0.5, 1), "b": (0.5, 2)}


def test_a_proportion_follows_from_what_has_none() -> None:
    assert shares(corpus("a"), corpus("b", 0.5)) == {"a": (0.5, 1), "b": (0.5, 2)}


def test_where_all_have_a_proportion_the_pass_ends_with_the_first_that_is_read() -> None:
    assert shares(corpus("a", 0.5), corpus("b", 0.5)) == {"a": (0.5, 0.5), "b": (0.5, 1)}
    assert shares(corpus("a", 0.5, 1), corpus("b", 0.5)) == {"a": (0.5, 1), "b": (0.5, 2)}
    assert shares(corpus("a", 0.5), corpus("b", 0.5, cap=0.4)) == {"a": (0.5, 0.2), "b": (0.5, 0.4)}


def test_a_budget_is_filled_by_what_asks_for_nothing() -> None:
    assert shares(corpus("a"), corpus("b"), tokens=300_000) == {"a": (0.666667, 2), "b": (0.333333, 2)}
    assert shares(corpus("a"), corpus("b", 0.5), tokens=80_000) == {"a": (0.5, 0.4), "b": (0.5, 0.8)}
    assert shares(corpus("a"), corpus("c", epochs=3), tokens=80_000) == {"a": (0.625, 0.5), "c": (0.375, 3)}
    # A cap keeps b at 1, a and c share what is left alike.
    assert shares(corpus("a"), corpus("b", cap=1), corpus("c"), tokens=270_000) == {
        "a": (0.740741, 2),
        "b": (0.185185, 1),
        "c": (0.074074, 2),
    }


def test_buckets_share_the_proportion_of_their_corpus_by_their_epochs() -> None:
    stocks = {"a": STOCKS["a"], "d/once": Stock(40_000, 400), "d/often": Stock(20_000, 200)}
    caps = dict.fromkeys(stocks, 16.0)
    weights = {"d/once": 1.0, "d/often": 3.0}
    found = resolve([corpus("a"), Group("d", weights, 0.5, False, caps)], stocks)
    assert [found[name].draws for name in stocks] == [1000, 400, 600]
    found = resolve([corpus("a"), Group("d", weights, None, True, caps)], stocks, 80_000 + 100_000)
    assert [found[name].draws for name in stocks] == [800, 400, 600]


def test_proportions_are_of_tokens_where_packing_left_padding() -> None:
    stocks = {"full": Stock(100_000, 1000), "padded": Stock(50_000, 1000)}
    found = resolve([corpus("full", 0.5), corpus("padded", 0.5)], stocks)
    assert found["padded"] == Share(1000, 1.0, 2 / 3, 50_000.0, 0.5)
    assert found["full"] == Share(500, 0.5, 1 / 3, 50_000.0, 0.5)


def test_llamas_table_1() -> None:
    """From its proportions and the tokens that they imply, its epochs; the disk sizes are text at 2.7 to 4 bytes."""
    assert sum(proportion for proportion, _, _ in LLAMA.values()) == 1000
    tokens = {n: p / 1000 * LLAMA_TOKENS / (e / 100) for n, (p, e, _) in LLAMA.items()}
    stocks = {n: Stock(round(t), math.ceil(t / 2048)) for n, t in tokens.items()}
    found = resolve([corpus(n, p / 1000) for n, (p, _, _) in LLAMA.items()], stocks, LLAMA_TOKENS)
    for name, (proportion, epochs, disk) in LLAMA.items():
        assert f"{found[name].token_proportion:.1%}" == f"{proportion / 10:.1f}%"
        assert f"{found[name].epochs:.2f}" == f"{epochs / 100:.2f}"
        assert 2.7 < disk * 1e9 / stocks[name].tokens < 4
    assert sum(s.tokens_read for s in found.values()) == pytest.approx(LLAMA_TOKENS, rel=1e-8)
    # The other way round: its epochs give its proportions and the 1.4T tokens.
    found = resolve([corpus(n, epochs=e / 100) for n, (_, e, _) in LLAMA.items()], stocks)
    assert {n: f"{s.token_proportion:.3f}" for n, s in found.items()} == {
        n: f"{p / 1000:.3f}" for n, (p, _, _) in LLAMA.items()
    }
    assert sum(s.tokens_read for s in found.values()) == pytest.approx(LLAMA_TOKENS, rel=1e-8)


@pytest.mark.parametrize(
    ("groups", "tokens", "line"),
    [
        ([corpus("a", 0.5), corpus("b", 0.3)], 0, "add up to 0.8, not 1"),
        ([corpus("a", 0.6), corpus("b", 0.4), corpus("c")], 0, "leaves nothing for c"),
        ([corpus("a"), corpus("c", 0.9)], 0, "c would be read 90 times .* proportion of c to 0.615"),
        (
            [corpus("a", 0.8), corpus("c", 0.2, cap=4)],
            3e5,
            r"c would .* 60,000 tokens of 10,000; .* c to 0.133, .* 2e\+05",
        ),
        ([corpus("a", 0.5, 1), corpus("b", 0.5, 1)], 0, "leave out one of them"),
        ([corpus("a", epochs=20)], 0, "a would be read 20 times .* ask for fewer epochs"),
        ([corpus("a"), corpus("b", cap=2)], 4e6, r"leave 4,000,000 for a \(16 x 100,000\), b .* by 2,300,000"),
        ([corpus("a"), corpus("b", epochs=2)], 1e5, "leave nothing for a: the others take 100,000"),
        ([corpus("a", epochs=1), corpus("b", epochs=1)], 3e5, "the epochs of a, b .* tokens 300,000"),
        ([corpus("a"), corpus("c", epochs=0.001)], 0, "c are 0.1 of its 100 sequences .* none would be read"),
        ([corpus("a"), corpus("c", 1e-9)], 0, "none would be read"),
    ],
)
def test_what_cant_be_met_is_refused(groups: list[Group], tokens: float, line: str) -> None:
    with pytest.raises(SettingsError, match=line) as problem:
        shares(*groups, tokens=tokens)
    assert "\n" not in str(problem.value)


def test_repetition_of_the_whole_has_a_cap() -> None:
    assert shares(corpus("a"), corpus("c", epochs=5), max_mean_epochs=1.37)
    with pytest.raises(SettingsError, match=r"1.364 times on average, more than max_mean_epochs 1.3; most of it is c"):
        shares(corpus("a"), corpus("c", epochs=5), max_mean_epochs=1.3)


def test_half_epochs_are_read_as_often_as_they_add_up() -> None:
    """Three halves of an odd number of sequences: none is lost, the first names get what is left over."""
    stocks = {name: Stock(300, 3) for name in "xyz"}
    found = resolve([corpus(name, epochs=0.5) for name in "xyz"], stocks)
    assert [s.draws for s in found.values()] == [2, 1, 1]


def test_what_repetition_is_worth() -> None:
    assert [round(worth(e), 2) for e in (0.5, 1, 4, 16, 1000)] == [0.5, 1, 3.73, 10.58, 16.39]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_many_corpora_and_one(count: int) -> None:
    stocks = {f"c{i}": Stock(1000 * (i + 1), 10 * (i + 1)) for i in range(count)}
    found = resolve([corpus(name, 1 / count, cap=1e9) for name in stocks], stocks, 1e6)
    assert sum(s.draws for s in found.values()) == 10_000
    assert {s.draws for s in found.values()} <= {10_000 // count, -(-10_000 // count)}


SOURCES = st.lists(
    st.tuples(
        st.integers(1, 10**7),  # sequences
        st.floats(0.01, 1),  # how full they are
        st.sampled_from(["proportion", "epochs", "none"]),
        st.floats(1e-3, 4),  # number asked for
        st.floats(0.5, 20),  # cap
    ),
    min_size=1,
    max_size=7,
)


def draw_groups(sources: list[tuple[int, float, str, float, float]]) -> tuple[list[Group], dict[str, Stock]]:
    asked = sum(number for _, _, kind, number, _ in sources if kind == "proportion")
    is_all = all(kind == "proportion" for _, _, kind, _, _ in sources)
    groups, stocks = [], {}
    for i, (sequences, full, kind, number, cap) in enumerate(sources):
        name = f"s{i}"
        stocks[name] = Stock(max(int(sequences * full * LENGTH), 1), sequences)
        proportion = number / asked * (1 if is_all else 0.7) if kind == "proportion" else None
        groups.append(corpus(name, proportion, number if kind == "epochs" else None, cap))
    return groups, stocks


@settings(max_examples=300, deadline=None)
@given(SOURCES, st.sampled_from([0.0, 1e4, 1e7, 1e9]))
def test_shares_add_up_keep_to_caps_and_to_what_is_asked(
    sources: list[tuple[int, float, str, float, float]], tokens: float
) -> None:
    groups, stocks = draw_groups(sources)
    try:
        found = resolve(groups, stocks, tokens)
    except SettingsError as error:
        assert "\n" not in str(error)
        return
    total = sum(s.draws for s in found.values())
    assert math.fsum(s.proportion for s in found.values()) == pytest.approx(1, abs=1e-12)
    assert math.fsum(s.token_proportion for s in found.values()) == pytest.approx(1, abs=1e-12)
    longest = max(stock.tokens / stock.sequences for stock in stocks.values())
    read = math.fsum(s.tokens_read for s in found.values())
    for group in groups:
        share, stock = found[group.name], stocks[group.name]
        assert share.draws >= 1
        assert share.epochs * stock.sequences == pytest.approx(share.draws)
        assert share.draws <= group.cap(group.name) * stock.sequences * (1 + 1e-9)
        assert share.proportion == share.draws / total
        if group.is_fixed:
            assert abs(share.draws - group.weights[group.name] * stock.sequences) < 1 + 1e-6
        if group.proportion is not None:  # each source is less than a sequence off, the sum as many as there are
            off = (len(groups) + 1) * longest / read
            assert share.token_proportion == pytest.approx(group.proportion, abs=off + 1e-9)
    if tokens and any(g.proportion is None and not g.is_fixed for g in groups):
        assert read == pytest.approx(tokens, abs=(len(groups) + 1) * longest)
    assert resolve(groups[::-1], dict(reversed(stocks.items())), tokens) == found


@settings(max_examples=200, deadline=None)
@given(SOURCES, st.floats(1.05, 3))
def test_asking_for_more_of_a_source_gives_more_of_it(
    sources: list[tuple[int, float, str, float, float]], factor: float
) -> None:
    sources = [(n, full, kind, number, 1e12) for n, full, kind, number, _ in sources]
    groups, stocks = draw_groups(sources)
    first = groups[0]
    assume(first.proportion is None or (len(groups) > 1 and any(g.proportion is None for g in groups[1:])))
    raised = Group(
        first.name,
        {first.name: first.weights[first.name] * factor},
        None if first.proportion is None else first.proportion + (1 - 0.7) * 0.5,
        first.is_fixed or first.proportion is None,
        first.caps,
    )
    try:
        before, after = resolve(groups, stocks), resolve([raised, *groups[1:]], stocks)
    except SettingsError:
        assume(False)
        return
    assert after[first.name].draws >= before[first.name].draws - 1
    assert after[first.name].epochs >= before[first.name].epochs * 0.99 - 1 / stocks[first.name].sequences


@settings(max_examples=300, deadline=None)
@given(SOURCES, st.sampled_from([0.0, 1e8, 1e10]))
def test_who_follows_the_advice_is_let_through(
    sources: list[tuple[int, float, str, float, float]], tokens: float
) -> None:
    """Lower the proportion to what the line says: the same cap no longer binds."""
    groups, stocks = draw_groups(sources)
    assume(any(g.proportion is None for g in groups))
    try:
        resolve(groups, stocks, tokens)
        return
    except SettingsError as error:
        found = re.search(r"(s\d) would be read .*lower the proportion of \1 to ([\d.e+-]+)", str(error))
    if not found:
        return
    name, most = found.group(1), float(found.group(2))
    assume(most > 0)
    mended = [Group(g.name, g.weights, most, g.is_fixed, g.caps) if g.name == name else g for g in groups]
    try:
        resolve(mended, stocks, tokens)
    except SettingsError as error:
        assert f"{name} would be read" not in str(error)


ANY = st.floats(5e-324, 1e6) | st.sampled_from([1e-9, 0.001, 0.5, 1.0, 1e5])
WISHES = st.lists(
    st.tuples(st.integers(1, 10**12), st.integers(1, 10**15), st.none() | ANY, st.none() | ANY, ANY),
    min_size=1,
    max_size=4,
)


@settings(max_examples=400, deadline=None)
@given(WISHES, st.just(0.0) | st.floats(5e-324, 1e18), ANY | st.just(1e308))
def test_any_number_is_a_mixture_or_one_line(
    wishes: list[tuple[int, int, float | None, float | None, float]], tokens: float, mean: float
) -> None:
    stocks = {f"s{i}": Stock(have, sequences) for i, (sequences, have, _, _, _) in enumerate(wishes)}
    groups = [
        corpus(f"s{i}", None if p is None else min(p, 1.0), epochs, cap)
        for i, (_, _, p, epochs, cap) in enumerate(wishes)
    ]
    try:
        found = resolve(groups, stocks, tokens, mean)
    except SettingsError as error:
        assert "\n" not in str(error)
        return
    assert math.fsum(s.proportion for s in found.values()) == pytest.approx(1)
    assert all(1 <= s.draws < 1 << 44 for s in found.values())


def test_mean_epochs() -> None:
    assert mean_epochs({"a": 1.0, "b": 3.0}, STOCKS) == pytest.approx(250 / 150)
    assert mean_epochs({"a": 0.5}, STOCKS) == 1
