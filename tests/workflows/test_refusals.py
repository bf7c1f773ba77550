"""What a gate refuses is not published, and is refused again until an operator releases it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from recsys.cli import main
from recsys.store import Action
from tests.workflows.conftest import BEFORE, NEXT, NOW, Deployment, build, serves
from tests.workflows.sabotage import (
    Sabotage,
    a_challenger_in_disguise,
    a_heard_track,
    disguised,
    exchanged_candidates,
    half_the_users,
    lists_much_alike,
    not_finite,
    popularity_in_disguise,
    shuffled,
    shuffled_factors,
    shuffled_songs_alone,
    swapped_playlists,
    training,
    worse_than_popularity,
)
from workflows import BackfillPlaylists


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


def test_lists_made_for_others_are_known_by_their_scores_alone(
    served: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        exchanged_candidates(served, patch)
        for _ in range(2):
            assert not served.run(NOW)
            assert refused_for(served, "playlist_gate") == ["scores_given"]
            assert serves(served) == BEFORE
    report = json.loads((served.edition(NOW) / "refused" / "playlist_gate.json").read_text("utf-8"))
    (check,) = (one for one in report["checks"] if one["name"] == "scores_given")
    assert (check["severity"], len(check["samples"])) == ("hard", 5)


def test_a_rule_that_can_be_argued_about_leaves_the_scores_as_they_were(
    served: Deployment,
) -> None:
    served.configure(
        playlists={
            "familiar_at_least": 0.1,
            "familiar_at_most": 0.9,
            "popularity_exponent": 0.3,
            "diversity": 0.3,
            "freshness": 0.2,
        }
    )
    assert served.run(NOW)
    verdict = json.loads(
        (served.edition(NOW) / "playlist_gate" / "verdict.json").read_text("utf-8")
    )
    assert {"scores_given": True}.items() <= {
        one["name"]: one["passed"] for one in verdict["checks"]
    }.items()


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (shuffled, ["known_recall", "known_recall_near_challenger"]),
        (disguised, ["known_recall", "known_recall_near_challenger"]),
        (partial(shuffled, share=0.5), ["known_recall_near_challenger"]),
        (partial(shuffled, share=0.3), ["known_recall_near_challenger"]),
    ],
)
def test_a_first_model_is_held_against_popularity_and_the_challenger(
    tribes: Deployment,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[..., Any],
    rules: list[str],
) -> None:
    training(monkeypatch, spoil)
    assert not tribes.run(NOW)
    assert refused_for(tribes, "als_model") == rules
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
    again = f"luigi --module workflows WeeklyPlaylists --local-scheduler --week {NOW} --revision 1"
    said = told(capsys, "status")[1]
    when = f"{entry.at:%Y-%m-%d %H:%M} UTC"
    assert f"It was released from {stage} on {when}, because: it is what we want" in said
    assert again in said
    assert "recsys release" not in said
    code, said = told(capsys, "release", "--because", "in other words")
    assert code == 0
    assert "already, because: it is what we want" in said
    assert again in said
    with served.store() as store:
        assert [one for one in store.ledger() if one.action == Action.RELEASED] == [entry]
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
    assert f"Nobody can release it from {rule}" in told(capsys, "status")[1]
    code, said = told(capsys, "release", "--edition", NOW, "--because", "hurry")
    assert code == 30
    assert f"cannot be released from {rule}" in said
    with served.store() as store:
        assert Action.RELEASED not in {one.action for one in store.ledger()}
    assert not served.run(NOW)
    assert serves(served) == BEFORE


def test_a_week_with_later_ones_goes_on_as_a_backfill(
    served: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    lists_much_alike(served, pytest.MonkeyPatch())
    assert not served.run(NOW)
    assert not served.run(NEXT)
    code, said = told(capsys, "release", "--edition", NOW, "--because", "it is a small world")
    assert code == 0
    command = "luigi --module workflows BackfillPlaylists --local-scheduler"
    assert f"{command} --first {NOW} --last {NOW}" in said
    assert not served.run(NOW), "it would come too late for its listeners"
    assert build(BackfillPlaylists(first=NOW, last=NOW))
    assert (served.edition(NOW) / "record").exists()


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
    client.delete_registered_model_alias("weekly-playlists", "champion")
    shutil.rmtree(served.edition(NOW) / "record")  # as when it was killed before
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
    assert told(capsys, "rollback")[0] == 0
    assert editions() == {"challenger": NEXT, "champion": NOW}
