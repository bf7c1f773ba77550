"""EditionCatalogue: what the log tells of its tracks, and what the service has to say of them."""

from __future__ import annotations

import luigi

from recsys.errors import PlanError
from recsys.settings import ALLOW
from workflows import _run
from workflows._stage import ATTEMPTS_OUTSIDE, ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_plan import EditionPlan
from workflows.track_catalogue import TrackCatalogue


class EditionCatalogue(EditionStage):
    """Names, song keys, and which tracks may be recommended in this edition."""

    stage = "catalogue"
    version = 4
    resources = ONE_AT_A_TIME
    retry_count = ATTEMPTS_OUTSIDE

    def requires(self) -> dict[str, luigi.Task]:
        """The plan, and the catalogue made from the log."""
        return {"plan": self.sibling(EditionPlan), "log": self.sibling(TrackCatalogue)}

    def run(self) -> None:
        """Join the two."""
        run = _run.current()
        made = self.artefacts()
        if run.catalogue_fingerprint != self.plan.catalogue_source:
            raise PlanError(
                f"{self.settings.catalogue.source} has changed since edition {self.week} was "
                "planned. Put the old files back, or make the edition anew: "
                f"--revision {self.revision + 1}"
            )
        with self.draft() as draft:
            counted = run.engine.edition_catalogue(
                made["log"].file("catalogue.parquet"),
                run.catalogue_files,
                draft.path / "catalogue.parquet",
                explicit=self.settings.catalogue.explicit == ALLOW,
            )
            draft.rows = dict(counted)
            draft.inputs = digests(made)
        self.tell(", ".join(f"{n} {what}" for what, n in draft.rows.items()))
