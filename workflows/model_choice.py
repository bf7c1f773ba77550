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
        from recsys.choice import REFUSE, choose
        from recsys.unseen_week import evidence_of

        evaluation = self.input().open()
        text = evaluation.file("evaluation.json").read_text(encoding="utf-8")
        choice = choose(evidence_of(json.loads(text)))
        report = {
            "way": choice.way,
            "because": choice.because,
            "skipped": choice.skipped,
            **choice.verdict.to_dict(),
        }
        if choice.way == REFUSE:
            self.refuse(report, f"{choice.because}. {choice.verdict.summary()}")
        with self.draft() as draft:
            artefact.write_json(draft.path / "verdict.json", report)
            draft.inputs = {"evaluation": evaluation.digest}
            draft.facts = {"way": choice.way, "outcome": choice.verdict.outcome}
        self.tell(f"{choice.way}, since {choice.because}. {choice.verdict.summary()}")
