"""What a week is made from, taste state, catalogue and matrix, is the same on both engines."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import schemas
from recsys.listens import catalogue_files, list_log
from recsys.matrix import TasteMatrix
from recsys.plays import DAILY_TRACKS
from recsys.settings import ListensSettings
from recsys.simulate import World, simulate
from recsys.spark import SparkEngine, _datasets, _matrix, _one_task
from tests.engines.both import Both, same

LAST = date(2026, 11, 14)
#: Popularity is added up in steps of 2**-32, and shown with six digits.
POPULARITY_TOLERANCE = 2e-6


@dataclass(frozen=True)
class Days:
    """Days of a simulated log, cleaned and counted on one machine."""

    folders: list[Path]

    def tables(self, name: str, begin: int, end: int) -> list[Path]:
        return [folder / name for folder in self.folders[begin:end]]


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Days:
    from recsys._local import LocalEngine

    root = tmp_path_factory.mktemp("days")
    world = World(listeners=90, tracks=500, artists=60, days=14, last_day=LAST, seed=5)
    simulate(world).write(root, "parquet")
    settings = ListensSettings(source=str(root / "log"))
    made: list[Path] = []
    for day, files in sorted(list_log(settings).days.items()):
        out = root / str(day)
        LocalEngine().clean_day(settings, day, files, made_listens(made), out)
        LocalEngine().daily_plays(out / "listens.parquet", out)
        made.append(out)
    return Days(made)


def made_listens(made: list[Path]) -> list[Path]:
    return [folder / "listens.parquet" for folder in made[-7:]]


@pytest.fixture
def both(tmp_path: Path, spark_engine: SparkEngine, monkeypatch: pytest.MonkeyPatch) -> Both:
    """Both engines; what Spark writes is in many parts."""
    monkeypatch.setattr(_datasets, "PART_ROWS", 600)
    monkeypatch.setattr(_one_task, "TASK_ROWS", 0)
    return Both(tmp_path, spark_engine)


def test_days_roll_into_a_state_a_catalogue_and_a_matrix(both: Both, days: Days) -> None:
    cutoff = LAST + timedelta(days=1)
    before = cutoff - timedelta(days=7)
    new = len(days.folders) - 7
    counted = {}
    for name, engine in both.engines.items():
        out = both.folder(name, "week")
        known = days.tables("plays.parquet", 0, new)
        engine.roll_taste(None, known, before, 20.0, out / "before.parquet")
        pairs = engine.roll_taste(
            (out / "before.parquet", before),
            days.tables("plays.parquet", new, new + 7),
            cutoff,
            20.0,
            out / "taste.parquet",
        )
        told = days.tables("tracks.parquet", 0, new)
        engine.roll_catalogue(None, told, out / "old.parquet")
        catalogue = engine.roll_catalogue(
            out / "old.parquet",
            days.tables("tracks.parquet", new, new + 7),
            out / "catalogue.parquet",
        )
        offered = engine.edition_catalogue(
            out / "catalogue.parquet", [], out / "offer.parquet", explicit=True
        )
        (out / "matrix").mkdir()
        matrix = engine.build_matrix(
            out / "taste.parquet",
            out / "offer.parquet",
            cutoff=cutoff,
            active_days=5,
            weights=ListensSettings(source="-"),
            forgotten=["l_000003", "nobody"],
            out=out / "matrix",
        )
        counted[name] = (pairs, dict(catalogue), dict(offered), dict(matrix))
    assert counted["spark"] == counted["local"]
    local, spark = both.folders("week")
    for table in ("before", "taste"):
        same(spark / f"{table}.parquet", local / f"{table}.parquet", schemas.TASTE)
    for table in ("old", "catalogue", "offer"):
        same(spark / f"{table}.parquet", local / f"{table}.parquet", schemas.CATALOGUE)
    assert len(list((spark / "taste.parquet").iterdir())) > 1
    same_matrix(spark / "matrix", local / "matrix")


def test_a_small_matrix_is_one_task(
    both: Both, days: Days, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_one_task, "TASK_ROWS", 10**6)
    monkeypatch.setattr(_matrix, "USERS_A_PART", 40)
    cutoff = LAST + timedelta(days=1)
    made = both.folder("local", "state")
    both.local.roll_taste(
        None, days.tables("plays.parquet", 0, 9), cutoff, 20.0, made / "taste.parquet"
    )
    both.local.roll_catalogue(None, days.tables("tracks.parquet", 0, 9), made / "catalogue.parquet")
    counts = [
        dict(
            engine.build_matrix(
                made / "taste.parquet",
                made / "catalogue.parquet",
                cutoff=cutoff,
                active_days=5,
                weights=ListensSettings(source="-"),
                forgotten=["l_000003"],
                out=both.folder(name, "small"),
            )
        )
        for name, engine in both.engines.items()
    ]
    assert counts[0] == counts[1]
    local, spark = both.folders("small")
    same_matrix(spark, local)


def same_matrix(ours: Path, theirs: Path) -> None:
    one, other = TasteMatrix.load(ours), TasteMatrix.load(theirs)
    assert len(list((ours / "listeners.parquet").iterdir())) > 1
    assert sorted(path.name for path in ours.iterdir()) == [
        "eligible.parquet",
        "listeners.parquet",
        "songs.parquet",
        "tracks.parquet",
    ]
    for name in ("users", "tracks", "songs"):
        want = getattr(other, name)
        got = getattr(one, name).cast(want.schema)
        if name == "songs":
            gap = np.abs(got["popularity"].to_numpy() - want["popularity"].to_numpy())
            assert gap.max() < POPULARITY_TOLERANCE
            got, want = got.drop_columns("popularity"), want.drop_columns("popularity")
        assert got.equals(want), name
    for name in ("strength", "excluded"):
        got, want = getattr(one, name), getattr(other, name)
        assert (got != want).nnz == 0
        assert np.array_equal(got.indptr, want.indptr)
        assert np.array_equal(got.indices, want.indices)
    assert one.strength.data.tobytes() == other.strength.data.tobytes()
    assert np.array_equal(one.played_track, other.played_track)
    eligible = [pq.read_table(folder / "eligible.parquet") for folder in (ours, theirs)]
    assert eligible[0].to_pylist() == eligible[1].to_pylist()


def test_each_engine_goes_on_from_what_the_other_made(both: Both, days: Days) -> None:
    cutoff = LAST + timedelta(days=1)
    made = {}
    for name, engine in both.engines.items():
        plays, tracks = days.tables("plays.parquet", 0, 4), days.tables("tracks.parquet", 0, 4)
        out = both.folder(name, "first")
        engine.roll_taste(None, plays, cutoff, 9.0, out / "taste.parquet")
        engine.roll_catalogue(None, tracks, out / "catalogue.parquet")
        made[name] = out
    for name, other in (("local", "spark"), ("spark", "local")):
        out = both.folder(name, "second")
        plays, tracks = days.tables("plays.parquet", 4, 6), days.tables("tracks.parquet", 4, 6)
        engine = both.engines[name]
        engine.roll_taste(
            (made[other] / "taste.parquet", cutoff), plays, cutoff, 9.0, out / "taste.parquet"
        )
        engine.roll_catalogue(made[other] / "catalogue.parquet", tracks, out / "catalogue.parquet")
    local, spark = both.folders("second")
    same(spark / "taste.parquet", local / "taste.parquet", schemas.TASTE)
    same(spark / "catalogue.parquet", local / "catalogue.parquet", schemas.CATALOGUE)


def test_of_no_day_there_is_an_empty_state(both: Both) -> None:
    for name, engine in both.engines.items():
        out = both.folder(name, "nothing")
        assert engine.roll_taste(None, [], LAST, 7.0, out / "taste.parquet") == 0
        assert engine.roll_catalogue(None, [], out / "catalogue.parquet")["tracks"] == 0
    local, spark = both.folders("nothing")
    same(spark / "taste.parquet", local / "taste.parquet", schemas.TASTE)


def test_names_credits_and_song_keys_of_odd_tracks(both: Both, tmp_path: Path) -> None:
    def tracks(*rows: dict[str, object]) -> Path:
        path = tmp_path / f"tracks-{len(list(tmp_path.glob('*.parquet')))}.parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), schema=DAILY_TRACKS), path)
        return path

    names = ["Song", "Song - Remastered 2011", "Söng (feat. B)", "Song (Bonus Track)", "", None]
    artists = [["a"], ["a", "b"], ["b", "a"], [], None, ["name:X"]]
    told = [
        tracks(
            *(
                {
                    "track_id": f"t{n:03}{m}",
                    "track_name": names[(n + day) % len(names)],
                    "artist_name": ["A", "B", "", None, "X"][(n * m + day) % 5],
                    "artist_ids": artists[(n + m) % len(artists)],
                    "duration_ms": None if n % 3 else n,
                }
                for n in range(40)
                for m in range(3)
                if (n + m) % (day + 1) == 0
            )
        )
        for day in range(3)
    ]
    for name, engine in both.engines.items():
        out = both.folder(name, "odd")
        engine.roll_catalogue(None, told[:2], out / "old.parquet")
        engine.roll_catalogue(out / "old.parquet", told[2:], out / "new.parquet")
    local, spark = both.folders("odd")
    same(spark / "old.parquet", local / "old.parquet", schemas.CATALOGUE)
    same(spark / "new.parquet", local / "new.parquet", schemas.CATALOGUE)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_catalogue_of_the_service_says_the_same(
    both: Both, days: Days, tmp_path: Path, explicit: bool
) -> None:
    told = tmp_path / "told.parquet"
    both.local.roll_catalogue(None, days.tables("tracks.parquet", 0, 8), told)
    tracks = pq.read_table(told).to_pylist()
    rows: list[dict[str, object]] = []
    for n, track in enumerate(tracks[::2]):
        rows.append(
            {
                "track_id": track["track_id"],
                "track_name": track["track_name"] if n % 3 else None,
                "artist_ids": track["artist_ids"] if n % 4 else None,
                "available": (None, True, False)[n % 3],
                "explicit": (None, True)[n % 2],
            }
        )
        if n % 5 == 0:  # said twice, and once more under an id that nobody has heard
            rows.append({**rows[-1], "track_name": f"Other {n}", "duration_ms": n})
            again = track["track_name"] + (" - Remastered 2011" if n % 2 else " II")
            rows.append({"track_id": f"new {n}", "track_name": again} | {
                "artist_ids": track["artist_ids"]
            })  # fmt: skip
    rows.append({"track_id": "stranger", "track_name": "Ü", "artist_ids": ["nobody"]})
    source = tmp_path / "service"
    source.mkdir()
    (source / "tracks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    counted = {}
    for name, engine in both.engines.items():
        counted[name] = dict(
            engine.edition_catalogue(
                told,
                catalogue_files(str(source)),
                both.folder(name, "offer") / "catalogue.parquet",
                explicit=explicit,
            )
        )
    assert counted["spark"] == counted["local"]
    assert min(counted["local"][name] for name in ("missing", "twice", "pressings")) > 0
    assert (counted["local"]["barred"] > 0) != explicit
    local, spark = both.folders("offer")
    same(spark / "catalogue.parquet", local / "catalogue.parquet", schemas.CATALOGUE)
