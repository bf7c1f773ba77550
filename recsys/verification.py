"""Holding an edition against its own artefacts, before and after it is published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsys import models
from recsys._gate_scores import Factors, read_factors
from recsys.artefact import Artefact
from recsys.errors import StoreError
from recsys.gate import check_playlists
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.model_evaluation import CHALLENGER
from recsys.models import ALSModel
from recsys.plan import Plan, cooling_playlists, pinned_model, pinned_playlists
from recsys.publishing import playlist_batches
from recsys.schemas import PLAYLISTS
from recsys.settings import PlaylistsSettings, Settings
from recsys.shares import check_shares
from recsys.store import Store
from recsys.verdict import Verdict


def models_beside(home: Home, edition: Path) -> tuple[ALSModel | None, ALSModel | None]:
    """What an edition's factors are held against: the parent, and the challenger of a week back.

    Args:
        home: the home that the edition is in.
        edition: the edition's folder.
    """
    pin = Plan.load(edition / "plan").parent
    tried = edition / "evaluation" / CHALLENGER
    return (
        models.load(pinned_model(home, pin).path) if pin else None,
        models.load(tried) if tried.exists() else None,
    )


def check_edition(home: Home, edition: Path, settings: PlaylistsSettings) -> Verdict:
    """Check every invariant on every playlist of an edition, as its files stand.

    Args:
        home: the home that the edition is in.
        edition: the edition's folder.
        settings: the rules it was made by.
    """
    plan = Plan.load(edition / "plan")
    playlists = Artefact.open(edition / "playlists")
    return check_playlists(
        playlists=playlists.file("playlists.parquet"),
        refused=playlists.file("refused.parquet"),
        default=playlists.file("default.parquet"),
        taste=Artefact.open(home.taste(plan.week)).file("taste.parquet"),
        catalogue=Artefact.open(edition / "catalogue").file("catalogue.parquet"),
        eligible=Artefact.open(edition / "matrix").file("eligible.parquet"),
        model=_factors(edition),
        cooling=cooling_playlists(plan, home),
        blocked=sorted(plan.blocked),
        week=plan.week,
        settings=settings,
    )


def _factors(edition: Path) -> Factors:
    """The model's, with the listeners folded in where the artefact does not hold them."""
    found = read_factors(Artefact.open(edition / "als_model").path)
    if len(found.user_ids):
        return found
    model = models.load(edition / "als_model").folded(TasteMatrix.load(edition / "matrix"))
    return found._replace(user_ids=model.user_ids, users=model.user_factors)


def check_edition_shares(home: Home, edition: Path, settings: Settings, spill: Path) -> Verdict:
    """Hold the edition as a whole against the bands of ``[gates]``.

    Args:
        home: the home that the edition is in.
        edition: the edition's folder.
        settings: the rules it was made by, and the bands.
        spill: a folder for what does not fit into memory.
    """
    plan = Plan.load(edition / "plan")
    return check_shares(
        playlists=Artefact.open(edition / "playlists").file("playlists.parquet"),
        eligible=Artefact.open(edition / "matrix").file("eligible.parquet"),
        catalogue=Artefact.open(edition / "catalogue").file("catalogue.parquet"),
        previous=last_weeks_playlists(plan, home),
        spill=spill,
        settings=settings.playlists,
        gates=settings.gates,
    )


def last_weeks_playlists(plan: Plan, home: Home) -> Path | None:
    """The playlists of the newest edition that rests, where there is one."""
    last_week = max(plan.cooling, key=lambda one: (one["edition"], one["revision"]), default=None)
    return pinned_playlists(home, last_week) if last_week else None


@dataclass(frozen=True)
class StoredRows:
    """What the store holds of an edition, held against the artefact."""

    stored: int
    expected: int
    left_out: int
    #: Rows that differ from the artefact's row of the same user, are missing, or are strangers.
    different: int

    @property
    def agree(self) -> bool:
        """Whether every expected row is stored as it was made, under its own user."""
        return self.different == 0 and self.stored == self.expected


def compare_stored(store: Store, playlists: Artefact) -> StoredRows:
    """Compare every stored row of an edition with the artefact it was published from.

    Users who were forgotten before the edition was staged are not stored, by intent; those
    forgotten since may be either way.

    Args:
        store: the store.
        playlists: the artefact.

    Raises:
        StoreError: the store does not have the edition.
    """
    digest = playlists.facts["digest"]
    state = store.state(digest)
    if state is not None and state.pruned:
        raise StoreError(
            f"The rows of {playlists.path} were removed on purpose when the store was pruned."
        )
    if state is None or not state.present:
        raise StoreError(
            f"The store does not hold the rows of {playlists.path}. Run the week again: it is "
            "published from what is there."
        )
    forgotten = store.tombstones()
    stored = pa.Table.from_batches(store.rows(digest), PLAYLISTS)
    made = pa.Table.from_batches(playlist_batches(playlists.file("playlists.parquet")), PLAYLISTS)
    stored, made = _without(stored, forgotten), _without(made, forgotten)
    return StoredRows(
        stored=len(stored),
        expected=len(made),
        left_out=state.left_out,
        different=_differences(stored, made),
    )


def _without(table: pa.Table, users: Collection[str]) -> pa.Table:
    named = pa.array(sorted(users), pa.string())
    return table.filter(pc.invert(pc.is_in(table["user_id"], named)))


def _differences(stored: pa.Table, made: pa.Table) -> int:
    if stored.select(made.schema.names).equals(made):
        return 0
    ours = {row["user_id"]: row for row in made.to_pylist()}
    theirs = {row["user_id"]: row for row in stored.to_pylist()}
    return sum(theirs.get(user) != ours.get(user) for user in ours.keys() | theirs.keys())
