"""AlsModel: the factors, refused if they are not sane."""

from __future__ import annotations

import luigi

from recsys import artefact, tracking_process
from recsys.errors import GateRefusedError
from recsys.verdict import Check, Verdict
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.edition_plan import EditionPlan
from workflows.model_choice import ModelChoice
from workflows.model_evaluation import ModelEvaluation
from workflows.user_track_matrix import UserTrackMatrix


class AlsModel(EditionStage):
    """Gone on from the plan's parent, or cold: from the challenger; logged to MLflow."""

    stage = "als_model"
    version = 2
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """The matrix, and the way to go."""
        return {
            "plan": self.sibling(EditionPlan),
            "evaluation": self.sibling(ModelEvaluation),
            "choice": self.sibling(ModelChoice),
            "matrix": self.sibling(UserTrackMatrix),
        }

    def run(self) -> None:
        """Train, look at the factors, save, log."""
        own = tracking_process.begin(self.settings.tracking_uri)  # a forked worker has none yet
        self._track(*self._train())
        if own:  # it ends with the worker, which ends with the task
            tracking_process.settle()

    def _train(self) -> tuple[str, list[float]]:
        """The way that was gone, and the loss of each iteration."""
        from recsys import models
        from recsys.plan import pinned_model
        from recsys.verification import models_beside

        home, plan = _run.current().home, self.plan
        made = self.artefacts()
        last_week, challenger = models_beside(home, self.edition)
        way = made["choice"].facts["way"]
        parent = pinned_model(home, plan.parent) if plan.parent and way == "continue" else None
        try:
            trained = _run.current().engine.train(
                made["matrix"].path,
                self.settings,
                parent=last_week if parent else challenger,
                on_iteration=lambda n, loss, seconds: self.tell(
                    f"iteration {n + 1}, loss {loss:.5f}, {seconds:.2f} s"
                ),
            )
            verdict = models.check_factors(
                trained.with_users,
                trained.matrix,
                self.settings.gates,
                parent=last_week,
                challenger=challenger,
                seed=self.settings.recsys.seed,
            )
        except GateRefusedError as error:
            unusable = Check("factors_usable", False, str(error), "factors to rank by")
            self.sign_off(Verdict.of([unusable]))
            raise
        verdict = self.sign_off(verdict)
        with self.draft() as draft:
            models.save(trained.model, draft.path)
            artefact.write_json(draft.path / "verdict.json", verdict.to_dict())
            draft.inputs = digests(made) | {"parent": parent.digest if parent else None}
            draft.facts = {
                "way": way,
                "cold_in": parent.facts["cold_in"] if parent else self.week,
                "losses": list(trained.model.loss),
                "settings": self.settings.shaping(),
                **verdict.facts,
            }
            draft.rows = {
                name: made["matrix"].manifest["rows"][name] for name in ("users", "songs")
            }
        return way, list(trained.model.loss)

    def _track(self, way: str, losses: list[float]) -> None:
        from recsys import models
        from recsys.artefact import MANIFEST
        from recsys.tracking import log_training

        made = self.output().open()
        evaluation = self.sibling_artefact("evaluation")
        metrics = {
            f"{model}_{metric}": value
            for model, values in evaluation.facts["metrics"].items()
            for metric, value in values.items()
        }
        timings = {
            f"seconds_{stage}": self.sibling_artefact(stage).seconds
            for stage in ("evaluation", "matrix", "als_model")
        }
        tracking_process.ask(
            lambda failure: self.tell(f"not tracked in MLflow, and going on: {failure}"),
            log_training,
            self.settings.tracking_uri,
            name=f"{self.week} r{self.revision}",
            settings=self.settings.shaping(),
            tags={
                "edition": self.week,
                "revision": str(self.revision),
                "way": way,
                "plan": self.sibling_artefact("plan").digest,
                "artefact": made.digest,
            },
            metrics=metrics | timings,
            losses=losses,
            documents={"plan.json": self.plan.without_users()},
            # Not the users' side: who asks to be forgotten could not be found there again.
            files=[made.path / name for name in models.ITEM_FILES] + [made.path / MANIFEST],
            local_files=self.settings.home / "mlflow",
        )
