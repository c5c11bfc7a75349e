"""Whether a page's owner reserves it: robots directives and the TDM Reservation Protocol."""

import re
from dataclasses import dataclass

# Who collects pages for training, by the names that their operators publish; `robots` speaks to all.
TRAINING_AGENTS = (
    *("robots", "ccbot", "gptbot", "google-extended", "anthropic-ai", "claudebot", "applebot-extended"),
    *("bytespider", "meta-externalagent", "ai2bot", "cohere-ai", "diffbot", "omgili"),
)
_WORD = re.compile(r"([^\s,;:\"']+)(\s*:)?|(;)")
_WITH_VALUE = ("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview")


@dataclass(frozen=True)
class OptOutSettings:
    """What counts as an opt-out."""

    is_honouring_opt_out: bool = True
    """Reject pages whose owner reserves them from text and data mining (Directive (EU) 2019/790, article 4)."""
    opt_out_directives: tuple[str, ...] = ("noai",)
    """Of X-Robots-Tag and meta robots, for whichever agent; `noimageai` speaks of images and is left out."""
    opt_out_agents: tuple[str, ...] = TRAINING_AGENTS
    """Names of meta tags that hold directives, and the agents whose `noindex` counts."""
    is_honouring_tdm_reservation: bool = True
    """TDM Reservation Protocol (W3C community group report, 2024): header or meta `tdm-reservation: 1`."""
    is_honouring_noindex: bool = False
    """`noindex` and `none` speak of search engines, not of training."""


def opt_out(robots: str | None, tdm: str | None, settings: OptOutSettings, policy: str | None = None) -> str | None:
    """What reserves the page, in words for a person; None if nothing does.

    Args:
        robots: directives of X-Robots-Tag headers or meta tags, several of them joined by semicolons;
            `agent: directive, directive` speaks to that agent alone.
        tdm: values of tdm-reservation, joined by commas.
        settings: what counts.
        policy: value of tdm-policy, which says how to get a licence.
    """
    if settings.is_honouring_tdm_reservation and tdm and "1" in re.split(r"[\s,\"']+", tdm):
        return f"tdm-reservation: 1, policy {policy}" if policy else "tdm-reservation: 1"
    if not robots or not settings.is_honouring_opt_out:
        return None
    for_any = {d.lower() for d in settings.opt_out_directives}
    for_us = for_any | ({"noindex", "none"} if settings.is_honouring_noindex else set())
    agents = {agent.lower() for agent in settings.opt_out_agents} | {"*"}
    hits: list[str] = []
    agent: str | None = None
    for word, colon, semicolon in _WORD.findall(robots.lower()):
        if semicolon:
            agent = None
        elif colon and word not in _WITH_VALUE and not word[0].isdigit():  # 15:00 is a time
            agent = word
        elif word in (for_us if agent is None or agent in agents else for_any):
            hits.append(word)
    return f"robots: {min(hits)}" if hits else None
