"""Presidio's recognizer objects, as a file of recognizers and the settings ask for them; none uses the network."""

import inspect
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from gristmill.core.errors import SettingsError
from pipelines.hidden_imports import DEEP_LEARNING, hidden
from pipelines.privacy import checks
from pipelines.privacy.recognizer_file import Declared, RecognizerFile, read_recognizers
from pipelines.privacy.recognizer_settings import RecognizerSettings

LANGUAGE = "en"  # what every recognizer is told; patterns know no language
_ROOMS = tuple(f"presidio_analyzer.predefined_recognizers.{room}." for room in ("generic", "country_specific"))
_OURS = ("supported_language", "context", "supported_regions", "leniency")  # arguments that a file may not give
_MULTILINE, _DOTALL, _IGNORECASE = 8, 16, 2  # regex's flags


def build_recognizers(settings: RecognizerSettings) -> tuple[list[Any], RecognizerFile]:
    """Recognizer objects of Presidio in the order of the file, and the file.

    Raises:
        SettingsError: the file, a recognizer in it, or `entities` or `countries` of the settings is wrong.
    """
    file = read_recognizers(settings.recognizers)
    if settings.countries is not None:
        countries = {country for declared in file.recognizers if (country := _country(declared))}
        _check_known(settings.countries, countries, "countries")
    built = [(_country(declared), _build(declared, settings)) for declared in file.recognizers if declared.is_enabled]
    chosen = settings.countries
    wanted = [recognizer for country, recognizer in built if chosen is None or country is None or country in chosen]
    if settings.entities is not None:
        _check_known(settings.entities, {e for _, r in built for e in r.supported_entities}, "entities")
        wanted = [recognizer for recognizer in wanted if set(recognizer.supported_entities) & set(settings.entities)]
    return wanted, file


def plain_analyzer(settings: RecognizerSettings) -> Any:
    """Presidio's own AnalyzerEngine with the same recognizers and no language model: what ours is compared with."""
    with hidden(*DEEP_LEARNING):
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import NoOpNlpEngine
    recognizers, _ = build_recognizers(settings)
    engine = NoOpNlpEngine([{"lang_code": LANGUAGE, "model_name": ""}])
    return AnalyzerEngine(registry=RecognizerRegistry(recognizers), nlp_engine=engine)


def _check_known(chosen: Sequence[str], known: set[str], setting: str) -> None:
    for name in chosen:
        if name not in known:
            raise SettingsError(f"{setting} has {name!r}, which no recognizer is for; known are {_listed(known)}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _country(declared: Declared) -> str | None:
    return declared.country or getattr(_classes().get(declared.name), "COUNTRY_CODE", None)


def _build(declared: Declared, settings: RecognizerSettings) -> Any:
    if declared.entity is not None:
        return _own(declared, declared.entity)
    kind = _classes().get(declared.name)
    if kind is None:
        raise SettingsError(f"{declared.where}: Presidio has no recognizer {declared.name!r} that works by patterns")
    arguments = dict(declared.arguments)
    if declared.patterns:
        arguments["patterns"] = _patterns(declared)
    known = set(inspect.signature(kind.__init__).parameters) - {"self", *_OURS}
    for name in arguments:
        if name not in known:
            raise SettingsError(f"{declared.where}: {declared.name} takes no {name!r}; known are {_listed(known)}")
    if issubclass(kind, _classes()["PhoneRecognizer"]):
        arguments |= {"supported_regions": settings.phone_regions, "leniency": settings.phone_leniency}
    try:
        return kind(**arguments, supported_language=LANGUAGE)
    except (TypeError, ValueError, AttributeError) as error:
        raise SettingsError(f"{declared.where}: {declared.name} does not take these arguments: {error}") from None


def _own(declared: Declared, entity: str) -> Any:
    from presidio_analyzer import PatternRecognizer

    class Checked(PatternRecognizer):
        """Presidio's, with a checksum."""

        def validate_result(self, pattern_text: str) -> bool:
            return checks.BY_NAME[declared.check or ""](pattern_text)

    kind = Checked if declared.check else PatternRecognizer
    return kind(
        supported_entity=entity,
        name=declared.name,
        supported_language=LANGUAGE,
        patterns=_patterns(declared),
        deny_list=list(declared.deny),
        deny_list_score=declared.deny_score,
        global_regex_flags=_MULTILINE | _DOTALL | (_IGNORECASE if declared.ignore_case else 0),
    )


def _patterns(declared: Declared) -> list[Any]:
    from presidio_analyzer import Pattern

    return [Pattern(pattern.name, pattern.regex, pattern.score) for pattern in declared.patterns]


@lru_cache
def _classes() -> dict[str, Any]:
    """Presidio's recognizers without a model and without a service, by name."""
    with hidden(*DEEP_LEARNING):
        from presidio_analyzer import predefined_recognizers as presidio
    from tldextract import TLDExtract

    # No URL: the list of domain suffixes is the one in the package, never a download.
    suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)

    class EmailRecognizer(presidio.EmailRecognizer):
        """Presidio's, but for where it takes the domain suffixes from."""

        def validate_result(self, pattern_text: str) -> bool:
            return suffixes(pattern_text).fqdn != ""

    found = {
        name: kind
        for name, kind in vars(presidio).items()
        if inspect.isclass(kind) and kind.__module__.startswith(_ROOMS)
    }
    return found | {"EmailRecognizer": EmailRecognizer}
