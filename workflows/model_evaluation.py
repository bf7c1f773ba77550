"""ModelEvaluation: last week's model on the week that it had not seen."""

from __future__ import annotations

import luigi

from recsys import artefact
from recsys.artefact import Artefact
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_plan import EditionPlan
from workflows.taste_state import TasteState
from workflows.track_catalogue import TrackCatalogue


class ModelEvaluation(EditionStage):
    """The parent, its own parent, popularity, and where needed a model trained a week back."""

    stage = "evaluation"
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """The state a week back, and what was played since."""
        return {
            "plan": self.sibling(EditionPlan),
            "base": TasteState(week=self.week, revision=self.revision, weeks_back=1),
            "catalogue": self.sibling(TrackCatalogue),
        }

    def run(self) -> None:
        """Score every model that could ship or could be gone on from."""
        from recsys.matrix import build_matrix
        from recsys.plan import pinned_model
        from recsys.unseen_week import evaluate_week, plays_of

        home = _run.current().home
        made = self.artefacts()
        plan = self.plan
        pinned = {
            name: pinned_model(home, one)
            for name, one in (("parent", plan.parent), ("grandparent", plan.grandparent))
            if one is not None
        }
        with self.draft() as draft:
            base = build_matrix(
                made["base"].file("taste.parquet"),
                made["catalogue"].file("catalogue.parquet"),
                cutoff=plan.base_cutoff,
                active_days=self.settings.edition.active_days,
                weights=self.settings.listens,
                forgotten=plan.forgotten,
                spill=draft.path,
            )
            days = plan.days_between(plan.base_cutoff, plan.cutoff)
            plays = plays_of(
                [Artefact.open(home.plays(day)).file("plays.parquet") for day in days], draft.path
            )
            evaluation = evaluate_week(
                base, plays, week=plan.week, pinned=pinned, settings=self.settings
            )
            artefact.write_json(draft.path / "evaluation.json", evaluation)
            draft.inputs = digests(made)
            draft.facts = {
                "metrics": evaluation["metrics"],
                "listeners": evaluation["listeners"],
            }
        self.tell(
            f"recall@30 of {evaluation['listeners']} listeners: "
            + ", ".join(
                f"{model} {values['recall_at_30']}"
                for model, values in evaluation["metrics"].items()
            )
        )
