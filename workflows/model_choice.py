"""ModelChoice: go on from the parent, start cold, or refuse; before the expensive part."""

from __future__ import annotations

import json

from recsys import artefact
from recsys.artefact import Artefact
from workflows import _run
from workflows._stage import EditionStage
from workflows.model_evaluation import ModelEvaluation


class ModelChoice(EditionStage):
    """A written verdict. A refusal completes nothing, and is refused again on every rerun."""

    stage = "model_choice"

    def requires(self) -> ModelEvaluation:
        """What the verdict stands on."""
        return self.sibling(ModelEvaluation)

    def run(self) -> None:
        """Judge."""
        from recsys.choice import choose, qualities
        from recsys.model_evaluation import evidence_of
        from recsys.volume import check_volume

        home, plan, gates = _run.current().home, self.plan, self.settings.gates
        made = self.input().open()
        evaluation = json.loads(made.file("evaluation.json").read_text(encoding="utf-8"))
        with self.draft() as draft:
            plays = {day: Artefact.open(home.plays(day)).file("plays.parquet") for day in plan.days}
            volumes = _run.current().engine.weekly_volumes(plays, plan.cutoff, draft.path)
            choice = choose(
                evidence_of(evaluation),
                gates,
                quality=qualities(evaluation),
                log=check_volume(volumes, gates),
            )
            about = {"way": choice.way, "because": choice.because}
            verdict = self.sign_off(choice.verdict, **about)
            artefact.write_json(draft.path / "verdict.json", {**about, **verdict.to_dict()})
            draft.inputs = {"evaluation": made.digest}
            draft.facts = {"way": choice.way, **verdict.facts}
        self.tell(f"{choice.way}, since {choice.because}. {verdict.summary()}")
