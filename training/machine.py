"""What memory this machine has for training, asked of the driver and the kernel without loading torch."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_MEBIBYTE = 1 << 20
_DRIVER_SECONDS = 20.0  # nvidia-smi answers in one or two, or hangs with a sick driver
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_MEMINFO = "/proc/meminfo"


@dataclass(frozen=True)
class Machine:
    """The memory that ranks of this machine share out."""

    gpu: str  # the driver's name of the first GPU; empty: there is none
    gpu_bytes: tuple[int, ...]  # memory of each GPU that CUDA may use
    host_bytes: int  # that of the machine, or of the container where it has less


def this_machine() -> Machine:
    """Look at the GPUs that CUDA_VISIBLE_DEVICES leaves, and at the host's memory."""
    found = _gpus()
    return Machine(gpu=found[0][0] if found else "", gpu_bytes=tuple(size for _, size in found), host_bytes=_host())


def _gpus() -> list[tuple[str, int]]:
    """Name and bytes of each visible GPU; none where there is no driver, or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=_DRIVER_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError):
        return []
    return visible(answer.stdout, os.environ.get("CUDA_VISIBLE_DEVICES")) if answer.returncode == 0 else []


def visible(listed: str, only: str | None) -> list[tuple[str, int]]:
    """Name and bytes of the GPUs in nvidia-smi's answer.

    Args:
        listed: a line per GPU: index, uuid, name, MiB.
        only: CUDA_VISIBLE_DEVICES: indices or beginnings of uuids, as CUDA reads it up to the first it does not know;
            None: all.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in listed.splitlines()]
    rows = [row for row in rows if len(row) == 4 and row[3].isdigit()]
    if only is not None:
        chosen: list[list[str]] = []
        for name in (part.strip() for part in only.split(",")):
            matching = [row for row in rows if name and (row[0] == name or row[1].startswith(name))]
            if not matching:
                break
            chosen.append(matching[0])
        rows = chosen
    return [(row[2], int(row[3]) * _MEBIBYTE) for row in rows]


def _host() -> int:
    limits = [_total(Path(_MEMINFO))]
    for name in _CGROUP_LIMITS:
        try:
            text = Path(name).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limit for limit in limits if limit > 0)


def _total(meminfo: Path) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except OSError:  # not Linux
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kibibytes = next(line.split()[1] for line in lines if line.startswith("MemTotal:"))
    return int(kibibytes) << 10
