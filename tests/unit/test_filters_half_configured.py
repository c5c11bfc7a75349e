"""Limits without the model or list that they are on: refused where a run is planned, not in a recipe or in what-if."""

from typing import Any

import pytest

from gristmill.core.errors import SettingsError
from gristmill.core.settings import build
from pipelines.filters import quality


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"classifier_keep_top": 0.1}, "classifier_path"),
        ({"classifier_threshold": 0.5}, "classifier_path"),
        ({"max_explicit_hits": 3}, "explicit_words"),
        ({"max_boilerplate_share": 0.1, "explicit_words": {"en": "x"}}, "boilerplate_phrases"),
        ({"min_contaminated_ngrams": 3}, "evaluation_sets"),
        ({"evaluation_fields": ["question"]}, "evaluation_sets"),
        ({"perplexity_cutoffs": {"en": [100, 200]}}, "perplexity_models"),
        ({"worst_perplexity_bucket": "head"}, "perplexity_models"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_a_limit_without_its_model_or_list_is_refused(given: dict[str, Any], needed: str) -> None:
    settings = build(quality.Settings, given, "here")
    name = next(iter(given))
    with pytest.raises(SettingsError, match=f"^{name} is .*{needed} is not set.*; set {needed}, or leave {name} out$"):
        quality.files(settings)


def test_defaults_and_whole_settings_are_taken() -> None:
    assert quality.files(quality.Settings()) == ()
    whole = quality.Settings(classifier_path="m.bin", classifier_keep_top=0.1, explicit_words={"en": "x.txt"})
    assert quality.files(whole) == ("m.bin", "x.txt")


def test_cutoffs_of_a_language_without_a_model_are_refused() -> None:
    half = quality.Settings(perplexity_models={"en": "en.arpa"}, perplexity_cutoffs={"de": (1.0, 2.0)})
    with pytest.raises(SettingsError, match="perplexity_cutoffs has de, for which perplexity_models has no model"):
        quality.files(half)
