"""What a launcher and its ranks tell each other without a network: lease, events, hostfile, environment."""

import io
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gristmill.core.errors import EnvironmentProblemError, SettingsError
from gristmill.core.progress import Reporter
from training.arguments import PretrainSettings
from training.events import EVENT_PREFIX, EventReader
from training.hostfile import Host, read_hostfile
from training.launchers import Job, LocalLauncher, launcher_for
from training.lease import LEASE_NAME, Follower, Lease, environment_file
from training.rank_environment import inherited, is_secret


def test_ranks_follow_a_lease_that_lives(tmp_path: Path) -> None:
    follower = Follower(tmp_path, 0, 1)
    with Lease(tmp_path) as lease:
        lease.hand_over({"HUGE_TOKEN": "sesame"})
        path = environment_file(tmp_path, lease.token)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        follower.join(10)
        assert follower.handed() == {"HUGE_TOKEN": "sesame"}
        follower.wait_for_all(10)
        assert not path.exists()  # every rank has read it
        assert follower.state() == "running"
        lease.stop()
        while follower.state() == "running":
            pass
        assert follower.state() == "stopping"
    assert follower.state() == "lost"
    assert [p.name for p in tmp_path.iterdir()] == [LEASE_NAME]


def test_a_lease_left_behind_is_no_launcher(tmp_path: Path) -> None:
    lease = {"token": "a", "beat": 1, "is_stopping": False, "is_over": False, "machine": "", "pid": os.getpid()}
    (tmp_path / LEASE_NAME).write_text(json.dumps(lease))
    with pytest.raises(EnvironmentProblemError, match="sees no launcher at work"):
        Follower(tmp_path, 1, 2).join(0.5)


def test_missing_ranks_are_named(tmp_path: Path) -> None:
    with Lease(tmp_path):
        follower = Follower(tmp_path, 0, 3)
        follower.join(10)
        with pytest.raises(EnvironmentProblemError, match="rank 1, 2 of 3 not seen"):
            follower.wait_for_all(0.3)


def test_another_launcher_ends_the_ranks_of_the_one_before(tmp_path: Path) -> None:
    first = Follower(tmp_path, 0, 1)
    with Lease(tmp_path):
        first.join(10)
        with Lease(tmp_path):
            assert first.state() == "lost"


class _Heard(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def info(self, message: str) -> None:
        self.lines.append(message)


def test_events_come_through_pdsh_and_other_noise(tmp_path: Path) -> None:
    said = f"noise\nworker-1: {EVENT_PREFIX}" + '{"info": "step 1"}\n' + f"{EVENT_PREFIX}broken\n"
    said += f"host: {EVENT_PREFIX}" + '{"error": "the reason"}\n' + EVENT_PREFIX + '{"error": "a later one"}\n'
    heard, log = _Heard(), tmp_path / "log"
    reader = EventReader(io.BytesIO(said.encode()), log)
    reader.finish(heard, 5)
    assert heard.lines == ["step 1"]
    assert reader.error == "the reason"
    assert log.read_text() == "noise\n"


def test_the_death_told_is_the_cause(tmp_path: Path) -> None:
    deaths = ["rank 1: Connection closed by peer", "rank 0: out of memory"]
    said = "".join(EVENT_PREFIX + json.dumps({"died": line}) + "\n" for line in deaths)
    reader = EventReader(io.BytesIO(said.encode()), tmp_path / "log")
    reader.finish(_Heard(), 5)
    assert reader.death() == deaths[1]


def test_a_hostfile_is_read_as_deepspeed_does(tmp_path: Path) -> None:
    path = tmp_path / "hostfile"
    path.write_text("# nodes\nworker-1 slots=4\n\nme@10.0.0.2 slots=2  # half\n")
    assert read_hostfile(path) == (Host("worker-1", 4), Host("me@10.0.0.2", 2))


@pytest.mark.parametrize(
    "text",
    ["", "worker-1", "worker-1 slots=0", "a slots=1\na slots=2", "a;reboot slots=1", "-oProxyCommand=x slots=1"],
    ids=["empty", "no-slots", "zero", "twice", "shell", "option"],
)
def test_a_malformed_hostfile_is_one_clear_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hostfile"
    path.write_text(text)
    with pytest.raises(SettingsError, match="hostfile"):
        read_hostfile(path)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_no_hostfile_lets_a_shell_in(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("hosts") / "hostfile"
    path.write_text(text, encoding="utf-8")
    try:
        hosts = read_hostfile(path)
    except SettingsError:
        return
    assert not set("".join(host.name for host in hosts)) & set(" ;|&$`'\"\\<>()*?!\n")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HF_TOKEN", "x", True),
        ("AWS_SECRET_ACCESS_KEY", "x", True),
        ("DATABASE", "postgresql://me:secret@host/db", True),
        ("TOKENIZERS_PARALLELISM", "false", False),
        ("KEYBOARD", "x", False),
        ("https_proxy", "http://proxy:3128", False),
    ],
)
def test_secrets_are_known_by_name_or_login(name: str, value: str, expected: bool) -> None:
    assert is_secret(name, value) is expected


def test_ranks_get_secrets_by_name_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame")
    assert "HF_TOKEN" not in inherited(())
    assert inherited(["HF_TOKEN"])["HF_TOKEN"] == "sesame"
    with pytest.raises(SettingsError, match="names NOT_SET_TOKEN"):
        inherited(["NOT_SET_TOKEN"])


def test_a_job_holds_names_not_values(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", "sesame")
    job = Job("training.loop", ("--root", "/r"), 2, tmp_path, environment=("HF_TOKEN",))
    assert "sesame" not in " ".join(job.command())
    assert "HF_TOKEN" in job.command()


def test_launchers_are_chosen_by_name(tmp_path: Path) -> None:
    assert isinstance(launcher_for(PretrainSettings()), LocalLauncher)
    with pytest.raises(SettingsError, match="choose local, torchrun, deepspeed"):
        launcher_for(PretrainSettings(launcher="slurm"))
    path = tmp_path / "hostfile"
    path.write_text("a slots=2\nb slots=2\n")
    with pytest.raises(SettingsError, match="4 slots and setting ranks is 2"):
        launcher_for(PretrainSettings(launcher="deepspeed", hostfile=str(path), ranks=2))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"launcher": "torchrun", "nodes": 2, "ranks": 2}, "master_address"),
        ({"launcher": "local", "nodes": 2, "ranks": 2}, "torchrun"),
        ({"launcher": "torchrun", "hostfile": "hosts"}, "deepspeed"),
        ({"environment": ("A B",)}, "'A B'"),
        ({"network_interface": "-x"}, "'-x'"),
    ],
    ids=["address", "nodes", "hostfile", "variable", "interface"],
)
def test_settings_of_launching_that_do_not_fit_are_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        PretrainSettings(**given)  # pyright: ignore[reportArgumentType]
