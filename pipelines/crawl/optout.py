"""Whether a page's owner reserves it: robots directives and the TDM Reservation Protocol."""

from typing import Protocol


class OptOutSettings(Protocol):
    """The settings that say what counts as an opt-out."""

    @property
    def is_honouring_opt_out(self) -> bool:
        """Whether robots directives count."""
        ...

    @property
    def opt_out_directives(self) -> tuple[str, ...]:
        """Which of them."""
        ...

    @property
    def is_honouring_noindex(self) -> bool:
        """Whether `noindex` and `none` count too."""
        ...

    @property
    def is_honouring_tdm_reservation(self) -> bool:
        """Whether `tdm-reservation: 1` counts."""
        ...


def opt_out(robots: str | None, tdm: str | None, settings: OptOutSettings) -> str | None:
    """What reserves the page, in words for a person; None if nothing does.

    Args:
        robots: directives of X-Robots-Tag or meta robots; `agent: directive` counts for any agent.
        tdm: value of tdm-reservation.
        settings: what counts.
    """
    if settings.is_honouring_tdm_reservation and (tdm or "").strip() == "1":
        return "tdm-reservation: 1"
    if not robots or not settings.is_honouring_opt_out:
        return None
    unwanted = {d.lower() for d in settings.opt_out_directives}
    if settings.is_honouring_noindex:
        unwanted |= {"noindex", "none"}
    found = {token.strip() for token in robots.lower().replace(":", ",").replace(";", ",").split(",")}
    hits = sorted(found & unwanted)
    return f"robots: {hits[0]}" if hits else None
