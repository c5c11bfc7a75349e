"""Takedowns: pages, hosts and documents that somebody asked to be removed, and that stay out from then on.

<root>/takedowns.yaml lists them (`file`), `patterns` says what one may be, `matching` which documents it means.
`extracted_documents` leaves them out (`carving`); all that follows is made again from what is left.
"""

from pipelines.takedowns.file import NAME, load
from pipelines.takedowns.matching import REASON, Takedowns
from pipelines.takedowns.patterns import Pattern, parse

__all__ = ["NAME", "REASON", "Pattern", "Takedowns", "load", "parse"]
