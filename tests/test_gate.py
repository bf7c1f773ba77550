"""The gate passes a sound edition, and refuses each single fault by the check that is meant."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import schemas
from recsys.gate import check_playlists
from recsys.playlists import REFUSED
from recsys.settings import PlaylistsSettings
from recsys.verdict import Verdict
from recsys.weeks import Week

WEEK = Week.parse("2026-W47")
SETTINGS = PlaylistsSettings(length=5, per_artist=2)
Edition = dict[str, Any]

# t00 to t39, two by each of twenty artists; a remaster of t05, two more by a00, and two out.
SONGS = [f"t{number:02d}" for number in range(40)]
OPEN = [*SONGS, "third", "duet"]


def catalogue_row(track: str, artists: list[str], song: str, available: bool = True) -> Edition:
    return {
        **dict.fromkeys(schemas.CATALOGUE.names),
        "track_id": track,
        "artist_ids": artists,
        "artist_names": artists,
        "available": available,
        "song_key": song,
    }


CATALOGUE = [
    *(catalogue_row(t, [f"a{int(t[1:]) % 20:02d}"], f"song {t}") for t in SONGS),
    catalogue_row("remaster", ["a05"], "song t05"),
    catalogue_row("third", ["guest", "a00"], "song third"),
    catalogue_row("duet", ["a00", "a01"], "song duet"),
    catalogue_row("gone", ["a90"], "song gone", available=False),
    catalogue_row("blocked", ["a91"], "song blocked"),
]


def taste_row(user: str, track: str, heard: bool = True, disliked: bool = False) -> Edition:
    counts = dict.fromkeys(("plays", "part_plays", "skips", "saves", "likes", "dislikes"), 1.0)
    return {
        "user_id": user,
        "track_id": track,
        **counts,
        "heard": heard,
        "disliked": disliked,
        "last_heard": date(2026, 11, 1) if heard else None,
    }


def slot(track: str, because: str | None) -> Edition:
    return {
        "track_id": track,
        "track_name": None,
        "artist_names": ["someone"],
        "score": 0.5,
        "source": "als" if because else "popular",
        "because_track_id": because,
    }


def spare(track: str, because: str | None, *not_at: int) -> Edition:
    return {**slot(track, because), "not_at": list(not_at)}


def playlist(
    user: str,
    kind: str,
    tracks: list[Edition],
    relaxed: tuple[str, ...] = (),
    spares: tuple[Edition, ...] = (),
) -> Edition:
    return {
        "edition": str(WEEK),
        "user_id": user,
        "kind": kind,
        "tracks": [{"position": n, **track} for n, track in enumerate(tracks, start=1)],
        "spares": list(spares),
        "relaxed": list(relaxed),
        "valid_from": WEEK.monday,
        "valid_until": WEEK.sunday,
    }


def mine(because: str, *tracks: str) -> list[Edition]:
    return [slot(track, because) for track in tracks]


def fill(*tracks: str) -> list[Edition]:
    return [slot(track, None) for track in tracks]


def sound() -> Edition:
    """Personal, blended, popular, all but three songs heard, everything heard, with spares."""
    # By an artist who is not in the list, beside its own artist, and by one who is there twice.
    spares = (spare("t31", "t39"), spare("t26", "t39", 1, 3), spare("third", None, 2, 4, 5))
    return {
        "playlists": [
            playlist("ann", "personal", mine("t00", "t10", "t11", "t12", "t13", "t14")),
            playlist("bob", "blended", mine("t02", "t15", "t16", "t17") + fill("t18", "t19")),
            playlist("cat", "personal", mine("t04", "t01", "t05", "t02", "t03", "t07")),
            playlist("dan", "popular", fill("t00", "t06", "t20", "t08", "t09")),
            playlist("fay", "personal", mine("t03", "t00", "t20", "t01"), ("neighbours",)),
            playlist("hal", "popular", fill("t00", "t06", "t20", "t08", "t09"), (), spares),
        ],
        "default": [playlist("", "popular", fill("t05", "t06", "t07", "t08", "t09"))],
        "refused": [{"user_id": "eve", "reason": "nothing_left"}],
        "eligible": [
            {"user_id": user} for user in ("ann", "bob", "cat", "dan", "eve", "fay", "hal")
        ],
        "taste": [
            taste_row("ann", "t00"),
            taste_row("bob", "t02"),
            taste_row("cat", "t04"),
            taste_row("cat", "t06", heard=False, disliked=True),
            taste_row("dan", "t39"),
            *(taste_row("eve", track) for track in OPEN),
            *(taste_row("fay", track) for track in OPEN if track not in ("t00", "t20", "t01")),
            taste_row("gil", "t10"),
            taste_row("hal", "t39"),
            taste_row("hal", "t38", heard=False, disliked=True),
        ],
        "cooling": [
            playlist("ann", "personal", mine("t00", "t30")),
            playlist("hal", "popular", fill("t30")),
        ],
    }


SCHEMAS = {
    "playlists": schemas.PLAYLISTS,
    "default": schemas.PLAYLISTS,
    "cooling": schemas.PLAYLISTS,
    "refused": REFUSED,
    "eligible": REFUSED.remove(1),
    "taste": schemas.TASTE,
    "catalogue": schemas.CATALOGUE,
}


def save_model(folder: Path) -> None:
    """Factors by which every song has the score 0.5 with every listener; t29 has none."""
    folder.mkdir(exist_ok=True)
    users = ["ann", "bob", "cat", "dan", "eve", "fay", "hal"]
    songs = sorted({row["song_key"] for row in CATALOGUE} - {"song t29"})
    np.save(folder / "user_factors.npy", np.full((len(users), 2), 0.5))
    np.save(folder / "item_factors.npy", np.full((len(songs), 2), 0.5, np.float32))
    pq.write_table(pa.table({"user_id": users}), folder / "users.parquet")
    pq.write_table(pa.table({"song_key": songs}), folder / "songs.parquet")


def judge(folder: Path, edition: Edition, files: list[Path] | None = None) -> Verdict:
    paths: dict[str, Any] = {}
    for name, rows in {**edition, "catalogue": CATALOGUE}.items():
        whole = isinstance(rows, pa.Table)
        paths[name] = folder / f"{name}.parquet"
        pq.write_table(rows if whole else pa.Table.from_pylist(rows, SCHEMAS[name]), paths[name])
    save_model(folder / "model")
    return check_playlists(
        **{**paths, "playlists": files or paths["playlists"], "cooling": [paths["cooling"]]},
        model=folder / "model",
        blocked=["blocked", "never seen"],
        week=WEEK,
        settings=SETTINGS,
    )


def failed(verdict: Verdict) -> list[str]:
    return [check.name for check in verdict.failed]


def test_a_sound_edition_passes(tmp_path: Path) -> None:
    verdict = judge(tmp_path, sound())
    assert failed(verdict) == []
    assert verdict.passed
    assert (
        verdict.summary()
        == f"Passed: {len(verdict.checks)} of {len(verdict.checks)} checks passed."
    )


def put(row: int, place: int, **values: Any) -> Callable[[Edition], None]:
    """Overwrite fields of one track of one playlist."""
    return lambda edition: edition["playlists"][row]["tracks"][place].update(values)


def stand(nth: int, **values: Any) -> Callable[[Edition], None]:
    """Overwrite fields of one of Hal's spares."""
    return lambda edition: edition["playlists"][5]["spares"][nth].update(values)


def stand_too(*more: Edition) -> Callable[[Edition], None]:
    """Let others stand by for Hal as well."""
    return lambda edition: edition["playlists"][5]["spares"].extend(more)


def say(row: int, **values: Any) -> Callable[[Edition], None]:
    """Overwrite fields of one playlist."""
    return lambda edition: edition["playlists"][row].update(values)


def swap_users(edition: Edition) -> None:
    ann, cat = edition["playlists"][0], edition["playlists"][2]
    ann["tracks"], cat["tracks"] = cat["tracks"], ann["tracks"]


def swap_rows(edition: Edition) -> None:
    rows = edition["playlists"]
    rows[1], rows[3] = rows[3], rows[1]


def pad(edition: Edition) -> None:
    edition["playlists"][3]["tracks"].append({"position": 6, **slot("t31", None)})


FAULTS: list[tuple[str, str, Callable[[Edition], Any]]] = [
    ("another edition", "edition", say(0, edition="2026-W46")),
    ("another Monday", "edition", say(0, valid_from=date(2026, 11, 9))),
    ("another Sunday", "edition", say(0, valid_until=date(2026, 11, 23))),
    ("a user twice", "one_row_per_user", lambda e: e["playlists"].insert(1, e["playlists"][0])),
    ("rows in another order", "sorted_by_user", swap_rows),
    ("a user missing", "accounting", lambda e: e["playlists"].pop(3)),
    ("a user too many", "accounting", lambda e: e["eligible"].pop(3)),
    ("no default list", "default_list", lambda e: e["default"].clear()),
    ("a default list for someone", "default_list", lambda e: e["default"][0].update(user_id="x")),
    ("a list cut short", "length", lambda e: e["playlists"][3]["tracks"].pop()),
    ("a track too many", "length", pad),
    ("a list short of what is left", "length", lambda e: e["playlists"][4]["tracks"].pop()),
    ("refused for nothing", "refusals", lambda e: e["taste"].remove(taste_row("eve", "t31"))),
    ("refused without a reason", "refusals", lambda e: e["refused"][0].update(reason="")),
    ("a gap in the positions", "positions", put(0, 4, position=6)),
    ("a track twice", "track_twice", put(0, 4, track_id="t10")),
    ("a song twice", "song_twice", put(2, 4, track_id="remaster")),
    ("an unknown track", "in_catalogue", put(0, 1, track_id="nowhere")),
    ("a track that is gone", "available", put(0, 1, track_id="gone")),
    ("a heard track", "not_heard", put(3, 1, track_id="t39")),
    ("a disliked track", "not_disliked", put(2, 4, track_id="t06")),
    ("a blocked track", "not_blocked", put(0, 1, track_id="blocked")),
    ("a score that is no number", "scores", put(0, 1, score=float("nan"))),
    ("a score that is another's", "scores_given", put(0, 1, score=0.50002)),
    ("a song that the model does not know", "scores_given", put(0, 1, track_id="t29")),
    ("a spare's score that is another's", "scores_given", stand(0, score=0.49998)),
    ("a padded score", "scores", put(0, 1, score=-3.4028235e38)),
    ("a kind that is not so", "kind", say(1, kind="personal")),
    ("an unknown source", "kind", put(3, 1, source="luck")),
    ("an unknown rule", "relaxed_known", say(0, relaxed=["length"])),
    ("a rule said twice", "relaxed_known", say(4, relaxed=["neighbours", "neighbours"])),
    ("a rule that was kept", "relaxed_broken", say(0, relaxed=["cooldown"])),
    ("neighbours by one artist", "neighbours", put(0, 1, track_id="t32")),
    ("a cooling track", "cooldown", put(0, 4, track_id="t30")),
    ("a third track by one artist", "per_artist", put(3, 4, track_id="third")),
    ("another user's playlist", "because_heard", swap_users),
    ("a reason from nowhere", "because_heard", put(0, 1, because_track_id="nowhere")),
    ("a reason that somebody else heard", "because_heard", put(0, 1, because_track_id="t02")),
    ("no reason", "because_given", put(0, 1, because_track_id=None)),
    ("six spares", "spares_number", stand_too(*(spare(f"t{n}", None) for n in (22, 23, 24)))),
    ("a spare of the list", "spares_twice", stand(0, track_id="t08", not_at=[3, 5])),
    ("an unknown spare", "spares_in_catalogue", stand(0, track_id="nowhere")),
    ("a spare that is gone", "spares_available", stand(0, track_id="gone")),
    ("a heard spare", "spares_not_heard", stand(0, track_id="t39")),
    ("a disliked spare", "spares_not_disliked", stand(0, track_id="t38")),
    ("a blocked spare", "spares_not_blocked", stand(0, track_id="blocked")),
    ("a cooling spare", "spares_not_cooling", stand(0, track_id="t30")),
    ("spares by one artist", "spares_artists", stand_too(spare("t11", None))),
    ("a spare without a score", "spares_scores", stand(0, score=float("inf"))),
    ("a spare from nowhere", "spares_scores", stand(2, source="luck")),
    ("a spare's strange reason", "spares_because", stand(0, because_track_id="t02")),
    ("a spare without a reason", "spares_because", stand(0, because_track_id=None)),
    ("a spare beside its artist", "spares_not_at", stand(1, not_at=[1])),
    ("a spare kept from its place", "spares_not_at", stand(1, not_at=[1, 2, 3])),
    ("a third by one artist", "spares_not_at", stand(2, not_at=[])),
    ("positions out of order", "spares_not_at", stand(2, not_at=[4, 2, 5])),
]


@pytest.mark.parametrize(("check", "plant"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_each_fault_is_refused_by_its_check(
    tmp_path: Path, check: str, plant: Callable[[Edition], Any]
) -> None:
    edition = copy.deepcopy(sound())
    plant(edition)
    verdict = judge(tmp_path, edition)
    assert verdict.refused
    assert failed(verdict) == [check]


def test_a_user_is_not_both_served_and_refused(tmp_path: Path) -> None:
    edition = sound()
    edition["refused"].append({"user_id": "dan", "reason": "nothing_left"})
    assert failed(judge(tmp_path, edition)) == ["accounting", "refusals"]


def test_an_empty_playlist_is_refused_even_where_nothing_is_left(tmp_path: Path) -> None:
    edition = sound()
    edition["refused"].clear()
    edition["playlists"].insert(4, playlist("eve", "popular", []))
    assert failed(judge(tmp_path, edition)) == ["length"]


def test_what_is_said_in_relaxed_is_allowed(tmp_path: Path) -> None:
    edition = sound()
    put(0, 4, track_id="t30")(edition)
    say(0, relaxed=["neighbours", "cooldown"])(edition)
    put(0, 3, track_id="t32")(edition)
    assert failed(judge(tmp_path, edition)) == []


def test_files_of_another_schema_are_refused_without_a_look_inside(tmp_path: Path) -> None:
    edition = sound()
    edition["playlists"] = pa.table({"user_id": ["ann"]})
    verdict = judge(tmp_path, edition)
    assert [(check.name, check.passed) for check in verdict.checks] == [("schema", False)]


@pytest.mark.parametrize("track", ["t31", "remaster"])
def test_no_song_stands_by_twice(tmp_path: Path, track: str) -> None:
    edition = sound()
    stand_too(spare("t05", None), spare(track, None))(edition)
    assert failed(judge(tmp_path, edition)) == ["spares_twice", "spares_artists"]


def test_a_spare_that_fits_nowhere_is_refused(tmp_path: Path) -> None:
    edition = sound()
    for place, track in enumerate(("t00", "t01", "t20", "t21", "t09")):
        put(5, place, track_id=track)(edition)
    edition["playlists"][5]["spares"] = [spare("duet", None, 1, 2, 3, 4, 5)]
    assert failed(judge(tmp_path, edition)) == ["spares_not_at"]


def test_a_spare_may_take_part_in_a_breach_of_its_list(tmp_path: Path) -> None:
    edition = sound()
    for place, track in enumerate(("t00", "t20", "third")):
        put(5, place, track_id=track)(edition)
    say(5, relaxed=["neighbours", "per_artist"])(edition)
    edition["playlists"][5]["spares"] = [spare("duet", None, 4, 5)]
    assert failed(judge(tmp_path, edition)) == []


def test_several_files_are_one_edition_in_their_order(tmp_path: Path) -> None:
    edition = sound()
    verdicts = []
    for parts in ([0, 2, 6], [2, 6, 0, 2]):
        rows = edition["playlists"]
        files = []
        for start, stop in pairwise(parts):
            files.append(tmp_path / f"{start}-{stop}.parquet")
            pq.write_table(pa.Table.from_pylist(rows[start:stop], schemas.PLAYLISTS), files[-1])
        verdicts.append(failed(judge(tmp_path, edition, files=files)))
    assert verdicts == [[], ["sorted_by_user"]]


def test_a_report_survives_json_and_its_summary_names_nobody(tmp_path: Path) -> None:
    edition = sound()
    put(3, 1, score=float("nan"))(edition)
    put(0, 1, track_id="blocked")(edition)
    verdict = judge(tmp_path, edition)
    report = json.dumps(verdict.to_dict(), allow_nan=False)
    assert Verdict.from_dict(json.loads(report)) == verdict
    samples = {check.name: check.samples for check in verdict.failed}
    assert samples == {
        "not_blocked": ({"user_id": "ann", "place": 2, "track_id": "blocked"},),
        "scores": ({"user_id": "dan", "place": 2, "score": "nan"},),
    }
    assert verdict.summary() == (
        f"Refused: 2 of {len(verdict.checks)} checks failed. not_blocked: found 1, allowed 0 "
        "blocked songs; scores: found 1, allowed 0 scores that are not finite, or padding."
    )


def test_an_edition_for_nobody_is_refused(tmp_path: Path) -> None:
    edition = sound()
    for name in ("playlists", "refused", "eligible", "taste", "cooling"):
        edition[name] = []
    assert [check.name for check in judge(tmp_path, edition).failed] == ["somebody_served"]
