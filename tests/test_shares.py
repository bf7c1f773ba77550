"""The shares of an edition against their bands, on files written by hand."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys import schemas, shares
from recsys._gate_codes import IrregularError
from recsys.settings import GatesSettings, PlaylistsSettings
from recsys.shares import RULES, check_shares
from recsys.verdict import Verdict

LISTENERS = [f"u{number:02d}" for number in range(40)]
LENGTH = 5
#: Every listener's own five songs, of 400.
OWN = {user: [n * 10 + k for k in range(LENGTH)] for n, user in enumerate(LISTENERS)}


def row(user: str, songs: list[int], kind: str = "personal", *relaxed: str) -> dict[str, Any]:
    return {
        "edition": "2026-W47",
        "user_id": user,
        "kind": kind,
        "tracks": [
            {
                "position": n, "track_id": f"t{song}", "track_name": None, "artist_names": [],
                "score": 1.0, "source": "als", "because_track_id": None,
            }
            for n, song in enumerate(songs, start=1)
        ],
        "relaxed": list(relaxed),
        "valid_from": date(2026, 11, 16),
        "valid_until": date(2026, 11, 22),
    }  # fmt: skip


def judge(
    folder: Path,
    rows: list[dict[str, Any]],
    *,
    before: list[dict[str, Any]] | None = None,
    eligible: int = 40,
    songs: int = 400,
    cooldown: int = 8,
    **gates: float,
) -> Verdict:
    pq.write_table(pa.Table.from_pylist(rows, schemas.PLAYLISTS), folder / "playlists.parquet")
    if before is not None:
        pq.write_table(pa.Table.from_pylist(before, schemas.PLAYLISTS), folder / "before.parquet")
    pq.write_table(pa.table({"user_id": LISTENERS[:eligible]}), folder / "eligible.parquet")
    catalogue = {
        "track_id": [f"t{song}" for song in range(400)],
        "song_key": [f"s{song}" for song in range(400)],
        "available": [song < songs for song in range(400)],
    }
    pq.write_table(pa.table(catalogue), folder / "catalogue.parquet")
    return check_shares(
        playlists=folder / "playlists.parquet",
        eligible=folder / "eligible.parquet",
        catalogue=folder / "catalogue.parquet",
        previous=None if before is None else folder / "before.parquet",
        spill=folder,
        settings=PlaylistsSettings(length=LENGTH, cooldown_editions=cooldown),
        gates=GatesSettings(**gates),
    )


def value(verdict: Verdict, rule: str) -> Any:
    return next(check.value for check in verdict.checks if check.name == rule)


def sound() -> list[dict[str, Any]]:
    return [row(user, songs) for user, songs in OWN.items()]


def refusing(verdict: Verdict) -> list[str]:
    assert not verdict.final, "an operator may let shares go on"
    return [check.name for check in verdict.refusing]


def test_a_sound_edition_passes_and_is_asked_everything(tmp_path: Path) -> None:
    others = [row(user, [song + 5 for song in songs]) for user, songs in OWN.items()]
    verdict = judge(tmp_path, sound(), before=others)
    assert verdict.passed
    assert [check.name for check in verdict.checks] == list(RULES)
    assert [check.value for check in verdict.checks] == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_listeners_without_a_playlist_are_told_and_shown(tmp_path: Path) -> None:
    assert judge(tmp_path, sound()[4:]).passed
    verdict = judge(tmp_path, sound()[5:])
    assert refusing(verdict) == ["coverage"]
    assert value(verdict, "coverage") == 0.875
    assert verdict.refusing[0].samples == tuple({"user_id": f"u0{n}"} for n in range(5))


def test_rules_that_gave_way_and_lists_that_were_filled(tmp_path: Path) -> None:
    rows = [
        row(user, songs, *("blended", "per_artist") if n < 21 else ("personal",))
        for n, (user, songs) in enumerate(OWN.items())
    ]
    verdict = judge(tmp_path, rows)
    assert refusing(verdict) == ["relaxed"]
    assert (value(verdict, "relaxed"), value(verdict, "filled")) == (0.525, 0.525)
    assert verdict.refusing[0].samples[0] == {"user_id": "u00", "relaxed": ["per_artist"]}
    assert refusing(judge(tmp_path, rows, most_relaxed=0.6, most_filled=0.5)) == ["filled"]


def test_lists_that_are_all_alike(tmp_path: Path) -> None:
    same = [row(user, [1, 2, 3, 4, 5]) for user in LISTENERS]
    verdict = judge(tmp_path, same)
    assert refusing(verdict) == ["alike"]
    assert value(verdict, "alike") == 1.0
    # Two halves with one list each: a listener shares it with 19 of 39 others.
    halves = [row(user, [n % 2 * 10 + k for k in range(5)]) for n, user in enumerate(LISTENERS)]
    assert value(judge(tmp_path, halves), "alike") == round(19 / 39, 4)


def test_of_few_songs_lists_cannot_be_told_apart(tmp_path: Path) -> None:
    """Where there are fewer songs than three lists hold, rules give way and lists are filled."""
    rows = [row(user, [1, 2, 3, 4, 5], "blended", "per_artist") for user in LISTENERS]
    few_songs = judge(tmp_path, rows, songs=14)
    assert few_songs.passed
    why = "only 14 songs can be recommended, fewer than 3 lists of 5 ([playlists] length)"
    assert {rule: few_songs.skipped[rule] for rule in ("relaxed", "filled", "alike")} == (
        dict.fromkeys(("relaxed", "filled", "alike"), why)
    )
    enough = judge(tmp_path, rows, songs=15)
    assert refusing(enough) == ["relaxed", "filled", "alike"]
    for rule in ("most_relaxed", "per_artist", "most_filled", "length", "most_alike"):
        assert rule in enough.summary(), "a refusal names the settings that decide"


def test_last_weeks_tracks_again(tmp_path: Path) -> None:
    # Two of five come again, for everyone: of listeners who had a playlist.
    before = [row(user, [*songs[:2], *(song + 5 for song in songs[2:])])
              for user, songs in OWN.items()][:30]  # fmt: skip
    verdict = judge(tmp_path, sound(), before=before)
    assert refusing(verdict) == ["repeated"]
    assert value(verdict, "repeated") == 0.4
    assert verdict.refusing[0].samples[0] == {"user_id": "u00", "repeated": 2, "tracks": 5}
    assert judge(tmp_path, sound(), before=before, most_repeated=0.4).passed
    assert refusing(judge(tmp_path, sound(), before=[], least_repeated=0.1)) == ["repeated"]


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({}, "there is no earlier edition"),
        ({"cooldown": 0}, "[playlists] cooldown_editions = 0 lets tracks come again"),
    ],
)
def test_what_cannot_be_told_of_last_week_is_skipped(
    tmp_path: Path, named: dict[str, Any], why: str
) -> None:
    verdict = judge(tmp_path, sound(), **named)
    assert verdict.passed
    assert verdict.skipped == {"repeated": why}


def test_a_household_is_asked_nothing(tmp_path: Path) -> None:
    verdict = judge(tmp_path, [row("u00", [1], "popular", "per_artist")], eligible=29)
    assert verdict.passed
    assert verdict.skipped == dict.fromkeys(RULES, "too few listeners to tell")


playlists = st.lists(
    st.tuples(
        st.sampled_from(["personal", "blended", "popular"]),
        st.lists(st.sampled_from([*range(9), 399, 400]), max_size=LENGTH),
        st.sets(st.sampled_from(["cooldown", "per_artist"])),
    ),
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(now=playlists, earlier=st.none() | playlists, in_order=st.booleans())
def test_counting_in_numbers_and_in_sql_come_to_the_same(
    tmp_path: Path, now: list[Any], earlier: list[Any] | None, in_order: bool
) -> None:
    users = [f"{user}\x00é" for user in LISTENERS[:: 1 if in_order else -1]]

    def rows(made: list[Any]) -> list[dict[str, Any]]:
        return [
            row(user, songs, kind, *sorted(relaxed))
            for user, (kind, songs, relaxed) in zip(users, made, strict=False)
        ]

    def verdict() -> Verdict:
        return judge(tmp_path, rows(now), before=rows(earlier) if earlier else None, songs=20)

    def refuse(*_: Any) -> Any:
        raise IrregularError

    counted = verdict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "count_shares", refuse)
        assert verdict() == counted


def test_a_listener_with_two_playlists_is_counted_in_sql(tmp_path: Path) -> None:
    twice = [row("u00", [399], "popular"), *sound()]
    assert value(judge(tmp_path, twice), "coverage") == 1.025
