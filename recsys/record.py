"""The edition's record: what was published, from what, how good, and how long it took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.plan import Plan
from recsys.refusals import GATES
from recsys.verdict import RELEASED
from recsys.weeks import Week

STAGES: Final = (
    "plan",
    "catalogue",
    "evaluation",
    "model_choice",
    "matrix",
    "als_model",
    "candidates",
    "playlists",
    "playlist_gate",
    "published",
    "hindsight",
)


def releases(edition: Path) -> dict[str, str]:
    """The gates that refused an edition and were overruled by an operator -> why."""
    facts = {gate: Artefact.open(edition / gate).facts for gate in GATES}
    return {gate: known["released"] for gate, known in facts.items() if "released" in known}


def recorded_verdict(edition: Path) -> str:
    """The verdict on an edition that is recorded: ``passed``, ``unproven`` or ``released``."""
    record = Artefact.open(edition / "record").file("record.json").read_text(encoding="utf-8")
    return str(json.loads(record)["verdict"])


def _verdict(edition: Path) -> str:
    if releases(edition):
        return RELEASED
    return str(Artefact.open(edition / "model_choice").facts["outcome"])


def edition_record(home: Home, edition: Path) -> dict[str, Any]:
    """Sum an edition up from the manifests of its stages.

    Args:
        home: the home it is in.
        edition: the edition's folder, published.

    Raises:
        ArtefactError: a stage is missing.
    """
    made = {stage: Artefact.open(edition / stage) for stage in STAGES}
    plan = Plan.load(edition / "plan")
    playlists = made["playlists"].facts
    choice = made["model_choice"].facts
    return {
        "edition": str(plan.week),
        "revision": plan.document["revision"],
        "cutoff": str(plan.cutoff),
        "digest": playlists["digest"],
        "verdict": _verdict(edition),
        "released": releases(edition),
        "model": {
            "way": choice["way"],
            "parent": plan.parent,
            "metrics": made["evaluation"].facts["metrics"],
            "listeners_evaluated": made["evaluation"].facts["listeners"],
        },
        "log": {
            "first_day": min(plan.document["days"], default=None),
            "last_day": max(plan.document["days"], default=None),
            **plan.document["log"],
        },
        "users": dict(made["matrix"].manifest["rows"]),
        "playlists": {
            "eligible": playlists["eligible"],
            "kinds": playlists["kinds"],
            "refused": playlists["refused"],
            "relaxed": playlists["relaxed"],
            "stored": made["published"].manifest["rows"],
        },
        "seconds": stage_seconds(home, edition),
    }


def stage_seconds(home: Home, edition: Path) -> dict[str, float]:
    """Seconds that each stage took, those that are there; of days and states, what was new.

    Args:
        home: the home it is in.
        edition: the edition's folder, with its plan.
    """
    plan = Plan.load(edition / "plan")
    before = plan.state_before
    begin = before and Week.parse(before["week"]).monday - (plan.week.monday - plan.cutoff)
    days = plan.days_between(begin or None, plan.cutoff)
    base = plan.week - 1
    rolled = [plan.week] if before and before["week"] == str(base) else [base, plan.week]
    folders = {
        "clean_listens": [home.clean(day) for day in days],
        "daily_plays": [home.plays(day) for day in days],
        "taste": [home.taste(week) for week in rolled],
        "log_catalogue": [home.catalogue(plan.week)],
        **{stage: [edition / stage] for stage in STAGES},
    }
    made = {
        stage: [Artefact.open(folder).seconds for folder in places if artefact.exists(folder)]
        for stage, places in folders.items()
    }
    return {stage: round(sum(seconds), 3) for stage, seconds in made.items() if seconds}
