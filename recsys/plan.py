"""The plan of an edition: everything it is made from, pinned before anything weekly is made."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import ArtefactError, PlanError
from recsys.home import Home
from recsys.settings import LOCAL, Settings
from recsys.store import Edition
from recsys.weeks import Week

PLAN_FILE: Final = "plan.json"
#: So many weeks back hindsight looks.
HINDSIGHT_EDITIONS: Final = 8


@dataclass(frozen=True)
class Plan:
    """A plan as it was written; the same plan gives the same bytes."""

    document: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path) -> Plan:
        """Read the plan artefact in ``folder``."""
        path = Artefact.open(folder).file(PLAN_FILE)
        return cls(json.loads(path.read_text(encoding="utf-8")))

    def without_users(self) -> dict[str, Any]:
        """The document with the number of forgotten users in place of their ids."""
        return {**self.document, "forgotten": len(self.forgotten)}

    @property
    def week(self) -> Week:
        """The edition's week."""
        return Week.parse(self.document["edition"])

    @property
    def cutoff(self) -> date:
        """The day at whose start (UTC) the books are closed."""
        return date.fromisoformat(self.document["cutoff"])

    @property
    def base_cutoff(self) -> date:
        """The cutoff one week back: what came after it is unseen by last week's model."""
        return self.cutoff - timedelta(weeks=1)

    @property
    def days(self) -> dict[date, str]:
        """Every arrival day and the digest of its plays, oldest first."""
        return {date.fromisoformat(day): digest for day, digest in self.document["days"].items()}

    def days_between(self, begin: date | None, end: date) -> list[date]:
        """The arrival days from ``begin`` (or the log's first) up to, not including, ``end``."""
        return [day for day in self.days if (begin is None or begin <= day) and day < end]

    def days_digest(self, end: date) -> str:
        """One digest for all days before ``end``."""
        return days_digest(self.days, end)

    @property
    def state_before(self) -> Mapping[str, str] | None:
        """The taste state to begin from (``week``, ``digest``), or None: begin from the days."""
        state: Mapping[str, str] | None = self.document["state_before"]
        return state

    @property
    def catalogue_before(self) -> Mapping[str, str] | None:
        """The catalogue to begin from (``week``, ``digest``), or None: begin from the days."""
        snapshot: Mapping[str, str] | None = self.document["catalogue_before"]
        return snapshot

    @property
    def catalogue_source(self) -> str | None:
        """The service's catalogue as its files were when the plan was made; None without one."""
        source: str | None = self.document["catalogue_source"]
        return source

    @property
    def parent(self) -> Mapping[str, Any] | None:
        """The model to go on from: ``edition``, ``revision``, ``digest``; None for a first one."""
        parent: Mapping[str, Any] | None = self.document["parent"]
        return parent

    @property
    def grandparent(self) -> Mapping[str, Any] | None:
        """The model that the parent was measured against."""
        grandparent: Mapping[str, Any] | None = self.document["grandparent"]
        return grandparent

    @property
    def cooling(self) -> Sequence[Mapping[str, Any]]:
        """Earlier editions whose tracks rest: ``edition``, ``revision``, ``digest``."""
        cooling: Sequence[Mapping[str, Any]] = self.document["cooling"]
        return cooling

    @property
    def past(self) -> Sequence[Mapping[str, Any]]:
        """What listeners had in the weeks before, newest first.

        ``edition``, ``revision``, ``digest`` of its playlists, ``hindsight``, the digest of what it
        said of those before it, or None, and ``in_time``: whether it was there on its Monday.
        """
        past: Sequence[Mapping[str, Any]] = self.document.get("past", [])
        return past

    @property
    def forgotten(self) -> frozenset[str]:
        """Users that asked to be forgotten before the plan was made."""
        return frozenset(self.document["forgotten"])

    @property
    def blocked(self) -> frozenset[str]:
        """Tracks that were blocked before the plan was made."""
        return frozenset(self.document["blocked"])


def days_digest(days: Mapping[date, str], end: date) -> str:
    """One digest for the days before ``end``."""
    return artefact.digest_of({str(day): digest for day, digest in days.items() if day < end})


def usable_snapshot(
    home: Home, kind: str, before: Week, days: Mapping[date, str], lead_hours: int
) -> Mapping[str, str] | None:
    """The newest taste state or catalogue older than ``before`` that was made from these days.

    Args:
        home: where to look.
        kind: ``taste`` or ``catalogue``.
        before: only weeks older than this.
        days: the days as they are now, with the digests of their plays.
        lead_hours: of the editions.
    """
    root = home.taste(before).parent.parent
    weeks = sorted((Week.parse(f.name) for f in root.glob("*-W*")), reverse=True)
    for week in weeks:
        folder = root / str(week) / kind
        if week < before and artefact.exists(folder):
            found = Artefact.open(folder)
            if found.inputs["days"] == days_digest(days, week.cutoff(lead_hours).date()):
                return {"week": str(week), "digest": found.digest}
    return None


def published_as(editions: Sequence[Edition]) -> list[dict[str, Any]]:
    """The store's editions as a plan wants them."""
    return [
        {
            "edition": one.edition,
            "revision": one.revision,
            "state": str(one.state),
            "activated_on": one.activated_at and one.activated_at.date(),
        }
        for one in editions
    ]


def make_plan(
    settings: Settings,
    week: Week,
    revision: int,
    *,
    days: Mapping[date, str],
    log: Mapping[str, Any],
    published: Sequence[Mapping[str, Any]],
    forgotten: Collection[str],
    blocked: Collection[str],
    catalogue_source: str | None = None,
) -> Plan:
    """Pin what the edition is made from.

    Args:
        settings: of the run.
        week: the edition's week.
        revision: its revision.
        days: each arrival day before the cutoff and the digest of its plays.
        log: what is to be said of the log: missing and odd days, rows that belong to no day.
        published: the store's editions: ``edition``, ``revision``, ``state``, and
            ``activated_on``, a date or None.
        forgotten: users that must not be in the matrix.
        blocked: tracks that must not be in a playlist.
        catalogue_source: names the files of the service's catalogue as they are; None without one.
    """
    home = Home.of(settings)
    lead = settings.edition.lead_hours
    parent, grandparent = lineage(home, week, published)
    return Plan(
        {
            "edition": str(week),
            "revision": revision,
            "cutoff": str(week.cutoff(lead).date()),
            "settings": settings.shaping(),
            "log": dict(log),
            "days": {str(day): days[day] for day in sorted(days)},
            # The state one week back is needed too: it is what the evaluation stands on.
            "state_before": usable_snapshot(home, "taste", week, days, lead),
            "catalogue_source": catalogue_source,
            "catalogue_before": usable_snapshot(home, "catalogue", week, days, lead),
            "parent": parent,
            "grandparent": grandparent,
            "cooling": _cooling(home, week, settings.playlists.cooldown_editions, published),
            "past": _past(home, week, published),
            "forgotten": sorted(forgotten),
            "blocked": sorted(blocked),
        }
    )


def lineage(
    home: Home, week: Week, published: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]:
    """The model that an edition of this week goes on from, and the one that it came from itself.

    Args:
        home: where the models are.
        week: the edition's.
        published: as for :func:`make_plan`.
    """
    parent = _parent(home, week, published)
    return parent, _grandparent(home, parent)


def _parent(
    home: Home, week: Week, published: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The model of the newest earlier edition that was activated and not rolled back."""
    candidates = [
        (Week.parse(one["edition"]), one["revision"])
        for one in published
        if one["state"] in ("activated", "superseded") and Week.parse(one["edition"]) < week
    ]
    for earlier, revision in sorted(candidates, reverse=True):
        folder = home.edition(earlier, revision) / "als_model"
        if artefact.exists(folder):
            return {
                "edition": str(earlier),
                "revision": revision,
                "digest": Artefact.open(folder).digest,
            }
    return None


def _grandparent(home: Home, parent: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if parent is None:
        return None
    folder = home.edition(Week.parse(parent["edition"]), parent["revision"]) / "plan"
    try:
        grandparent = Plan.load(folder).parent
    except ArtefactError:
        return None
    if grandparent is None:
        return None
    week = Week.parse(grandparent["edition"])
    model = home.edition(week, grandparent["revision"]) / "als_model"
    return grandparent if artefact.exists(model) else None


def _cooling(
    home: Home, week: Week, editions: int, published: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Every revision of the last weeks that was staged, whatever became of it."""
    cooling: list[Mapping[str, Any]] = []
    for one in sorted(published, key=lambda one: (one["edition"], one["revision"])):
        earlier = Week.parse(one["edition"])
        folder = home.edition(earlier, one["revision"]) / "playlists"
        if week - editions <= earlier < week and artefact.exists(folder):
            digest = Artefact.open(folder).digest
            cooling.append({"edition": str(earlier), "revision": one["revision"], "digest": digest})
    return cooling


def _past(
    home: Home, week: Week, published: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """One edition of each of the last weeks: the newest revision that was there on its Monday."""
    past: dict[Week, Mapping[str, Any]] = {}
    for one in sorted(published, key=lambda one: one["revision"]):
        earlier = Week.parse(one["edition"])
        folder = home.edition(earlier, one["revision"])
        if not (
            one["state"] in ("activated", "superseded")
            and week - HINDSIGHT_EDITIONS <= earlier < week
            and artefact.exists(folder / "playlists")
        ):
            continue
        said = folder / "hindsight"
        activated_on = one.get("activated_on")
        in_time = activated_on is not None and activated_on <= earlier.monday
        if in_time or not past.get(earlier, {}).get("in_time"):
            past[earlier] = {
                "edition": str(earlier),
                "revision": one["revision"],
                "digest": Artefact.open(folder / "playlists").digest,
                "hindsight": Artefact.open(said).digest if artefact.exists(said) else None,
                "in_time": in_time,
            }
    return [past[earlier] for earlier in sorted(past, reverse=True)]


def check_plan(plan: Plan, settings: Settings) -> None:
    """See that the settings are still those of the plan.

    Raises:
        PlanError: names each setting that differs, its value then and now.
    """
    # There was one engine before they could be chosen.
    then = {"engine": {"name": LOCAL}, **plan.document["settings"]}
    now = settings.shaping()
    changed = [
        f"[{section}] {key} was {then.get(section, {}).get(key)!r}, is {values.get(key)!r}"
        for section, values in now.items()
        for key in sorted({*values, *then.get(section, {})})
        if then.get(section, {}).get(key) != values.get(key)
    ]
    if changed:
        raise PlanError(
            f"Edition {plan.document['edition']} revision {plan.document['revision']} was planned "
            "with other settings:\n"
            + "\n".join(f"  - {line}" for line in changed)
            + f"\nSet them back, or make the edition anew beside it: "
            f"--revision {plan.document['revision'] + 1}"
        )


def cooling_playlists(plan: Plan, home: Home) -> list[Path]:
    """The playlists whose tracks rest, as the plan pinned them."""
    return [pinned_playlists(home, one) for one in plan.cooling]


def pinned_playlists(home: Home, pin: Mapping[str, Any]) -> Path:
    """The playlists of an earlier edition, as the plan pinned them."""
    folder = home.edition(Week.parse(pin["edition"]), pin["revision"]) / "playlists"
    return open_pinned(folder, pin["digest"]).file("playlists.parquet")


def pinned_model(home: Home, pin: Mapping[str, Any]) -> Artefact:
    """The model of an earlier edition, as the plan pinned it."""
    week = Week.parse(pin["edition"])
    return open_pinned(home.edition(week, pin["revision"]) / "als_model", pin["digest"])


def pinned_models(home: Home, plan: Plan) -> dict[str, Artefact]:
    """``parent`` and ``grandparent``, where the plan pinned them."""
    pins = {"parent": plan.parent, "grandparent": plan.grandparent}
    return {name: pinned_model(home, pin) for name, pin in pins.items() if pin is not None}


def open_pinned(folder: Path, digest: str) -> Artefact:
    """Open an artefact that a plan pinned.

    Raises:
        PlanError: it is gone, or another one stands in its place.
    """
    try:
        found = Artefact.open(folder)
    except ArtefactError as error:
        raise PlanError(f"The plan needs {folder}, and it is gone. {error}") from error
    if found.digest != digest:
        raise PlanError(
            f"The plan was made with another {folder.name} than the one in {folder} now. "
            "Plan the edition anew with the next --revision."
        )
    return found
