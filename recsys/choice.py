"""Go on from last week's model, start cold, or refuse: decided before the expensive part.

The *parent* is the model of the newest edition that was served, the *grandparent* its own parent,
and the *challenger* a model trained cold one week back. All are scored on the week that none of
them has seen; the evidence is the paired difference of ndcg@30, with its 95% interval. One model is
*below* another where that interval lies wholly below zero, *above* where it lies wholly above, and
with fewer than 30 listeners it is neither.

1. A challenger is needed where there is no parent, where the settings have changed, where a cold
   start is due, and where the parent is below popularity or below the grandparent.
2. Cold ships where going on is impossible (no parent, another number of factors) or a cold start is
   due, and else where there is a challenger that is not below the parent. Otherwise training goes
   on from the parent.
3. The model that was scored on the way that ships is then judged, and with it the log; the rules
   are in ``docs/gates.md``. Where a model is neither shown to be good
   enough nor to be worse, the verdict is *unproven*: it ships, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from recsys.evaluation import POPULARITY, Interval
from recsys.settings import GatesSettings
from recsys.verdict import DOUBT, ENOUGH_LISTENERS, NOTE, SOFT, Check, Verdict

CONTINUE: Final = "continue"
COLD: Final = "cold"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the choice is made from. A comparison that was not made is None.

    Attributes:
        has_parent: whether there is a model to go on from.
        settings_changed: whether the parent was made with other settings of matrix or model.
        factors_changed: whether the parent has another number of factors.
        weeks_since_cold: weeks since the edition that was last trained cold; 1 in the week after.
        cold_every_weeks: after so many a cold start is due.
        cold_only: whether what trains can only start cold.
        parent_popularity: ndcg@30 of the parent less that of popularity, and so on.
    """

    has_parent: bool
    settings_changed: bool = False
    factors_changed: bool = False
    weeks_since_cold: int = 0
    cold_every_weeks: int
    cold_only: bool = False
    parent_popularity: Interval | None = None
    parent_grandparent: Interval | None = None
    challenger_popularity: Interval | None = None
    challenger_parent: Interval | None = None


@dataclass(frozen=True)
class Quality:
    """How one model did on the unseen week, on average over listeners.

    Attributes:
        ndcg: at 30.
        recall: at 30.
        popularity_overlap: share of its lists that popularity's lists of the same listeners hold.
    """

    ndcg: float
    recall: float
    popularity_overlap: float


@dataclass(frozen=True)
class Choice:
    """What is done, and why.

    Attributes:
        way: ``continue`` or ``cold``.
        because: the reason for the way, in a sentence.
        verdict: of the model on that way, and of the log.
    """

    way: str
    because: str
    verdict: Verdict


def qualities(evaluation: Mapping[str, Any]) -> dict[str, Quality]:
    """How each model did, by name, as ``evaluation.json`` says it."""
    return {
        name: Quality(
            metrics["ndcg_at_30"]["mean"],
            metrics["recall_at_30"]["mean"],
            evaluation["beyond"][name]["popularity_overlap"],
        )
        for name, metrics in evaluation["metrics"].items()
    }


def needs_challenger(evidence: Evidence) -> str | None:
    """Why a challenger has to be trained before :func:`choose`, or None where it need not be.

    Only the parent's comparisons are looked at.
    """
    return _must_be_cold(evidence) or _parent_doubted(evidence)


def choose(
    evidence: Evidence,
    gates: GatesSettings,
    *,
    quality: Mapping[str, Quality],
    log: Verdict,
) -> Choice:
    """Make the choice by the rules above.

    Args:
        evidence: the comparisons.
        gates: what is allowed.
        quality: of each model that was scored, by name.
        log: the verdict on the log's volume (:func:`recsys.volume.check_volume`).
    """
    way, because = _way(evidence)
    if way == COLD:
        name, before = "challenger", "parent"
        popularity, predecessor = evidence.challenger_popularity, evidence.challenger_parent
    else:
        name, before = "parent", "grandparent"
        popularity, predecessor = evidence.parent_popularity, evidence.parent_grandparent
    found = {f"{name}_over_{POPULARITY}": popularity, f"{name}_over_{before}": predecessor}
    paired = {pair: interval for pair, interval in found.items() if interval is not None}
    verdict = judge(name, quality=quality, paired=paired, gates=gates, before=before)
    return Choice(way, because, log.also(verdict).also(_way_told(evidence)))


def judge(
    name: str,
    *,
    quality: Mapping[str, Quality],
    paired: Mapping[str, Interval],
    gates: GatesSettings,
    before: str = "parent",
) -> Verdict:
    """Judge a model by the rules that the one that ships is judged by.

    Args:
        name: of the model.
        quality: of each model that was scored, by name.
        paired: ``one_over_other`` -> difference of ndcg@30.
        gates: what is allowed.
        before: the model that it would replace.
    """
    popularity = paired.get(f"{name}_over_{POPULARITY}")
    predecessor = paired.get(f"{name}_over_{before}")
    return _against_popularity(name, popularity, quality.get(name), gates).also(
        _against_predecessor(name, before, predecessor, quality.get(before), gates)
    )


def _way(evidence: Evidence) -> tuple[str, str]:
    forced, doubted = _must_be_cold(evidence), _parent_doubted(evidence)
    if forced:
        return COLD, forced
    if not doubted:
        return CONTINUE, "nothing speaks for a cold start"
    if evidence.challenger_parent is None:
        return CONTINUE, f"{doubted}, and no challenger could be trained"
    if _below(evidence.challenger_parent):
        return CONTINUE, f"{doubted}, and the challenger is worse than the parent"
    return COLD, f"{doubted}, and the challenger is not worse than the parent"


def _must_be_cold(evidence: Evidence) -> str | None:
    if not evidence.has_parent:
        return "there is no parent"
    if evidence.cold_only:
        return "Spark's ALS cannot go on from a model"
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


def _against_popularity(
    name: str, ours: Interval | None, quality: Quality | None, gates: GatesSettings
) -> Verdict:
    """The model that ships against popularity, against its floors, and against a disguise."""
    over = f"{name}_over_popularity"
    rules = (f"{name}_not_below_popularity", over, "not_popularity", "least_ndcg", "least_recall")
    users = ours.users if ours is not None else 0
    listeners = Check(
        "enough_listeners", users >= ENOUGH_LISTENERS, users, f"at least {ENOUGH_LISTENERS}",
        severity=DOUBT,
    )  # fmt: skip
    if ours is None or quality is None or not users:
        return Verdict.of([listeners], dict.fromkeys(rules, "nobody could be evaluated"))
    if not listeners.passed:
        return Verdict.of([listeners], dict.fromkeys(rules, "too few listeners to tell"))
    overlap, most = round(quality.popularity_overlap, 4), gates.most_popularity_overlap
    above = ours.low > 0
    floors = (
        ("least_ndcg", quality.ndcg, gates.least_ndcg),
        ("least_recall", quality.recall, gates.least_recall),
    )
    return Verdict.of(
        [
            listeners,
            Check(
                rules[0], not _below(ours), _shown(ours),
                "95% interval of nDCG@30 not wholly below 0", severity=SOFT,
            ),
            Check(
                over, above, _shown(ours), "95% interval of nDCG@30 wholly above 0",
                severity=DOUBT,
            ),
            Check(
                "not_popularity", overlap <= most, overlap,
                f"at most {most:g} of popularity's lists ([gates] most_popularity_overlap)",
                severity=DOUBT if above else SOFT,
            ),
            *(
                Check(rule, value >= least, round(value, 6), f"at least {least:g}", severity=SOFT)
                for rule, value, least in floors
                if least
            ),
        ],
        {rule: "no floor is set" for rule, _, least in floors if not least},
    )  # fmt: skip


def _against_predecessor(
    name: str, before: str, ours: Interval | None, quality: Quality | None, gates: GatesSettings
) -> Verdict:
    """The model that ships against the one that it would replace, but for a margin.

    Refused where it is shown to be worse and its mean lies beyond the margin; in doubt where only
    the interval reaches beyond it.
    """
    rule = f"{name}_not_worse_than_{before}"
    if ours is None or quality is None:
        return Verdict.of([], {rule: f"there is no {before}"})
    if ours.users < ENOUGH_LISTENERS:
        return Verdict.of([], {rule: "too few listeners to tell"})
    margin = gates.worse_than_parent * quality.ndcg
    worse = ours.high < 0 and ours.mean < -margin
    limit = (
        f"95% interval of nDCG@30 not below {-margin:+.4f} "
        f"({gates.worse_than_parent:g} of the {before}'s: [gates] worse_than_parent)"
    )
    check = Check(rule, ours.low >= -margin, _shown(ours), limit, severity=SOFT if worse else DOUBT)
    return Verdict.of([check])


def _way_told(evidence: Evidence) -> Verdict:
    """The comparisons that decided the way."""
    no_parent = None if evidence.has_parent else "there is no parent"
    checks, skipped = [], {}
    for name, interval, why in (
        ("parent_not_below_grandparent", evidence.parent_grandparent, "it has no parent itself"),
        ("challenger_not_below_parent", evidence.challenger_parent, "no challenger was needed"),
    ):
        if interval is None or not interval.users:
            skipped[name] = no_parent or ("nobody could be evaluated" if interval else why)
        else:
            limit = "95% interval of nDCG@30 not wholly below 0"
            checks.append(Check(name, not _below(interval), _shown(interval), limit, severity=NOTE))
    return Verdict.of(checks, skipped)


def _below(interval: Interval | None) -> bool:
    """Whether enough listeners show that the first is worse than the second."""
    return interval is not None and interval.users >= ENOUGH_LISTENERS and interval.high < 0


def _shown(interval: Interval) -> str:
    return f"{interval.mean:+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
