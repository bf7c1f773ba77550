"""What is checked beside every time: how good the lists are, whose they are, and that they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from benchmarks._logs import Log
from recsys._tables import file_list

_ACTIVE_DAYS: Final = 28

_LISTENS: Final = """
    SELECT user_id, track_id, listened_at FROM read_parquet({files})
    WHERE user_id IS NOT NULL AND track_id IS NOT NULL AND listened_at IS NOT NULL
        AND event = 'play' AND private IS NOT TRUE
"""


def recall(log: Log, lists: Path) -> dict[str, Any]:
    """Recall@30 on the held-out week: of the true songs that a listener first heard then.

    ``shifted`` is what it comes to where each listener has the next one's list: if a stage ever
    mixed up whose list is whose, the two would be alike.

    Args:
        log: the log.
        lists: Parquet with ``user_id`` and ``track_ids``, or an edition's playlists.

    Returns:
        ``recall``, half of its 95% interval as ``plus_minus``, ``shifted``, and ``listeners``.

    Raises:
        RuntimeError: the next one's list is more than half as good.
    """
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            CREATE TABLE list AS SELECT *, row_number() OVER (ORDER BY user_id) - 1 AS n
                FROM ({_lists(lists)});
            CREATE TABLE wanted AS SELECT user_id, list(song_id) AS songs
                FROM '{log.new_songs}' GROUP BY user_id;
            CREATE TABLE listed AS SELECT n, list_distinct(list(song_id)) AS songs
                FROM (SELECT n, unnest(track_ids) AS track_id FROM list)
                JOIN '{log.songs}' USING (track_id) GROUP BY n;
            """
        )
        mean, half, users = connection.execute(_RECALL.format(n="n")).fetchone()
        other = "(n + 1) % (SELECT count(*) FROM list)"
        shifted = connection.execute(_RECALL.format(n=other)).fetchone()[0]
    if not shifted < mean / 2:
        raise RuntimeError(f"{lists}: recall {mean:.4f}, with lists of others {shifted:.4f}")
    return {
        "recall": round(mean, 5),
        "plus_minus": round(half, 5),
        "shifted": round(shifted, 5),
        "listeners": users,
    }


_RECALL: Final = """
    SELECT avg(hit), 1.96 * stddev_samp(hit) / sqrt(count(*)), count(*) FROM (
        SELECT len(list_intersect(wanted.songs, listed.songs)) / len(wanted.songs) AS hit
        FROM (SELECT user_id, {n} AS n FROM list) JOIN wanted USING (user_id)
        JOIN listed USING (n)
    )
"""


def check_lists(log: Log, cutoff: date, lists: Path, length: int = 30) -> None:
    """Hold lists against the log itself.

    Raises:
        RuntimeError: not every active listener has a list, a list is short, has a track twice, or
            one that its listener has heard.
    """
    days = sorted(log.source.glob("date=*"))
    files = [day / "listens.parquet" for day in days if day.name < f"date={cutoff}"]
    since = cutoff - timedelta(days=_ACTIVE_DAYS)
    with duckdb.connect() as connection:
        connection.execute(
            f"""
            CREATE TABLE heard AS
                SELECT user_id, track_id, max(listened_at) AS last
                FROM ({_LISTENS.format(files=file_list(files))}) GROUP BY ALL;
            CREATE TABLE active AS SELECT user_id FROM heard GROUP BY user_id
                HAVING max(last) >= TIMESTAMPTZ '{since} 00:00:00+00';
            CREATE TABLE list AS {_lists(lists)};
            """
        )
        wrong = {
            what: connection.execute(f"SELECT count(*) FROM ({query})").fetchone()[0]
            for what, query in {
                "active listeners without a list": "FROM active ANTI JOIN list USING (user_id)",
                "lists of the inactive": "FROM list ANTI JOIN active USING (user_id)",
                "second lists": "SELECT user_id FROM list GROUP BY ALL HAVING count(*) > 1",
                "lists that are short or repeat a track": "FROM list WHERE "
                f"len(list_distinct(track_ids)) <> {length} OR len(track_ids) <> {length}",
                "tracks that were heard before": "FROM (SELECT user_id, unnest(track_ids) AS "
                "track_id FROM list) SEMI JOIN heard USING (user_id, track_id)",
            }.items()
        }
    found = {what: count for what, count in wrong.items() if count}
    if found:
        raise RuntimeError(f"{lists}: {found}")


def check_alike(said: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Hold what the contenders of a stage came to against ours.

    Args:
        said: by contender, what each printed. ``pairs and plays`` must be the same, ``loss`` no
            more than 1% above any other's, and of ``best``, the items of some listeners, 99% the
            same. What is None, or is not there, says nothing.

    Returns:
        By contender, the share of the best that is the same.

    Raises:
        RuntimeError: they did not come to the same.
    """
    shares = {}
    for name, theirs in said.items():
        mine = {what: value for what, value in said["ours"].items() if theirs.get(what) is not None}
        if "pairs and plays" in mine and mine["pairs and plays"] != theirs["pairs and plays"]:
            raise RuntimeError(f"{name} counted {theirs['pairs and plays']}, ours {mine}")
        if "loss" in mine and name != "ours" and mine["loss"] > 1.01 * theirs["loss"]:
            raise RuntimeError(f"{name} came to a loss of {theirs['loss']}, ours {mine}")
        if "best" in mine and name != "ours":
            both = list(zip(mine["best"], theirs["best"], strict=True))
            shares[name] = sum(len({*a} & {*b}) for a, b in both) / sum(len(a) for a, _ in both)
            if shares[name] < 0.99:
                raise RuntimeError(f"{name} found other items than ours: {shares[name]:.3f} alike")
    return shares


def _lists(path: Path) -> str:
    names = [row[0] for row in duckdb.sql(f"DESCRIBE FROM '{path}'").fetchall()]
    tracks = "track_ids" if "track_ids" in names else "list_transform(tracks, lambda x: x.track_id)"
    return f"SELECT user_id, {tracks} AS track_ids FROM '{path}'"
