"""Text from the web as a terminal may have it: nothing that moves the cursor, colours, or turns text around."""

import unicodedata

from gristmill.cli.output import plain

_KEPT = frozenset("\n\t")


def escaped(text: str) -> str:
    """`text` with control and format characters written out (`\\x1b`, `\\u202e`); line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def escaped_line(text: str) -> str:
    """`text` as one line: line ends and tabs are written out too."""
    return escaped(text).replace("\n", "\\n").replace("\t", "\\t")


def plain_line(text: str) -> str:
    """`escaped_line` for what rich prints, where square brackets would be markup."""
    return plain(escaped_line(text))


def blanked(text: str) -> str:
    """`text`, character for character: a space for white space, U+FFFD for what can't be printed. For texts side by
    side, where words are compared and columns have to stay."""
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _shown(character: str) -> str:
    if character in _KEPT or character.isprintable():
        return character
    if unicodedata.category(character) == "Zs":  # a space of another width is only a space
        return character
    return character.encode("unicode_escape").decode("ascii")
