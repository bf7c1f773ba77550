"""ModelChoice: go on from the parent, start cold, or refuse; before the expensive part."""

from __future__ import annotations

import json

from recsys import artefact
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
        from recsys.choice import Evidence, choose

        evaluation = self.input().open()
        text = evaluation.file("evaluation.json").read_text(encoding="utf-8")
        choice = choose(Evidence.from_dict(json.loads(text)["evidence"]))
        if choice.way == "refuse":
            self.refuse(choice.to_dict(), choice.summary())
        with self.draft() as draft:
            artefact.write_json(draft.path / "verdict.json", choice.to_dict())
            draft.inputs = {"evaluation": evaluation.digest}
            draft.facts = {"way": choice.way, "outcome": choice.outcome}
        self.tell(choice.summary())
