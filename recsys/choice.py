"""Go on from last week's model, start cold, or refuse: decided before the expensive part.

The *parent* is the model of the newest edition that was served, the *grandparent* its own parent,
and the *challenger* a model trained cold one week back. All are scored on the week that none of
them has seen; the evidence is the paired difference of ndcg@30, with its 95% interval. One model is
*below* another where that interval lies wholly below zero, *above* where it lies wholly above.

1. A challenger is needed where there is no parent, where the settings have changed, where a cold
   start is due, and where the parent is below popularity or below the grandparent.
2. Cold ships where going on is impossible (no parent, another number of factors) or a cold start is
   due, and else where there is a challenger that is not below the parent. Otherwise training goes
   on from the parent.
3. The model that was scored on the way that ships is held against popularity: below, the edition is
   refused; above, it has passed; in between, or with fewer than 30 listeners, it is *unproven*: it
   ships, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from recsys.evaluation import Interval
from recsys.verdict import PASSED, REFUSED, UNPROVEN, Check, Verdict

CONTINUE: Final = "continue"
COLD: Final = "cold"
REFUSE: Final = "refuse"
#: With fewer listeners than this nothing is proved, for or against.
ENOUGH_USERS: Final = 30


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the choice is made from. A comparison that was not made is None.

    Attributes:
        has_parent: whether there is a model to go on from.
        settings_changed: whether the parent was made with other settings of matrix or model.
        factors_changed: whether the parent has another number of factors.
        weeks_since_cold: weeks since the edition that was last trained cold; 1 in the week after.
        cold_every_weeks: after so many a cold start is due.
        parent_popularity: ndcg@30 of the parent less that of popularity, and so on.
    """

    has_parent: bool
    settings_changed: bool = False
    factors_changed: bool = False
    weeks_since_cold: int = 0
    cold_every_weeks: int
    parent_popularity: Interval | None = None
    parent_grandparent: Interval | None = None
    challenger_popularity: Interval | None = None
    challenger_parent: Interval | None = None


@dataclass(frozen=True)
class Choice:
    """What is done, and why.

    Attributes:
        way: ``continue``, ``cold`` or ``refuse``.
        because: the reason for the way, in a sentence.
        verdict: of the model on that way: passed, refused or unproven, with every check made.
        skipped: checks that could not be made -> why.
    """

    way: str
    because: str
    verdict: Verdict
    skipped: dict[str, str] = field(default_factory=dict)


def needs_challenger(evidence: Evidence) -> str | None:
    """Why a challenger has to be trained before :func:`choose`, or None where it need not be.

    Only the parent's comparisons are looked at.
    """
    return _must_be_cold(evidence) or _parent_doubted(evidence)


def choose(evidence: Evidence) -> Choice:
    """Make the choice by the rules above."""
    way, because = _way(evidence)
    ours = evidence.challenger_popularity if way == COLD else evidence.parent_popularity
    checks, skipped = _relative(evidence)
    name = f"{'challenger' if way == COLD else 'parent'}_over_popularity"
    if ours is None or not ours.users:
        skipped["enough_listeners"] = skipped[name] = "nobody could be evaluated"
        return Choice(way, because, Verdict(UNPROVEN, tuple(checks)), skipped)
    enough = ours.users >= ENOUGH_USERS
    checks = [
        Check("enough_listeners", enough, ours.users, f"at least {ENOUGH_USERS}"),
        Check(name, ours.low > 0, _shown(ours), "95% interval of ndcg@30 wholly above 0"),
        *checks,
    ]
    if enough and _below(ours):
        because = f"the model that would ship ({way}) is worse than popularity"
        return Choice(REFUSE, because, Verdict(REFUSED, tuple(checks)), skipped)
    outcome = PASSED if enough and ours.low > 0 else UNPROVEN
    return Choice(way, because, Verdict(outcome, tuple(checks)), skipped)


def _way(evidence: Evidence) -> tuple[str, str]:
    forced, doubted = _must_be_cold(evidence), _parent_doubted(evidence)
    if forced:
        return COLD, forced
    if not doubted:
        return CONTINUE, "the parent stands"
    if evidence.challenger_parent is None:
        return CONTINUE, f"{doubted}, and no challenger could be trained"
    if _below(evidence.challenger_parent):
        return CONTINUE, f"{doubted}, and the challenger is worse than the parent"
    return COLD, f"{doubted}, and the challenger is not worse than the parent"


def _must_be_cold(evidence: Evidence) -> str | None:
    if not evidence.has_parent:
        return "there is no parent"
    if evidence.factors_changed:
        return "the parent has another number of factors"
    if evidence.weeks_since_cold >= evidence.cold_every_weeks:
        return f"the last cold start was {evidence.weeks_since_cold} weeks ago"
    return None


def _parent_doubted(evidence: Evidence) -> str | None:
    if evidence.settings_changed:
        return "the settings have changed"
    if _below(evidence.parent_popularity):
        return "the parent is worse than popularity"
    if _below(evidence.parent_grandparent):
        return "the parent is worse than its own parent"
    return None


def _relative(evidence: Evidence) -> tuple[list[Check], dict[str, str]]:
    """The comparisons that decide the way: checked where they exist, skipped where they do not."""
    no_parent = None if evidence.has_parent else "there is no parent"
    checks, skipped = [], {}
    for name, interval, why in (
        ("parent_not_below_grandparent", evidence.parent_grandparent, "it has no parent itself"),
        ("challenger_not_below_parent", evidence.challenger_parent, "no challenger was needed"),
    ):
        if interval is None or not interval.users:
            skipped[name] = no_parent or ("nobody could be evaluated" if interval else why)
        else:
            limit = "95% interval of ndcg@30 not wholly below 0"
            checks.append(Check(name, not _below(interval), _shown(interval), limit))
    return checks, skipped


def _below(interval: Interval | None) -> bool:
    """Whether enough listeners show that the first is worse than the second."""
    return interval is not None and interval.users >= ENOUGH_USERS and interval.high < 0


def _shown(interval: Interval) -> str:
    return f"{interval.mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
