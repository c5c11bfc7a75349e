"""What is asked of corpora and buckets, laid over the sources that there are."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gristmill.core.errors import MissingDataError, SettingsError
from pipelines.tokens.mixture_file import OTHERS, Wish
from pipelines.tokens.pass_size import SUBJECT, Group


@dataclass(frozen=True, order=True)
class Source:
    """What is drawn from by itself: a corpus, or one bucket of it."""

    corpus: str
    bucket: str = ""

    @property
    def name(self) -> str:
        """As in tables and in mixture.json."""
        return f"{self.corpus}/{self.bucket}" if self.bucket else self.corpus


def is_read(corpora: Mapping[str, Wish], corpus: str) -> bool:
    """Whether the mixture is to read a corpus at all."""
    return not corpora or corpus in corpora or OTHERS in corpora


def refuse_unknown(
    corpora: Mapping[str, Wish],
    by_bucket: Mapping[str, Wish],
    known_corpora: Sequence[str],
    known_buckets: Mapping[str, Sequence[str]],
) -> None:
    """Refuse names that are of nothing.

    Args:
        corpora: what is asked, by corpus.
        by_bucket: what is asked of the bucket of that name in every corpus.
        known_corpora: those that have token shards.
        known_buckets: corpus to the buckets it is packed into, also those without a document.

    Raises:
        MissingDataError: no shards of a corpus.
        SettingsError: no such bucket.
    """
    for name, wish in corpora.items():
        if name == OTHERS:
            continue
        if name not in known_corpora:
            raise MissingDataError(
                f"no token_shards of {name}, which the settings of training_mixture name{_near(name, known_corpora)}: "
                f"run `gristmill run {name} --through token_shards` first, or take it out of `corpora`"
            )
        for bucket in wish.buckets:
            _refuse_bucket(f"{name} has no bucket {bucket!r}", bucket, known_buckets.get(name, ()))
    everywhere = sorted({bucket for buckets in known_buckets.values() for bucket in buckets})
    for bucket in (*by_bucket, *corpora.get(OTHERS, Wish()).buckets):
        _refuse_bucket(f"no corpus of the mixture has a bucket {bucket!r}", bucket, everywhere)


def group(
    sources: Sequence[Source], corpora: Mapping[str, Wish], by_bucket: Mapping[str, Wish], max_epochs: float
) -> tuple[list[Group], list[Source]]:
    """What is asked of all sources together.

    The epochs of a bucket are those that its corpus gives it, else those of `by_bucket`, else those of the corpus. In a
    corpus with a proportion and no epochs of its own they only weigh its buckets against each other. Without a
    proportion, a bucket that has no epochs from anywhere is one of which nothing is asked.

    Args:
        sources: those that hold something.
        corpora: what is asked, by corpus.
        by_bucket: what is asked of a bucket in every corpus that has it.
        max_epochs: cap of what has none of its own.

    Returns:
        The groups, and the sources that are not to be read.
    """
    groups: list[Group] = []
    left_out: list[Source] = []
    for corpus in dict.fromkeys(source.corpus for source in sources):
        wish = corpora.get(corpus) or corpora.get(OTHERS) or Wish()
        weights: dict[str, float | None] = {}
        caps: dict[str, float] = {}
        for source in (s for s in sources if s.corpus == corpus):
            bucket = wish.buckets.get(source.bucket) or by_bucket.get(source.bucket) or Wish()
            asked = bucket.epochs if bucket.epochs is not None else wish.epochs
            cap = bucket.max_epochs or wish.max_epochs or max_epochs
            if asked == 0:
                left_out.append(source)
            elif bucket.proportion is not None:
                weight = {source.name: 1.0 if bucket.epochs is None else bucket.epochs}
                is_fixed = bucket.epochs is not None
                groups.append(Group(source.name, weight, bucket.proportion, is_fixed, {source.name: cap}))
            else:
                weights[source.name], caps[source.name] = asked, cap
        groups += _of_corpus(corpus, wish, weights, caps)
    return groups, left_out


def _of_corpus(corpus: str, wish: Wish, weights: Mapping[str, float | None], caps: Mapping[str, float]) -> list[Group]:
    """One group where the corpus has a proportion; else what has a number of epochs, and what has none."""
    filled = {name: 1.0 if weight is None else weight for name, weight in weights.items()}
    if wish.proportion is not None and filled:
        return [Group(corpus, filled, wish.proportion, wish.epochs is not None, caps)]
    groups: list[Group] = []
    for is_fixed in (True, False):
        chosen = {name: weight for name, weight in filled.items() if (weights[name] is not None) == is_fixed}
        if chosen:
            label = corpus if len(chosen) == len(filled) else " and ".join(chosen)
            groups.append(Group(label, chosen, None, is_fixed, {name: caps[name] for name in chosen}))
    return groups


def _refuse_bucket(problem: str, bucket: str, known: Sequence[str]) -> None:
    if bucket in known:
        return
    there = f"there are {', '.join(map(repr, known))}" if known else "token_shards.buckets sorts documents into buckets"
    raise SettingsError(f"{SUBJECT}: {problem}{_near(bucket, known)}; {there}")


def _near(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {found[0]!r}?)" if found else ""
