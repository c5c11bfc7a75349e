"""What another recipe means for a corpus that has been run: which stages will be decided or run again."""

from dataclasses import dataclass

from gristmill.core.layout import Layout
from gristmill.core.settings import resolve, scoring_names, to_plain
from pipelines.crawl.corpora import Corpus
from pipelines.recipes import Recipe
from pipelines.segments import live_segments
from pipelines.signals import has_signals
from pipelines.stages import STAGES


@dataclass(frozen=True)
class StageToRepeat:
    """A materialized stage whose settings another recipe changes."""

    stage: str
    settings: tuple[str, ...]  # that differ
    is_measured_again: bool  # else it is decided from stored signals


def stages_to_repeat(layout: Layout, corpus: Corpus, before: Recipe | None) -> list[StageToRepeat]:
    """The stages of `corpus` that stand and have other settings now than under the recipe `before`.

    Stages behind them follow with what they read. The settings file of the root counts, as it does in a run.
    """
    found: list[StageToRepeat] = []
    for stage in STAGES:
        sides = [recipe.of(stage.name) if recipe else {} for recipe in (before, corpus.recipe)]
        if sides[0] == sides[1] or all(row.corpus != corpus.name for row in live_segments(layout, stage.name)):
            continue
        old, new = (
            to_plain(resolve(stage.settings_class, stage.name, layout.root, None, {}, dict(side))) for side in sides
        )
        changed = tuple(name for name in new if new[name] != old[name])
        if changed:
            is_measured = not has_signals(stage.load()) or bool(scoring_names(stage.settings_class) & set(changed))
            found.append(StageToRepeat(stage.name, changed, is_measured))
    return found
