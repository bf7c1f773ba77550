"""Hindsight: what listeners did with the playlists of the weeks before.

An edition covers the listening days (UTC) from its Monday to its Sunday. Of every song in every
playlist it is asked whether the listener *played* it in that week (began it), *finished* it (a
play, as `recsys.plays` counts it), *saved* it (saved or liked it), *kept* it (finished or saved it)
or *skipped* it (skipped it, and did not keep it). Another track of the same song counts. What
arrives up to a week after the edition's Sunday counts; after that its figures are *settled*.

Everything is a count, and exact. Rates are left to the reader, who is to know over what.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._outcomes import (
    FINISHED,
    KEPT,
    PLAYED,
    SAVED,
    SKIPPED,
    Lists,
    Outcomes,
    outcomes_of,
)
from recsys._tables import arrow, database
from recsys.artefact import Artefact
from recsys.errors import ArtefactError, BadLogError, PlanError
from recsys.exposures import exposure_rows
from recsys.home import Home
from recsys.plan import Plan, open_pinned
from recsys.weeks import Week

HINDSIGHT_FILE: Final = "hindsight.json"
_WEEK: Final = timedelta(weeks=1)

#: What is counted, by the bit of it.
_OUTCOMES: Final = {
    "played": PLAYED,
    "finished": FINISHED,
    "saved": SAVED,
    "kept": KEPT,
    "skipped": SKIPPED,
}
_SHOWN: Final = 32
_BITS: Final = 64


def look_back(
    plan: Plan, home: Home, *, catalogue: Path, exposures: Sequence[Path], spill: Path
) -> dict[str, Any]:
    """Hold the editions that the plan pins against what their listeners then played.

    Args:
        plan: of the edition in the making; nothing after its cutoff is looked at.
        home: where the editions, the days and the taste states are.
        catalogue: a file of `recsys.schemas.CATALOGUE`, for the songs.
        exposures: files of an exposure log, from `recsys.exposures.exposure_files`.
        spill: a folder for what does not fit into memory.

    Returns:
        JSON values, described in ``docs/hindsight.md``: ``editions``, newest first; ``left_out``,
        the editions that could not be looked at, with the reason; ``exposures``.

    Raises:
        BadLogError: a file of the exposure log is damaged.
    """
    editions, left_out = [], []
    lead = plan.week.monday - plan.cutoff
    with database(spill) as connection:
        songs = _songs(catalogue)
        _read_exposures(connection, exposures, plan)
        carried = _settled(plan, home)
        for one in plan.past:
            who = {key: one[key] for key in ("edition", "revision", "in_time")}
            if (known := carried.get(one["edition"])) and who.items() <= known.items():
                editions.append(known)
                continue
            week = Week.parse(one["edition"])
            found: dict[str, Any] | str
            try:
                playlists = open_pinned(
                    home.edition(week, one["revision"]) / "playlists", one["digest"]
                ).file("playlists.parquet")
                found = _look_at(
                    connection, plan, home, week, lead, playlists, songs, logged=bool(exposures)
                )
            except (ArtefactError, PlanError) as error:
                found = str(error)
            if isinstance(found, str):
                left_out.append({**who, "reason": found})
            else:
                editions.append({**who, **found})
        counted = _rows(connection, _ROWS_USED)[0] if exposures else None
    return {"editions": editions, "left_out": left_out, "exposures": counted}


def summary(found: Mapping[str, Any]) -> str:
    """What :func:`look_back` found for the newest edition that was there from its Monday on."""
    editions = [one for one in found["editions"] if one["in_time"]]
    if not editions:
        return "no earlier edition was there from its Monday on"
    newest = editions[0]
    active = newest["audiences"]["active"]
    total = active["total"]
    rate = total["kept"] / total["tracks"] if total["tracks"] else 0.0
    return (
        f"{newest['edition']}{'' if newest['settled'] else ' so far'}: {active['listeners']} "
        f"active listeners kept {rate:.1%} of their {total['tracks']} tracks"
    )


def doubt(found: Mapping[str, Any]) -> str | None:
    """What is odd about the exposure log that :func:`look_back` was given, if anything."""
    counted = found["exposures"]
    if not (counted and found["editions"] and counted["rows"]) or counted["used"]:
        return None
    why = ", ".join(f"{n} {name}" for name, n in counted.items() if n and name != "rows")
    return f"none of the exposure log's {counted['rows']} rows could be used: {why}"


def _settled(plan: Plan, home: Home) -> dict[str, dict[str, Any]]:
    """What the newest edition of the past said of those before it, as far as that was settled."""
    for one in plan.past[:1]:
        if one["hindsight"] is not None:
            folder = home.edition(Week.parse(one["edition"]), one["revision"]) / "hindsight"
            try:
                file = open_pinned(folder, one["hindsight"]).file(HINDSIGHT_FILE)
            except (ArtefactError, PlanError):
                break
            said = json.loads(file.read_text(encoding="utf-8"))["editions"]
            return {edition["edition"]: edition for edition in said if edition["settled"]}
    return {}


def _look_at(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    home: Home,
    week: Week,
    lead: timedelta,
    playlists: Path,
    songs: pa.Table,
    *,
    logged: bool,
) -> dict[str, Any] | str:
    """The counts of one edition, or why there are none."""
    monday, end = week.monday, week.monday + _WEEK
    days = [day for day in plan.days_between(monday, plan.cutoff) if day < end]
    if not days:
        return "the log holds no day of its week yet"
    books_closed = monday - lead
    arrivals = plan.days_between(books_closed, min(end + _WEEK, plan.cutoff))
    lists = Lists.read(playlists, plan.forgotten)
    taste = _taste_before(plan, home, week, books_closed)
    found = outcomes_of(
        lists,
        songs,
        [_plays(plan, home, day) for day in arrivals],
        taste if isinstance(taste, Path) else None,
        monday,
        end,
    )
    audiences = {"active": found.active}
    bits = found.bits
    covered = logged and _covered(connection, week)
    if logged:
        connection.register("list", pa.table({c.USER_ID: lists.users}))
        connection.execute(f"INSERT INTO has_list SELECT '{week}', user_id FROM list")
    if covered:
        opened, shown = _exposed(connection, week, lists)
        audiences |= {"opened": opened, "not_opened": found.active & ~opened}
        bits = bits | np.where(shown, _SHOWN, 0).astype(np.uint8)
    return {
        "days": len(days),
        "settled": plan.cutoff >= end + _WEEK,
        "playlists": len(lists.users),
        "audiences": {
            name: _audience(lists, bits, listeners, shown=covered)
            for name, listeners in audiences.items()
        },
        "discoveries": _discoveries(found) if isinstance(taste, Path) else {"reason": taste},
        **({"exposures": {"reason": _NOT_COVERED}} if logged and not covered else {}),
    }


def _covered(connection: duckdb.DuckDBPyConnection, week: Week) -> bool:
    """Whether the exposure log has a row of the edition, or of any other shown in its week."""
    found = connection.execute(
        f"SELECT bool_or(edition = '{week}' OR shown_in = DATE '{week.monday}') FROM exposed"
    ).fetchall()
    return bool(found[0][0])


def _plays(plan: Plan, home: Home, day: date) -> Path:
    return open_pinned(home.plays(day), plan.days[day]).file("plays.parquet")


def _exposed(
    connection: duckdb.DuckDBPyConnection, week: Week, lists: Lists
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which lists were opened, and which slots were shown."""
    rows = arrow(connection, f"SELECT user_id, track_id FROM exposed WHERE edition = '{week}'")
    mine = pc.fill_null(pc.index_in(rows[c.USER_ID], lists.users), -1).to_numpy()
    track = pc.fill_null(pc.index_in(rows[c.TRACK_ID], lists.track_id.dictionary), -1).to_numpy()
    opened = np.zeros(len(lists.users), np.bool_)
    opened[mine[mine >= 0]] = True
    owner = np.repeat(np.arange(len(lists.users)), np.diff(lists.offsets))
    slots = owner << 32 | lists.track_id.indices.to_numpy()
    known = (mine >= 0) & (track >= 0)
    return opened, np.isin(slots, mine[known].astype(np.int64) << 32 | track[known])


def _audience(
    lists: Lists,
    bits: npt.NDArray[np.uint8],
    listeners: npt.NDArray[np.bool_],
    *,
    shown: bool,
) -> dict[str, Any]:
    """Counts over the playlists of some listeners; ``bits`` are the outcomes of all slots."""
    outcomes = _OUTCOMES | ({"shown": _SHOWN} if shown else {})
    owner = np.repeat(np.arange(len(lists.users)), np.diff(lists.offsets))
    theirs = listeners[owner]
    owner, bits = owner[theirs], bits[theirs]

    def counts(times: npt.NDArray[np.int64]) -> dict[str, int]:
        """Of how many slots have which bits: how many there are, and how many have each bit."""
        having = np.arange(len(times))
        return {"tracks": int(times.sum())} | {
            name: int(times[having & bit > 0].sum()) for name, bit in outcomes.items()
        }

    def by(key: str, numbers: npt.NDArray[Any], values: Sequence[Any]) -> list[dict[str, Any]]:
        cells = np.bincount(numbers[theirs] * _BITS + bits, minlength=len(values) * _BITS)
        rows = zip(values, cells.reshape(-1, _BITS), strict=True)
        return [{key: value} | counts(row) for value, row in sorted(rows) if row.any()]

    positions = range(int(lists.position.max(initial=0)) + 1)
    kinds = lists.kind.indices.to_numpy()
    return {
        "listeners": int(listeners.sum()),
        **{
            f"{name}_any": len(np.unique(owner[bits & outcomes[name] > 0]))
            for name in ("played", "kept")
        },
        "total": counts(np.bincount(bits, minlength=_BITS)),
        "by_position": by("position", lists.position, positions),
        "by_source": by(
            "source", lists.source.indices.to_numpy(), lists.source.dictionary.to_pylist()
        ),
        "by_kind": by(
            "kind", np.repeat(kinds, np.diff(lists.offsets)), lists.kind.dictionary.to_pylist()
        ),
    }


def _taste_before(plan: Plan, home: Home, week: Week, closed: date) -> Path | str:
    """The taste state that an edition was made from, or why there is none to go by."""
    try:
        state = Artefact.open(home.taste(week))
        if state.inputs["days"] != plan.days_digest(closed):
            return "the log's days have changed since the edition's taste state"
        return state.file("taste.parquet")
    except ArtefactError:
        return "the edition's taste state is no longer there"


def _discoveries(found: Outcomes) -> dict[str, Any]:
    """Songs that active listeners began for the first time: from the playlist, and elsewhere."""
    names = ("songs", "finished", "saved", "kept", "skipped")
    places = ("from_playlist", "elsewhere")
    return {
        place: dict(zip(names, counts, strict=True))
        for place, counts in zip(places, found.discoveries.tolist(), strict=True)
    }


def _songs(catalogue: Path) -> pa.Table:
    """``track_id`` of every track, and its ``song``, a number of the song key (int32)."""
    known = pq.read_table(catalogue, columns=[c.TRACK_ID, c.SONG_KEY])
    keys = known[c.SONG_KEY].combine_chunks().dictionary_encode()
    return pa.table({c.TRACK_ID: known[c.TRACK_ID], "song": keys.indices})


def _read_exposures(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Path], plan: Plan
) -> None:
    """Read the exposure log into a table, equal rows once; of other editions only how many."""
    past = pa.table({"edition": pa.array([one["edition"] for one in plan.past], pa.string())})
    connection.register("past", past)
    rows = exposure_rows(list(files)) if files else _NO_EXPOSURES
    try:
        connection.execute(_EXPOSED.format(rows=rows, cutoff=plan.cutoff))
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise BadLogError(
            f"The exposure log cannot be read to its end: {error} Deliver the file again, or "
            "remove it, or leave [exposures] source empty."
        ) from error


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_NO_EXPOSURES: Final = """SELECT NULL::VARCHAR AS user_id, NULL::VARCHAR AS edition,
    NULL::VARCHAR AS track_id, NULL::TIMESTAMPTZ AS shown_at LIMIT 0"""

_NOT_COVERED: Final = "the exposure log holds no row of this edition"

#: What was shown after the cutoff is for a later edition.
_EXPOSED: Final = """
    CREATE TABLE exposed AS
        WITH row AS (
            SELECT *, user_id IS NULL OR edition IS NULL OR track_id IS NULL OR shown_at IS NULL
                AS incomplete, shown_at >= TIMESTAMPTZ '{cutoff} 00:00:00+00' AS late
            FROM ({rows})
        ), judged AS (
            SELECT *, CASE WHEN incomplete THEN 'incomplete' WHEN late THEN 'after_cutoff'
                WHEN edition IN (FROM past) THEN 'past' ELSE 'other_edition' END AS place
            FROM row
        )
        SELECT place,
            CASE WHEN place IN ('past', 'other_edition') THEN date_trunc('week', shown_at)::DATE END
                AS shown_in,
            CASE WHEN place = 'past' THEN edition END AS edition,
            CASE WHEN place = 'past' THEN user_id END AS user_id,
            CASE WHEN place = 'past' THEN track_id END AS track_id, count(*) AS rows
        FROM judged GROUP BY ALL;
    CREATE TABLE has_list (edition VARCHAR, user_id VARCHAR);
"""

#: Where the rows of the exposure log went; they add up to ``rows``.
_ROWS_USED: Final = """
    WITH found AS (
        SELECT rows, CASE WHEN place <> 'past' THEN place
            WHEN edition NOT IN (SELECT edition FROM has_list) THEN 'other_edition'
            WHEN (edition, user_id) NOT IN (FROM has_list) THEN 'unknown_listener'
            ELSE 'used' END AS place
        FROM exposed
    )
    SELECT coalesce(sum(rows), 0)::BIGINT AS rows, {}
    FROM found
""".format(
    ", ".join(
        f"coalesce(sum(rows) FILTER (place = '{place}'), 0)::BIGINT AS {place}"
        for place in ("incomplete", "after_cutoff", "other_edition", "unknown_listener", "used")
    )
)
