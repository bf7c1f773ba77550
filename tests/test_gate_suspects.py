"""What numbers clear, SQL would have passed: a gate that asks about everything says the same."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys import _gate_suspects, gate, schemas
from recsys.verdict import Verdict
from tests.test_gate import (
    CATALOGUE,
    OPEN,
    SETTINGS,
    WEEK,
    Edition,
    judge,
    playlist,
    say,
    slot,
    sound,
    spare,
    stand,
    stand_too,
    taste_row,
)

ODD = "\x00é🎵"
TRACKS = [*OPEN, "gone", "blocked", "remaster", "nowhere", "t\x00", ""]
USERS = ["ann", "bob", "cat", "dan", "eve", "fay", "hal", "gil", "", f"ann{ODD}"]

tracks = st.sampled_from(TRACKS)
users = st.sampled_from(USERS)
entry = st.fixed_dictionaries(
    {},
    optional={
        "track_id": tracks,
        "because_track_id": st.one_of(st.none(), tracks),
        "score": st.sampled_from([0.5, 0.50001, 0.500009, 0.49, float("nan"), -3.4e38]),
        "source": st.sampled_from(["als", "popular", "luck"]),
    },
)
rules = st.lists(st.sampled_from(["neighbours", "cooldown", "per_artist", "length"]), max_size=3)
change = st.one_of(
    st.tuples(st.just("track"), st.integers(0, 5), st.integers(0, 4), entry),
    st.tuples(st.just("spare"), st.integers(0, 2), entry),
    st.tuples(st.just("not_at"), st.integers(0, 2), st.lists(st.integers(0, 6), max_size=5)),
    st.tuples(st.just("stand"), tracks),
    st.tuples(st.just("say"), st.integers(0, 5), rules),
    st.tuples(st.just("kind"), st.integers(0, 5), st.sampled_from(["personal", "blended", "x"])),
    st.tuples(st.just("cut"), st.integers(0, 5), st.integers(0, 5)),
    st.tuples(st.just("know"), users, tracks, st.booleans(), st.booleans()),
    st.tuples(st.just("rest"), users, tracks),
    st.tuples(st.just("eligible"), users),
    st.tuples(st.just("refuse"), users, st.sampled_from(["nothing_left", "", "why"])),
    st.tuples(st.just("default"), st.integers(0, 2)),
)


def overwrite(edition: Edition, row: int, place: int, values: Edition) -> None:
    for track in edition["playlists"][row]["tracks"][place : place + 1]:
        track.update(values)


def rest(edition: Edition, user: str, track: str) -> None:
    edition["cooling"].append(playlist(user, "popular", [slot(track, None)]))


CHANGES: dict[str, Callable[..., Any]] = {
    "track": overwrite,
    "spare": lambda edition, nth, values: stand(nth, **values)(edition),
    "not_at": lambda edition, nth, places: stand(nth, not_at=places)(edition),
    "stand": lambda edition, track: stand_too(spare(track, None))(edition),
    "say": lambda edition, row, names: say(row, relaxed=names)(edition),
    "kind": lambda edition, row, kind: say(row, kind=kind)(edition),
    "cut": lambda edition, row, length: edition["playlists"][row]["tracks"].__delitem__(
        slice(length, None)
    ),
    "know": lambda edition, *known: edition["taste"].append(taste_row(*known)),
    "rest": rest,
    "eligible": lambda edition, user: edition["eligible"].append({"user_id": user}),
    "refuse": lambda edition, user, why: edition["refused"].append(
        {"user_id": user, "reason": why}
    ),
    "default": lambda edition, times: edition.update(default=edition["default"] * times),
}


def asked_of_all(folder: Path, edition: Edition) -> Verdict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_gate_suspects, "suspects", lambda **_: None)
        return judge(folder, edition)


def same(folder: Path, edition: Edition) -> Verdict:
    """The verdict, which is the same where everything is asked about."""
    verdict = judge(folder, edition)
    assert str(verdict.to_dict()) == str(asked_of_all(folder, edition).to_dict())
    return verdict


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(change, max_size=3), in_order=st.booleans())
def test_whatever_is_wrong_is_found_as_if_all_were_asked_about(
    tmp_path: Path, changes: list[tuple[Any, ...]], in_order: bool
) -> None:
    edition = copy.deepcopy(sound())
    for what, *values in changes:
        CHANGES[what](edition, *values)
    if in_order:
        edition["taste"].sort(key=lambda row: row["user_id"].encode())
        edition["cooling"].sort(key=lambda row: row["user_id"].encode())
    same(tmp_path, edition)


def test_a_sound_edition_is_cleared_without_a_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edition = sound()
    edition["taste"].append(taste_row("hal", "left the catalogue"))
    edition["cooling"].append(playlist("zoe", "popular", [slot("left the catalogue", None)]))
    expected = asked_of_all(tmp_path, edition)
    monkeypatch.setattr(gate, "database", None)
    assert judge(tmp_path, edition) == expected


def test_a_reason_that_left_the_catalogue_is_a_reason(tmp_path: Path) -> None:
    edition = sound()
    edition["taste"].insert(1, taste_row("ann", "was once"))
    edition["playlists"][0]["tracks"][1]["because_track_id"] = "was once"
    assert same(tmp_path, edition).passed


@pytest.mark.parametrize("heard", [True, False])
def test_what_was_saved_and_never_heard_excuses_a_missing_reason(
    tmp_path: Path, heard: bool
) -> None:
    edition = sound()
    edition["taste"].insert(1, taste_row("ann", "t39", heard=heard))
    edition["playlists"][0]["tracks"][1]["because_track_id"] = None
    assert same(tmp_path, edition).passed is not heard


def test_strange_ids_are_told_apart(tmp_path: Path) -> None:
    edition = sound()
    edition["playlists"][0]["user_id"] = f"ann{ODD}"
    edition["eligible"][0] = {"user_id": f"ann{ODD}"}
    assert [check.name for check in same(tmp_path, edition).failed] == [
        "because_heard",
        "scores_given",
    ]


def test_row_groups_and_files_may_end_anywhere(tmp_path: Path) -> None:
    edition = sound()
    whole = judge(tmp_path, edition)
    for name in ("taste", "playlists", "cooling"):
        schema = schemas.TASTE if name == "taste" else schemas.PLAYLISTS
        pq.write_table(
            pa.Table.from_pylist(edition[name], schema),
            tmp_path / f"cut_{name}.parquet",
            row_group_size=1,
        )
    assert (
        gate.check_playlists(
            playlists=tmp_path / "cut_playlists.parquet",
            default=tmp_path / "default.parquet",
            refused=tmp_path / "refused.parquet",
            taste=tmp_path / "cut_taste.parquet",
            catalogue=tmp_path / "catalogue.parquet",
            eligible=tmp_path / "eligible.parquet",
            model=tmp_path / "model",
            cooling=[tmp_path / "cut_cooling.parquet"],
            blocked=["blocked"],
            week=WEEK,
            settings=SETTINGS,
        )
        == whole
    )


def test_a_catalogue_that_names_a_track_twice_is_asked_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.test_gate.CATALOGUE", [*CATALOGUE, CATALOGUE[0]])
    assert same(tmp_path, sound()).refused
