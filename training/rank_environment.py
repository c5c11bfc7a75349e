"""The environment of ranks: what they inherit, and which variables have to be asked for by name.

A variable that looks like a secret reaches a rank only where the setting `environment` names it. Values are in no
settings, config or log.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from gristmill.core.errors import SettingsError

LAUNCHER_VARIABLE = "GRISTMILL_LAUNCHER_PID"
RENDEZVOUS_VARIABLE = "GRISTMILL_RENDEZVOUS"
INTERFACE_VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
# Parts of a name, between underscores, by which a variable is taken for a secret.
SECRET_WORDS = frozenset(
    {"SECRET", "SECRETS", "TOKEN", "TOKENS", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "KEY"}
)
_LOGIN_IN_ADDRESS = re.compile(r"://[^/@\s]*:[^/@\s]*@")  # postgresql://user:password@host
_PIPES_VARIABLE = "DAGSTER_PIPES_CONTEXT"  # the launcher alone speaks to Dagster


def is_secret(name: str, value: str) -> bool:
    """Whether a variable looks like a secret: by a word of its name, or a login within an address."""
    return not SECRET_WORDS.isdisjoint(name.upper().split("_")) or _LOGIN_IN_ADDRESS.search(value) is not None


def named_values(names: Sequence[str]) -> dict[str, str]:
    """The variables that the setting `environment` names.

    Raises:
        SettingsError: one is not set here; the message names it and holds no value.
    """
    for name in names:
        if name not in os.environ:
            raise SettingsError(f"setting environment names {name}, which is not set where the run is launched: set it")
    return {name: os.environ[name] for name in names}


def inherited(names: Sequence[str]) -> dict[str, str]:
    """What ranks inherit from this process: everything but secrets, and those that are named.

    Raises:
        SettingsError: a named one is not set here.
    """
    plain = {name: value for name, value in os.environ.items() if not is_secret(name, value)}
    plain.pop(_PIPES_VARIABLE, None)
    return plain | named_values(names)


def with_interface(environment: Mapping[str, str], interface: str) -> dict[str, str]:
    """The environment with the network interface that ranks meet over, where it names none by itself."""
    return {name: interface for name in INTERFACE_VARIABLES if interface} | dict(environment)


def threads_each(ranks: int) -> int:
    """Processor cores of this machine, shared out evenly over its ranks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // max(1, ranks))


def local_environments(ranks: int, rendezvous: Path, names: Sequence[str] = ()) -> list[dict[str, str]]:
    """One environment per rank of this machine alone; they meet over a file and nothing listens beyond loopback."""
    shared = inherited(names) | {
        "WORLD_SIZE": str(ranks),
        "LOCAL_WORLD_SIZE": str(ranks),
        "MASTER_ADDR": "127.0.0.1",  # libraries look for it; the file below is what is used
        "MASTER_PORT": "0",
        RENDEZVOUS_VARIABLE: str(rendezvous),
        LAUNCHER_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads_each(ranks)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
    if sys.platform == "linux":
        shared |= dict.fromkeys(INTERFACE_VARIABLES, "lo")
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]


def member_environment(names: Sequence[str], interface: str, handed: Mapping[str, str]) -> dict[str, str]:
    """The environment of a rank that another launcher (torchrun, DeepSpeed's, srun) gave its place to.

    Args:
        names: of the variables passed on; those that are set on this node.
        interface: network interface, or empty.
        handed: values that came from the launching machine; they win over this node's own.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE") or os.environ.get("LOCAL_SIZE") or 1)  # DeepSpeed says LOCAL_SIZE
    environment = inherited([name for name in names if name in os.environ]) | dict(handed)
    environment.pop(RENDEZVOUS_VARIABLE, None)  # they meet at MASTER_ADDR
    return with_interface(environment, interface) | {
        "LOCAL_RANK": os.environ.get("LOCAL_RANK", "0"),
        "LOCAL_WORLD_SIZE": str(local),
        LAUNCHER_VARIABLE: str(os.getpid()),
        "OMP_NUM_THREADS": str(threads_each(local)),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
    }
