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
        from recsys import models
        from recsys.candidates import find_candidates
        from recsys.eligibility import barred_songs, cooling_songs, eligible_users
        from recsys.matrix import TasteMatrix
        from recsys.plan import cooling_playlists

        home = _run.current().home
        made = self.artefacts()
        plan = self.plan
        matrix = TasteMatrix.load(made["matrix"].path)
        users = eligible_users(matrix)
        with self.draft() as draft:
            cooling = cooling_songs(matrix, users, cooling_playlists(plan, home), spill=draft.path)
            candidates = find_candidates(
                models.load(made["model"].path),
                matrix,
                users,
                barred=barred_songs(matrix, plan.blocked),
                cooling=cooling,
            )
            candidates.save(draft.path)
            draft.inputs = digests(made)
            draft.rows = {"users": len(users), "candidates": len(candidates.songs)}
        self.tell(f"{len(candidates.songs)} candidates for {len(users)} eligible users")
