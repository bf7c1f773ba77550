"""`recsys requeue`: read what is in quarantine again, after a fix."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import date
from typing import Any

from rich.table import Table

from recsys import home
from recsys.cli import _print
from recsys.errors import SettingsError
from recsys.home import Home
from recsys.settings import load_settings
from recsys.store import open_store


def requeue(options: argparse.Namespace) -> int:
    """Read days with refused rows, or with changed files, again."""
    from recsys.listens import list_log
    from recsys.publishing import refresh_copy
    from recsys.requeue import requeue as read_again

    day, since = _day("--day", options.day), _day("--since", options.since)
    settings = load_settings()
    place = Home.of(settings)
    home.admit(place.root)
    home.lock(place.root)
    place.tidy()
    with open_store(settings.store_url) as store:
        refresh_copy(store, place.store_copy)
        forgotten = store.tombstones()
    found = read_again(
        settings.listens,
        place,
        list_log(settings.listens),
        forgotten,
        first=day or since or date.min,
        last=day or date.max,
        dry_run=options.dry_run,
    )
    returned, refused = Counter[str](), Counter[str]()
    for again in found.days.values():
        returned.update(again.returned)
        refused.update(again.refused)
    known = sum(again.known for again in found.days.values())
    print(f"{len(found.days)} days read again: {found.returned:,} rows", end=" ")
    print("would come back." if options.dry_run else "come back.")
    if known:
        print(f"{known:,} rows can be read now, and are duplicates of listens that are kept.")
    _table("Back, by why they were refused", returned)
    _table("Still refused, by why", refused)
    if found.batch:
        print(f"{found.batch.relative_to(place.root)}: in the next arrival day that is cleaned.")
    for at, problem in sorted(found.problems.items()):
        print(f"recsys: {at} is left as it was: {_print.plain(problem).plain}", file=sys.stderr)
    return 30 if found.problems else 0


def _day(option: str, text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise SettingsError(f"{option} {text}: expected an arrival day, YYYY-MM-DD.") from None


def _table(heading: str, rows: Mapping[str, int]) -> None:
    if not rows:
        return
    table: Any = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(heading)
    table.add_column("Rows", justify="right")
    for reason, number in sorted(rows.items()):
        table.add_row(reason, f"{number:,}")
    _print.put(table)
