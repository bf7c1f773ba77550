"""Hindsight against reactions that were planted, and against a count by hand of random ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys import artefact
from recsys.artefact import Artefact
from recsys.hindsight import HINDSIGHT_FILE, summary
from tests.hindsight_world import COUNTS, MONDAY, PAST, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Ann and Bob are active, Cid never listens."""
    made = World(tmp_path, {"ann": ["a", "b", "c"], "bob": ["d", "a", "e"], "cid": ["a", "b", "c"]})
    made.heard("bob", "elsewhere", "skips", day=1)
    return made


def rates(counts: dict[str, Any]) -> tuple[int, ...]:
    """Tracks, then played, finished, saved, kept, skipped."""
    return tuple(
        counts[name] for name in ("tracks", "played", "finished", "saved", "kept", "skipped")
    )


# --- what is counted -------------------------------------------------------------------------


def test_each_outcome_is_counted_once(world: World) -> None:
    world.heard("ann", "a", "plays", day=0)
    world.heard("ann", "a", "plays", day=6)
    world.heard("ann", "b", "skips", day=2)
    world.heard("bob", "d", "part_plays", day=2)
    world.heard("bob", "e", "skips", day=3)
    world.heard("bob", "e", "saves", day=3)
    one = world.edition()
    active = one["audiences"]["active"]
    assert (one["playlists"], active["listeners"]) == (3, 2)
    # Skipped is b alone: e was skipped, and saved.
    assert rates(active["total"]) == (6, 4, 1, 1, 2, 1)
    assert (active["played_any"], active["kept_any"]) == (2, 2)


def test_positions_sources_and_kinds_have_counts_of_their_own(world: World) -> None:
    world.kinds = {"bob": "blended"}
    world.sources = {("bob", "e"): "popular"}
    world.heard("ann", "a")
    world.heard("ann", "b", "skips")
    world.heard("bob", "e")
    active = world.edition()["audiences"]["active"]
    assert [(row["position"], *rates(row)) for row in active["by_position"]] == [
        (1, 2, 1, 1, 0, 1, 0),
        (2, 2, 1, 0, 0, 0, 1),
        (3, 2, 1, 1, 0, 1, 0),
    ]
    assert {row["source"]: rates(row)[:2] for row in active["by_source"]} == {
        "als": (5, 2),
        "popular": (1, 1),
    }
    assert {row["kind"]: rates(row)[:2] for row in active["by_kind"]} == {
        "blended": (3, 1),
        "personal": (3, 2),
    }


def test_another_track_of_the_song_counts(world: World) -> None:
    world.remasters = {"a": "song", "a remastered": "song"}
    world.heard("ann", "a remastered")
    assert rates(world.edition()["audiences"]["active"]["total"])[:2] == (6, 1)


@pytest.mark.parametrize(("day", "counts"), [(-1, 0), (0, 1), (6, 1), (7, 0)])
def test_the_week_is_from_monday_to_sunday(world: World, day: int, counts: int) -> None:
    world.weeks_later = 3
    world.heard("ann", "a", day=day)
    world.heard("ann", "elsewhere", day=3)
    assert world.edition()["audiences"]["active"]["total"]["played"] == counts


@pytest.mark.parametrize(("late", "counts"), [(13, 1), (14, 0)])
def test_what_arrives_a_week_after_its_end_is_too_late(
    world: World, late: int, counts: int
) -> None:
    world.weeks_later = 4
    world.heard("ann", "a", day=0, late=late)
    assert world.edition()["audiences"]["active"]["total"]["played"] == counts


@pytest.mark.parametrize(("later", "days", "settled"), [(1, 6, False), (2, 7, False), (3, 7, True)])
def test_it_says_how_much_of_the_week_is_in(
    world: World, later: int, days: int, settled: bool
) -> None:
    world.weeks_later = later
    one = world.edition()
    assert (one["days"], one["settled"]) == (days, settled)


def test_a_saturday_that_has_not_come_is_not_looked_at(world: World) -> None:
    world.heard("ann", "a", day=6)  # the cutoff of the next edition is Sunday
    assert world.edition()["audiences"]["active"]["total"]["played"] == 0


def test_the_forgotten_are_left_out(world: World) -> None:
    world.forgotten = ["ann"]
    world.heard("ann", "a")
    one = world.edition()
    assert (one["playlists"], one["audiences"]["active"]["total"]["played"]) == (2, 0)


# --- first plays -----------------------------------------------------------------------------


def test_first_plays_are_told_from_those_of_songs_known(world: World) -> None:
    world.remasters = {"old": "old song", "old remastered": "old song"}
    world.heard_before = [("ann", "old")]
    world.heard("ann", "a")
    world.heard("ann", "new", "skips")
    world.heard("ann", "old remastered")
    world.heard("ann", "of sunday", day=-1)
    world.heard("ann", "of sunday", day=1)
    found = world.edition()["discoveries"]
    assert found["from_playlist"] == {
        "songs": 1,
        "finished": 1,
        "saved": 0,
        "kept": 1,
        "skipped": 0,
    }
    # Of ann's "new", of bob's "elsewhere".
    assert found["elsewhere"] == {"songs": 2, "finished": 0, "saved": 0, "kept": 0, "skipped": 2}


def test_without_the_taste_state_it_says_why(world: World) -> None:
    world.has_taste = False
    assert "no longer there" in world.edition()["discoveries"]["reason"]


# --- which editions --------------------------------------------------------------------------


def test_what_is_gone_is_left_out_and_said(world: World) -> None:
    past = [
        {
            "edition": "2026-W45",
            "revision": 2,
            "digest": "x",
            "hindsight": None,
            "in_time": True,
        }
    ]
    found = world.look(past=past)
    assert found["editions"] == []
    (one,) = found["left_out"]
    assert (one["edition"], one["revision"]) == ("2026-W45", 2)
    assert "gone" in one["reason"]


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_settled_is_carried_on(world: World, settled: bool) -> None:
    digest = world.look() and Artefact.open(world.home.edition(PAST, 1) / "playlists").digest
    who = {"edition": "2026-W44", "revision": 1, "in_time": True}
    said = {"editions": [who | {"settled": settled, "days": 7}]}
    with artefact.write(
        world.home.edition(PAST, 1) / "hindsight", stage="hindsight", version=1
    ) as draft:
        artefact.write_json(draft.path / HINDSIGHT_FILE, said)
    hindsight = Artefact.open(world.home.edition(PAST, 1) / "hindsight").digest
    again = World(world.folder, world.playlists)
    past = [
        {
            "edition": str(PAST),
            "revision": 1,
            "digest": digest,
            "hindsight": hindsight,
            "in_time": True,
        },
        who | {"digest": "gone since", "hindsight": None},
    ]
    shutil.rmtree(world.home.plays(MONDAY).parent)
    found = again.look(past=past)
    assert [one["edition"] for one in found["editions"]] == [str(PAST), "2026-W44"][: 1 + settled]
    assert [one["edition"] for one in found["left_out"]] == ["2026-W44"][settled:]


def test_the_summary_is_of_an_edition_that_somebody_saw(world: World) -> None:
    world.heard("ann", "a")
    assert summary(world.look()) == (
        "2026-W46 so far: 2 active listeners kept 16.7% of their 6 tracks"
    )
    late = World(world.folder / "late", world.playlists, in_time=False)
    assert summary(late.look()) == "no earlier edition was there from its Monday on"


# --- against a count by hand -----------------------------------------------------------------

_EVENTS = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("abcdef"),
        st.sampled_from(COUNTS),
        st.integers(-2, 7),
        st.integers(0, 9),
    ),
    max_size=25,
)
_LISTS = st.dictionaries(
    st.sampled_from("uvw"),
    st.lists(st.sampled_from("abcd"), unique=True, min_size=1, max_size=4),
    min_size=1,
)


@given(lists=_LISTS, events=_EVENTS)
def test_it_agrees_with_a_count_by_hand(
    tmp_path_factory: pytest.TempPathFactory,
    lists: dict[str, list[str]],
    events: list[tuple[str, str, str, int, int]],
) -> None:
    world = World(tmp_path_factory.mktemp("world"), lists, weeks_later=3)
    seen: list[tuple[str, str, str]] = []
    for user, track, what, day, late in events:
        world.heard(user, track, what, day, late)
        arrived = day + late
        # From the day the edition's books were closed to a week after its end.
        if 0 <= day < 7 and -1 <= arrived < 14:
            seen.append((user, track, what))
    active = {user for user, _, _ in seen} & set(lists)
    expected = [0, 0, 0, 0, 0, 0]
    for user, track in _slots(lists, active):
        did = {what for who, heard, what in seen if (who, heard) == (user, track)}
        finished, saved = "plays" in did, bool(did & {"saves", "likes"})
        kept = finished or saved
        outcome = (
            True,
            bool(did & {"plays", "part_plays", "skips"}),
            finished,
            saved,
            kept,
            "skips" in did and not kept,
        )
        expected = [so_far + now for so_far, now in zip(expected, outcome, strict=True)]
    found = world.edition()["audiences"]["active"]
    assert found["listeners"] == len(active)
    assert list(rates(found["total"])) == expected


def _slots(lists: dict[str, list[str]], active: set[str]) -> Iterable[tuple[str, str]]:
    return ((user, track) for user in sorted(active) for track in lists[user])
