"""PublishedEdition: staged, read back, then one pointer moves."""

from __future__ import annotations

import luigi

from recsys.artefact import Artefact
from recsys.weeks import Week
from workflows import _run
from workflows._stage import ATTEMPTS_OUTSIDE, EditionStage, digests
from workflows.playlist_gate import PlaylistGate
from workflows.playlists import Playlists


class PublishedEdition(EditionStage):
    """Complete only if the store has the edition: a store that was lost is not green."""

    stage = "published"
    retry_count = ATTEMPTS_OUTSIDE

    backfill = luigi.BoolParameter(
        default=False, significant=False, description="leave a newer edition served"
    )

    def complete(self) -> bool:
        """Whether the record exists and the store has, or had, this digest, its rows present."""
        made = self.input().values()
        cleaned = _run.current().home.cleaned(self.edition).exists()
        if not self.output().exists() or not (cleaned or all(one.exists() for one in made)):
            return False
        from recsys.publishing import is_published, serves_rows
        from recsys.store import open_store

        with open_store(self.settings.store_url) as store:
            digest = Artefact.open(self.folder).facts["digest"]
            return is_published(store, digest) and serves_rows(store)

    def requires(self) -> dict[str, luigi.Task]:
        """The playlists, and the gate's word."""
        return {"playlists": self.sibling(Playlists), "gate": self.sibling(PlaylistGate)}

    def run(self) -> None:
        """Publish."""
        from recsys.publishing import publish, restore_served
        from recsys.serve.purge import purge
        from recsys.store import open_store

        made, run = self.artefacts(), _run.current()
        with open_store(self.settings.store_url) as store:
            published = publish(
                store,
                run.home.store_copy,
                Week.parse(self.week),
                self.revision,
                made["playlists"],
                backfill=self.backfill,
                stage=run.engine.stage_edition,
            )
            restore_served(store, run.home, run.engine.stage_edition)
        purge(self.settings.serve.purge_url)
        with self.draft() as draft:
            draft.inputs = digests(made)
            draft.rows = {"playlists": published.rows, "left_out": published.left_out}
            draft.facts = {"digest": published.digest}
        self.tell(f"{published.rows} playlists in the store")
