from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import schemas
from recsys.catalogue import join_catalogue, roll_catalogue
from recsys.listens import catalogue_files, read_catalogue
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


class Service:
    """A log's catalogue, and the service's own beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def join(
        self, log: list[dict[str, Any]], given: list[dict[str, Any]], *, explicit: bool = True
    ) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
        told = self.folder / "told.parquet"
        roll_catalogue(None, [day(self.folder / "day.parquet", *log)], told)
        source = self.folder / "source"
        source.mkdir(exist_ok=True)
        (source / "tracks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
        read = read_catalogue(catalogue_files(str(source)), self.folder / "given.parquet")
        assert read["rows"] == len(given)
        out = self.folder / "joined.parquet"
        counts = join_catalogue(told, self.folder / "given.parquet", out, explicit=explicit)
        return counts | read, catalogue(out)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path)


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
    assert (found["5"]["artist_ids"], found["5"]["artist_names"]) == (["name:Cid"], ["Cid"])
    assert counts == {"tracks": 5, "songs": 5, "unnamed": 0}


def test_an_id_is_not_the_name_of_another_artist(tmp_path: Path, service: Service) -> None:
    log = [
        track("foo", "Intro", artist_ids=["311"], artist_name="Foo Fighters"),
        track("311", "Intro", artist_name="311"),
    ]
    roll_catalogue(None, [day(tmp_path / "1.parquet", *log)], tmp_path / "one.parquet")
    roll_catalogue(tmp_path / "one.parquet", [], tmp_path / "two.parquet")
    for made in ("one", "two"):
        found = catalogue(tmp_path / f"{made}.parquet")
        assert found["foo"]["song_key"] != found["311"]["song_key"]
        assert [found[name]["artist_names"] for name in ("foo", "311")] == [
            ["Foo Fighters"],
            ["311"],
        ]
    _, found = service.join(log, [track("new", "Intro", artist_name="311")])
    assert found["new"]["song_key"] == found["311"]["song_key"] != found["foo"]["song_key"]


def test_an_artist_known_by_name_is_renamed_as_if_made_from_all_days(tmp_path: Path) -> None:
    days = [
        day(tmp_path / f"{name}.parquet", track("t", "Song", artist_name=name))
        for name in ("Prince", "Symbol")
    ]
    roll_catalogue(None, days[:1], tmp_path / "one.parquet")
    roll_catalogue(tmp_path / "one.parquet", days[1:], tmp_path / "two.parquet")
    roll_catalogue(None, days, tmp_path / "whole.parquet")
    assert (tmp_path / "two.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert catalogue(tmp_path / "two.parquet")["t"]["artist_names"] == ["Symbol"]


def test_a_catalogue_of_nothing_is_empty(tmp_path: Path) -> None:
    assert roll_catalogue(None, [], tmp_path / "out.parquet")["tracks"] == 0
    assert catalogue(tmp_path / "out.parquet") == {}


def test_the_service_has_the_last_word_and_the_log_fills_in(service: Service) -> None:
    log = [track("t", "From the log", artist_ids=["a"], artist_name="Ada", album_name="Album")]
    _, found = service.join(log, [track("t", "From the service", artist_ids=["a"])])
    assert (found["t"]["track_name"], found["t"]["album_name"]) == ("From the service", "Album")
    assert found["t"]["artist_names"] == ["Ada"]


def test_what_the_service_does_not_know_or_offer_is_not_available_and_counted(
    service: Service,
) -> None:
    log = [track(name, name, artist_name="A") for name in ("here", "gone", "missing", "silent")]
    given = [track("here", available=True), track("gone", available=False), track("silent")]
    counts, found = service.join(log, given)
    available = {name: row["available"] for name, row in found.items()}
    assert available == {"here": True, "gone": False, "missing": False, "silent": True}
    assert (counts["missing"], counts["unavailable"], counts["tracks"]) == (1, 1, 4)


def test_explicit_tracks_are_barred_where_they_are_not_wanted(service: Service) -> None:
    log = [track("a", "A", artist_name="X"), track("b", "B", artist_name="X")]
    given = [track("a", explicit=True), track("b", explicit=False)]
    counts, found = service.join(log, given, explicit=False)
    assert [found[name]["available"] for name in "ab"] == [False, True]
    assert [found[name]["explicit"] for name in "ab"] == [True, False]
    assert counts["barred"] == 1
    counts, found = service.join(log, given, explicit=True)
    assert found["a"]["available"]
    assert counts["barred"] == 0


def test_an_unheard_pressing_stands_by_for_a_song_that_was_heard(service: Service) -> None:
    log = [track("old", "Roads", artist_ids=["p"], artist_name="Portishead")]
    given = [
        track("old", "Roads", artist_ids=["p"], available=False),
        track("new", "Roads - Remastered", artist_ids=["p"], available=True),
        track("cover", "Roads", artist_ids=["q"], available=True),
        track("other", "Numb", artist_ids=["p"], available=True),
    ]
    counts, found = service.join(log, given)
    assert sorted(found) == ["new", "old"]
    assert found["new"]["song_key"] == found["old"]["song_key"]
    assert (found["new"]["available"], counts["pressings"], counts["songs"]) == (True, 1, 1)


def test_of_two_rows_for_a_track_the_one_that_says_more_counts_in_any_order(
    service: Service,
) -> None:
    log = [track("t", "T", artist_name="A")]
    rows = [track("t", "Short"), track("t", "Long", album_name="Album"), track("t", "Zap")]
    for given in itertools.permutations(rows):
        counts, found = service.join(log, list(given))
        assert (found["t"]["track_name"], counts["twice"]) == ("Long", 2)


def test_rows_without_an_id_are_counted_and_one_artist_may_be_plain_text(service: Service) -> None:
    log = [track("t", "T", artist_name="A")]
    given = [{"track_id": None}, {"track_id": ""}, {"track_id": "t", "artist_ids": "a"}]
    counts, found = service.join(log, given)
    assert counts["without_id"] == 2
    assert found["t"]["artist_ids"] == ["a"]
