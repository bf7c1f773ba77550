"""The choice's rules, one by one, and what holds whatever the evidence."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.choice import COLD, CONTINUE, ENOUGH_USERS, REFUSE, Evidence, choose, needs_challenger
from recsys.evaluation import Interval, paired, recommend, recommend_popular, score, truth
from recsys.models import train
from tests.models.worlds import SETTINGS, world

ABOVE = Interval(0.05, 0.02, 0.08, 500)
LEVEL = Interval(0.00, -0.02, 0.02, 500)
BELOW = Interval(-0.05, -0.08, -0.02, 500)
STANDS = Evidence(
    has_parent=True, weeks_since_cold=1, cold_every_weeks=4, parent_popularity=ABOVE,
    parent_grandparent=LEVEL,
)  # fmt: skip
FIRST = Evidence(has_parent=False, cold_every_weeks=4, challenger_popularity=ABOVE)


def but(evidence: Evidence, **changes: object) -> Evidence:
    return dataclasses.replace(evidence, **changes)  # type: ignore[arg-type]


def few(interval: Interval) -> Interval:
    return dataclasses.replace(interval, users=ENOUGH_USERS - 1)


def test_a_parent_that_stands_is_gone_on_from() -> None:
    assert needs_challenger(STANDS) is None
    choice = choose(STANDS)
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, "passed")
    assert choice.skipped == {"challenger_not_below_parent": "no challenger was needed"}
    assert {check.name: check.passed for check in choice.verdict.checks} == {
        "enough_listeners": True,
        "parent_over_popularity": True,
        "parent_not_below_grandparent": True,
    }


def test_a_first_edition_starts_cold_and_lists_what_it_skips() -> None:
    assert needs_challenger(but(FIRST, challenger_popularity=None)) == "there is no parent"
    choice = choose(FIRST)
    assert (choice.way, choice.verdict.outcome) == (COLD, "passed")
    assert choice.skipped == {
        "parent_not_below_grandparent": "there is no parent",
        "challenger_not_below_parent": "there is no parent",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"settings_changed": True},
        {"parent_popularity": BELOW},
        {"parent_grandparent": BELOW},
    ],
)
@pytest.mark.parametrize(
    ("against_parent", "way"), [(ABOVE, COLD), (LEVEL, COLD), (BELOW, CONTINUE)]
)
def test_a_doubted_parent_meets_a_challenger(
    changes: dict[str, object], against_parent: Interval, way: str
) -> None:
    doubted = but(STANDS, **changes)
    assert needs_challenger(doubted)
    choice = choose(but(doubted, challenger_popularity=ABOVE, challenger_parent=against_parent))
    if way == CONTINUE and doubted.parent_popularity is BELOW:
        way = REFUSE  # the winner is still worse than popularity
    assert choice.way == way


@pytest.mark.parametrize("changes", [{"factors_changed": True}, {"weeks_since_cold": 4}])
def test_a_cold_start_that_must_be_is_cold_whatever_the_comparison(
    changes: dict[str, object],
) -> None:
    due = but(STANDS, **changes)
    assert needs_challenger(due)
    choice = choose(but(due, challenger_popularity=ABOVE, challenger_parent=BELOW))
    assert (choice.way, choice.verdict.outcome) == (COLD, "passed")
    assert [check.name for check in choice.verdict.failed] == ["challenger_not_below_parent"]


def test_worse_than_popularity_is_refused() -> None:
    assert choose(but(FIRST, challenger_popularity=BELOW)).way == REFUSE
    both = but(STANDS, parent_popularity=BELOW, challenger_popularity=BELOW,
               challenger_parent=LEVEL)  # fmt: skip
    choice = choose(both)
    assert (choice.way, choice.verdict.outcome) == (REFUSE, "refused")
    assert "worse than popularity" in choice.because


@pytest.mark.parametrize("evidence", [FIRST, STANDS])
def test_neither_better_nor_worse_is_unproven_and_ships(evidence: Evidence) -> None:
    name = "parent_popularity" if evidence.has_parent else "challenger_popularity"
    choice = choose(but(evidence, **{name: LEVEL}))
    assert choice.way != REFUSE
    assert choice.verdict.outcome == "unproven"


@pytest.mark.parametrize("interval", [ABOVE, LEVEL, BELOW])
def test_too_few_listeners_prove_nothing(interval: Interval) -> None:
    alone = but(STANDS, parent_popularity=few(interval), parent_grandparent=few(BELOW))
    assert needs_challenger(alone) is None
    choice = choose(alone)
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, "unproven")
    assert "enough_listeners" in [check.name for check in choice.verdict.failed]


@pytest.mark.parametrize("nothing", [None, Interval(0.0, 0.0, 0.0, 0)])
def test_nobody_to_evaluate_ships_unproven(nothing: Interval | None) -> None:
    choice = choose(but(FIRST, challenger_popularity=nothing))
    assert (choice.way, choice.verdict.outcome) == (COLD, "unproven")
    assert choice.skipped["challenger_over_popularity"] == "nobody could be evaluated"


def test_a_challenger_that_could_not_be_trained_leaves_the_parent() -> None:
    choice = choose(but(STANDS, settings_changed=True))
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, "passed")
    assert "no challenger could be trained" in choice.because


INTERVALS = st.none() | st.sampled_from([ABOVE, LEVEL, BELOW, *map(few, (ABOVE, LEVEL, BELOW))])


@given(
    st.builds(
        Evidence,
        has_parent=st.booleans(),
        settings_changed=st.booleans(),
        factors_changed=st.booleans(),
        weeks_since_cold=st.integers(0, 6),
        cold_every_weeks=st.integers(1, 5),
        parent_popularity=INTERVALS,
        parent_grandparent=INTERVALS,
        challenger_popularity=INTERVALS,
        challenger_parent=INTERVALS,
    )
)
def test_whatever_the_evidence(evidence: Evidence) -> None:
    choice = choose(evidence)
    assert (choice.way == REFUSE) == choice.verdict.refused
    assert choice.because
    if not evidence.has_parent:
        assert choice.way in (COLD, REFUSE)
    if choice.verdict.passed:
        ours = evidence.challenger_popularity if choice.way == COLD else evidence.parent_popularity
        assert ours is ABOVE
    named = {check.name for check in choice.verdict.checks} | set(choice.skipped)
    assert {
        "enough_listeners",
        "parent_not_below_grandparent",
        "challenger_not_below_parent",
    } < named
    assert not {check.name for check in choice.verdict.checks} & set(choice.skipped)


def test_on_listeners_of_clear_taste() -> None:
    """A model passes, popularity under a model's name does not, shuffled factors are refused."""
    clear = world()
    wanted = truth(clear.base, clear.plays)
    popular = score(recommend_popular(clear.base, wanted.users), wanted).ndcg
    model = train(clear.base, SETTINGS, seed=3)

    def outcome(ndcg: np.ndarray) -> str:
        interval = paired(ndcg, popular, seed=1)
        return choose(but(FIRST, challenger_popularity=interval)).verdict.outcome

    assert outcome(score(recommend(model, clear.base, wanted.users), wanted).ndcg) == "passed"
    assert outcome(popular) == "unproven"
    order = np.random.default_rng(0).permutation(len(model.item_factors))
    shuffled = dataclasses.replace(model, item_factors=model.item_factors[order])
    ranked = recommend(shuffled, clear.base, wanted.users)
    assert outcome(score(ranked, wanted).ndcg) == "refused"
