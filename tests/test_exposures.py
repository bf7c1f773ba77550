"""The exposure log: what is read of it, where its rows go, and who opened nothing."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.errors import BadLogError, MissingDataError
from recsys.exposures import exposure_files
from recsys.hindsight import doubt
from tests.hindsight_world import PAST, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ann and Bob are active, Cid never listens."""
    made = World(tmp_path, {"ann": ["a", "b", "c"], "bob": ["d", "a", "e"], "cid": ["a", "b", "c"]})
    made.heard("bob", "elsewhere", "skips", day=1)
    return made


def shown(user: str, track: str = "a", **replaced: Any) -> dict[str, Any]:
    row = {"user": user, "edition": str(PAST), "track": track, "shown_at": "2026-11-10T08:00:00Z"}
    return row | replaced


def test_those_who_opened_nothing_are_kept_apart(world: World) -> None:
    world.heard("ann", "a")
    world.heard("bob", "e")
    world.exposures = [shown("ann", "a"), shown("ann", "a"), shown("ann", "b"), shown("cid", "c")]
    audiences = world.edition()["audiences"]
    # Cid opened it and heard nothing: that counts against it.
    assert audiences["opened"]["listeners"] == 2
    assert audiences["opened"]["total"] == {
        "tracks": 6,
        "played": 1,
        "finished": 1,
        "saved": 0,
        "kept": 1,
        "skipped": 0,
        "shown": 3,
    }
    assert (audiences["not_opened"]["listeners"], audiences["not_opened"]["total"]["kept"]) == (
        1,
        1,
    )


def test_rows_that_are_not_used_are_counted(world: World) -> None:
    world.exposures = [
        shown("ann"),
        shown("ann", edition="2025-W01"),
        shown("ann", shown_at="2026-11-15T00:00:00Z"),
        shown("ann", shown_at="yesterday"),
        {"user": "ann", "edition": str(PAST)},
        shown("of another service"),
        shown("dan"),
    ]
    world.playlists["dan"] = ["a"]
    world.forgotten = ["dan"]
    found = world.look()
    assert found["exposures"] == {
        "rows": 7,
        "incomplete": 2,
        "after_cutoff": 1,
        "other_edition": 1,
        "unknown_listener": 2,
        "used": 1,
    }
    assert doubt(found) is None


def test_an_edition_that_cannot_be_looked_at_uses_no_row(world: World) -> None:
    world.exposures = [shown("ann")]
    gone = {"edition": str(PAST), "revision": 2, "digest": "x", "hindsight": None, "in_time": True}
    counted = world.look(past=[gone])["exposures"]
    assert (counted["rows"], counted["other_edition"], counted["used"]) == (1, 1, 0)


@pytest.mark.parametrize(
    "row",
    [
        shown("ann", edition="2025-W01"),  # of another edition, in this one's week
        shown("of another service"),
        shown("of another service", shown_at="2026-11-08T20:00:00Z"),  # on the Sunday before
    ],
)
def test_an_edition_that_nobody_opened_says_so(world: World, row: dict[str, Any]) -> None:
    world.exposures = [row]
    one = world.edition()
    assert one["audiences"]["opened"]["listeners"] == 0
    assert one["audiences"]["opened"]["total"]["tracks"] == 0
    assert one["audiences"]["not_opened"]["total"]["tracks"] == 3  # bob alone is active
    assert one["audiences"]["active"]["total"]["shown"] == 0
    assert "exposures" not in one


@pytest.mark.parametrize(
    "row",
    [
        None,
        shown("ann", edition="2025-W01", shown_at="2025-01-01"),
        shown("ann", shown_at="2026-11-15T08:00:00Z"),  # after the cutoff
        shown("ann", shown_at="yesterday"),
    ],
)
def test_a_log_that_does_not_cover_the_week_is_not_taken_for_nobody(
    world: World, row: dict[str, Any] | None
) -> None:
    path = world.folder / "shown.jsonl"
    path.write_text(json.dumps(row) + "\n" if row else "")
    world.exposures = exposure_files(str(path))
    one = world.edition()
    assert list(one["audiences"]) == ["active"]
    assert one["exposures"] == {"reason": "the exposure log holds no row of this edition"}


def test_a_log_of_which_no_row_is_used_is_doubted(world: World) -> None:
    world.exposures = [shown("x"), shown("y"), shown("ann", shown_at="yesterday")]
    assert doubt(world.look()) == (
        "none of the exposure log's 3 rows could be used: 1 incomplete, 2 unknown_listener"
    )


def test_a_log_is_not_doubted_before_there_is_an_edition_to_use_it_for(world: World) -> None:
    world.exposures = [shown("ann")]
    assert doubt(world.look(past=[])) is None


@pytest.mark.parametrize(
    ("shown_at", "what"),
    [
        *((1794614400 * unit, "used") for unit in (1, 10**3, 10**6, 10**9)),  # the Saturday
        *((1794614400 * unit + 86_400 * unit, "after_cutoff") for unit in (1, 10**3, 10**6, 10**9)),
        (-(2**63), "used"),
        ("1794614400", "used"),
        (2**64, "incomplete"),
        (1794614400.5, "incomplete"),
    ],
)
def test_whole_numbers_are_unix_time(world: World, shown_at: object, what: str) -> None:
    world.exposures = [shown("ann", shown_at=shown_at)]
    assert world.look()["exposures"][what] == 1


def test_whole_numbers_in_parquet_are_unix_time(world: World) -> None:
    path = world.folder / "shown.parquet"
    pq.write_table(pa.Table.from_pylist([shown("ann", shown_at=1794614400000)]), path)
    world.exposures = [path]
    assert world.look()["exposures"]["used"] == 1


@pytest.mark.parametrize("name", ["jsonl", "ndjson"])
@pytest.mark.parametrize(("suffix", "packed"), [("", None), (".gz", "gzip"), (".zst", "zstd")])
def test_json_lines_are_read_as_they_are_packed(
    world: World, name: str, suffix: str, packed: str | None
) -> None:
    path = world.folder / "shown" / f"part.{name}{suffix}"
    path.parent.mkdir()
    text = json.dumps(shown("ann")) + "\n"
    with pa.output_stream(str(path), compression=packed) as out:
        out.write(text.encode())
    (path.parent / f"empty.{name}").touch()
    world.exposures = exposure_files(str(path.parent))
    assert len(world.exposures) == 2
    assert world.look()["exposures"]["used"] == 1


def test_parquet_and_our_own_names_are_read(world: World) -> None:
    folder = world.folder / "shown"
    folder.mkdir()
    table = pa.table(
        {
            "user_id": ["ann"],
            "edition_id": [str(PAST)],
            "track_id": ["a"],
            "shown_at": pa.array([0], pa.timestamp("us")),
        }
    )
    pq.write_table(table, folder / "part.parquet")
    (folder / "_SUCCESS").touch()
    world.exposures = exposure_files(str(folder))
    found = world.look()
    assert found["exposures"]["used"] == 1
    assert found["editions"][0]["audiences"]["opened"]["total"]["shown"] == 1


def test_without_a_log_there_is_none() -> None:
    assert exposure_files("") == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", "user,edition", "of another kind"),
        ("log.jsonl", '{"user": "ann", "edition": "2026-W46"}\n', "no column track_id or track, "),
        ("log.jsonl", "not json\n", "cannot be read"),
        ("log.jsonl", "[1]\n", "no JSON object"),
        ("log.parquet", "PAR1", "cannot be read"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(BadLogError, match=said) as caught:
        exposure_files(str(tmp_path))
    assert name in str(caught.value)
    assert "Expected Parquet or JSON Lines" in str(caught.value)


def test_a_log_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"\[exposures\] source"):
        exposure_files(str(tmp_path / "nothing" / "*.jsonl"))


def test_a_log_that_is_cut_short_is_said(world: World) -> None:
    path = world.folder / "shown.jsonl.gz"
    text = "".join(json.dumps(shown(f"user {n}")) + "\n" for n in range(2000))
    path.write_bytes(gzip.compress(text.encode())[:-100])
    world.exposures = exposure_files(str(path))
    with pytest.raises(BadLogError, match="cannot be read to its end"):
        world.look()
