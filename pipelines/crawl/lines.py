"""The form in which text is stored: a paragraph, a list item, a table row or a line of code to a line."""

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff\ufeff]")
_LINE_END = re.compile(r"\r\n?|[\x0b\x0c\x85\u2028\u2029]")


def normalise(text: str) -> str:
    """Text with a paragraph to a line: no blank lines, no white space at line ends, no control characters.

    The line rules of FineWeb and Gopher were tuned on text of that form, which is what trafilatura writes.
    """
    lines = text.split("\n")
    if not all(map(str.isprintable, lines)):  # so are all characters that the expressions look for
        lines = "\n".join([line if line.isprintable() else _mended(line) for line in lines]).split("\n")
    # Time in proportion to the text whatever it holds; `\s*\n\s*` takes the square of a run of spaces.
    return "\n".join(filter(None, map(str.strip, lines)))


def _mended(line: str) -> str:
    return _CONTROL.sub("", _LINE_END.sub("\n", line))
