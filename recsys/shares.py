"""What an edition's playlists come to as a whole: shares that may be unusual, but not broken.

The playlist gate's second half. The first, the invariants that hold for every single playlist, is
`recsys.gate`; like it, this asks the files that were written, in SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import duckdb

from recsys._tables import database, file_list
from recsys.settings import GatesSettings, PlaylistsSettings
from recsys.verdict import ENOUGH_LISTENERS, MOST_SAMPLES, SOFT, Check, Verdict

RULES: Final = ("coverage", "relaxed", "filled", "alike", "repeated")
#: Of fewer open songs, lists cannot but be filled up, break rules, and have much in common.
_LEAST_LISTS_OF_SONGS: Final = 3


def check_shares(
    *,
    playlists: Path,
    eligible: Path,
    catalogue: Path,
    previous: Path | None,
    spill: Path,
    settings: PlaylistsSettings,
    gates: GatesSettings,
) -> Verdict:
    """Hold an edition's shares against the bands of ``[gates]``; each is in ``docs/gates.md``.

    Below 30 eligible listeners a share says nothing, and none is asked for.

    Args:
        playlists: a file of :data:`recsys.schemas.PLAYLISTS`.
        eligible: a file with the ``user_id`` of everyone who must get a playlist.
        catalogue: a file of :data:`recsys.schemas.CATALOGUE`.
        previous: the playlists of the edition before, where there is one.
        spill: a folder for what does not fit into memory.
        settings: the rules that the playlists were made by.
        gates: the bands.

    Returns:
        A verdict of soft checks. Samples name users.
    """
    with database(spill) as connection:
        for name, file in (("playlist", playlists), ("eligible", eligible), ("track", catalogue)):
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet({file_list([file])})")
        (listeners,) = _row(connection, "SELECT count(*) FROM eligible")
        if listeners < ENOUGH_LISTENERS:
            return Verdict.of([], dict.fromkeys(RULES, "too few listeners to tell"))
        connection.execute(_SLOTS)
        checks, skipped = [_coverage(connection, listeners, gates)], dict[str, str]()
        (songs,) = _row(connection, "SELECT count(DISTINCT song_key) FROM track WHERE available")
        if songs < _LEAST_LISTS_OF_SONGS * settings.length:
            why = (
                f"only {songs} songs can be recommended, fewer than {_LEAST_LISTS_OF_SONGS} lists "
                f"of {settings.length} ([playlists] length)"
            )
            skipped = dict.fromkeys(("relaxed", "filled", "alike"), why)
        else:
            checks += [*_kinds(connection, gates), _alike(connection, gates)]
        if not settings.cooldown_editions:
            skipped["repeated"] = "[playlists] cooldown_editions = 0 lets tracks come again"
        elif previous is None:
            skipped["repeated"] = "there is no earlier edition"
        else:
            checks.append(_repeated(connection, previous, gates))
    return Verdict.of(checks, skipped)


#: slot: user_id, song; a listener's songs of the edition, each once.
_SLOTS: Final = """
    CREATE TABLE slot AS
        WITH entry AS (
            SELECT user_id, kind, unnest(tracks).track_id AS track_id FROM playlist
        )
        SELECT DISTINCT user_id, kind, song_key AS song FROM entry JOIN track USING (track_id)
"""


def _coverage(connection: duckdb.DuckDBPyConnection, eligible: int, gates: GatesSettings) -> Check:
    (served,) = _row(connection, "SELECT count(*) FROM playlist")
    least = gates.least_coverage
    share = round(served / eligible, 4)
    without = "SELECT user_id FROM eligible ANTI JOIN playlist USING (user_id)"
    return _judge(
        connection,
        "coverage",
        share,
        (least, 1.0),
        "of the eligible listeners ([gates] least_coverage)",
        without,
    )


def _kinds(connection: duckdb.DuckDBPyConnection, gates: GatesSettings) -> list[Check]:
    relaxed, filled = _row(
        connection,
        """SELECT coalesce(avg((len(relaxed) > 0)::INTEGER), 0),
            coalesce(avg((kind <> 'personal')::INTEGER), 0) FROM playlist""",
    )
    return [
        _judge(
            connection, "relaxed", round(relaxed, 4), (0.0, gates.most_relaxed),
            "of the playlists with a rule that gave way ([gates] most_relaxed; [playlists] length, "
            "per_artist, cooldown_editions)",
            "SELECT user_id, relaxed FROM playlist WHERE len(relaxed) > 0",
        ),
        _judge(
            connection, "filled", round(filled, 4), (0.0, gates.most_filled),
            "of the playlists blended or popular ([gates] most_filled; [playlists] length)",
            "SELECT user_id, kind FROM playlist WHERE kind <> 'personal'",
        ),
    ]  # fmt: skip


def _alike(connection: duckdb.DuckDBPyConnection, gates: GatesSettings) -> Check:
    """How many songs two lists share, over all pairs, by how many lists each song is in."""
    (share,) = _row(
        connection,
        """WITH shared AS (
            SELECT count(*) AS lists FROM slot WHERE kind <> 'popular' GROUP BY song)
        SELECT coalesce(sum(lists * (lists - 1)) / sum(lists)
            / nullif((SELECT count(DISTINCT user_id) FROM slot WHERE kind <> 'popular') - 1, 0), 0)
        FROM shared""",
    )
    most_listed = f"""SELECT song, count(*) AS playlists FROM slot WHERE kind <> 'popular'
        GROUP BY song ORDER BY playlists DESC, song LIMIT {MOST_SAMPLES}"""
    return _judge(
        connection, "alike", round(share, 4), (0.0, gates.most_alike),
        "of the tracks in common, by two listeners' playlists ([gates] most_alike)", most_listed,
    )  # fmt: skip


def _repeated(connection: duckdb.DuckDBPyConnection, previous: Path, gates: GatesSettings) -> Check:
    connection.execute(
        f"""CREATE TABLE again AS
            WITH entry AS (
                SELECT user_id, unnest(tracks).track_id AS track_id
                FROM read_parquet({file_list([previous])})
            ), before AS (
                SELECT DISTINCT user_id, song_key AS song FROM entry JOIN track USING (track_id)
            )
            SELECT user_id, count(*) AS tracks, count(before.song) AS repeated
            FROM slot LEFT JOIN before USING (user_id, song)
            WHERE user_id IN (SELECT user_id FROM before)
            GROUP BY user_id"""
    )
    (share,) = _row(connection, "SELECT coalesce(sum(repeated) / sum(tracks), 0) FROM again")
    band = (gates.least_repeated, gates.most_repeated)
    worst = "SELECT user_id, repeated, tracks FROM again WHERE repeated > 0"
    return _judge(
        connection,
        "repeated",
        round(share, 4),
        band,
        "of a listener's tracks of last week ([gates] least_repeated, most_repeated)",
        worst,
    )


def _judge(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    share: float,
    band: tuple[float, float],
    what: str,
    offending: str,
) -> Check:
    least, most = band
    passed = least <= share <= most
    samples: tuple[dict[str, Any], ...] = ()
    if not passed:
        cursor = connection.execute(f"FROM ({offending}) ORDER BY ALL LIMIT {MOST_SAMPLES}")
        columns = [column[0] for column in cursor.description or ()]
        samples = tuple(dict(zip(columns, row, strict=True)) for row in cursor.fetchall())
    return Check(name, passed, share, f"{least:g} to {most:g} {what}", samples, SOFT)


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(query).fetchone()
    return row or (0,)
