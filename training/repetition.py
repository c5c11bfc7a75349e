"""What a whole training run repeats: a mixture's epochs are those of one pass, and a run may take several."""

import posixpath
from collections.abc import Mapping
from typing import Any, cast

from gristmill.core.errors import MissingDataError
from gristmill.core.layout import REPORT_NAME, Layout
from training.shards import Mixture

_NAMED = 3  # sources in the line; the rest is counted


def repetition_warning(layout: Layout, mixture: Mixture, passes: float) -> str:
    """One line on the sources that a run reads more often than `warn_epochs` of training_mixture; "" where none is.

    Args:
        layout: the root.
        mixture: what is read.
        passes: over the mixture that the run takes.
    """
    limit = _warn_epochs(layout)
    over = {c.name: c.epochs * passes for c in mixture.corpora if c.epochs * passes > limit}
    if not over:
        return ""
    ranked = sorted(over.items(), key=lambda item: (-item[1], item[0]))
    named = ", ".join(f"{name} {epochs:.3g} times" for name, epochs in ranked[:_NAMED])
    more = f" and {len(ranked) - _NAMED:,} more" if len(ranked) > _NAMED else ""
    return (
        f"this run reads {named}{more}: above {limit:g} epochs repeated text is worth less than new "
        "(Muennighoff et al. 2023); take fewer steps or add documents"
    )


def _warn_epochs(layout: Layout) -> float:
    """The setting that the mixture was made with; infinite where none is known."""
    try:
        path = posixpath.join(layout.singleton_dir("training_mixture"), REPORT_NAME)
        settings = (layout.read_json(path) or {}).get("settings", {})
    except MissingDataError:  # a damaged report is no reason not to train
        return float("inf")
    value = cast(Mapping[str, Any], settings).get("warn_epochs") if isinstance(settings, Mapping) else None
    return float(value) if isinstance(value, int | float) else float("inf")
