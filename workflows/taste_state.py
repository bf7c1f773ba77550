"""TasteState: what each user has heard, decayed to a week's cutoff. Belongs to no edition."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import luigi

from recsys import artefact
from recsys.artefact import Artefact
from recsys.weeks import Week
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage
from workflows.edition_plan import EditionPlan


class TasteState(EditionStage):
    """The state before, aged, plus the new days; one week back, too, for the evaluation."""

    stage = "taste"
    resources = ONE_AT_A_TIME

    weeks_back = luigi.IntParameter(
        default=0, description="0 at the edition's cutoff, 1 a week before it"
    )

    @property
    def at(self) -> Week:
        """The week whose cutoff this is the state at."""
        return Week.parse(self.week) - self.weeks_back

    @property
    def folder(self) -> Path:
        """Where the artefact is."""
        return _run.current().home.taste(self.at)

    @property
    def cutoff(self) -> date:
        """The day the counts are decayed to."""
        return self.at.cutoff(self.settings.edition.lead_hours).date()

    def complete(self) -> bool:
        """Whether it is there and was made from the days of the plan."""
        if not (artefact.exists(self.edition / "plan") and artefact.exists(self.folder)):
            return False
        made_from: str = Artefact.open(self.folder).inputs["days"]
        return made_from == self.plan.days_digest(self.cutoff)

    def requires(self) -> dict[str, luigi.Task]:
        """The plan, and the state a week back."""
        plan = self.sibling(EditionPlan)
        if self.weeks_back:
            return {"plan": plan}
        return {"plan": plan, "before": self.clone(weeks_back=1)}

    def run(self) -> None:
        """Roll the state forward."""
        from recsys.plan import open_pinned

        if self.complete():  # Luigi asked when there was no plan yet to tell by
            return
        home = _run.current().home
        before: tuple[Week, Artefact] | None = None
        if not self.weeks_back:
            before = self.at - 1, self.input()["before"].open()
        elif pinned := self.plan.state_before:
            week = Week.parse(pinned["week"])
            before = week, open_pinned(home.taste(week), pinned["digest"])
        previous = before and (
            before[1].file("taste.parquet"),
            before[0].cutoff(self.settings.edition.lead_hours).date(),
        )
        days = self.plan.days_between(previous[1] if previous else None, self.cutoff)
        with self.draft() as draft:
            pairs = _run.current().engine.roll_taste(
                previous,
                [Artefact.open(home.plays(day)).file("plays.parquet") for day in days],
                self.cutoff,
                self.settings.listens.half_life_days,
                draft.path / "taste.parquet",
            )
            draft.rows = {"pairs": pairs, "new_days": len(days)}
            draft.inputs = {
                "days": self.plan.days_digest(self.cutoff),
                "before": before[1].digest if before else None,
            }
        self.tell(f"{pairs} pairs of user and track, {len(days)} days new")
