"""Playlists: rules, order, reasons; 30 tracks."""

from __future__ import annotations

import luigi

from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.als_model import AlsModel
from workflows.candidates import Candidates
from workflows.edition_plan import EditionPlan
from workflows.user_track_matrix import UserTrackMatrix


class Playlists(EditionStage):
    """One playlist for every eligible user, or a reason why there is none."""

    stage = "playlists"
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """Candidates, and the model that explains them."""
        return {
            "plan": self.sibling(EditionPlan),
            "matrix": self.sibling(UserTrackMatrix),
            "model": self.sibling(AlsModel),
            "candidates": self.sibling(Candidates),
        }

    def run(self) -> None:
        """Make them."""
        made = self.artefacts()
        with self.draft() as draft:
            facts = _run.current().engine.make_playlists(
                self.plan,
                _run.current().home,
                self.settings.playlists,
                matrix=made["matrix"].path,
                model=made["model"].path,
                candidates=made["candidates"].path,
                out=draft.path,
            )
            draft.inputs = digests(made)
            draft.facts = facts
            draft.rows = {"playlists": sum(facts["kinds"].values()), "refused": facts["refused"]}
        counted = facts["kinds"] | {"refused": facts["refused"]}
        self.tell(", ".join(f"{n} {name}" for name, n in counted.items()))
