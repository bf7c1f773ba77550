"""What is kept, and what goes: erasing the forgotten, blocked tracks, pruned and cleaned weeks."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recsys.artefact import Artefact, file_sha256
from recsys.cli import main
from recsys.home import Home
from recsys.store import playlists_digest
from tests.workflows.conftest import Deployment, tribe_log

WEEKS = ("2026-W44", "2026-W45", "2026-W46", "2026-W47")
FIRST, LAST = WEEKS[0], WEEKS[-1]
GONE = "t1m07"


@pytest.fixture(scope="module")
def four_weeks(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Four weeks published, of which two are kept and one rests; one listener is forgotten."""
    made = Deployment(tmp_path_factory.mktemp("weeks"))
    made.configure(
        recsys={"home": made.home, "seed": 1},
        listens={"source": "log", "format": "jsonl"},
        als={"factors": 8, "iterations": 3, "warm_iterations": 1},
        playlists={"cooldown_editions": 1, "length": 10},
        store={"keep_weeks": 2},
        mlflow={"tracking_uri": "http://127.0.0.1:9"},
    )
    tribe_log(made, days=30, members=8, songs=60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUIGI_CONFIG_PATH", str(made.config))
        patch.chdir(made.folder)
        for week in WEEKS[:-1]:
            assert made.run(week, backfill=True)
        with made.store() as store:
            store.forget(GONE)
        # The last run leaves them out, and erases them from what the others left.
        assert made.run(LAST)
    return made


@pytest.fixture
def deployment(
    tmp_path: Path, four_weeks: Deployment, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    """A copy of it to work on."""
    made = Deployment(tmp_path, settings=four_weeks.settings)
    shutil.copytree(four_weeks.folder, tmp_path, dirs_exist_ok=True)
    made.configure(recsys={"home": made.home})
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(made.config))
    monkeypatch.chdir(tmp_path)
    return made


def naming(root: Path, user: str) -> set[str]:
    """The files below a folder that hold a user's id, as bytes or in a column."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {
        str(path.relative_to(root))
        for path in files
        if user.encode() in path.read_bytes()
        or (path.suffix == ".parquet" and user in str(pq.read_table(path).to_pylist()))
    }


def data_of(deployment: Deployment, week: str) -> dict[str, str]:
    stages = ("plan", "evaluation", "matrix", "als_model", "candidates", "playlists")
    return {
        f"{stage}/{file.name}": file_sha256(file)
        for stage in stages
        for file in (deployment.edition(week) / stage).rglob("*.*")
        if file.name not in ("manifest.json", "erasure.json")  # these say when
    }


# --- erasure ---------------------------------------------------------------------------------


def test_a_weekly_run_leaves_no_trace_of_the_forgotten(four_weeks: Deployment) -> None:
    others = {name.split("/")[0] for name in naming(four_weeks.home, "t1m06")}
    assert others == {"days", "states", "editions", "store"}
    assert naming(four_weeks.home, GONE) == {"store_copy.json", "erased.json", "store/ledger.db"}


def test_what_is_left_is_what_was_made_of_the_others(four_weeks: Deployment) -> None:
    home = Home.of(four_weeks.load())
    for path in home.artefacts():
        Artefact.open(path).check()
    playlists = four_weeks.playlists(WEEKS[2])
    assert len(playlists) == 23
    assert [row["user_id"] for row in playlists] == sorted(row["user_id"] for row in playlists)
    matrix = four_weeks.edition(WEEKS[2]) / "matrix"
    users = pq.read_table(matrix / "users.parquet").to_pylist()
    nameless = [row for row, user in enumerate(users) if not user["user_id"]]
    assert [users[row] for row in nameless] == [
        {"user_id": "", "last_heard": None, "eligible": False}
    ]
    assert len(users) == 24


def test_an_edition_verifies_after_an_erasure(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--edition", WEEKS[2]]) == 0
    said = capsys.readouterr().out
    assert "23 stored, 23 expected, 1 left out when staged, 0 different" in said


def test_the_next_week_goes_on_without_them(four_weeks: Deployment) -> None:
    assert GONE not in {row["user_id"] for row in four_weeks.playlists(LAST)}
    plan = json.loads((four_weeks.edition(LAST) / "plan" / "plan.json").read_text())
    assert plan["forgotten"] == []
    assert Artefact.open(four_weeks.edition(LAST) / "matrix").manifest["rows"]["users"] == 23


def test_a_log_that_goes_on_naming_them_is_erased_again(deployment: Deployment) -> None:
    tribe_log(deployment, last_day=date(2026, 11, 21), days=7, members=8, songs=60)
    assert GONE in (deployment.log / "date=2026-11-20" / "listens.jsonl").read_text()
    assert deployment.run("2026-W48")
    assert naming(deployment.home, GONE) == {"store_copy.json", "erased.json", "store/ledger.db"}
    assert GONE not in {row["user_id"] for row in deployment.playlists("2026-W48")}


def test_a_lost_store_is_filled_from_what_was_erased(deployment: Deployment) -> None:
    shutil.rmtree(deployment.home / "store")
    assert deployment.run(LAST)
    # The edition before named the forgotten listener when it got its digest.
    assert deployment.run(WEEKS[2], backfill=True)
    with deployment.store() as store:
        assert [one.present for one in store.editions()][:2] == [True, True]
        assert store.playlist("t1m06", edition=WEEKS[2]).edition == WEEKS[2]
        folder = deployment.edition(WEEKS[2]) / "playlists"
        rows = pq.read_table(folder / "playlists.parquet").to_batches()
        digest = playlists_digest(rows, pq.read_table(folder / "default.parquet"))
        assert Artefact.open(folder).erasure["facts"]["digest"] == digest
    assert main(["verify", "--edition", WEEKS[2]]) == 0


# --- blocked tracks --------------------------------------------------------------------------


def test_a_blocked_track_gives_way_to_a_spare_and_stays_out(deployment: Deployment) -> None:
    with deployment.store() as store:
        before = store.playlist("t0m00")
        blocked = before.tracks[3].track_id
    assert main(["block-track", blocked]) == 0
    with deployment.store() as store:
        after = store.playlist("t0m00")
    row = next(row for row in deployment.playlists(LAST) if row["user_id"] == "t0m00")
    fitting = [spare["track_id"] for spare in row["spares"] if 4 not in spare["not_at"]]
    expected = [track.track_id for track in before.tracks]
    expected[3] = fitting[0]
    assert [track.track_id for track in after.tracks] == expected

    assert deployment.run(LAST, revision=2)
    made = deployment.playlists(LAST, revision=2)
    listed = {track["track_id"] for row in made for track in (*row["tracks"], *row["spares"])}
    assert blocked not in listed
    assert listed


def in_json(capsys: pytest.CaptureFixture[str], *command: str) -> Any:
    capsys.readouterr()
    assert main([*command, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_explained_is_what_is_shown_after_a_block(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    before = in_json(capsys, "show", "t0m00")["tracks"]
    for track in before[:2]:
        assert main(["block-track", track["track_id"]]) == 0
    shown = in_json(capsys, "show", "t0m00")["tracks"]
    explained = in_json(capsys, "explain", "t0m00")["tracks"]
    assert [(one["position"], one["track"]["track_id"], one["score"]) for one in explained] == [
        (track["position"], track["track_id"], track["score"]) for track in shown
    ]
    listed_before = {track["track_id"] for track in before}
    entered = [one for one in explained if one["entered"]]
    assert entered
    assert [one["track"]["track_id"] not in listed_before for one in explained] == [
        one["entered"] for one in explained
    ]
    for one in entered:
        assert sum(part["weight"] for part in one["parts"]) == pytest.approx(one["score"], abs=2e-6)

    answer = in_json(capsys, "explain", "t0m00", "--track", before[0]["track_id"])["answer"]
    assert answer["reason"] == "blocked"
    spare = entered[0]
    asked = ("explain", "t0m00", "--track", spare["track"]["track_id"])
    answer = in_json(capsys, *asked)["answer"]
    assert (answer["reason"], answer["position"]) == ("listed", spare["position"])
    assert main([*asked]) == 0
    assert "in place of a blocked track" in capsys.readouterr().out
    # As it was made, the list is another one.
    made = in_json(capsys, "explain", "t0m00", "--edition", LAST, "--revision", "1")["tracks"]
    assert [one["track"]["track_id"] for one in made] == [track["track_id"] for track in before]


def test_a_list_whose_tracks_and_spares_are_all_blocked_is_not_explained(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = (row for row in deployment.playlists(LAST) if row["user_id"] == "t0m00")
    with deployment.store() as store:
        for track in (*row["tracks"], *row["spares"]):
            store.block(track["track_id"])
    for command in ("show", "explain"):
        assert main([command, "t0m00"]) == 30
        assert "has no playlist for this listener" in capsys.readouterr().err


# --- pruning and cleaning --------------------------------------------------------------------


def test_old_weeks_are_pruned_and_stay_complete(deployment: Deployment) -> None:
    with deployment.store() as store:
        kept = {one.edition: (one.present, one.pruned) for one in store.editions()}
    assert kept == {
        WEEKS[0]: (False, True),
        WEEKS[1]: (False, True),
        WEEKS[2]: (True, False),
        WEEKS[3]: (True, False),
    }
    again = deployment.command(
        *("--module", "workflows", "BackfillPlaylists", "--local-scheduler"),
        *("--first", FIRST, "--last", LAST),
    )
    assert again.returncode == 0
    assert "Did not run any tasks" in again.stderr


def test_the_next_week_is_the_same_to_the_byte_after_a_cleaning(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Deployment(deployment.folder / "other", settings=deployment.settings)
    shutil.copytree(deployment.home, other.home)
    other.configure(recsys={"home": other.home})
    assert main(["clean", "--dry-run"]) == 0
    listed = capsys.readouterr().out
    assert data_of(deployment, FIRST) == data_of(other, FIRST)
    assert main(["clean"]) == 0
    cleaned = capsys.readouterr().out
    for stage in ("catalogue", "matrix", "candidates", "als_model"):
        assert f"{FIRST}/r1/{stage}" in listed
        assert f"{FIRST}/r1/{stage}" in cleaned
        assert not (deployment.edition(FIRST) / stage).exists()
    for stage in (
        "plan",
        "evaluation",
        "model_choice",
        "playlists",
        "playlist_gate",
        "published",
        "record",
    ):
        assert (deployment.edition(FIRST) / stage).is_dir()
    assert main(["clean", "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("0 folders")

    tribe_log(deployment, last_day=date(2026, 11, 21), days=7, members=8, songs=60)
    assert deployment.run("2026-W48")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUIGI_CONFIG_PATH", str(other.config))
        assert other.run("2026-W48")
    assert data_of(deployment, "2026-W48") == data_of(other, "2026-W48")


def test_what_is_kept_is_explained_and_verified_after_a_cleaning(
    deployment: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    # The week that the older of the two rests from is itself neither kept nor resting.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("recsys.retention.HINDSIGHT_EDITIONS", 1)
        assert main(["clean"]) == 0
    for week in WEEKS[2:]:
        assert main(["verify", "--edition", week]) == 0
        assert main(["explain", "t0m00", "--edition", week]) == 0
    assert not (deployment.edition(FIRST) / "matrix").exists()
    capsys.readouterr()
    assert main(["explain", "t0m00", "--edition", FIRST]) == 30
    assert "was cleaned away" in capsys.readouterr().err

    shutil.rmtree(deployment.edition(WEEKS[1]) / "playlists")
    for command in (["verify"], ["explain", "t0m00"]):
        assert main([*command, "--edition", WEEKS[2]]) == 30
        assert "it is gone" in capsys.readouterr().err


def test_a_cleaned_week_stays_published_and_says_so(deployment: Deployment) -> None:
    assert deployment.recsys("clean").returncode == 0
    old = deployment.weekly("--week", FIRST)
    assert old.returncode == 0, old.stderr
    assert f"Edition {FIRST} is published, and was cleaned" in old.stderr
    assert "Did not run any tasks" in old.stderr
    assert not (deployment.edition(FIRST) / "matrix").exists()


def test_a_cleaned_week_that_the_store_lost_is_not_made_by_accident(
    deployment: Deployment,
) -> None:
    assert deployment.recsys("clean").returncode == 0
    shutil.rmtree(deployment.home / "store")
    (deployment.home / "store_copy.json").unlink()
    old = deployment.weekly("--week", FIRST, "--backfill")
    assert old.returncode == 50
    assert f"Edition {FIRST} revision 1 was cleaned" in old.stderr
    assert "--revision 2" in old.stderr


def test_what_is_pinned_is_neither_pruned_nor_cleaned(deployment: Deployment) -> None:
    assert main(["pin", WEEKS[2]]) == 0
    tribe_log(deployment, last_day=date(2026, 11, 21), days=7, members=8, songs=60)
    assert deployment.run("2026-W48")
    assert main(["clean"]) == 0
    assert (deployment.edition(WEEKS[2]) / "candidates").is_dir()
    with deployment.store() as store:
        pinned = next(one for one in store.editions() if one.edition == WEEKS[2])
        assert (pinned.pinned, pinned.present) == (True, True)
