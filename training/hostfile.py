"""DeepSpeed's hostfile: one `HOST slots=N` a line; `#` begins a comment. Read strictly, since hosts reach a shell."""

import re
from dataclasses import dataclass
from pathlib import Path

from gristmill.core.errors import SettingsError

# Host names, IPv4 and bracketless IPv6, with a user before it as ssh takes it; nothing that a shell could act on.
_HOST = re.compile(r"(?:[A-Za-z_][A-Za-z0-9_.-]*@)?[A-Za-z0-9](?:[A-Za-z0-9._:-]*[A-Za-z0-9])?")
_LINE = re.compile(r"(\S+)\s+slots=(\d{1,5})")


@dataclass(frozen=True)
class Host:
    """One node and how many ranks run there."""

    name: str
    slots: int


def read_hostfile(path: str | Path) -> tuple[Host, ...]:
    """The hosts in their order, which is that of the ranks.

    Raises:
        SettingsError: it can't be read, a line is no `HOST slots=N`, a host is given twice, or there is none.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SettingsError(f"hostfile {path}: {reason}; give a file of lines `HOST slots=N`") from None
    hosts: dict[str, Host] = {}
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        if found is None or _HOST.fullmatch(found[1]) is None:
            raise SettingsError(f"hostfile {path}, line {number}: {text[:80]!r} is not `HOST slots=N`")
        host = Host(found[1], int(found[2]))
        if host.slots < 1:
            raise SettingsError(f"hostfile {path}, line {number}: {host.name} has no slots; leave it out")
        if host.name in hosts:
            raise SettingsError(f"hostfile {path}, line {number}: {host.name} is there twice; add its slots up")
        hosts[host.name] = host
    if not hosts:
        raise SettingsError(f"hostfile {path} names no host; give lines `HOST slots=N`")
    return tuple(hosts.values())
