"""Hindsight: what listeners did with the playlists of the weeks before."""

from __future__ import annotations

import luigi

from recsys import artefact
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_catalogue import EditionCatalogue
from workflows.edition_plan import EditionPlan


class Hindsight(EditionStage):
    """Counts over earlier editions; nothing that is published waits for them."""

    stage = "hindsight"
    resources = ONE_AT_A_TIME
    #: Before the model, so that the report of an edition that is refused has it, too.
    priority = 1

    def requires(self) -> dict[str, luigi.Task]:
        """The plan, which pins the editions, and the catalogue, which knows the songs."""
        return {"plan": self.sibling(EditionPlan), "catalogue": self.sibling(EditionCatalogue)}

    def run(self) -> None:
        """Look back."""
        from recsys.exposures import exposure_files
        from recsys.hindsight import HINDSIGHT_FILE, doubt, look_back, summary

        made = self.artefacts()
        with self.draft() as draft:
            found = look_back(
                self.plan,
                _run.current().home,
                catalogue=made["catalogue"].file("catalogue.parquet"),
                exposures=exposure_files(self.settings.exposures.source),
                spill=draft.path,
            )
            artefact.write_json(draft.path / HINDSIGHT_FILE, found)
            draft.inputs = digests(made)
            draft.rows = {"editions": len(found["editions"]), "left_out": len(found["left_out"])}
            draft.facts = {"exposures": found["exposures"]}
        if odd := doubt(found):
            _run.LOG.warning("%s: %s", self.stage, odd)
        self.tell(summary(found))
