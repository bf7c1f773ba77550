"""The choice's rules, one by one, and what holds whatever the evidence."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.choice import (
    COLD,
    CONTINUE,
    Choice,
    Evidence,
    Quality,
    needs_challenger,
    qualities,
)
from recsys.choice import choose as choose_by
from recsys.evaluation import Interval, paired, recommend, recommend_popular, score, truth
from recsys.models import train
from recsys.settings import GatesSettings
from recsys.verdict import ENOUGH_LISTENERS, SOFT, Check, Verdict
from tests.models.worlds import SETTINGS, world

ABOVE = Interval(0.05, 0.02, 0.08, 500)
LEVEL = Interval(0.00, -0.02, 0.02, 500)
BELOW = Interval(-0.05, -0.08, -0.02, 500)
STANDS = Evidence(
    has_parent=True, weeks_since_cold=1, cold_every_weeks=4, parent_popularity=ABOVE,
    parent_grandparent=LEVEL,
)  # fmt: skip
FIRST = Evidence(has_parent=False, cold_every_weeks=4, challenger_popularity=ABOVE)
NORMAL = Quality(ndcg=0.1, recall=0.2, popularity_overlap=0.1)
NO_FLOORS = dict.fromkeys(("least_ndcg", "least_recall"), "no floor is set")
ALL = dict.fromkeys(("popularity", "parent", "grandparent", "challenger"), NORMAL)


def choose(evidence: Evidence, quality: Quality = NORMAL, **gates: float) -> Choice:
    return choose_by(
        evidence,
        GatesSettings(**gates),
        quality=ALL | {"parent": quality, "challenger": quality},
        log=Verdict.of([]),
    )


def but(evidence: Evidence, **changes: object) -> Evidence:
    return dataclasses.replace(evidence, **changes)  # type: ignore[arg-type]


def few(interval: Interval) -> Interval:
    return dataclasses.replace(interval, users=ENOUGH_LISTENERS - 1)


def test_a_parent_that_stands_is_gone_on_from() -> None:
    assert needs_challenger(STANDS) is None
    choice = choose(STANDS)
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, "passed")
    assert choice.verdict.skipped == {
        **NO_FLOORS,
        "challenger_not_below_parent": "no challenger was needed",
    }
    assert {check.name: check.passed for check in choice.verdict.checks} == dict.fromkeys(
        (
            *("enough_listeners", "parent_not_below_popularity", "parent_over_popularity"),
            *("not_popularity",),
            *("parent_not_worse_than_grandparent", "parent_not_below_grandparent"),
        ),
        True,
    )


def test_a_first_edition_starts_cold_and_lists_what_it_skips() -> None:
    assert needs_challenger(but(FIRST, challenger_popularity=None)) == "there is no parent"
    choice = choose(FIRST)
    assert (choice.way, choice.verdict.outcome) == (COLD, "passed")
    assert choice.verdict.skipped == NO_FLOORS | dict.fromkeys(
        (
            "challenger_not_worse_than_parent",
            "parent_not_below_grandparent",
            "challenger_not_below_parent",
        ),
        "there is no parent",
    )


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
    assert choice.way == way
    # Where the parent wins and is worse than popularity, or than its own parent by more than the
    # margin, going on is refused.
    bad = BELOW in (doubted.parent_popularity, doubted.parent_grandparent)
    assert choice.verdict.refused == (way == CONTINUE and bad)


@pytest.mark.parametrize("changes", [{"factors_changed": True}, {"weeks_since_cold": 4}])
def test_a_cold_start_that_must_be_is_cold_whatever_the_comparison(
    changes: dict[str, object],
) -> None:
    due = but(STANDS, **changes)
    assert needs_challenger(due)
    slightly = but(due, challenger_popularity=ABOVE, challenger_parent=BELOW)
    choice = choose(slightly, worse_than_parent=0.9)
    assert (choice.way, choice.verdict.outcome) == (COLD, "passed")
    assert [check.name for check in choice.verdict.failed] == ["challenger_not_below_parent"]
    choice = choose(slightly, worse_than_parent=0.6)
    assert (choice.way, choice.verdict.outcome) == (COLD, "unproven")
    choice = choose(slightly, worse_than_parent=0.1)
    assert (choice.way, choice.verdict.outcome) == (COLD, "refused")
    assert [check.name for check in choice.verdict.refusing] == ["challenger_not_worse_than_parent"]


@pytest.mark.parametrize(
    ("interval", "margin", "outcome"),
    [
        # Of an ndcg of 0.1: -0.05, from -0.08 to -0.02.
        (BELOW, 0.49, "refused"),
        (BELOW, 0.51, "unproven"),
        (BELOW, 0.79, "unproven"),
        (BELOW, 0.81, "passed"),
        (LEVEL, 0.19, "unproven"),
        (LEVEL, 0.21, "passed"),
        (Interval(-0.05, -0.11, 0.01, 500), 0.2, "unproven"),
        (ABOVE, 0.0, "passed"),
    ],
)
def test_no_worse_than_the_parent_by_more_than_the_margin(
    interval: Interval, margin: float, outcome: str
) -> None:
    """Shown to be within the margin, shown to be worse and likely beyond it, or in doubt."""
    rule = "parent_not_worse_than_grandparent"
    worse = but(
        STANDS, parent_grandparent=interval, challenger_popularity=ABOVE, challenger_parent=BELOW
    )
    choice = choose(worse, worse_than_parent=margin)
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, outcome)
    assert [one.name for one in choice.verdict.refusing] == [rule] * (outcome == "refused")
    assert (rule in {one.name for one in choice.verdict.failed}) == (outcome != "passed")
    assert not choice.verdict.final
    unsure = but(worse, parent_grandparent=few(interval))
    assert choose(unsure, worse_than_parent=margin).verdict.passed


@pytest.mark.parametrize(
    ("against", "overlap", "outcome"),
    [
        (LEVEL, 0.89, "unproven"),
        (LEVEL, 0.91, "refused"),
        (ABOVE, 0.89, "passed"),
        (ABOVE, 0.91, "unproven"),
        # Twenty-nine of thirty are popular, and one track a list is the listener's own.
        (Interval(0.0029, 0.0005, 0.0053, 2000), 0.976, "unproven"),
        (few(LEVEL), 1.0, "unproven"),
    ],
)
def test_popularity_under_a_models_name_is_refused(
    against: Interval, overlap: float, outcome: str
) -> None:
    disguised = dataclasses.replace(NORMAL, popularity_overlap=overlap)
    verdict = choose(but(FIRST, challenger_popularity=against), disguised).verdict
    assert verdict.outcome == outcome
    assert [one.name for one in verdict.refusing] == ["not_popularity"] * (outcome == "refused")
    if against.users >= ENOUGH_LISTENERS:
        doubted = overlap > 0.9
        assert ("not_popularity" in {one.name for one in verdict.failed}) == doubted
    assert not verdict.final, "an operator may let it go on"


@pytest.mark.parametrize(("floor", "value"), [("least_ndcg", 0.1), ("least_recall", 0.2)])
def test_a_floor_is_a_floor(floor: str, value: float) -> None:
    assert choose(FIRST).verdict.skipped[floor] == "no floor is set"
    verdict = choose(FIRST, **{floor: value}).verdict
    assert verdict.passed
    assert floor in {one.name for one in verdict.checks}
    verdict = choose(FIRST, **{floor: value + 0.001}).verdict
    assert [one.name for one in verdict.refusing] == [floor]
    alone = but(FIRST, challenger_popularity=few(ABOVE))
    assert choose(alone, **{floor: 1.0}).verdict.outcome == "unproven"


def test_a_log_that_is_refused_refuses_the_edition() -> None:
    half = Verdict.of([Check("listeners_of_the_week", False, 0.5, "0.7 to 2", severity=SOFT)])
    choice = choose_by(STANDS, GatesSettings(), quality=ALL, log=half)
    assert (choice.way, choice.verdict.outcome) == (CONTINUE, "refused")


def test_the_qualities_are_read_from_the_evaluation() -> None:
    document = {
        "metrics": {"parent": {"ndcg_at_30": {"mean": 0.1}, "recall_at_30": {"mean": 0.2}}},
        "beyond": {"parent": {"popularity_overlap": 0.3}},
    }
    assert qualities(document) == {"parent": Quality(0.1, 0.2, 0.3)}
    assert qualities({"metrics": {}, "beyond": {}}) == {}


def test_worse_than_popularity_is_refused() -> None:
    assert choose(but(FIRST, challenger_popularity=BELOW)).verdict.refused
    both = but(STANDS, parent_popularity=BELOW, challenger_popularity=BELOW,
               challenger_parent=LEVEL)  # fmt: skip
    choice = choose(both)
    assert choice.verdict.refused
    assert "challenger_not_below_popularity" in [one.name for one in choice.verdict.refusing]


@pytest.mark.parametrize("evidence", [FIRST, STANDS])
def test_neither_better_nor_worse_is_unproven_and_ships(evidence: Evidence) -> None:
    name = "parent_popularity" if evidence.has_parent else "challenger_popularity"
    choice = choose(but(evidence, **{name: LEVEL}))
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
    assert choice.verdict.skipped["challenger_over_popularity"] == "nobody could be evaluated"


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
    assert choice.because
    if not evidence.has_parent:
        assert choice.way == COLD
    if choice.verdict.passed:
        ours = evidence.challenger_popularity if choice.way == COLD else evidence.parent_popularity
        assert ours is ABOVE
    named = {check.name for check in choice.verdict.checks} | set(choice.verdict.skipped)
    assert {
        "enough_listeners",
        "parent_not_below_grandparent",
        "challenger_not_below_parent",
    } < named
    assert not {check.name for check in choice.verdict.checks} & set(choice.verdict.skipped)
    assert not choice.verdict.final


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
