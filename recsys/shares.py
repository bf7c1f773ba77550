"""What an edition's playlists come to as a whole: shares that may be unusual, but not broken.

The playlist gate's second half. The first, the invariants that hold for every single playlist, is
`recsys.gate`; like it, this asks the files that were written: it counts in numbers, and names who
offends in SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from recsys._gate_codes import IrregularError
from recsys._gate_counts import Counts, count_shares
from recsys._tables import database, read_parquet
from recsys.settings import GatesSettings, PlaylistsSettings
from recsys.verdict import ENOUGH_LISTENERS, MOST_SAMPLES, SOFT, Check, Verdict

RULES: Final = ("coverage", "relaxed", "filled", "alike", "repeated")
#: Of fewer open songs, lists cannot but be filled up, break rules, and have much in common.
_LEAST_LISTS_OF_SONGS: Final = 3

#: The rows of a query, by column.
Ask = Callable[[str], list[dict[str, Any]]]


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
        playlists: a table of :data:`recsys.schemas.PLAYLISTS`.
        eligible: a table with the ``user_id`` of everyone who must get a playlist.
        catalogue: a table of :data:`recsys.schemas.CATALOGUE`.
        previous: the playlists of the edition before, where there is one.
        spill: a folder for what does not fit into memory.
        settings: the rules that the playlists were made by.
        gates: the bands.

    Returns:
        A verdict of soft checks. Samples name users.
    """
    tables = {"playlist": playlists, "eligible": eligible, "track": catalogue}
    with database(spill) as connection:

        @cache
        def made() -> None:
            for name, table in (tables | ({"earlier": previous} if previous else {})).items():
                connection.execute(f"CREATE VIEW {name} AS FROM {read_parquet([table])}")
            spelt = views("unnest(tracks).track_id", "len(relaxed) > 0", previous)
            for name, query in spelt.items():
                connection.execute(f"CREATE TABLE {name} AS {query}")

        def ask(query: str) -> list[dict[str, Any]]:
            made()
            cursor = connection.execute(query)
            columns = [column[0] for column in cursor.description or ()]
            return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

        try:
            counts = count_shares(playlists, eligible, catalogue, previous)
        except IrregularError:
            counts = count_in_sql(ask, previous=previous is not None)
        return judge_shares(
            counts, ask, previous=previous is not None, settings=settings, gates=gates
        )


def views(tracks: str, gave_way: str, previous: Path | None) -> dict[str, str]:
    """What :func:`judge_shares` asks, as queries of ``playlist``, ``track`` and ``earlier``.

    Args:
        tracks: what makes a row of each ``track_id`` of a playlist, as the engine spells it.
        gave_way: whether ``relaxed`` names a rule.
        previous: the playlists of the edition before, where there is one.

    Returns:
        ``list``: user_id, kind, relaxed, gave_way; ``slot``: user_id, kind and song, each song of a
        listener once; ``before``, where there is an earlier edition: user_id and song.
    """

    def songs_of(table: str, columns: str) -> str:
        return f"""SELECT DISTINCT {columns}, song_key AS song
            FROM (SELECT {columns}, {tracks} AS track_id FROM {table}) AS entry
            JOIN track USING (track_id)"""

    found = {
        "list": f"SELECT user_id, kind, relaxed, {gave_way} AS gave_way FROM playlist",
        "slot": songs_of("playlist", "user_id, kind"),
    }
    return found | ({"before": songs_of("earlier", "user_id")} if previous else {})


def count_in_sql(ask: Ask, *, previous: bool) -> Counts:
    """Count what the shares are made of, in the SQL that every engine understands.

    Args:
        ask: answers queries of ``eligible``, ``track`` and the tables of :func:`views`.
        previous: whether there is an earlier edition.
    """
    found: dict[str, Any] = {"tracks": 0, "repeated": 0}
    for query in (*_COUNTED, *([_REPEATED] if previous else [])):
        found |= ask(query)[0]
    return Counts(**{name: int(count or 0) for name, count in found.items()})


#: Of each listener who had an earlier playlist: how many songs, and how many of them again.
_AGAIN: Final = """
    SELECT slot.user_id, count(before.song) AS repeated, count(*) AS tracks
    FROM slot LEFT JOIN before ON slot.user_id = before.user_id AND slot.song = before.song
    WHERE slot.user_id IN (SELECT user_id FROM before)
    GROUP BY slot.user_id"""
_REPEATED: Final = (
    f"SELECT sum(repeated) AS repeated, sum(tracks) AS tracks FROM ({_AGAIN}) AS again"
)
_COUNTED: Final = (
    "SELECT count(*) AS listeners FROM eligible",
    "SELECT count(DISTINCT song_key) AS songs FROM track WHERE available",
    """SELECT count(*) AS lists, sum(CAST(gave_way AS INTEGER)) AS gave_way,
        sum(CAST(kind <> 'personal' AS INTEGER)) AS filled FROM list""",
    """WITH shared AS (SELECT count(*) AS lists FROM slot WHERE kind <> 'popular' GROUP BY song)
    SELECT sum(lists * (lists - 1)) AS pairs, sum(lists) AS entries,
        (SELECT count(DISTINCT user_id) FROM slot WHERE kind <> 'popular') AS own
    FROM shared""",
)


def judge_shares(
    counts: Counts, ask: Ask, *, previous: bool, settings: PlaylistsSettings, gates: GatesSettings
) -> Verdict:
    """Judge the shares, and name who is to blame for those that are out of their bands.

    Args:
        counts: what they are made of.
        ask: answers queries of ``eligible`` and the tables of :func:`views`.
        previous: whether there is an earlier edition.
        settings: the rules that the playlists were made by.
        gates: the bands.
    """
    if counts.listeners < ENOUGH_LISTENERS:
        return Verdict.of([], dict.fromkeys(RULES, "too few listeners to tell"))
    checks, skipped = [_coverage(counts, ask, gates)], dict[str, str]()
    if counts.songs < _LEAST_LISTS_OF_SONGS * settings.length:
        why = (
            f"only {counts.songs} songs can be recommended, fewer than {_LEAST_LISTS_OF_SONGS} "
            f"lists of {settings.length} ([playlists] length)"
        )
        skipped = dict.fromkeys(("relaxed", "filled", "alike"), why)
    else:
        checks += [*_kinds(counts, ask, gates), _alike(counts, ask, gates)]
    if not settings.cooldown_editions:
        skipped["repeated"] = "[playlists] cooldown_editions = 0 lets tracks come again"
    elif not previous:
        skipped["repeated"] = "there is no earlier edition"
    else:
        checks.append(_repeated(counts, ask, gates))
    return Verdict.of(checks, skipped)


def _coverage(counts: Counts, ask: Ask, gates: GatesSettings) -> Check:
    without = """SELECT user_id FROM eligible
        WHERE NOT EXISTS (SELECT 1 FROM list WHERE list.user_id = eligible.user_id)"""
    return _judge(
        ask,
        "coverage",
        counts.lists / counts.listeners,
        (gates.least_coverage, 1.0),
        "of the eligible listeners ([gates] least_coverage)",
        without,
    )


def _kinds(counts: Counts, ask: Ask, gates: GatesSettings) -> list[Check]:
    return [
        _judge(
            ask, "relaxed", counts.gave_way / max(counts.lists, 1), (0.0, gates.most_relaxed),
            "of the playlists with a rule that gave way ([gates] most_relaxed; [playlists] length, "
            "per_artist, cooldown_editions)",
            "SELECT user_id, relaxed FROM list WHERE gave_way",
        ),
        _judge(
            ask, "filled", counts.filled / max(counts.lists, 1), (0.0, gates.most_filled),
            "of the playlists blended or popular ([gates] most_filled; [playlists] length)",
            "SELECT user_id, kind FROM list WHERE kind <> 'personal'",
        ),
    ]  # fmt: skip


def _alike(counts: Counts, ask: Ask, gates: GatesSettings) -> Check:
    """How many songs two lists share, over all pairs, by how many lists each song is in."""
    others = counts.own - 1
    share = counts.pairs / counts.entries / others if others > 0 else 0.0
    most_listed = f"""SELECT song, count(*) AS playlists FROM slot WHERE kind <> 'popular'
        GROUP BY song ORDER BY playlists DESC, song LIMIT {MOST_SAMPLES}"""
    return _judge(
        ask, "alike", share, (0.0, gates.most_alike),
        "of the tracks in common, by two listeners' playlists ([gates] most_alike)", most_listed,
    )  # fmt: skip


def _repeated(counts: Counts, ask: Ask, gates: GatesSettings) -> Check:
    return _judge(
        ask,
        "repeated",
        counts.repeated / (counts.tracks or 1),
        (gates.least_repeated, gates.most_repeated),
        "of a listener's tracks of last week ([gates] least_repeated, most_repeated)",
        f"SELECT * FROM ({_AGAIN}) AS again WHERE repeated > 0",
    )


def _judge(
    ask: Ask, name: str, share: float, band: tuple[float, float], what: str, offending: str
) -> Check:
    least, most = band
    share = round(float(share), 4)
    passed = least <= share <= most
    samples: tuple[dict[str, Any], ...] = ()
    if not passed:
        first = f"SELECT * FROM ({offending}) AS offending ORDER BY ALL LIMIT {MOST_SAMPLES}"
        samples = tuple(ask(first))
    return Check(name, passed, share, f"{least:g} to {most:g} {what}", samples, SOFT)
