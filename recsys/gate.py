"""The playlist gate: every invariant on every playlist, before any reader can see it.

It asks the files that were written, and shares nothing with the code that made them. One pass over
numbers clears what keeps every rule (:mod:`recsys._gate_suspects`); of what it does not clear,
which is nothing in a sound edition, each question is asked in SQL (of the scores, in NumPy).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from recsys import _gate_scores, _gate_spares, _gate_suspects, _gate_tables
from recsys._gate_scores import Factors
from recsys._slices import UserRange
from recsys._tables import database, part_files
from recsys.schemas import PLAYLISTS
from recsys.settings import PlaylistsSettings
from recsys.verdict import MOST_SAMPLES, Check, Verdict
from recsys.weeks import Week

EVERYONE: Final = UserRange()


def check_playlists(
    *,
    playlists: Path | Sequence[Path],
    default: Path | None,
    refused: Path | Sequence[Path],
    taste: Path,
    catalogue: Path,
    eligible: Path,
    model: Path | Factors,
    cooling: Sequence[Path],
    blocked: Sequence[str],
    week: Week,
    settings: PlaylistsSettings,
    users: UserRange = EVERYONE,
) -> Verdict:
    """Check an edition's playlists; the checks and their names are in ``docs/playlists.md``.

    Args:
        playlists: one or more files of `recsys.schemas.PLAYLISTS`, in user order.
        default: the same with the edition's default playlist; None where another range has it.
        refused: one or more files with ``user_id`` and ``reason``.
        taste: a file of `recsys.schemas.TASTE`.
        catalogue: a file of `recsys.schemas.CATALOGUE`.
        eligible: a file with the ``user_id`` of everyone who must get a playlist.
        model: the folder of the model that made the scores, or its factors.
        cooling: playlist files of the editions that must not be repeated.
        blocked: track ids that are blocked, with every other track of the same song.
        week: the edition.
        settings: length, and songs per artist.
        users: who ``playlists`` and ``refused`` are of; see :func:`together`.

    Returns:
        Passed or refused. Samples name users: they belong under home, not into a log.
    """
    files, left_out = _files(playlists), _files(refused)
    schema = _check_schema([*files, default] if default else files)
    if not schema.passed:
        return Verdict.of([schema])
    read: dict[str, Any] = {
        "playlists": files,
        "default": default,
        "refused": left_out,
        "users": users,
        "catalogue": catalogue,
        "eligible": eligible,
        "cooling": cooling,
        "blocked": blocked,
        "settings": settings,
    }
    factors = _gate_scores.read_factors(model) if isinstance(model, Path) else model
    suspects = _gate_suspects.suspects(
        **read, taste=users.files_of(taste), factors=factors, week=week
    )
    asked = {
        name: check
        for name, check in (_CHECKS | _gate_spares.CHECKS).items()
        if default is not None or name != _OF_DEFAULT
    }
    if suspects is not None and not len(suspects):
        limits = {name: limit for name, (limit, _) in asked.items()} | _gate_scores.LIMIT
        return Verdict.of([schema, *(_found(name, limit) for name, limit in limits.items())])
    edition = {
        "edition": str(week),
        "monday": week.monday,
        "sunday": week.sunday,
        "length": settings.length,
    }
    with TemporaryDirectory() as spill, database(Path(spill)) as connection:
        _gate_tables.load(connection, **read, taste=taste, only=_to_ask(suspects))
        checks = [
            _ask(connection, name, limit, query.format(**edition))
            for name, (limit, query) in asked.items()
        ]
        checks.append(_gate_scores.check_scores(connection, factors))
    return Verdict.of([schema, *checks])


def together(verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict of the ranges of users that an edition was checked in.

    What was found is added up. There is nobody served where there is nobody in any range.

    Args:
        verdicts: from :func:`check_playlists`, of ranges that follow each other and leave out no
            user id there can be; the first with the default playlist.
    """
    found: dict[str, list[Check]] = {}
    for verdict in verdicts:
        for check in verdict.checks:
            found.setdefault(check.name, []).append(check)
    return Verdict.of([_added(checks) for checks in found.values()])


def _added(checks: Sequence[Check]) -> Check:
    if checks[0].name == _OF_ALL:
        refused = sum(sample["refused"] for check in checks for sample in check.samples)
        some = [check for check in checks if check.passed]
        return some[0] if some else replace(checks[0], samples=({"refused": refused},))
    samples = [sample for check in checks for sample in check.samples]
    return replace(
        checks[0],
        passed=all(check.passed for check in checks),
        value=sum(int(check.value or 0) for check in checks),
        samples=tuple(samples[:MOST_SAMPLES]),
    )


def _files(tables: Path | Sequence[Path]) -> list[Path]:
    some = [tables] if isinstance(tables, Path) else tables
    return [file for table in some for file in part_files(table)]


def _to_ask(suspects: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64] | None:
    """The suspects; the default playlist and the first list, whose absence would be a finding."""
    return None if suspects is None else np.union1d(suspects, [0, 1])


def _found(
    name: str, limit: str, found: int = 0, samples: tuple[dict[str, Any], ...] = ()
) -> Check:
    return Check(name, not found, found, f"0 {limit}", samples)


def _check_schema(files: Sequence[Path]) -> Check:
    wrong = [
        {"file": str(file), "schema": str(found)}
        for file in files
        if not (found := pq.read_schema(file).remove_metadata()).equals(PLAYLISTS)
    ]
    return Check("schema", not wrong, len(wrong), "0 files of another schema", tuple(wrong))


def _ask(connection: duckdb.DuckDBPyConnection, name: str, limit: str, query: str) -> Check:
    cursor = connection.execute(
        f"SELECT count(*) OVER () AS found, * FROM ({query}) ORDER BY ALL LIMIT {MOST_SAMPLES}"
    )
    columns = [column[0] for column in cursor.description or ()][1:]
    rows = cursor.fetchall()
    samples = tuple(dict(zip(columns, map(_json, values), strict=True)) for _, *values in rows)
    return _found(name, limit, rows[0][0] if rows else 0, samples)


def _json(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def _unsaid(rule: str) -> str:
    return f"""
        SELECT user_id, no, n FROM list SEMI JOIN
            (FROM broken ANTI JOIN said USING (no, rule) WHERE rule = '{rule}') USING (no)"""


def _slots(rows: str) -> str:
    return f"""
        SELECT user_id, place, coalesce(track_id, unknown_id) AS track_id
        FROM (SELECT slot.* FROM {rows}) JOIN list USING (no) LEFT JOIN track USING (track)"""


#: What is asked of the default playlist, and what of all playlists together.
_OF_DEFAULT: Final = "default_list"
_OF_ALL: Final = "somebody_served"

#: Name of the check -> what may not be there, and the query that finds it.
_CHECKS: Final = {
    "edition": (
        "lists of another edition or with other dates",
        """SELECT user_id, edition, valid_from, valid_until FROM list
        WHERE role <> 'refused' AND (edition <> '{edition}'
            OR valid_from <> DATE '{monday}' OR valid_until <> DATE '{sunday}')""",
    ),
    "somebody_served": (
        "editions without a single playlist",
        """SELECT count(*) FILTER (role = 'refused') AS refused FROM list
        HAVING count(*) FILTER (role = 'listener') = 0""",
    ),
    "one_row_per_user": (
        "users with several rows",
        """SELECT user_id, role, count(*) AS rows FROM list WHERE role <> 'default'
        GROUP BY ALL HAVING count(*) > 1""",
    ),
    "sorted_by_user": (
        "users out of order",
        """SELECT user_id, before FROM (
            SELECT user_id, lag(user_id) OVER (ORDER BY no) AS before
            FROM list WHERE role = 'listener')
        WHERE user_id < before""",
    ),
    "accounting": (
        "users: personal + blended + popular + refused = eligible",
        """SELECT user_id, coalesce(roles, 'missing') AS roles, eligible IS NOT NULL AS eligible
        FROM (
            SELECT user_id, string_agg(DISTINCT role, '+' ORDER BY role) AS roles
            FROM list WHERE role <> 'default' GROUP BY user_id)
        FULL JOIN (SELECT user_id, true AS eligible FROM eligible) USING (user_id)
        WHERE eligible IS NULL OR roles IS NULL OR roles NOT IN ('listener', 'refused')""",
    ),
    "default_list": (
        "faults: one list of kind popular for the user '', none only if no song is left",
        """SELECT user_id, kind, rows FROM (
            SELECT any_value(user_id) AS user_id, any_value(kind) AS kind, count(*) AS rows
            FROM list WHERE role = 'default')
        WHERE rows <> (SELECT (count(*) > 0)::INTEGER FROM open_song)
            OR user_id <> '' OR kind <> 'popular'""",
    ),
    "length": (
        "lists that are too long, or short while songs are left",
        """SELECT user_id, n, songs_left FROM list LEFT JOIN short USING (no)
        WHERE role <> 'refused' AND (n = 0 OR n > {length} OR n < least({length}, songs_left))""",
    ),
    "refusals": (
        "users refused without a good reason",
        """SELECT user_id, reason, songs_left FROM list LEFT JOIN short USING (no)
        WHERE role = 'refused' AND (reason IS DISTINCT FROM 'nothing_left' OR songs_left > 0)""",
    ),
    "positions": (
        "positions other than 1, 2, 3...",
        _slots("slot WHERE position IS DISTINCT FROM place"),
    ),
    "track_twice": (
        "tracks twice in a list",
        """SELECT user_id, track_id, places FROM (
            SELECT no, track, list(place ORDER BY place) AS places
            FROM slot WHERE track IS NOT NULL GROUP BY no, track HAVING count(*) > 1)
        JOIN list USING (no) JOIN track USING (track)""",
    ),
    "song_twice": (
        "songs in a list as two tracks",
        """SELECT user_id, track_ids FROM (
            SELECT no, list(DISTINCT track_id ORDER BY track_id) AS track_ids
            FROM slot JOIN track USING (track)
            SEMI JOIN (
                SELECT no, song FROM slot GROUP BY no, song HAVING count(DISTINCT track) > 1
            ) AS twice ON slot.no = twice.no AND slot.song = twice.song
            GROUP BY no, slot.song)
        JOIN list USING (no)""",
    ),
    "in_catalogue": ("tracks that the catalogue does not know", _slots("slot WHERE track IS NULL")),
    "available": ("tracks that are not available", _slots("slot WHERE NOT available")),
    "not_heard": (
        "songs that the user heard",
        _slots("slot SEMI JOIN (FROM known WHERE heard) USING (no, song)"),
    ),
    "not_disliked": (
        "songs that the user dislikes",
        _slots("slot SEMI JOIN (FROM known WHERE disliked) USING (no, song)"),
    ),
    "not_blocked": ("blocked songs", _slots("slot SEMI JOIN blocked USING (song)")),
    "scores": (
        "scores that are not finite, or padding",
        """SELECT user_id, place, score FROM slot JOIN list USING (no)
        WHERE score IS NULL OR NOT isfinite(score) OR abs(score) >= """
        f"{_gate_spares.LARGEST_SCORE}",
    ),
    "kind": (
        "kinds that do not say where the tracks come from",
        """SELECT user_id, kind, als, popular, n FROM list JOIN (
            SELECT no, count(*) FILTER (source = 'als') AS als,
                count(*) FILTER (source = 'popular') AS popular
            FROM slot GROUP BY no) USING (no)
        WHERE als + popular <> n OR kind <> CASE
            WHEN popular = 0 THEN 'personal' WHEN als = 0 THEN 'popular' ELSE 'blended' END""",
    ),
    "relaxed_known": (
        "names in relaxed that are no rule, or there twice",
        """SELECT user_id, relaxed FROM list
        WHERE role <> 'refused' AND (len(list_distinct(relaxed)) <> len(relaxed)
            OR NOT list_has_all(['neighbours', 'cooldown', 'per_artist'], relaxed))""",
    ),
    "relaxed_broken": (
        "rules said to have given way that are kept",
        """SELECT user_id, rule FROM said ANTI JOIN broken USING (no, rule) JOIN list USING (no)
        WHERE rule IN ('neighbours', 'cooldown', 'per_artist')""",
    ),
    "neighbours": ("lists with two neighbours by one artist, unsaid", _unsaid("neighbours")),
    "cooldown": ("lists that repeat a song of a cooling edition, unsaid", _unsaid("cooldown")),
    "per_artist": ("lists with too many songs by one artist, unsaid", _unsaid("per_artist")),
    "because_heard": (
        "reasons that the user never heard",
        _slots(
            "slot ANTI JOIN (FROM known WHERE heard) AS heard "
            "ON slot.no = heard.no AND slot.because = heard.track WHERE has_reason"
        ),
    ),
    # Where a user saved or liked what they never played, that may be all that speaks for a song.
    "because_given": (
        "personal tracks without a reason",
        _slots(
            "slot ANTI JOIN (FROM known WHERE NOT heard AND NOT disliked) USING (no) "
            "WHERE source = 'als' AND NOT has_reason"
        ),
    ),
}
