"""Ways to start the ranks of a run: on this machine, by torchrun, by DeepSpeed's launcher, or by one of your own.

A launcher has one method, `start(job)`, which returns a handle: a context manager with `watch` and `stop`. Another one
(for Slurm, say, or Kubernetes) is a class in an installed package, named under the entry point group
`gristmill.launchers` and chosen by that name; its constructor takes PretrainSettings. It has to start `job.command()`
once per rank with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT set, and to hand on what rank 0 prints;
`CommandHandle` does everything else for a launcher that is a command.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from gristmill.core.errors import SettingsError
from gristmill.core.progress import Reporter
from training.arguments import PretrainSettings
from training.hostfile import Host, read_hostfile
from training.launch import Ranks
from training.lease import Lease
from training.member import MemberHandle, start_member
from training.rank_environment import inherited, local_environments, named_values, with_interface

ENTRY_POINTS = "gristmill.launchers"


@dataclass(frozen=True)
class Job:
    """What is to run on every rank. Holds names of variables, never values."""

    module: str
    arguments: tuple[str, ...]
    ranks: int
    folder: Path  # the run's; remote ranks must see the same
    environment: tuple[str, ...] = ()  # names of variables that ranks are given
    interface: str = ""  # network interface that ranks meet over
    join_seconds: float = 300.0  # until all ranks are there

    @property
    def member(self) -> list[str]:
        """The module and arguments that a launcher starts once per rank."""
        names = [word for name in self.environment for word in ("--pass", name)]
        interface = ["--interface", self.interface] if self.interface else []
        wait = ["--join-seconds", f"{self.join_seconds:g}"]
        folder = ["--run-folder", str(self.folder)]
        return ["training.member", *folder, *wait, *interface, *names, self.module, *self.arguments]

    def command(self) -> list[str]:
        """The command that a launcher starts once per rank."""
        return [sys.executable, "-m", *self.member]


class Handle(Protocol):
    """Running ranks; as a context manager it leaves none of them behind."""

    def __enter__(self) -> "Handle": ...

    def __exit__(self, *_: object) -> None: ...

    def watch(self, reporter: Reporter) -> int:
        """Pass on what rank 0 reports until all have ended; 0, or STOPPED where they were asked to stop.

        Raises:
            GristmillError: the run's own reason, or that a rank died.
        """
        ...

    def stop(self) -> None:
        """Ask all ranks to save a checkpoint and end; may be called in a signal handler."""
        ...


class Launcher(Protocol):
    """Starts jobs."""

    def start(self, job: Job) -> Handle:
        """Start the ranks of `job`."""
        ...


class LocalHandle(Ranks):
    """Ranks of this machine, which meet over a file."""

    def __init__(self, job: Job) -> None:
        logs = job.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._rendezvous = logs / ".rendezvous"  # the run's lock is held: there is no other
        self._rendezvous.unlink(missing_ok=True)
        super().__init__(
            job.module, job.arguments, local_environments(job.ranks, self._rendezvous, job.environment), logs
        )

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._rendezvous.unlink(missing_ok=True)


class LocalLauncher:
    """Ranks as child processes of this one."""

    def __init__(self, _: PretrainSettings | None = None) -> None:
        pass

    def start(self, job: Job) -> Handle:
        """Start them."""
        return LocalHandle(job)


class TorchrunLauncher:
    """torchrun on this machine; with `nodes` above 1 as the first of them, the others join by the line it reports."""

    def __init__(self, settings: PretrainSettings) -> None:
        self._settings = settings

    def start(self, job: Job) -> Handle:
        """Start this node's share of the ranks."""
        from training.outside import CommandHandle

        settings = self._settings
        place = [
            f"--nnodes={settings.nodes}",
            "--node-rank=0",
            f"--nproc-per-node={job.ranks // settings.nodes}",
            f"--master-addr={settings.master_address or '127.0.0.1'}",
            f"--master-port={settings.master_port}",
            "--shutdown-timeout=120",  # ranks save first; torchrun's own patience is 30 s
        ]
        command = [sys.executable, "-m", "torch.distributed.run", *place, "-m", *job.member]
        return CommandHandle(command, with_interface(inherited(job.environment), job.interface), job.folder)


class DeepspeedLauncher:
    """DeepSpeed's launcher over the hosts of a hostfile, by pdsh and ssh; without one, on this machine."""

    def __init__(self, settings: PretrainSettings) -> None:
        self._settings = settings
        self._hosts: tuple[Host, ...] = ()
        if settings.hostfile:
            hosts = read_hostfile(settings.hostfile)
            slots = sum(host.slots for host in hosts)
            self._hosts = hosts if [host.name for host in hosts] != ["localhost"] else ()  # that needs no ssh
            if slots != settings.ranks:
                raise SettingsError(
                    f"hostfile {settings.hostfile} has {slots} slots and setting ranks is {settings.ranks}: give both "
                    "the same number"
                )

    def start(self, job: Job) -> Handle:
        """Start the ranks on all hosts."""
        from training.outside import CommandHandle

        settings = self._settings
        _refuse_shell_characters([sys.executable, str(Path.cwd()), *job.member])
        if self._hosts:
            address = [f"--master_addr={settings.master_address}"] if settings.master_address else []
            place = [f"--hostfile={Path(settings.hostfile).absolute()}", "--force_multi", *address]
            command = [
                sys.executable,
                "-m",
                "deepspeed.launcher.runner",
                *place,
                f"--master_port={settings.master_port}",
            ]
        else:
            command = [
                *(sys.executable, "-m", "deepspeed.launcher.launch", f"--world_info={_world_info(job.ranks)}"),
                *("--master_addr=127.0.0.1", f"--master_port={settings.master_port}"),
            ]
        command += ["--no_local_rank", "--module", *job.member]
        environment = with_interface(inherited(()), job.interface)
        environment.setdefault("DS_ACCELERATOR", _accelerator())
        return CommandHandle(command, environment, job.folder, handed=named_values(job.environment))


class GivenPlaceLauncher:
    """For rank 0 where torchrun, DeepSpeed's launcher, srun or Kubernetes started every rank: starts this one."""

    def __init__(self, place: tuple[int, int]) -> None:
        self._place = place

    def start(self, job: Job) -> Handle:
        """Lead the other ranks, wait for them, and start the one at this process's place."""
        return _LeadingHandle(job, self._place)


class _LeadingHandle:
    def __init__(self, job: Job, place: tuple[int, int]) -> None:
        self._lease = Lease(job.folder)
        self._lease.__enter__()
        try:
            self._member: MemberHandle = start_member(
                job.folder, place, job.module, job.arguments, job.environment, job.interface, job.join_seconds
            )
        except BaseException:
            self._lease.__exit__()
            raise

    def __enter__(self) -> "_LeadingHandle":
        return self

    def __exit__(self, *_: object) -> None:
        self._member.__exit__()
        self._lease.__exit__()

    def stop(self) -> None:
        self._lease.stop()
        self._member.stop()

    def watch(self, reporter: Reporter) -> int:
        return self._member.watch(reporter)


def join_line(root: str, settings: PretrainSettings) -> str:
    """How the other nodes' ranks are started, where torchrun starts only this node's."""
    return (
        f"waiting for {settings.nodes - 1} more nodes: on node N of 1 to {settings.nodes - 1} run `torchrun "
        f"--nnodes={settings.nodes} --node-rank=N --nproc-per-node={settings.ranks // settings.nodes} "
        f"--master-addr={settings.master_address} --master-port={settings.master_port} -m training.pretrain "
        f"--root {root}`, with the settings of this run"
    )


def _world_info(ranks: int) -> str:
    import base64
    import json

    return base64.urlsafe_b64encode(json.dumps({"localhost": list(range(ranks))}).encode()).decode()


def _accelerator() -> str:
    """What DeepSpeed's launcher is to count: it takes a machine for a GPU's where triton is installed."""
    return "cuda" if Path("/proc/driver/nvidia/version").exists() else "cpu"


def _refuse_shell_characters(words: Sequence[str]) -> None:
    """DeepSpeed hands a command to remote shells as it is."""
    for word in words:
        if any(not (c.isalnum() or c in "@%+=:,./_-") for c in word):
            raise SettingsError(f"launcher deepspeed starts ranks through a shell, and {word!r} means something to it: "
                                "give paths of letters, digits and . _ - / alone")  # fmt: skip


LAUNCHERS: dict[str, Callable[[PretrainSettings], Launcher]] = {
    "local": LocalLauncher,
    "torchrun": TorchrunLauncher,
    "deepspeed": DeepspeedLauncher,
}


def launcher_for(settings: PretrainSettings) -> Launcher:
    """The launcher that the settings name.

    Args:
        settings: of the run.

    Raises:
        SettingsError: there is none of that name, or what it needs is missing or wrong.
    """
    made = LAUNCHERS.get(settings.launcher)
    if made is None:
        others = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if settings.launcher not in others:
            known = ", ".join([*LAUNCHERS, *sorted(others)])
            raise SettingsError(f"launcher {settings.launcher!r} is not known; choose {known}")
        made = others[settings.launcher].load()
    return made(settings)
