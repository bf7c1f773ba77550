"""ModelEvaluation: last week's model on the week that it had not seen."""

from __future__ import annotations

import luigi

from recsys import artefact
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_catalogue import EditionCatalogue
from workflows.edition_plan import EditionPlan
from workflows.taste_state import TasteState


class ModelEvaluation(EditionStage):
    """The parent, its own parent, the baselines, and where needed a model trained a week back."""

    stage = "evaluation"
    version = 2
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """The state a week back, and what was played since."""
        return {
            "plan": self.sibling(EditionPlan),
            "base": TasteState(week=self.week, revision=self.revision, weeks_back=1),
            "catalogue": self.sibling(EditionCatalogue),
        }

    def run(self) -> None:
        """Score every model that could ship or could be gone on from, and the baselines."""
        from recsys.model_evaluation import means_of

        made = self.artefacts()
        with self.draft() as draft:
            evaluation = _run.current().engine.evaluate(
                self.plan,
                _run.current().home,
                self.settings,
                base=made["base"],
                catalogue=made["catalogue"],
                out=draft.path,
            )
            artefact.write_json(draft.path / "evaluation.json", evaluation)
            metrics = means_of(evaluation)
            draft.inputs = digests(made)
            draft.facts = {"metrics": metrics, "listeners": evaluation["listeners"]}
        self.tell(
            f"recall@30 of {evaluation['listeners']} listeners: "
            + ", ".join(f"{model} {values['recall_at_30']}" for model, values in metrics.items())
        )
