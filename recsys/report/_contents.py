"""What the page says, read from the artefacts of the edition that are there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact
from recsys.hindsight import HINDSIGHT_FILE, doubt
from recsys.home import Home
from recsys.plan import Plan
from recsys.record import stage_seconds
from recsys.refusals import GATES
from recsys.report._log import log
from recsys.report._playlists import describe, names_of_samples, samples
from recsys.verdict import REFUSED, RELEASED, UNPROVEN, Verdict

#: The models of an evaluation, the baselines first.
MODELS: Final = (
    "popularity",
    "recent_popularity",
    "item_knn",
    "als_defaults",
    "grandparent",
    "parent",
    "challenger",
)


def contents(home: Home, edition: Path) -> dict[str, Any]:
    """Everything the templates show; a part whose stage is not there is None.

    Args:
        home: the home it is in.
        edition: the edition's folder; there is at least its plan.

    Raises:
        ArtefactError: there is no plan, or a stage's files are damaged.
    """
    plan = Plan.load(edition / "plan")
    made = _opened(edition)
    verdicts = _verdicts(edition, made)
    playlists, hindsight = made.get("playlists"), _document(made.get("hindsight"), HINDSIGHT_FILE)
    catalogue = made.get("catalogue")
    return {
        "edition": str(plan.week),
        "revision": plan.document["revision"],
        "valid_from": plan.week.monday,
        "valid_until": plan.week.sunday,
        "cutoff": plan.cutoff,
        "plan": plan.without_users(),
        "plan_digest": Artefact.open(edition / "plan").digest,
        "status": _status(made, verdicts),
        "verdicts": verdicts,
        "names": names_of_samples(catalogue, verdicts),
        "evaluation": _document(made.get("evaluation"), "evaluation.json"),
        "models": MODELS,
        "model": made["als_model"].facts if "als_model" in made else None,
        "log": log(home, plan),
        "playlists": playlists and playlists.facts,
        "described": describe(playlists, made["matrix"]) if playlists else None,
        "samples": samples(playlists, catalogue) if playlists else [],
        "hindsight": hindsight,
        "exposures_doubted": hindsight is not None and doubt(hindsight) is not None,
        "packages": Artefact.open(edition / "plan").manifest["packages"],
        "seconds": stage_seconds(home, edition),
        "times": {stage: one.manifest["times"] for stage, one in made.items()},
    }


def _opened(edition: Path) -> dict[str, Artefact]:
    folders = sorted(folder for folder in edition.iterdir() if artefact.exists(folder))
    return {folder.name: Artefact.open(folder) for folder in folders}


def _document(made: Artefact | None, name: str) -> dict[str, Any] | None:
    if made is None:
        return None
    found: dict[str, Any] = json.loads(made.file(name).read_text(encoding="utf-8"))
    return found


def _verdicts(edition: Path, made: Mapping[str, Artefact]) -> list[dict[str, Any]]:
    """What each gate said: of what it let go on, else of what it refused."""
    verdicts = []
    for gate in GATES:
        refusal = edition / "refused" / f"{gate}.json"
        if gate in made:
            said = _document(made[gate], "verdict.json") or {}
        elif refusal.exists():
            said = json.loads(refusal.read_text(encoding="utf-8"))
        else:
            continue
        verdicts.append(
            {
                "gate": gate,
                "verdict": Verdict.from_dict(said),
                "way": said.get("way"),
                "because": said.get("because"),
            }
        )
    return verdicts


def _status(made: Mapping[str, Artefact], verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """The edition in a word, and the gate and its verdict that it is to be said of, if any."""
    for word in (REFUSED, RELEASED, UNPROVEN):
        if found := [one for one in verdicts if one["verdict"].outcome == word]:
            if word != REFUSED and "published" not in made:
                break
            return {"word": word, **found[0]}
    return {"word": "published" if "published" in made else "unfinished"}
