"""Which models a model was grown from: an adapter from its base, and that from the run that read the corpus."""

import posixpath
from typing import Any, cast

from gristmill.core.layout import REPORT_NAME, Layout

_MOST_BASES = 32  # of one another; more are a circle


def base_of(layout: Layout, asset: str, run_id: str) -> tuple[str, str] | None:
    """Asset and run id of the model that a run started from; None where it started from nothing, or from a model
    outside the root."""
    folder = layout.model_dir(asset, run_id)
    for name, key in ((REPORT_NAME, "base_model"), ("config.json", "base")):
        said: dict[str, Any] = layout.read_json(posixpath.join(folder, name)) or {}
        path = said.get(key)
        if isinstance(path, str) and path:
            parts = path.rstrip("/").split("/")
            if parts[-1] == "final" and len(parts) > 3 and parts[-4] == "models":
                return parts[-3], parts[-2]
    return None


def roots_of(layout: Layout, asset: str, run_id: str) -> list[tuple[str, str]]:
    """The run itself and all that it was grown from, the oldest last."""
    found = [(asset, run_id)]
    while len(found) < _MOST_BASES and (base := base_of(layout, *found[-1])) is not None and base not in found:
        found.append(base)
    return found


def grown_from(layout: Layout) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """Every model run to the runs that were grown from it, directly or not; unfinished ones too."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for path in sorted(cast(list[str], layout.fs.glob(layout.join("models", "*", "*", "config.json")))):
        asset, run_id = path.split("/")[-3:-1]
        for base in roots_of(layout, asset, run_id)[1:]:
            found.setdefault(base, []).append((asset, run_id))
    return found
