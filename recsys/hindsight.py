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
import pyarrow as pa
import pyarrow.parquet as pq

from recsys._tables import database, part_files, read_parquet
from recsys.artefact import Artefact
from recsys.errors import ArtefactError, BadLogError, PlanError
from recsys.exposures import exposure_rows
from recsys.home import Home
from recsys.plan import Plan, open_pinned
from recsys.weeks import Week

HINDSIGHT_FILE: Final = "hindsight.json"
_WEEK: Final = timedelta(weeks=1)


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
        connection.register(
            "forgotten", pa.table({"user_id": pa.array(sorted(plan.forgotten), pa.string())})
        )
        connection.execute(_SONGS.format(catalogue=read_parquet([catalogue])))
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
                    connection, plan, home, week, lead, playlists, logged=bool(exposures)
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
    connection.register("playlist", _columns_needed(playlists))
    connection.execute(_LISTENERS.format(edition=week))
    connection.execute(
        _HEARD.format(
            plays=read_parquet([_plays(plan, home, day) for day in arrivals]),
            monday=monday,
            end=end,
        )
    )
    covered = logged and _covered(connection, week)
    audiences = {"active": "active"}
    if covered:
        audiences |= {"opened": "opened", "not_opened": "active AND NOT opened"}
    return {
        "days": len(days),
        "settled": plan.cutoff >= end + _WEEK,
        "playlists": _rows(connection, "SELECT count(*) AS n FROM listener")[0]["n"],
        "audiences": {
            name: _audience(connection, condition, shown=covered)
            for name, condition in audiences.items()
        },
        "discoveries": _discoveries(connection, plan, home, week, books_closed),
        **({"exposures": {"reason": _NOT_COVERED}} if logged and not covered else {}),
    }


def _covered(connection: duckdb.DuckDBPyConnection, week: Week) -> bool:
    """Whether the exposure log has a row of the edition, or of any other shown in its week."""
    found = connection.execute(
        f"SELECT bool_or(edition = '{week}' OR shown_in = DATE '{week.monday}') FROM exposed"
    ).fetchall()
    return bool(found[0][0])


def _columns_needed(playlists: Path) -> pa.RecordBatchReader:
    """The playlists without names and scores, which take most of the time to read."""
    files = part_files(playlists)
    columns = ["user_id", "kind"]
    columns += [f"tracks.list.element.{name}" for name in ("position", "track_id", "source")]
    schema = pq.ParquetFile(files[0]).read_row_groups([], columns=columns).schema
    batches = (
        batch
        for file in files
        for batch in pq.ParquetFile(file).iter_batches(8192, columns=columns)
    )
    return pa.RecordBatchReader.from_batches(schema, batches)


def _plays(plan: Plan, home: Home, day: date) -> Path:
    return open_pinned(home.plays(day), plan.days[day]).file("plays.parquet")


def _audience(
    connection: duckdb.DuckDBPyConnection, condition: str, *, shown: bool
) -> dict[str, Any]:
    """Counts over the playlists of the listeners that meet ``condition``."""
    connection.execute(_OUTCOMES.format(condition=condition))
    counts = _COUNTS + (", count(*) FILTER (shown) AS shown" if shown else "")
    (listeners,) = _rows(
        connection,
        f"""SELECT (SELECT count(*) FROM listener WHERE {condition}) AS listeners,
            count(*) FILTER (played) AS played_any, count(*) FILTER (kept) AS kept_any
        FROM (SELECT bool_or(played) AS played, bool_or(kept) AS kept FROM outcome GROUP BY no)""",
    )
    return {
        **listeners,
        "total": _rows(connection, f"SELECT count(*) AS tracks, {counts} FROM outcome")[0],
        **{
            f"by_{key}": _rows(
                connection,
                f"""SELECT {key}, count(*) AS tracks, {counts} FROM outcome
                GROUP BY {key} ORDER BY {key}""",
            )
            for key in ("position", "source", "kind")
        },
    }


def _discoveries(
    connection: duckdb.DuckDBPyConnection, plan: Plan, home: Home, week: Week, closed: date
) -> dict[str, Any]:
    """Songs that active listeners began for the first time: from the playlist, and elsewhere."""
    try:
        state = Artefact.open(home.taste(week))
        if state.inputs["days"] != plan.days_digest(closed):
            return {"reason": "the log's days have changed since the edition's taste state"}
        taste = state.file("taste.parquet")
    except ArtefactError:
        return {"reason": "the edition's taste state is no longer there"}
    rows = _rows(connection, _DISCOVERIES.format(taste=read_parquet([taste])))
    counted = {row.pop("place"): row for row in rows}
    nothing = dict.fromkeys(("songs", "finished", "saved", "kept", "skipped"), 0)
    return {place: counted.get(place, nothing) for place in ("from_playlist", "elsewhere")}


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

_SONGS: Final = """
    CREATE TABLE song AS
        SELECT track_id, dense_rank() OVER (ORDER BY song_key)::INTEGER AS song
        FROM {catalogue}
"""

_LISTENERS: Final = """
    CREATE OR REPLACE TABLE list AS
        SELECT row_number() OVER (ORDER BY user_id)::INTEGER AS no, user_id, kind, tracks
        FROM playlist ANTI JOIN forgotten USING (user_id);
    CREATE OR REPLACE TABLE exposure AS
        SELECT DISTINCT no, exposed.track_id
        FROM exposed JOIN list USING (user_id)
        WHERE edition = '{edition}';
    INSERT INTO has_list SELECT '{edition}', user_id FROM list;
    CREATE OR REPLACE TABLE slot AS
        WITH entry AS (SELECT no, kind, unnest(tracks, max_depth := 2) FROM list)
        SELECT entry.no, kind, position, source, song, exposure.no IS NOT NULL AS shown
        FROM entry LEFT JOIN song USING (track_id)
        LEFT JOIN exposure ON entry.no = exposure.no AND entry.track_id = exposure.track_id;
"""

#: One row per listener and song of the week; without a song, what no catalogue knows.
_HEARD: Final = """
    CREATE OR REPLACE TABLE heard AS
        WITH event AS (
            SELECT no, song, listened_on < DATE '{monday}' AS before,
                plays + part_plays + skips AS begun, plays, skips, saves + likes AS saves,
                dislikes
            FROM {plays} JOIN list USING (user_id) LEFT JOIN song USING (track_id)
            WHERE listened_on < DATE '{end}'
        ), week AS (
            SELECT no, song, bool_or(before AND begun > 0) AS before, bool_or(NOT before) AS active,
                bool_or(NOT before AND begun > 0) AS played,
                bool_or(NOT before AND plays > 0) AS finished,
                bool_or(NOT before AND saves > 0) AS saved,
                bool_or(NOT before AND skips > 0) AS skips
            FROM event GROUP BY no, song
        )
        SELECT * EXCLUDE (skips), finished OR saved AS kept, skips AND NOT kept AS skipped
        FROM week WHERE active;
    CREATE OR REPLACE TABLE listener AS
        SELECT no, no IN (SELECT no FROM heard) AS active,
            no IN (SELECT no FROM exposure) AS opened
        FROM list;
"""

_OUTCOMES: Final = """
    CREATE OR REPLACE TABLE outcome AS
        SELECT slot.no, kind, position, source, shown,
            coalesce(played, false) AS played, coalesce(finished, false) AS finished,
            coalesce(saved, false) AS saved, coalesce(kept, false) AS kept,
            coalesce(skipped, false) AS skipped
        FROM slot SEMI JOIN (FROM listener WHERE {condition}) USING (no)
        LEFT JOIN heard USING (no, song)
"""

_KEPT_OR_NOT: Final = ", ".join(
    f"count(*) FILTER ({outcome}) AS {outcome}"
    for outcome in ("finished", "saved", "kept", "skipped")
)
_COUNTS: Final = f"count(*) FILTER (played) AS played, {_KEPT_OR_NOT}"

_DISCOVERIES: Final = f"""
    WITH first AS (
        SELECT heard.*, (no, song) IN (SELECT no, song FROM slot) AS listed FROM heard
        WHERE played AND NOT before AND song IS NOT NULL
    ), known AS (
        SELECT no, song FROM {{taste}} JOIN list USING (user_id)
        JOIN song USING (track_id) WHERE heard
    )
    SELECT CASE WHEN listed THEN 'from_playlist' ELSE 'elsewhere' END AS place,
        count(*) AS songs, {_KEPT_OR_NOT}
    FROM first ANTI JOIN known USING (no, song) GROUP BY place
"""
