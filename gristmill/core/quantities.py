"""Quantities as people read them."""

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def human_bytes(count: float) -> str:
    """Bytes in the unit a person would choose, of powers of 1,000: 1,530,000 -> 1.5 MB."""
    index = 0
    while abs(count) >= 999.5 and index < len(_UNITS) - 1:  # 999,700 B is 1.0 MB, not 1000 kB
        count, index = count / 1000, index + 1
    return f"{count:.1f} {_UNITS[index]}" if index else f"{count:.0f} B"
