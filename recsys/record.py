"""The edition's record: what was published, from what, how good, and how long it took."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from recsys.artefact import Artefact
from recsys.plan import Plan

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


def edition_record(edition: Path) -> dict[str, Any]:
    """Sum an edition up from the manifests of its stages.

    Args:
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
        "seconds": {stage: one.seconds for stage, one in made.items()},
    }
