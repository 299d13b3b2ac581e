"""README says what there is: every command that it shows can be typed, every setting and command is in it, every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from vector_assets.checks.catalog import CHECKS, Check
from vector_assets.cli.app import app
from vector_assets.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.removeprefix("$ ").split("  #")[0].strip() for line in README.splitlines() if line.startswith("$ ")]
_GROUP = typer.main.get_command(app)


def commands(group: object = _GROUP, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], object]:
    """Every command by its words."""
    inside = getattr(group, "commands", None)
    if inside is None:
        return {path: group}
    return {words: command for name, sub in inside.items() for words, command in commands(sub, (*path, name)).items()}


@pytest.mark.parametrize("line", [line for line in COMMANDS if "vector-assets" in line.split()[0]])
def test_shown_commands_can_be_typed(line: str) -> None:
    words = shlex.split(line)[1:]
    known = commands()
    path = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in known), None)
    assert path is not None, f"no such command: {line}"
    options = {option for parameter in known[path].params for option in (*parameter.opts, *parameter.secondary_opts)}  # type: ignore[attr-defined]
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("make ")])
def test_shown_targets_exist(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert line.split()[1] in targets


@pytest.mark.parametrize("words", sorted(commands()))
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    assert " ".join(words) in README


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    field = Settings.model_fields[name]
    variable = str(field.validation_alias or f"{PREFIX}{name.upper()}")
    row = next((line for line in README.splitlines() if line.startswith(f"| `{variable}`")), None)
    assert row is not None, f"{variable} is not in README's table"
    assert str(field.description) in row
    if isinstance(field.default, bool | int | float) and field.default:
        assert f"| {field.default} |" in row


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_is_documented_with_its_thresholds(check: Check) -> None:
    warns, blocks = ("never" if bound is None else f"{bound:g}" for bound in (check.warn, check.block))
    assert f"| `{check.name}` | {check.stage} | {check.what} | {check.measure} | {warns} | {blocks} | {check.accept} |" in README


@pytest.mark.parametrize("target", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
