"""The text of a document that was never a page: kept as its author laid it out."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ufeff]")
_BLANK_LINES = 2  # PEP 8 parts functions by two
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def as_written(text: str) -> str:
    """`text` with line feeds at line ends, no white space before them, and no control characters or byte order marks.

    Indentation means something in code and in verse, and a blank line parts paragraphs: both stay, though no more than
    two blank lines in a row.
    """
    lines = _CONTROL.sub("", _LINE_END.sub("\n", text)).split("\n")
    kept: list[str] = []
    blank = 0
    for line in lines:
        stripped = line.rstrip()
        blank = 0 if stripped else blank + 1
        if blank <= _BLANK_LINES:
            kept.append(stripped)
    return "\n".join(kept).strip("\n")
