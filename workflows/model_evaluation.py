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
        from recsys import unseen_week
        from recsys.plan import pinned_models

        home = _run.current().home
        made = self.artefacts()
        plan = self.plan
        pinned = pinned_models(home, plan)
        with self.draft() as draft:
            unseen = unseen_week.open_unseen_week(
                plan,
                home,
                self.settings,
                base=made["base"],
                catalogue=made["catalogue"],
                scored=pinned.values(),
                spill=draft.path,
            )
            evaluation = unseen_week.evaluate_week(
                unseen, week=plan.week, pinned=pinned, settings=self.settings, out=draft.path
            )
            artefact.write_json(draft.path / "evaluation.json", evaluation)
            metrics = unseen_week.means_of(evaluation)
            draft.inputs = digests(made)
            draft.facts = {"metrics": metrics, "listeners": evaluation["listeners"]}
        self.tell(
            f"recall@30 of {evaluation['listeners']} listeners: "
            + ", ".join(f"{model} {values['recall_at_30']}" for model, values in metrics.items())
        )
