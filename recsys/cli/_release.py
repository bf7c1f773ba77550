"""Refused editions: what holds them, and letting one go on, on purpose."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any, Final

from recsys.artefact import Artefact
from recsys.cli import _print
from recsys.errors import ArtefactError, NoEditionError, SettingsError
from recsys.home import Home
from recsys.refusals import GATES, Refusal, held, reason_of
from recsys.settings import load_settings
from recsys.store import LedgerEntry
from recsys.verdict import DOUBT, Check, Verdict
from recsys.weeks import Week

_LUIGI: Final = "luigi --module workflows"


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
        before = refusals.released_because(store, home.store_copy, refusal)
        if before is None:
            refusals.release(store, home.store_copy, refusal, options.because)
    rules = ", ".join(check.name for check in refusal.verdict.refusing)
    already = "" if before is None else f" already, because: {before}"
    print(
        f"Edition {week} revision {revision} is released from {refusal.stage} ({rules}){already}.\n"
        f"It goes on when it is run again: {_again(home, refusal)}"
    )
    return 0


def _again(home: Home, refusal: Refusal) -> str:
    """The command that runs a refused edition again; a week with later ones is a backfill."""
    week = refusal.edition
    if max(home.weeks()) > Week.parse(week):
        return f"{_LUIGI} BackfillPlaylists --local-scheduler --first {week} --last {week}"
    return f"{_LUIGI} WeeklyPlaylists --local-scheduler --week {week} --revision {refusal.revision}"


def held_by(home: Home, last: Any) -> Refusal | None:
    """The refusal that the last run ended with, if a gate refused it."""
    if last.get("error") != "GateRefusedError" or "edition" not in last:
        return None
    return held(home, Week.parse(last["edition"]), int(last["revision"]))


def refusal_lines(home: Home, refusal: Refusal, released: LedgerEntry | None) -> list[str]:
    """Each rule that refused with its value, where the report is, and the way out.

    Sample rows name users: a person at a terminal sees them, a monitor or a log does not.

    Args:
        home: the home that the edition is in.
        refusal: what holds it.
        released: its release, where an operator has let it go on already.
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
    elif released is not None:
        lines.append(
            f"  It was released from {refusal.stage} on {released.at:%Y-%m-%d %H:%M} UTC, because: "
            f"{_print.plain(reason_of(released, refusal)).plain}"
        )
        lines.append(f"  Run the week again: {_again(home, refusal)}")
    else:
        lines.append(f"  To let it go on as it is, on purpose: {refusal.command} TEXT")
    return lines


def doubt_lines(home: Home, last: Any) -> list[str]:
    """What the model behind the last run is in doubt for, as far as home knows."""
    lines = []
    edition = home.edition(Week.parse(last["edition"]), int(last["revision"]))
    for gate in GATES:
        try:
            document = Artefact.open(edition / gate).file("verdict.json").read_text("utf-8")
            verdict = Verdict.from_dict(json.loads(document))
        except (ArtefactError, OSError, ValueError):
            continue
        lines += [f"  {_doubt(check)}" for check in verdict.failed if check.severity == DOUBT]
    return lines


def _doubt(check: Check) -> str:
    found = f"{check.name}: found {check.value}, wanted {check.limit}"
    if check.name == "enough_listeners":
        return f"Too few listeners to tell it from the charts. {found}"
    if check.name.endswith("_over_popularity"):
        return f"It is not shown to be better than the charts. {found}"
    return found


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
