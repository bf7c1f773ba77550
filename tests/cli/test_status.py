"""`recsys status`, as monitors use it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.cli import _commands
from recsys.home import record_run
from recsys.verdict import DOUBT, Check, Verdict
from tests.cli.conftest import MONDAY, NOW, Call
from tests.workflows.conftest import Deployment


@pytest.fixture
def today(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    def set_to(day: date) -> None:
        class Clock(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)

        monkeypatch.setattr(_commands, "datetime", Clock)

    return set_to


def ended(deployment: Deployment, **facts: Any) -> None:
    record_run(deployment.home, command="WeeklyPlaylists", edition=NOW, revision=1, **facts)


@pytest.mark.parametrize("days", [-1, 0, 6])
def test_status_is_0_while_the_week_is_served(
    deployment: Deployment, recsys: Call, today: Callable[[date], None], days: int
) -> None:
    ended(deployment, outcome="succeeded", verdict="passed", exit_code=0)
    today(MONDAY + timedelta(days=days))
    code, said, _ = recsys("status")
    assert code == 0
    assert said.startswith(f"OK: edition {NOW} revision 1 is served to 12 listeners")
    assert "succeeded" in said


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"outcome": "failed", "exit_code": 20, "why": "No 2026-11-14."}, "No 2026-11-14."),
        ({"outcome": "succeeded", "verdict": "unproven"}, "Its model is unproven"),
        ({"outcome": "running", "process": 2**22 + 1}, "was killed before it ended"),
    ],
)
def test_status_is_1_where_someone_should_look(
    deployment: Deployment,
    recsys: Call,
    today: Callable[[date], None],
    facts: dict[str, Any],
    said: str,
) -> None:
    ended(deployment, **facts)
    today(MONDAY)
    code, out, _ = recsys("status")
    assert code == 1
    assert out.startswith("WARNING: ")
    assert said in out


@pytest.mark.parametrize(
    ("doubt", "said"),
    [
        (None, "Too few listeners to tell it from the charts. enough_listeners: found 12, "),
        (
            Check("parent_over_popularity", False, "+0.0010 (-0.0020 to +0.0040)", "0", (), DOUBT),
            "It is not shown to be better than the charts. parent_over_popularity: found +0.0010",
        ),
        (
            Check("not_popularity", False, 0.976, "at most 0.9 of popularity's lists", (), DOUBT),
            "not_popularity: found 0.976, wanted at most 0.9 of popularity's lists",
        ),
    ],
)
def test_status_says_what_a_model_is_in_doubt_for(
    deployment: Deployment,
    recsys: Call,
    today: Callable[[date], None],
    doubt: Check | None,
    said: str,
) -> None:
    ended(deployment, outcome="succeeded", verdict="unproven")
    today(MONDAY)
    if doubt is not None:
        choice = Artefact.open(deployment.edition(NOW) / "model_choice")
        with artefact.rewrite(choice) as draft:
            artefact.write_json(draft.path / "verdict.json", Verdict.of([doubt]).to_dict())
    out = recsys("status")[1]
    assert said in out
    assert ("Too few listeners" in out) == (doubt is None)


def test_status_is_2_when_a_newer_edition_is_due(
    recsys: Call, today: Callable[[date], None]
) -> None:
    today(MONDAY + timedelta(days=7))
    code, said, _ = recsys("status")
    assert code == 2
    assert said.startswith("CRITICAL: ")
    assert "Its week ended on 2026-11-22: a newer edition is due." in said


def test_status_is_2_when_nothing_is_served(deployment: Deployment, recsys: Call) -> None:
    shutil.rmtree(deployment.home)
    code, said, _ = recsys("status")
    assert code == 2
    assert said.startswith("CRITICAL: no edition is served")
    assert "No run has left word here." in said
    assert not deployment.home.exists(), "looking makes nothing"


def test_status_is_2_when_the_rows_are_lost(
    deployment: Deployment, recsys: Call, today: Callable[[date], None]
) -> None:
    today(MONDAY)
    shutil.rmtree(next((deployment.home / "store" / "editions").glob(f"{NOW}*")))
    code, said, _ = recsys("status")
    assert code == 2
    assert "Its rows are missing from the store: run the week again." in said


@pytest.mark.parametrize(
    "damage",
    [
        lambda deployment: deployment.configure(als={"factors": "many"}),
        lambda deployment: deployment.config.unlink(),
        lambda deployment: (deployment.home / "store" / "ledger.db").write_bytes(b"x" * 5000),
        lambda deployment: (deployment.home / "last_run.json").write_text("{", encoding="utf-8"),
    ],
)
def test_status_is_3_when_it_cannot_be_told(
    deployment: Deployment, recsys: Call, damage: Callable[[Deployment], Any]
) -> None:
    damage(deployment)
    code, _, error = recsys("status")
    assert code == 3
    assert error.startswith("recsys: ")
