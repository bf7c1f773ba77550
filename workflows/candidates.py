"""Candidates: the best few hundred songs per eligible user, scored."""

from __future__ import annotations

import luigi

from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.als_model import AlsModel
from workflows.edition_plan import EditionPlan
from workflows.user_track_matrix import UserTrackMatrix


class Candidates(EditionStage):
    """Heard, disliked, barred and cooling songs are out before the cut."""

    stage = "candidates"
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """The factors, and what each user has heard."""
        return {
            "plan": self.sibling(EditionPlan),
            "matrix": self.sibling(UserTrackMatrix),
            "model": self.sibling(AlsModel),
        }

    def run(self) -> None:
        """Find them."""
        made = self.artefacts()
        with self.draft() as draft:
            counts = _run.current().engine.find_candidates(
                self.plan,
                _run.current().home,
                matrix=made["matrix"].path,
                model=made["model"].path,
                out=draft.path,
            )
            draft.inputs = digests(made)
            draft.rows = dict(counts)
        self.tell(f"{counts['candidates']} candidates for {counts['users']} eligible users")
