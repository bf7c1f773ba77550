"""ModelEvaluation: last week's model on the week that it had not seen."""

from __future__ import annotations

import luigi

from recsys import artefact
from recsys.artefact import Artefact
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
        from recsys.matrix import build_matrix
        from recsys.plan import pinned_model

        home = _run.current().home
        made = self.artefacts()
        plan = self.plan
        pinned = {
            name: pinned_model(home, one)
            for name, one in (("parent", plan.parent), ("grandparent", plan.grandparent))
            if one is not None
        }
        begin = unseen_week.unseen_since(made["base"], plan, pinned.values())
        taste = made["base"].file("taste.parquet")
        with self.draft() as draft:
            base = build_matrix(
                taste,
                made["catalogue"].file("catalogue.parquet"),
                cutoff=plan.base_cutoff,
                active_days=self.settings.edition.active_days,
                weights=self.settings.listens,
                forgotten=plan.forgotten,
                spill=draft.path,
            )
            days = [
                Artefact.open(home.plays(day)).file("plays.parquet")
                for day in plan.days_between(plan.base_cutoff, plan.cutoff)
            ]
            evaluation = unseen_week.evaluate_week(
                base,
                unseen_week.plays_of(days, begin, plan.cutoff, draft.path),
                begin=begin,
                end=plan.cutoff,
                week=plan.week,
                recent=unseen_week.recent_listeners(base, taste, plan.base_cutoff, draft.path),
                previous=unseen_week.earlier_playlists(plan, home),
                pinned=pinned,
                settings=self.settings,
                out=draft.path,
            )
            artefact.write_json(draft.path / "evaluation.json", evaluation)
            metrics = unseen_week.means_of(evaluation)
            draft.inputs = digests(made)
            draft.facts = {"metrics": metrics, "listeners": evaluation["listeners"]}
        self.tell(
            f"recall@30 of {evaluation['listeners']} listeners: "
            + ", ".join(f"{model} {values['recall_at_30']}" for model, values in metrics.items())
        )
