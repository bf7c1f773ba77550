"""What came of a search: the settings found, held once against those of now, and the overlay."""

from __future__ import annotations

import configparser
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from recsys.evaluation import Interval, intervals, paired
from recsys.settings import Settings
from recsys.store._url import without_credentials
from recsys.tuning._search import FAILED, FINISHED, STOPPED, Tried
from recsys.tuning._space import values_of, with_values
from recsys.tuning._weeks import HeldOutWeek
from recsys.weeks import Week

#: On the other week the settings found were better, and listeners enough show it,
BETTER: Final = "better"
#: or they were better on average, and it may be chance,
NOT_SHOWN: Final = "not shown to be better"
#: or they were not better, or no trial was: today's stay.
NONE_BETTER: Final = "nothing better was found"


@dataclass(frozen=True)
class Outcome:
    """What came of a search.

    Attributes:
        found: the values of the best trial, by ``section.key``; those of now where none is better.
        best_trial: that with the highest score on the last rung; of equal ones, the first.
        verdict: ``better``, ``not shown to be better`` or ``nothing better was found``.
        now: ndcg@30 of today's settings on the week of confirmation.
        best: that of the best trial's; None where that has today's settings.
        gain: best less now, listener by listener; None as before.
    """

    found: Mapping[str, float]
    best_trial: Tried
    verdict: str
    now: Interval
    best: Interval | None
    gain: Interval | None


def confirm(tried: Sequence[Tried], settings: Settings, week: HeldOutWeek) -> Outcome:
    """Compare the best trial with today's settings, once, on a week that no trial has seen.

    Args:
        tried: all trials.
        settings: of now.
        week: the other week.
    """
    seed = settings.recsys.seed
    here = values_of(settings)
    finished = [one for one in tried if one.state == FINISHED]
    today = week.score(settings).ndcg
    now = intervals(today[:, None], seed)[0]
    best = max(finished, key=lambda one: (one.scores[-1], -one.number))
    if dict(best.values) == here:
        return Outcome(here, best, NONE_BETTER, now, None, None)
    theirs = week.score(with_values(settings, best.values)).ndcg
    gain = paired(theirs, today, seed)
    verdict = BETTER if gain.low > 0 else NOT_SHOWN if gain.mean > 0 else NONE_BETTER
    found = here if verdict == NONE_BETTER else dict(best.values)
    return Outcome(found, best, verdict, now, intervals(theirs[:, None], seed)[0], gain)


def evidence(
    outcome: Outcome,
    tried: Sequence[Tried],
    settings: Settings,
    week: Week,
    tuned: HeldOutWeek,
    confirmed: HeldOutWeek,
) -> dict[str, Any]:
    """``evidence.json``, as docs/tuning.md describes it."""
    best = outcome.best_trial
    return {
        "edition": str(week),
        "verdict": outcome.verdict,
        "found": dict(outcome.found),
        "now": values_of(settings),
        "best_trial": {"number": best.number, "values": dict(best.values)},
        "metric": "ndcg_at_30",
        "tuned_on": _said(tuned),
        "confirmed_on": _said(confirmed),
        "never_seen": {
            "begin": str(confirmed.end),
            "end": str(week.cutoff(settings.edition.lead_hours).date()),
        },
        "trials": {
            state: sum(one.state == state for one in tried) for state in (FINISHED, STOPPED, FAILED)
        },
        "scores": {
            "now": outcome.now.to_dict(),
            "best": outcome.best and outcome.best.to_dict(),
            "gain": outcome.gain and outcome.gain.to_dict(),
        },
        "seed": settings.recsys.seed,
        "command": command(week),
    }


def trials_table(tried: Sequence[Tried]) -> pa.Table:
    """One row a trial: number, state, ndcg@30 on each rung (null where it was not), the values."""
    rungs = max((len(one.scores) for one in tried), default=0)
    names = list(tried[0].values) if tried else []
    return pa.table(
        {
            "trial": [one.number for one in tried],
            "state": [one.state for one in tried],
            **{
                f"rung_{n + 1}": pa.array(
                    [one.scores[n] if n < len(one.scores) else None for one in tried], pa.float64()
                )
                for n in range(rungs)
            },
            **{name: pa.array([float(one.values[name]) for one in tried]) for name in names},
        }
    )


def overlay(document: Mapping[str, Any]) -> str:
    """``best.cfg``: the overlay in use with the settings found, and why, for people.

    Args:
        document: from :func:`evidence`.
    """
    lines = _why(document)
    in_use = os.environ.get("LUIGI_CONFIG_PATH")
    parser = configparser.ConfigParser(interpolation=None)
    if in_use:
        parser.read_string(Path(in_use).read_text(encoding="utf-8"))
        lines.append(f"All else is as in {in_use}, which was in use.")
    for section in parser.sections():
        for key, value in parser.items(section):
            if without_credentials(value) != value:
                parser.remove_option(section, key)
                lines.append(f"Left out, since it holds a password: [{section}] {key}. Set it.")
    found, now = document["found"], document["now"]
    for name, value in found.items():
        section, key = name.split(".")
        if not parser.has_section(section):
            parser.add_section(section)
        parser[section][key] = str(value)
    text = io.StringIO()
    parser.write(text)
    changed = {name for name in found if found[name] != now[name]}
    body = []
    section = ""
    for line in text.getvalue().strip().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        name = f"{section}.{line.split(' = ')[0]}"
        if name in changed:
            body.append(f"# was {now[name]}")
        body.append(line)
    return "\n".join([*(f"# {line}".rstrip() for line in lines), "", *body, ""])


def _why(document: Mapping[str, Any]) -> list[str]:
    tuned, confirmed, unseen = (document[w] for w in ("tuned_on", "confirmed_on", "never_seen"))
    scores, trials = document["scores"], document["trials"]
    lines = [
        f"Settings of the model, looked for before edition {document['edition']}.",
        f"Verdict: {document['verdict']}.",
        "",
        f"Tuned on      {_span(tuned)}: {sum(trials.values())} trials, "
        f"{trials[FINISHED]} to the end, scored on {tuned['listeners']} listeners.",
        f"Confirmed on  {_span(confirmed)}: {confirmed['listeners']} listeners, once.",
        f"Never seen    {_span(unseen)}, which the edition's evaluation reports on.",
        "",
        "ndcg@30 where it was confirmed, with 95% intervals:",
        f"  with today's settings  {_interval(scores['now'])}",
    ]
    if scores["gain"] is not None:
        gain = scores["gain"]
        sure = "significant" if gain["low"] > 0 else "not significant: it may be chance"
        lines += [
            f"  with the best trial's  {_interval(scores['best'])}",
            f"  difference, paired     {_interval(gain, '+')}: {sure}",
        ]
    if document["verdict"] == NONE_BETTER:
        lines.append("Below are today's settings: nothing changes with them.")
    return [*lines, "", f"Made by: {document['command']}"]


def command(week: Week) -> str:
    """What makes it."""
    return f"luigi --module workflows TuneModel --local-scheduler --week {week}"


def _interval(value: Mapping[str, Any], sign: str = "") -> str:
    mean, low, high = (f"{value[key]:{sign}.4f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _span(week: Mapping[str, Any]) -> str:
    return f"{week['begin']} to {date.fromisoformat(week['end']) - timedelta(days=1)}"


def _said(week: HeldOutWeek) -> dict[str, Any]:
    return {
        "begin": str(week.begin),
        "end": str(week.end),
        "listeners": len(week.heard.users),
    }
