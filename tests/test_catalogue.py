from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import schemas
from recsys.catalogue import roll_catalogue
from recsys.plays import DAILY_TRACKS


def day(path: Path, *tracks: dict[str, Any]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(tracks), schema=DAILY_TRACKS), path)
    return path


def track(track_id: str, name: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"track_id": track_id, "track_name": name} | fields


def catalogue(path: Path) -> dict[str, dict[str, Any]]:
    table = pq.read_table(path)
    assert table.schema.equals(schemas.CATALOGUE)
    return {row["track_id"]: row for row in table.to_pylist()}


def test_the_newest_day_that_names_a_field_wins(tmp_path: Path) -> None:
    old = day(tmp_path / "1.parquet", track("t", "Old", album_name="Album", artist_name="A"))
    new = day(tmp_path / "2.parquet", track("t", "New", artist_name="A"))
    roll_catalogue(None, [old, new], tmp_path / "out.parquet")
    row = catalogue(tmp_path / "out.parquet")["t"]
    assert (row["track_name"], row["album_name"], row["available"]) == ("New", "Album", True)


def test_going_on_from_last_week_equals_starting_from_the_days(tmp_path: Path) -> None:
    days = [
        day(
            tmp_path / f"{n}.parquet",
            track(
                f"t{n % 3}", f"Name {n}", artist_ids=[f"a{n % 2}"], artist_name=f"Artist {n % 2}"
            ),
        )
        for n in range(6)
    ]
    roll_catalogue(None, days[:3], tmp_path / "one.parquet")
    roll_catalogue(tmp_path / "one.parquet", days[3:], tmp_path / "two.parquet")
    roll_catalogue(None, days, tmp_path / "whole.parquet")
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_every_credited_artist_is_named_in_order(tmp_path: Path) -> None:
    tracks = day(
        tmp_path / "day.parquet",
        track("1", "Alone", artist_ids=["b"], artist_name="Bea"),
        track("2", "Alone too", artist_ids=["a"], artist_name="Ada"),
        track("3", "Together", artist_ids=["a", "b", "c"], artist_name="Ada feat. Bea"),
        track("4", "Nobody's"),
        track("5", "By name", artist_name="Cid"),
    )
    counts = roll_catalogue(None, [tracks], tmp_path / "out.parquet")
    found = catalogue(tmp_path / "out.parquet")
    assert found["3"]["artist_names"] == ["Ada", "Bea", "c"]
    assert (found["4"]["artist_ids"], found["4"]["artist_names"]) == ([], [])
    assert (found["5"]["artist_ids"], found["5"]["artist_names"]) == (["Cid"], ["Cid"])
    assert counts == {"tracks": 5, "songs": 5, "unnamed": 0}


def test_a_catalogue_of_nothing_is_empty(tmp_path: Path) -> None:
    assert roll_catalogue(None, [], tmp_path / "out.parquet")["tracks"] == 0
    assert catalogue(tmp_path / "out.parquet") == {}
