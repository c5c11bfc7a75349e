"""The files around the code say what is true: pins, links, docker, the tooling."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.sections import settings_class_of
from gristmill.cli import demo
from gristmill.core.settings import build
from pipelines.report.changes import parse_change

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = sorted(p for p in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")] if p.is_file())
COMMANDS = [[name] for name in ("corpus", "demo", "dev", "duplicates", "explain", "funnel", "generate", "run", "trace")]
COMMANDS += [["corpus", "add"], ["corpus", "remove"], ["mixture"], ["plan"], ["takedown", "add"], ["takedown", "apply"]]
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_settings_shown_in_the_pages_are_real(page: Path) -> None:
    for block in re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for section, values in yaml.safe_load(block).items():
            build(settings_class_of(section), values, str(page))


def test_the_readme_shows_settings() -> None:
    assert "```yaml\n" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_the_demos_settings_are_real() -> None:
    for section, values in demo.SETTINGS.items():
        build(settings_class_of(section), values, "demo")


def command_lines() -> list[tuple[str, str]]:
    """Page and text of every line of code in the pages, in blocks and between backticks."""
    found: list[tuple[str, str]] = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [block.replace("\\\n", " ") for block in re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)]
        inline = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        lines = (*(line for block in blocks for line in block.splitlines()), *inline)
        found += [(str(page.relative_to(REPOSITORY)), line.partition(" # ")[0].strip()) for line in lines]
    return found


def options_of(arguments: list[str]) -> set[str]:
    """The options of the `gristmill` command that a line begins with."""
    from typer.main import get_command

    from gristmill.cli.main import app

    command: Any = get_command(app)
    for word in arguments:
        command = vars(command).get("commands", {}).get(word, command)
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def test_options_named_in_the_pages_exist() -> None:
    """Of a gristmill command its own; of `python -m` those that the module's parser names; alone, anybody's."""
    ours = (path for name in ("benchmarks", "pipelines", "training") for path in (REPOSITORY / name).rglob("*.py"))
    sources = "\n".join(path.read_text(encoding="utf-8") for path in ours)
    named: set[str] = set(re.findall(r"\"(--[a-z-]+)\"", sources))
    every = named.union(*(options_of(words) for words in COMMANDS))
    checked, wrong = 0, list[tuple[str, str, str]]()
    for page, line in command_lines():
        options = re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)
        program, module = re.match(r"(?:\S*/)?gristmill\b", line), re.match(r"\S*python -m ([\w.]+)", line)
        if program:
            known = options_of(line.split()[1:])
        elif module and module[1].partition(".")[0] in ("benchmarks", "pipelines", "training"):
            source = (REPOSITORY / f"{module[1].replace('.', '/')}.py").read_text(encoding="utf-8")
            known = set(re.findall(r"\"(--[a-z-]+)\"", source))
        elif line.startswith("--"):
            known = every
        else:  # another program's
            continue
        checked += len(options)
        wrong += [(page, line, option) for option in options if option not in known]
    assert wrong == []
    assert checked > 50


def test_changes_asked_about_in_the_pages_can_be_asked() -> None:
    given = [
        change.strip("'")
        for _, line in command_lines()
        for change in re.findall(r"--set ('[^']+'|[^\s'|]+=\S+)", line)
        if "=VALUE" not in change
    ]
    assert len(given) >= 4
    for change in given:
        parse_change(change)
