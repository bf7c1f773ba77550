"""The documentation says what the code does."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

import workflows
from recsys import errors, settings
from recsys.cli import parser
from recsys.listens import Reason

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CELL = re.compile(r"(?<!\\)\|")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def rows_under(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading."""
    section = re.split(r"^## ", text_of(page), flags=re.M)
    found = next((part for part in section if part.split("\n", 1)[0] == heading), None)
    assert found is not None, f"{page} has no section {heading}"
    lines = [line for line in found.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in lines[2:]]


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def shown(field: dataclasses.Field[Any]) -> str:
    """A setting's default as the page shows it."""
    if field.default_factory is not dataclasses.MISSING:
        return f"`{field.default_factory()}`"
    if field.default is dataclasses.MISSING:
        return "required"
    return f"`{field.default}`" if str(field.default) else "empty"


def expected(field: dataclasses.Field[Any]) -> str:
    """What the setting's parser says it expected."""
    found = str(field.metadata["expected"])
    for wrong in ("?", "1"):
        try:
            field.metadata["parse"](wrong)
        except ValueError as error:
            found = re.sub(r" \(.*\)$", "", str(error))
    return found


@pytest.mark.parametrize("name", [part.name for part in dataclasses.fields(settings.Settings)])
def test_every_setting_is_documented_with_its_default(name: str) -> None:
    part = settings._PART_TYPES[name]
    documented = {row[0].strip("`"): row for row in rows_under("docs/settings.md", f"`[{name}]`")}
    fields = {field.metadata["written"] or field.name: field for field in dataclasses.fields(part)}
    assert list(documented) == list(fields)
    for key, field in fields.items():
        assert documented[key][1] == shown(field), key
        assert documented[key][2] == expected(field), key
        assert documented[key][3], key


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(prose_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", prose_of(target), flags=re.M)
            assert anchor in map(slug, headings), link


def test_every_page_is_on_the_map() -> None:
    index = ROOT / "docs" / "index.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(prose_of(index))}
    assert {page for page in PAGES if page.parent.name in ("docs", "adr")} - {index} <= listed


def test_the_exit_codes_are_those_of_the_errors() -> None:
    classes = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.RecsysError)
    ]
    documented = {
        name: int(row[0].strip("`"))
        for row in rows_under("docs/operations.md", "Exit codes")
        for name in re.findall(r"`(\w+Error)`", row[2])
    }
    assert documented == {
        kind.__name__: kind.exit_code for kind in classes if kind is not errors.RecsysError
    }


def test_the_exit_codes_of_luigi_are_those_it_is_given() -> None:
    from workflows._luigi_defaults import _DEFAULTS

    documented = {
        name: row[0].strip("`")
        for row in rows_under("docs/operations.md", "Exit codes")
        for name in re.findall(r"`(\w+)`", row[3])
    }
    assert documented == _DEFAULTS["retcode"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    targets = set(re.findall(r"^(\w[\w-]*):", text_of("Makefile"), flags=re.M))
    commands = next(
        set(action.choices)
        for action in parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    blocks = re.findall(r"^```sh\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for line in "\n".join(blocks).splitlines():
        command = line.split("#")[0]
        for target in re.findall(r"(?:^|\s)make ([a-z]+)", command):
            assert target in targets, line
        for name in re.findall(r"(?:^|[\s/])recsys ([a-z-]+)", command):
            assert name in commands, line
        for task in re.findall(r"--module workflows (\w+)", command):
            assert task in workflows.__all__, line


def test_every_command_of_recsys_is_documented() -> None:
    rows = rows_under("docs/operations.md", "Commands")
    documented = {row[0].strip("`").split()[1] for row in rows}
    for action in parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            assert documented == set(action.choices)


def test_every_reason_of_quarantine_is_documented() -> None:
    documented = [row[0].strip("`") for row in rows_under("docs/listens.md", "Reasons")]
    assert documented == [str(reason) for reason in Reason]


def test_every_stage_has_a_section() -> None:
    from workflows._stage import Stage

    def below(kind: type[Stage]) -> list[type[Stage]]:
        return [kind, *(one for child in kind.__subclasses__() for one in below(child))]

    named = {kind.__name__ for kind in below(Stage) if "stage" in vars(kind)}
    headings = re.findall(r"^### (\w+)$", text_of("docs/stages.md"), flags=re.M)
    assert named <= set(headings)
