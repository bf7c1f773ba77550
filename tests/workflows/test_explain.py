"""`recsys explain` on an edition that was made with every arguable rule on."""

from __future__ import annotations

import json
import shutil
from typing import Any

import pytest

from recsys.cli import main
from tests.workflows.conftest import WEEK, Deployment

USER = "t0m00"


@pytest.fixture
def capsys_plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setenv("COLUMNS", "160")
    return capsys


def raw_json(capsys: Any, *arguments: str) -> str:
    assert main(["explain", *arguments, "--json"]) == 0
    out: str = capsys.readouterr().out
    assert out.isascii()
    return out


def test_explanations_of_an_edition(tribes: Deployment, capsys_plain: Any) -> None:
    tribes.configure(
        playlists={
            "familiar_at_most": 0.8,
            "popularity_exponent": -0.2,
            "diversity": 0.2,
            "freshness": 0.5,
            "fresh_days": 7,
        }
    )
    assert tribes.run(), tribes.last_run()

    def say(*arguments: str, code: int = 0) -> str:
        assert main(["explain", *arguments]) == code
        captured = capsys_plain.readouterr()
        return " ".join((captured.out + captured.err).split())

    (row,) = [row for row in tribes.playlists() if row["user_id"] == USER]
    explained = json.loads(raw_json(capsys_plain, USER))
    assert [one["track"]["track_id"] for one in explained["tracks"]] == [
        track["track_id"] for track in row["tracks"]
    ]
    for one, track in zip(explained["tracks"], row["tracks"], strict=True):
        assert one["score"] == track["score"]
        assert sum(part["weight"] for part in one["parts"]) == pytest.approx(one["score"], abs=2e-6)
    assert [one["rank"] for one in explained["tracks"]] != sorted(
        one["rank"] for one in explained["tracks"]
    )
    first = row["tracks"][0]
    shown = say(USER)
    assert f"Playlist {WEEK} for {USER}" in shown
    assert f"{first['score']:.4f}" in shown
    assert "others" in shown

    assert f"is there, at position 1. By score ({first['score']:.4f})" in say(
        USER, "--track", first["track_id"]
    )
    heard = explained["tracks"][0]["parts"][0]["track"]["track_id"]
    assert "was heard by this listener, last on 2026-11-" in say(USER, "--track", heard)
    answer = json.loads(raw_json(capsys_plain, USER, "--track", "track 1000"))["answer"]
    assert answer["reason"] in ("below_cut", "full", "artist_cap")
    assert "is not in the catalogue of this edition" in say(USER, "--track", "\x1b[31mtrack")
    assert "\x1b" not in say(USER, "--track", "\x1b[31mtrack")
    assert say(USER, "--track", "x" * 5000).replace(" ", "").startswith("x" * 199 + "…isnotinthe")

    assert "knows no such listener" in say("nobody", code=30)
    assert "There is no edition 2026-W40" in say(USER, "--edition", "2026-W40", code=30)
    assert "is not a week" in say(USER, "--edition", "last", code=50)

    with tribes.store() as store:
        store.forget(USER)
    assert "has no playlist for this listener" in say(USER, "--track", heard, code=30)
    shutil.rmtree(tribes.edition() / "candidates")
    assert "has no candidates, so its playlists cannot be explained: the edition is not" in say(
        "t0m01", code=30
    )
