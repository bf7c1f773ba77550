"""What is searched, and how a search goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as bounds
from hypothesis import strategies as st

from recsys.errors import GateRefusedError
from recsys.settings import Settings, TuningSettings, load_settings
from recsys.tuning import FAILED, FINISHED, STOPPED, Between, Times, Tried
from recsys.tuning._search import RUNGS, Rung, search
from recsys.tuning._space import drawn_now, searched, suggest, values_of, with_values


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    file = tmp_path_factory.mktemp("settings") / "some.cfg"
    file.write_text("[listens]\nsource = log\n[tuning]\ntrials = 12\n", encoding="utf-8")
    return load_settings([file])


@bounds(suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-900, 900).filter(lambda one: one == 0 or abs(one) > 1e-6),
    st.integers(1, 4096),
)
def test_what_is_suggested_is_always_a_setting(
    settings: Settings, seed: int, skip: float, factors: int
) -> None:
    asked = with_values(settings, {"listens.weight_skip": skip, "als.factors": factors})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    values = suggest(study.ask(), asked)
    changed = with_values(asked, values)
    for one in searched(asked):
        value = one.now(changed)
        assert one.allowed(changed, value) == pytest.approx(value, rel=0.01)
        assert value == 0 or (value > 0) == (one.now(asked) > 0)


def test_the_settings_of_now_can_be_drawn(settings: Settings) -> None:
    odd = with_values(settings, {"als.regularization": 1.23456, "listens.weight_skip": -0.98765})
    study = optuna.create_study()
    study.enqueue_trial(drawn_now(odd))
    assert suggest(study.ask(), odd) == values_of(odd)


def test_what_is_off_stays_off(settings: Settings) -> None:
    off = with_values(settings, {"listens.weight_skip": 0.0})
    assert "listens.weight_skip" not in values_of(off)
    assert "listens.weight_skip" in values_of(settings)


def test_a_dimension_may_be_absolute(settings: Settings) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    share = Between("playlists", "diversity", 0.0, 0.5)
    found = [share.suggest(study.ask(), settings) for _ in range(20)]
    assert max(found) <= 0.5
    assert len(set(found)) > 10
    assert Times("als", "alpha", 2).now(settings) == settings.als.alpha


def run(settings: Settings, file: Path, calls: list[Rung], stop_after: int = 10**6) -> list[Tried]:
    """A search of a function that knows what is best: an alpha of 5 and few factors."""

    def score(asked: Settings, rung: Rung) -> float:
        calls.append(rung)
        return -abs(asked.als.alpha - 5) - asked.als.factors / 1000 + rung.effort

    def told(tried: list[Tried]) -> None:
        if len(tried) >= stop_after:
            raise KeyboardInterrupt

    return search(score, settings, name="some", file=file, on_trial=told)


def test_better_settings_are_found_and_most_trials_are_cheap(
    settings: Settings, tmp_path: Path
) -> None:
    calls: list[Rung] = []
    more = replace(settings, tuning=TuningSettings(trials=40))
    tried = run(more, tmp_path / "some.db", calls)
    assert [one.number for one in tried] == list(range(40))
    assert dict(tried[0].values) == values_of(settings)
    finished = [one for one in tried if one.state == FINISHED]
    assert {one.state for one in tried} == {FINISHED, STOPPED}
    assert len(finished) < 20
    assert calls.count(RUNGS[0]) == 40 > calls.count(RUNGS[1]) > calls.count(RUNGS[2])
    best = max(finished, key=lambda one: one.scores[-1])
    assert abs(best.values["als.alpha"] - 5) < 1 < abs(settings.als.alpha - 5)


def test_a_search_that_was_killed_comes_out_as_one_that_was_not(
    settings: Settings, tmp_path: Path
) -> None:
    whole = run(settings, tmp_path / "whole.db", [])
    with pytest.raises(KeyboardInterrupt):
        run(settings, tmp_path / "killed.db", [], stop_after=5)
    calls: list[Rung] = []
    assert run(settings, tmp_path / "killed.db", calls) == whole
    assert calls.count(RUNGS[0]) == len(whole) - 5
    assert run(settings, tmp_path / "killed.db", calls := []) == whole
    assert not calls


def test_time_ends_a_search_but_not_before_its_first_trial(
    settings: Settings, tmp_path: Path
) -> None:
    hurried = replace(settings, tuning=TuningSettings(trials=100, minutes=1e-9))
    assert len(run(hurried, tmp_path / "some.db", [])) == 1


def test_a_trial_whose_factors_are_not_finite_is_no_end(settings: Settings, tmp_path: Path) -> None:
    def score(asked: Settings, rung: Rung) -> float:
        if asked != settings:
            raise GateRefusedError("not finite")
        return 1.0

    tried = search(score, settings, name="some", file=tmp_path / "a.db", on_trial=lambda _: None)
    assert [one.state for one in tried] == [FINISHED] + [FAILED] * 11
