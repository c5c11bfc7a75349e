"""What a committed partition holds, as one hash: the same bytes made twice, from whatever, are the same content."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

# Whoever reads these reads their settings too: one signature cut into 14 bands of 8 or 7 of 16 is not one content.
_READ_WITH_SETTINGS = frozenset({"minhash_signatures"})


def content_version(asset: str, report: Mapping[str, Any]) -> str:
    """Hash of the files that a report commits: their names, rows and sha256, not their bytes again.

    Unlike the fingerprint, it knows nothing of inputs, settings and code: what is made again with the same result
    has the same version, so that nothing downstream is out of date for it.

    Args:
        asset: of the stage table.
        report: as committed. What a stage rejected or measured is not its content.
    """
    files = sorted(
        (str(f.get("kind")), str(f.get("segment")), str(f["name"]), f.get("rows"), f.get("sha256"))
        for f in report.get("files", ())
    )
    facts: dict[str, Any] = {"files": files}
    if report.get("files") is None:  # data put there by hand: nothing better is known
        facts["fingerprint"] = report.get("fingerprint")
    if asset in _READ_WITH_SETTINGS:
        facts["settings"] = report.get("settings")
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]
