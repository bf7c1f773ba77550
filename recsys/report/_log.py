"""How much of the log arrived: by day, by source and by what was refused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import PurePosixPath
from typing import Any, Final

import pyarrow.parquet as pq

from recsys import artefact
from recsys import columns as c
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.listens import is_day, is_numbered
from recsys.plan import Plan

_CHART_DAYS: Final = 28
#: Of the newest week's files, so many are named, and of its sources.
_FILES: Final = 20
_SOURCES: Final = 8
#: So many reasons, or sources, have a colour of their own in a chart.
_DRAWN: Final = 5


def log(home: Home, plan: Plan) -> dict[str, Any]:
    """Rows by arrival day, reason and source, the last four weeks; the newest week in figures."""
    days, files, sources = [], Counter[str](), list[dict[str, Any]]()
    for day in plan.days_between(plan.cutoff - timedelta(days=_CHART_DAYS), plan.cutoff):
        if not artefact.exists(home.clean(day)):
            continue
        clean = Artefact.open(home.clean(day))
        new = day >= plan.base_cutoff
        delivered = Counter[str]()
        for name, rows in _files(clean):
            delivered[source_of(name)] += rows
            if new:
                files[name] += rows
        if new:
            sources += _by_source(day, clean, delivered)
        days.append(
            {
                "day": day,
                "requeued": 0,
                **clean.manifest["rows"],
                "reasons": clean.facts["quarantined"],
                "delivered": delivered,
                "new": new,
            }
        )
    reasons = Counter[str]()
    for one in days:
        reasons.update(one["reasons"])
    return {
        "days": days,
        "reasons": sorted(reasons),
        "drawn": [reason for reason, _ in _ranked(reasons)[:_DRAWN]],
        "drawn_sources": (drawn := _recurring([one["delivered"] for one in days])),
        "other_sources": any(one["delivered"].keys() - set(drawn) for one in days),
        "sources": _longest(sources),
        "files": _ranked(files)[:_FILES],
        "other_files": {
            "files": len(files) - min(len(files), _FILES),
            "rows": sum(n for _, n in _ranked(files)[_FILES:]),
        },
        "requeued": sum(one["requeued"] for one in days if one["new"]),
        "most": max((one["read"] for one in days), default=0),
        "most_refused": max((one["quarantined"] for one in days), default=0),
        "first_day": min(plan.days, default=None),
        "last_day": max(plan.days, default=None),
        "arrival_days": len(plan.days),
        # Plans did not count them at first.
        "undated": {},
        "later": 0,
        **plan.document["log"],
    }


def _files(clean: Artefact) -> Iterator[tuple[str, int]]:
    """The files of a day with their rows; of a dump the longest, and the others together."""
    for source in clean.facts["sources"]:
        yield source["name"], source["rows"]
    longest = clean.facts.get("files", {})
    yield from longest.items()
    if longest and (rest := clean.manifest["rows"]["read"] - sum(longest.values())):
        yield "other files", rest


def source_of(file: str) -> str:
    """What delivered a file: its folder, the one of the day aside, else the file itself.

    >>> source_of("date=2026-11-16/eu/part-0.jsonl"), source_of("date=2026-11-16/web.jsonl")
    ('eu', 'web.jsonl')

    Numbers of listeners are those of one day, or of one dump: all listeners are one source.
    """
    if is_numbered(file):
        return "all listeners"
    parts = [part for part in PurePosixPath(file).parts if not is_day(part)]
    return parts[0]


def _recurring(days: Sequence[Mapping[str, int]]) -> list[str]:
    """The sources with most rows among those of more than a day; none where there is but one."""
    total, seen = Counter[str](), Counter[str]()
    for delivered in days:
        total.update(delivered)
        seen.update(delivered.keys())
    recurring = [name for name, _ in _ranked(total) if seen[name] > 1]
    return recurring[:_DRAWN] if len(total) > 1 else []


def _by_source(day: date, clean: Artefact, read: Mapping[str, int]) -> list[dict[str, Any]]:
    """Rows read and refused by reason, of each source of a day."""
    refused = defaultdict[str, Counter[str]](Counter)
    if read and clean.parts("quarantine.parquet"):
        counted = pq.read_table(
            clean.file("quarantine.parquet"), columns=[c.ORIGIN_FILE, c.REASON]
        ).group_by([c.ORIGIN_FILE, c.REASON])
        for row in counted.aggregate([([], "count_all")]).to_pylist():
            refused[source_of(row[c.ORIGIN_FILE].partition("!")[0])][row[c.REASON]] += row[
                "count_all"
            ]
    return [
        {"day": day, "source": name, "read": rows, "reasons": dict(refused[name])}
        for name, rows in _ranked(read)
    ]


def _longest(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The sources with most rows by themselves, and the others of each day together."""
    rows = list(rows)
    total = Counter[str]()
    for row in rows:
        total[row["source"]] += row["read"]
    named = {name for name, _ in _ranked(total)[:_SOURCES]}
    shown: dict[tuple[date, str], dict[str, Any]] = {}
    for row in rows:
        name = row["source"] if row["source"] in named else f"{len(total) - len(named)} others"
        kept = shown.setdefault(
            (row["day"], name), {"day": row["day"], "source": name, "read": 0, "reasons": Counter()}
        )
        kept["read"] += row["read"]
        kept["reasons"].update(row["reasons"])
    return list(shown.values())


def _ranked(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    """The most first; ties by name."""
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))
