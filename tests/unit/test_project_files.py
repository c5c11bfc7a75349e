"""The files around the code say what is true: pins, links, docker, the tooling."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from gristmill.cli import demo
from gristmill.core.settings import build
from pipelines.stages import BY_NAME, stage
from training import arguments

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")] if p.is_file())
PIN = re.compile(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!+-]+")


def project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def plain_name(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9_.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def test_constraints_are_pins_alone() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    assert lines == sorted(lines, key=str.lower)


def test_every_dependency_is_pinned() -> None:
    pinned = {plain_name(line) for line in (REPOSITORY / "constraints.txt").read_text().splitlines()}
    facts = project()["project"]
    needed = [*facts["dependencies"], *(name for extra in facts["optional-dependencies"].values() for name in extra)]
    assert [name for name in needed if plain_name(name) not in pinned] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_commands_named_in_the_pages_exist() -> None:
    from typer.main import get_command

    from gristmill.cli.main import app

    known = set(vars(get_command(app))["commands"])
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:^|`)gristmill ([a-z]+)", text, re.MULTILINE))
    assert named <= known
    targets = set(re.findall(r"^([a-z%-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert {name for name in made if name not in targets and not name.startswith("bench-")} == set()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make on this machine")
def test_make_help_lists_every_target() -> None:
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    for target in ("setup", "demo", "demo-ui", "dev", "test", "check", "clean"):
        assert f"make {target} " in shown


def test_docker_listens_on_this_machine_only_and_holds_no_password() -> None:
    compose = yaml.safe_load((REPOSITORY / "docker/compose.yaml").read_text())
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert ports == ["127.0.0.1:3000:3000"]
    assert {"webserver", "daemon", "code", "postgres"} == set(compose["services"])
    for service in compose["services"].values():
        for name, value in service["environment"].items() if "environment" in service else ():
            assert "PASSWORD" not in name or value.startswith("${")
    assert re.search(r"^USER (?!root)", (REPOSITORY / "docker/Dockerfile").read_text(), re.MULTILINE)
    for name in re.findall(r"^COPY (?!--)([^\n]+)", (REPOSITORY / "docker/Dockerfile").read_text(), re.MULTILINE):
        assert [part for part in name.split()[:-1] if not (REPOSITORY / part).exists()] == []


def test_the_deployment_differs_from_the_local_instance_in_its_storage_alone() -> None:
    local = yaml.safe_load((REPOSITORY / "assets/dagster.yaml").read_text())
    deployed = yaml.safe_load((REPOSITORY / "docker/dagster.yaml").read_text())
    assert deployed.keys() - local.keys() == {"storage", "compute_logs", "local_artifact_storage"}
    assert {key: deployed[key] for key in local} == local


def test_hooks_are_local() -> None:
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())
    assert {repo["repo"] for repo in hooks["repos"]} == {"local"}


def test_settings_shown_in_the_readme_are_real() -> None:
    block = re.search(r"```yaml\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL)
    assert block is not None
    for section, values in yaml.safe_load(block[1]).items():
        build(settings_class(section), values, "README.md")


def test_the_demos_settings_are_real() -> None:
    for section, values in demo.SETTINGS.items():
        build(settings_class(section), values, "demo")


def settings_class(section: str) -> type:
    if section in BY_NAME:
        return stage(section).settings_class
    return {
        "pretrained_model": arguments.PretrainSettings,
        "instruction_dataset": arguments.InstructionSettings,
        "lora_adapter": arguments.LoraSettings,
        "qlora_adapter": arguments.QloraSettings,
    }[section]
