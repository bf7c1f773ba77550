"""The edition's record: what was published, from what, how good, and how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recsys.artefact import Artefact
from recsys.home import Home
from recsys.plan import Plan
from recsys.weeks import Week

STAGES: Final = (
    "plan",
    "evaluation",
    "model_choice",
    "matrix",
    "als_model",
    "candidates",
    "playlists",
    "playlist_gate",
    "published",
)


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
        "verdict": choice["outcome"],
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
        "seconds": _day_seconds(home, plan) | {stage: one.seconds for stage, one in made.items()},
    }


def _day_seconds(home: Home, plan: Plan) -> dict[str, float]:
    """Seconds spent on the days that no earlier taste state held, and on the state itself."""
    before = plan.state_before
    begin = before and Week.parse(before["week"]).monday - (plan.week.monday - plan.cutoff)
    days = plan.days_between(begin or None, plan.cutoff)
    artefacts = {
        "clean_listens": [home.clean(day) for day in days],
        "daily_plays": [home.plays(day) for day in days],
        "taste": [home.taste(plan.week)],
        "catalogue": [home.catalogue(plan.week)],
    }
    return {
        stage: round(sum(Artefact.open(folder).seconds for folder in folders), 3)
        for stage, folders in artefacts.items()
    }
