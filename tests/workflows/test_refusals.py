"""What a gate refuses is not published, and is refused again until an operator releases it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys import models, unseen_week
from recsys.cli import main
from recsys.matrix import TasteMatrix
from recsys.playlists import making
from recsys.store import Action
from tests.workflows.conftest import BEFORE, LAST_DAYS, NEXT, NOW, Deployment, serves

Sabotage = Callable[[Deployment, pytest.MonkeyPatch], None]


def training(patch: pytest.MonkeyPatch, spoil: Callable[[Any, TasteMatrix], Any]) -> None:
    """Spoil the edition's own model, not one that is only evaluated."""
    right = models.train

    def wrong(matrix: TasteMatrix, *arguments: Any, **named: Any) -> models.ALSModel:
        model = right(matrix, *arguments, **named)
        return spoil(model, matrix) if "on_iteration" in named else model

    patch.setattr(models, "train", wrong)


def playlists(patch: pytest.MonkeyPatch, spoil: Callable[[list[dict[str, Any]]], None]) -> None:
    """Spoil the playlists that are written."""
    right = making.make_playlists

    def wrong(*arguments: Any, out: Path, **named: Any) -> dict[str, Any]:
        facts = right(*arguments, out=out, **named)
        rows = pq.read_table(out / "playlists.parquet")
        lists = rows.to_pylist()
        spoil(lists)
        pq.write_table(pa.Table.from_pylist(lists, rows.schema), out / "playlists.parquet")
        return facts

    patch.setattr(making, "make_playlists", wrong)


def shuffled(model: models.ALSModel, matrix: TasteMatrix) -> models.ALSModel:
    order = np.random.default_rng(3).permutation(len(model.item_factors))
    return replace(model, item_factors=model.item_factors[order]).refolded(matrix)


def disguised(model: models.ALSModel, matrix: TasteMatrix) -> models.ALSModel:
    """Popularity under a model's name: one factor, and everybody's is the same way up."""
    items = np.zeros_like(model.item_factors)
    popularity = matrix.songs["popularity"].to_numpy()
    items[:, 0] = popularity / popularity.max()
    return replace(model, item_factors=items).refolded(matrix)


def shuffled_factors(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(patch, shuffled)


def shuffled_songs_alone(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(
        patch, lambda model, matrix: replace(model, item_factors=model.item_factors[::-1].copy())
    )


def not_finite(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(model: models.ALSModel, _: TasteMatrix) -> models.ALSModel:
        model.item_factors[3, 0] = np.nan
        return model

    training(patch, spoil)


def popularity_in_disguise(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    training(patch, disguised)


def a_challenger_in_disguise(deployment: Deployment, patch: pytest.MonkeyPatch) -> None:
    deployment.configure(als={"factors": 7})  # going on is impossible
    right = models.train
    patch.setattr(
        models, "train", lambda matrix, *rest, **named: disguised(right(matrix, *rest), matrix)
    )


def worse_than_popularity(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    right = unseen_week.recommend

    def wrong(*arguments: Any) -> models.Ranking:
        ranking = right(*arguments)
        return replace(ranking, songs=(ranking.songs + 80) % 240)  # another tribe's songs

    patch.setattr(unseen_week, "recommend", wrong)


def half_the_users(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    for n in range(7):
        path = deployment.log / f"date={LAST_DAYS[NOW] - timedelta(days=n)}" / "listens.jsonl"
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        kept = [row for row in rows if int(row["user_id"][-2:]) % 2]
        assert len(kept) == len(rows) / 2
        path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")


def a_heard_track(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(lists: list[dict[str, Any]]) -> None:
        track = lists[5]["tracks"][7]
        track["track_id"] = track["because_track_id"]

    playlists(patch, spoil)


def swapped_playlists(_: Deployment, patch: pytest.MonkeyPatch) -> None:
    def spoil(lists: list[dict[str, Any]]) -> None:
        one, other = lists[3], lists[4]  # of one tribe: their tracks are much alike
        one["tracks"], other["tracks"] = other["tracks"], one["tracks"]

    playlists(patch, spoil)


def lists_much_alike(deployment: Deployment, _: pytest.MonkeyPatch) -> None:
    deployment.configure(gates={"most_alike": 0.01})


def told(capsys: pytest.CaptureFixture[str], *command: str) -> tuple[int, str]:
    """Exit code and all that a command of recsys says."""
    capsys.readouterr()
    code = main(command)
    return code, "".join(capsys.readouterr())


def refused_for(deployment: Deployment, stage: str) -> list[str]:
    report = json.loads((deployment.edition(NOW) / "refused" / f"{stage}.json").read_text("utf-8"))
    assert report["outcome"] == "refused"
    failed = [one for one in report["checks"] if not one["passed"]]
    return [one["name"] for one in failed if one["severity"] in ("hard", "soft")]


@pytest.mark.parametrize(
    ("sabotage", "stage", "rule"),
    [
        (half_the_users, "model_choice", "listeners_of_the_week"),
        (worse_than_popularity, "model_choice", "challenger_not_below_popularity"),
        (a_challenger_in_disguise, "model_choice", "not_popularity"),
        (popularity_in_disguise, "als_model", "known_recall"),
        (shuffled_factors, "als_model", "known_recall"),
        (shuffled_songs_alone, "als_model", "users_folded_in"),
        (not_finite, "als_model", "item_factors_finite"),
        (swapped_playlists, "playlist_gate", "because_heard"),
        (a_heard_track, "playlist_gate", "not_heard"),
    ],
)
def test_a_refusal_publishes_nothing_and_comes_again(
    served: Deployment,
    sabotage: Sabotage,
    stage: str,
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    sabotage(served, monkeypatch)
    with caplog.at_level("INFO", "luigi-interface"):
        for _ in range(2):
            assert not served.run(NOW)
            last = served.last_run()
            assert (last["outcome"], last["error"], last["stage"], last["exit_code"]) == (
                "failed",
                "GateRefusedError",
                stage,
                30,
            )
            assert rule in refused_for(served, stage)
            assert serves(served) == BEFORE
    with served.store() as store:
        assert [one.edition for one in store.editions()] == [BEFORE]
    assert not (served.edition(NOW) / stage).exists(), "a refusal completes nothing"
    code, said = told(capsys, "status")
    assert code
    assert f"is refused by {stage}" in said
    assert f"  {rule}: found" in said
    assert str(served.edition(NOW) / "refused" / f"{stage}.json") in said
    assert "t0m" not in caplog.text + said + json.dumps(dict(last)), "a listener is named"


@pytest.mark.parametrize("spoil", [shuffled, disguised])
def test_a_first_model_is_held_against_popularity(
    tribes: Deployment, monkeypatch: pytest.MonkeyPatch, spoil: Callable[..., Any]
) -> None:
    training(monkeypatch, spoil)
    assert not tribes.run(NOW)
    assert refused_for(tribes, "als_model") == ["known_recall"]
    with tribes.store() as store:
        assert store.current() is None


def test_the_command_line_ends_with_a_code_and_says_the_way_out(served: Deployment) -> None:
    with pytest.MonkeyPatch.context() as patch:
        half_the_users(served, patch)
    done = served.weekly("--week", NOW)
    assert done.returncode == 30
    assert "is refused by model_choice: Refused: " in done.stderr
    assert f"recsys release --edition {NOW} --revision 1 --because TEXT" in done.stderr
    assert "Traceback" not in done.stderr
    assert serves(served) == BEFORE


@pytest.mark.parametrize(
    ("sabotage", "stage"),
    [
        (half_the_users, "model_choice"),
        (shuffled_factors, "als_model"),
        (lists_much_alike, "playlist_gate"),
    ],
)
def test_an_operator_lets_a_refused_edition_go_on(
    served: Deployment,
    sabotage: Sabotage,
    stage: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sabotage(served, monkeypatch)
    assert not served.run(NOW)
    failed = refused_for(served, stage)
    if stage == "playlist_gate":
        with served.store() as store:
            shown = [track.track_id for track in store.playlist("t0m00").tracks]
        held = json.loads(told(capsys, "explain", "t0m00", "--revision", "1", "--json")[1])
        (row,) = (row for row in served.playlists(NOW) if row["user_id"] == "t0m00")
        listed = [one["track"]["track_id"] for one in held["tracks"]]
        assert held["edition"] == NOW
        assert listed == [track["track_id"] for track in row["tracks"]] != shown
    code, said = told(capsys, "release", "--because", "it is\n\twhat we want")
    assert code == 0, said
    assert f"released from {stage}" in said
    with served.store() as store:
        (entry,) = (one for one in store.ledger() if one.action == Action.RELEASED)
    assert (entry.edition, entry.revision, entry.note) == (NOW, 1, f"{stage}: it is what we want")
    shutil.rmtree(served.home / "store")  # home's copy knows of it, too

    assert served.run(NOW)
    assert serves(served) == NOW
    verdict = json.loads((served.edition(NOW) / stage / "verdict.json").read_text("utf-8"))
    assert (verdict["outcome"], verdict["released"]) == ("released", "it is what we want")
    assert set(failed) <= {one["name"] for one in verdict["checks"] if not one["passed"]}
    record = json.loads((served.edition(NOW) / "record" / "record.json").read_text("utf-8"))
    assert (record["verdict"], record["released"]) == ("released", {stage: "it is what we want"})
    assert "it is what we want" in told(capsys, "summary")[1]
    code, said = told(capsys, "status")
    assert code
    assert "an operator let it go on" in said
    assert told(capsys, "release", "--because", "again") == (
        30,
        f"recsys: No gate holds edition {NOW} revision 1.\n",
    )


@pytest.mark.parametrize(
    ("sabotage", "rule"), [(a_heard_track, "not_heard"), (not_finite, "item_factors_finite")]
)
def test_what_is_broken_is_not_released(
    served: Deployment,
    sabotage: Sabotage,
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sabotage(served, monkeypatch)
    assert not served.run(NOW)
    assert f"Nobody can release it from {rule}." in told(capsys, "status")[1]
    code, said = told(capsys, "release", "--edition", NOW, "--because", "hurry")
    assert code == 30
    assert f"cannot be released from {rule}" in said
    with served.store() as store:
        assert Action.RELEASED not in {one.action for one in store.ledger()}
    assert not served.run(NOW)
    assert serves(served) == BEFORE


def test_a_release_is_of_one_refusal(
    served: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shuffled_factors(served, patch)
        assert not served.run(NOW)
        assert told(capsys, "release", "--because", "we know")[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        popularity_in_disguise(served, patch)
        assert not served.run(NOW), "another refusal was not released"
    assert serves(served) == BEFORE
    assert served.run(NOW), "the cause is gone"
    assert serves(served) == NOW
    assert served.last_run()["verdict"] == "passed"


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("--because", " "), 50, "--because: expected why"),
        (("--because", "x", "--revision", "2"), 30, f"No edition {NOW} revision 2 is planned"),
        (("--because", "x", "--edition", BEFORE), 30, f"No gate holds edition {BEFORE}"),
        (("--because", "x", "--edition", "soon"), 50, "--edition"),
    ],
)
def test_a_release_of_nothing_says_so(
    served: Deployment,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    lists_much_alike(served, pytest.MonkeyPatch())
    assert not served.run(NOW)
    if "--revision" in command:
        command = (*command, "--edition", NOW)
    found = told(capsys, "release", *command)
    assert (found[0], said in found[1]) == (code, True), found


def test_the_aliases_follow_the_verdict(
    served: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    served.configure(mlflow={"tracking_uri": f"sqlite:///{served.home}/mlflow.db"})
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=served.load().tracking_uri)

    def editions() -> dict[str, str]:
        aliases = client.get_registered_model("weekly-playlists").aliases
        return {
            alias: client.get_model_version("weekly-playlists", version).tags["edition"]
            for alias, version in aliases.items()
        }

    assert served.run(NOW)
    assert editions() == {"challenger": NOW, "champion": NOW}
    lists_much_alike(served, pytest.MonkeyPatch())
    assert not served.run(NEXT)
    assert editions() == {"challenger": NEXT, "champion": NOW}
    assert told(capsys, "release", "--because", "it is a small world")[0] == 0
    assert served.run(NEXT)
    assert editions() == {"challenger": NEXT, "champion": NEXT}
    version = client.get_model_version_by_alias("weekly-playlists", "champion")
    files = {one.path for one in client.list_artifacts(version.run_id, "model")}
    assert "model/item_factors.npy" in files
    assert version.source.endswith("/model")
