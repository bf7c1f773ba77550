"""UserTrackMatrix: how strongly each listener holds to each song."""

from __future__ import annotations

import luigi

from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_catalogue import EditionCatalogue
from workflows.edition_plan import EditionPlan
from workflows.model_choice import ModelChoice
from workflows.taste_state import TasteState


class UserTrackMatrix(EditionStage):
    """CSR float32, users x songs, with the users who are eligible."""

    stage = "matrix"
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """The state, the catalogue, and the word to go on."""
        return {
            "plan": self.sibling(EditionPlan),
            "choice": self.sibling(ModelChoice),
            "taste": self.sibling(TasteState),
            "catalogue": self.sibling(EditionCatalogue),
        }

    def run(self) -> None:
        """Build it."""
        made = self.artefacts()
        plan = self.plan
        with self.draft() as draft:
            counted = _run.current().engine.build_matrix(
                made["taste"].file("taste.parquet"),
                made["catalogue"].file("catalogue.parquet"),
                cutoff=plan.cutoff,
                active_days=self.settings.edition.active_days,
                weights=self.settings.listens,
                forgotten=plan.forgotten,
                out=draft.path,
            )
            draft.inputs = digests(made)
            draft.rows = dict(counted)
        self.tell(", ".join(f"{n} {name}" for name, n in draft.rows.items()))
