"""Erasing users from each kind of artefact, and nothing else with them."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from recsys import artefact, models, schemas
from recsys._erasers import erase_artefact, erase_report
from recsys.artefact import Artefact
from recsys.candidates import Candidates
from recsys.erasure import erase_forgotten, overdue
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.settings import AlsSettings
from recsys.store import open_store

GONE = {"bob", "d.d"}
NAMES = ["ann", "bob", "cat", "d.d"]


def made(path: Path, **files: Any) -> Artefact:
    with artefact.write(path, stage="test", version=1) as draft:
        for name, content in files.items():
            if isinstance(content, pa.Table):
                pq.write_table(content, draft.path / f"{name}.parquet")
            else:
                (draft.path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return Artefact.open(path)


def matrix(folder: Path) -> Artefact:
    """Ann holds to songs 0 and 1, Bob to 1 and 2, Cat to 2, D.D to 0; each heard one more."""
    strength = csr_matrix(
        [[5, 6, 0, 0], [0, 7, 8, 0], [0, 0, 9, 0], [4, 0, 0, 0]], dtype=np.float32
    )
    whole = TasteMatrix(
        users=pa.table(
            {"user_id": NAMES, "last_heard": [date(2026, 11, 1)] * 4, "eligible": [True] * 4}
        ),
        songs=pa.table({"track_id": ["a", "b", "c", "d"]}),
        tracks=pa.table({"track_id": ["a", "b", "c", "d"]}),
        strength=strength,
        played_track=np.array([10, 11, 12, 13, 14, 15], np.int32),
        excluded=csr_matrix(np.add(strength.toarray(), [0, 0, 0, 1]) > 0),
    )
    with artefact.write(folder / "matrix", stage="matrix", version=1) as draft:
        whole.save(draft.path)
    return Artefact.open(folder / "matrix")


def candidates(folder: Path) -> Artefact:
    with artefact.write(folder / "candidates", stage="candidates", version=1) as draft:
        Candidates(
            users=np.array([0, 1, 2], np.int32),
            offsets=np.array([0, 2, 3, 5], np.int64),
            songs=np.array([2, 3, 0, 0, 1], np.int32),
            scores=np.array([0.9, 0.8, 0.7, 0.6, 0.5]),
        ).save(draft.path)
    return Artefact.open(folder / "candidates")


def test_rows_of_a_table_go_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    rows = pa.table({"user_id": ["ann", "bob", "bobby", "bob"], "plays": [1, 2, 3, 4]})
    other = pa.table({"track_id": ["bob"]})
    before = made(tmp_path / "plays", plays=rows, tracks=other)
    assert erase_artefact(before, GONE)
    after = Artefact.open(before.path)
    assert pq.read_table(after.file("plays.parquet")).to_pylist() == [
        {"user_id": "ann", "plays": 1},
        {"user_id": "bobby", "plays": 3},
    ]
    assert pq.read_table(after.file("tracks.parquet")) == other  # a track of that name is none
    assert after.erasure["files"].keys() == {"plays.parquet"}
    after.check()
    assert not erase_artefact(after, GONE)


def test_a_quarantine_loses_the_rows_that_name_them(tmp_path: Path) -> None:
    rows = [
        {"file": "log/bob/history.json", "row": 1, "reason": "bad_time", "detail": "at: ?"},
        {"file": "log/bobby/history.json", "row": 2, "reason": "bad_time", "detail": None},
        {"file": "log/1.json", "row": 3, "reason": "unreadable", "detail": "user d.d at 5"},
        {"file": "log/1.json", "row": 4, "reason": "unreadable", "detail": "user dxd at 5"},
    ]
    before = made(tmp_path / "clean", quarantine=pa.Table.from_pylist(rows, schemas.QUARANTINE))
    assert erase_artefact(before, GONE)
    left = pq.read_table(Artefact.open(before.path).file("quarantine.parquet"))
    assert left["row"].to_pylist() == [2, 4]
    assert left.schema == schemas.QUARANTINE


def test_samples_of_a_verdict_and_the_names_in_a_plan_go(tmp_path: Path) -> None:
    verdict = {"checks": [{"name": "length", "samples": [{"user_id": "bob"}, {"user_id": "ann"}]}]}
    before = made(tmp_path / "playlist_gate", verdict=verdict)
    assert erase_artefact(before, GONE)
    left = json.loads(Artefact.open(before.path).file("verdict.json").read_text())
    assert left["checks"][0]["samples"] == [{"user_id": "ann"}]

    plan = {"forgotten": ["bob", "eve"], "blocked": ["bob"]}
    before = made(tmp_path / "plan", plan=plan)
    assert erase_artefact(before, GONE)
    left = json.loads(Artefact.open(before.path).file("plan.json").read_text())
    assert left == {"forgotten": ["eve"], "blocked": ["bob"]}
    assert not erase_artefact(Artefact.open(before.path), GONE)


def test_a_matrix_keeps_the_rows_of_the_others_in_their_places(tmp_path: Path) -> None:
    before = matrix(tmp_path)
    whole = TasteMatrix.load(before.path)
    assert erase_artefact(before, GONE)
    left = TasteMatrix.load(before.path)
    assert left.users["user_id"].to_pylist() == ["ann", "", "cat", ""]
    assert left.users["eligible"].to_pylist() == [True, False, True, False]
    assert left.users["last_heard"].null_count == 2
    assert left.eligible["user_id"].to_pylist() == ["ann", "cat"]
    for name in ("strength", "excluded"):
        dense = getattr(whole, name).toarray()
        dense[[1, 3]] = 0
        assert (getattr(left, name).toarray() == dense).all()
        assert getattr(left, name).dtype == getattr(whole, name).dtype
    assert left.played_track.tolist() == [10, 11, 14]
    Artefact.open(before.path).check()
    assert not erase_artefact(Artefact.open(before.path), GONE)


def test_a_model_loses_their_factors_and_goes_on_loading(tmp_path: Path) -> None:
    factors = np.arange(8, dtype=np.float32).reshape(4, 2) + 1
    model = ALSModel(
        item_factors=factors,
        user_factors=factors.copy(),
        song_keys=pa.array(["a", "b", "c", "d"]),
        user_ids=pa.array(NAMES),
        settings=AlsSettings(factors=2),
        seed=1,
        warm=False,
        loss=(1.0,),
    )
    with artefact.write(tmp_path / "als_model", stage="als_model", version=1) as draft:
        models.save(model, draft.path)
        rows = [{"user_id": name, "in_common": 0.1} for name in NAMES]
        artefact.write_json(draft.path / "verdict.json", {"checks": [{"samples": rows}]})
    assert erase_artefact(Artefact.open(tmp_path / "als_model"), GONE)
    verdict = json.loads((tmp_path / "als_model" / "verdict.json").read_text("utf-8"))
    assert [row["user_id"] for row in verdict["checks"][0]["samples"]] == ["ann", "cat"]
    left = models.load(tmp_path / "als_model")
    assert left.user_ids.to_pylist() == ["ann", "", "cat", ""]
    assert left.user_factors.tolist() == [[1, 2], [0, 0], [5, 6], [0, 0]]
    assert (left.item_factors == factors).all()


def test_candidates_go_with_the_rows_of_their_matrix(tmp_path: Path) -> None:
    matrix(tmp_path)
    before = candidates(tmp_path)
    assert erase_artefact(before, GONE)
    left = Candidates.load(before.path)
    assert left.users.tolist() == [0, 2]
    assert left.offsets.tolist() == [0, 2, 4]
    assert left.songs.tolist() == [2, 3, 0, 1]
    assert left.scores.tolist() == [0.9, 0.8, 0.6, 0.5]
    assert not erase_artefact(Artefact.open(before.path), GONE)


def test_pages_and_refusals_of_an_edition(tmp_path: Path) -> None:
    page, other = tmp_path / "report.html", tmp_path / "other.html"
    page.write_text("<td>d.d</td>", encoding="utf-8")
    other.write_text("<td>dxd bobby bob-cat</td>", encoding="utf-8")
    refusal = tmp_path / "model_choice.json"
    refusal.write_text('{"checks": [{"samples": [{"user_id": "bob"}]}]}', encoding="utf-8")
    assert [erase_report(path, GONE) for path in (page, other, refusal)] == [True, False, True]
    assert not page.exists()
    assert other.exists()
    assert json.loads(refusal.read_text()) == {"checks": [{"samples": []}]}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home", "log", "log")


def plays(home: Home, day: int, *users: str) -> Artefact:
    rows = pa.table({"user_id": pa.array(users, pa.string())})
    return made(home.plays(date(2026, 11, day)), plays=rows)


def users_of(one: Artefact) -> list[str]:
    names: list[str] = pq.read_table(Artefact.open(one.path).file("plays.parquet"))[
        "user_id"
    ].to_pylist()
    return names


def test_killed_between_candidates_and_matrix_the_next_call_finishes(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home.root / "editions" / "2026-W47" / "r1"
    matrix(folder)
    candidates(folder)
    store = open_store(f"sqlite:///{home.root / 'store'}")
    for user in sorted(GONE):
        store.forget(user)
    rewrite = artefact.rewrite

    def killed(made: Artefact) -> Any:
        if made.path.name == "matrix":
            raise KeyboardInterrupt
        return rewrite(made)

    monkeypatch.setattr(artefact, "rewrite", killed)
    with pytest.raises(KeyboardInterrupt):
        erase_forgotten(store, home)
    assert overdue(store.history().tombstones, home, days=0) == 2
    monkeypatch.setattr(artefact, "rewrite", rewrite)
    assert erase_forgotten(store, home) == 1
    assert Candidates.load(folder / "candidates").users.tolist() == [0, 2]
    assert TasteMatrix.load(folder / "matrix").users["user_id"].to_pylist() == [
        "ann",
        "",
        "cat",
        "",
    ]
    assert overdue(store.history().tombstones, home, days=0) == 0


def test_each_is_looked_for_where_they_may_be(home: Home) -> None:
    store = open_store(f"sqlite:///{home.root / 'store'}")
    first = plays(home, 1, "ann", "bob", "cat")
    assert erase_forgotten(store, home) == 0
    assert not home.erased.exists()
    store.forget("bob")
    assert erase_forgotten(store, home) == 1
    second = plays(home, 2, "bob", "cat")  # the log goes on naming Bob
    store.forget("cat")
    assert erase_forgotten(store, home) == 2
    assert (users_of(first), users_of(second)) == (["ann"], [])
    assert json.loads(home.erased.read_text())["users"].keys() == {"bob", "cat"}


def test_what_came_back_from_a_backup_is_found_everywhere(home: Home) -> None:
    store = open_store(f"sqlite:///{home.root / 'store'}")
    first = plays(home, 1, "ann", "bob")
    store.forget("bob")
    erase_forgotten(store, home)
    known = json.loads(home.erased.read_text())
    later = datetime.now(UTC) + timedelta(hours=1)
    artefact.write_json(home.erased, {**known, "looked": later.isoformat(timespec="seconds")})
    plays(home, 1, "ann", "bob")
    assert erase_forgotten(store, home) == 0
    assert erase_forgotten(store, home, everywhere=True) == 1
    assert users_of(first) == ["ann"]


def test_who_waits_too_long_is_counted(home: Home) -> None:
    now = datetime.now(UTC)
    tombstones = {"ann": now - timedelta(days=31), "bob": now - timedelta(days=29)}
    assert overdue(tombstones, home, days=30) == 1
    home.root.mkdir(parents=True)
    artefact.write_json(home.erased, {"looked": "", "users": {"ann": now.isoformat()}})
    assert overdue(tombstones, home, days=30) == 0
