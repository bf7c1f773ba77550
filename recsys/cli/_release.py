"""Refused editions: what holds them, and letting one go on, on purpose."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Final

from recsys.cli import _print
from recsys.errors import NoEditionError, SettingsError
from recsys.home import Home
from recsys.refusals import Refusal, held
from recsys.settings import load_settings
from recsys.weeks import Week

_AGAIN: Final = "luigi --module workflows WeeklyPlaylists --local-scheduler"


def release(options: argparse.Namespace) -> int:
    """Let a refused edition go on when it is run again."""
    from recsys import refusals
    from recsys.store import open_store

    settings = load_settings()
    home = Home.of(settings)
    week, revision = planned_edition(home, options.edition, options.revision)
    refusal = held(home, week, revision)
    if refusal is None:
        raise NoEditionError(f"No gate holds edition {week} revision {revision}.")
    with open_store(settings.store_url) as store:
        refusals.release(store, home.store_copy, refusal, options.because)
    rules = ", ".join(check.name for check in refusal.verdict.refusing)
    print(
        f"Edition {week} revision {revision} is released from {refusal.stage} ({rules}).\n"
        f"It goes on when it is run again: {_AGAIN} --week {week} --revision {revision}"
    )
    return 0


def held_by(home: Home, last: Any) -> Refusal | None:
    """The refusal that the last run ended with, if a gate refused it."""
    if last.get("error") != "GateRefusedError" or "edition" not in last:
        return None
    return held(home, Week.parse(last["edition"]), int(last["revision"]))


def refusal_lines(refusal: Refusal) -> list[str]:
    """Each rule that refused with its value, where the report is, and the way out.

    Sample rows name users: a person at a terminal sees them, a monitor or a log does not.
    """
    lines = []
    verdict = refusal.verdict
    for check in verdict.refusing:
        lines.append(f"  {check.name}: found {check.value}, allowed {check.limit}")
        if check.samples and not sys.stdout.isatty():
            lines.append(f"    {len(check.samples)} sample rows are in the report")
        else:
            lines += [f"    {_row(sample)}" for sample in check.samples]
    lines.append(f"  Report: {refusal.report}")
    if verdict.final:
        lines.append(f"  Nobody can release it from {', '.join(verdict.final)}.")
    else:
        lines.append(f"  To let it go on as it is, on purpose: {refusal.command} TEXT")
    return lines


def _row(sample: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_print.plain(str(value)).plain}" for name, value in sample.items())


def planned_edition(home: Home, edition: str | None, revision: int | None) -> tuple[Week, int]:
    """The edition asked for; by default the newest revision, and of the newest week, planned."""
    try:
        week = Week.parse(edition) if edition else max(home.weeks(), default=None)
    except ValueError as error:
        raise SettingsError(f"--edition: {error}") from None
    planned = home.revisions(week) if week else []
    if week is None or not planned or (revision and revision not in planned):
        name = f"{week or ''}{f' revision {revision}' if revision else ''}".strip()
        raise NoEditionError(f"No edition {name} is planned under {home.root}.".replace("  ", " "))
    return week, revision or planned[-1]
