"""TrackCatalogue: names, credited artists and song keys at a week's cutoff."""

from __future__ import annotations

from pathlib import Path

from recsys import artefact
from recsys.artefact import Artefact
from recsys.weeks import Week
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage
from workflows.edition_plan import EditionPlan


class TrackCatalogue(EditionStage):
    """The catalogue before plus what the new days say, built from the log."""

    stage = "catalogue"
    version = 4
    resources = ONE_AT_A_TIME

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.catalogue(Week.parse(self.week))

    def complete(self) -> bool:
        """Whether it is there and was made from the days of the plan."""
        if not (artefact.exists(self.edition / "plan") and artefact.exists(self.folder)):
            return False
        made_from: str = Artefact.open(self.folder).inputs["days"]
        return made_from == self.plan.days_digest(self.plan.cutoff)

    def requires(self) -> EditionPlan:
        """The plan."""
        return self.sibling(EditionPlan)

    def run(self) -> None:
        """Roll the catalogue forward."""
        from recsys.plan import open_pinned

        if self.complete():  # Luigi asked when there was no plan yet to tell by
            return
        home = _run.current().home
        plan = self.plan
        before: Artefact | None = None
        begin = None
        if pinned := plan.catalogue_before:
            week = Week.parse(pinned["week"])
            found = open_pinned(home.catalogue(week), pinned["digest"])
            if found.manifest["schema_version"] == self.version:  # else: made by other rules
                begin = week.cutoff(self.settings.edition.lead_hours).date()
                before = found
        days = plan.days_between(begin, plan.cutoff)
        with self.draft() as draft:
            counted = _run.current().engine.roll_catalogue(
                before.file("catalogue.parquet") if before else None,
                [Artefact.open(home.plays(day)).file("tracks.parquet") for day in days],
                draft.path / "catalogue.parquet",
            )
            draft.rows = dict(counted)
            draft.inputs = {
                "days": plan.days_digest(plan.cutoff),
                "before": before.digest if before else None,
            }
