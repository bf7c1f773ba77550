"""PlaylistGate: every invariant on every playlist, and the edition as a whole."""

from __future__ import annotations

import luigi

from recsys import artefact
from workflows import _run
from workflows._stage import ONE_AT_A_TIME, EditionStage, digests
from workflows.als_model import AlsModel
from workflows.edition_catalogue import EditionCatalogue
from workflows.edition_plan import EditionPlan
from workflows.playlists import Playlists
from workflows.taste_state import TasteState
from workflows.user_track_matrix import UserTrackMatrix


class PlaylistGate(EditionStage):
    """Reads the written playlists back and holds them against what the listeners heard."""

    stage = "playlist_gate"
    resources = ONE_AT_A_TIME

    def requires(self) -> dict[str, luigi.Task]:
        """What is checked, and what it is checked against."""
        return {
            "plan": self.sibling(EditionPlan),
            "playlists": self.sibling(Playlists),
            "model": self.sibling(AlsModel),
            "matrix": self.sibling(UserTrackMatrix),
            "taste": self.sibling(TasteState),
            "catalogue": self.sibling(EditionCatalogue),
        }

    def run(self) -> None:
        """Check; a refusal completes nothing and is refused again."""
        made = self.artefacts()
        with self.draft() as draft:
            checked = _run.current().engine.check_edition(
                _run.current().home, self.edition, self.settings, draft.path
            )
            verdict = self.sign_off(checked)
            artefact.write_json(draft.path / "verdict.json", verdict.to_dict())
            draft.inputs = digests(made)
            draft.facts = {"checks": len(verdict.checks), **verdict.facts}
        self.tell(verdict.summary())
