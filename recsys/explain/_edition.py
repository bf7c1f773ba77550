"""What an edition's playlists were made from, read back from its artefacts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys import models
from recsys.artefact import Artefact, exists
from recsys.candidates import Candidates
from recsys.eligibility import barred_songs
from recsys.errors import ArtefactError, PlanError
from recsys.fresh import new_songs, older_tracks
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, RotatedItems
from recsys.plan import Plan, pinned_playlists
from recsys.playlists import Artists, artist_codes, popular_songs
from recsys.settings import PlaylistsSettings
from recsys.weeks import Week


@dataclass(frozen=True)
class MadeEdition:
    """An edition, as it was made.

    Attributes:
        week: of the edition.
        revision: its revision.
        matrix: who held to what, and who had heard what.
        model: the model that was shipped.
        candidates: of every eligible user.
        playlists: ``playlists.parquet``.
        cooling: ``playlists.parquet`` of the editions whose tracks rested, by edition and revision.
        taste: the taste state, or None where it is gone: then nobody knows when a song was heard.
        blocked: tracks that nobody could get when it was planned.
        rules: the settings it was made by.
        new: bool ``[songs]``: what ``freshness`` favoured; None for nothing.
    """

    week: Week
    revision: int
    matrix: TasteMatrix
    model: ALSModel
    candidates: Candidates
    playlists: Path
    cooling: Mapping[str, Path]
    taste: Path | None
    blocked: frozenset[str]
    rules: PlaylistsSettings
    new: npt.NDArray[np.bool_] | None

    @cached_property
    def rotated(self) -> RotatedItems:
        """The item factors, made ready for taking scores apart."""
        return self.model.rotated()

    @cached_property
    def artists(self) -> Artists:
        """The credited artists of each song."""
        return artist_codes(self.matrix.songs)

    @cached_property
    def barred(self) -> npt.NDArray[np.bool_]:
        """Bool ``[songs]``: blocked or unavailable."""
        return barred_songs(self.matrix, self.blocked)

    @cached_property
    def popular(self) -> npt.NDArray[np.int32]:
        """The available songs, most popular first."""
        return popular_songs(self.matrix.songs)


def open_edition(home: Home, folder: Path, listener: str | None = None) -> MadeEdition:
    """Read an edition back.

    Args:
        home: the home that the edition is in.
        folder: the edition's folder.
        listener: the one it is asked about; of an edition that Spark made no other is then read.

    Raises:
        ArtefactError: an artefact that explains the playlists is not there, or is not the one that
            the plan pinned.
    """
    stages = ("plan", "matrix", "als_model", "candidates", "playlists")
    gone = [name for name in stages if not exists(folder / name)]
    if gone:
        why = "was cleaned away" if home.cleaned(folder).exists() else "is not finished"
        raise ArtefactError(
            f"{folder} has no {', '.join(gone)}, so its playlists cannot be explained: the edition "
            f"{why}. Explain another one."
        )
    plan = Plan.load(folder / "plan")
    matrix = TasteMatrix.load(Artefact.open(folder / "matrix").path, listener)
    rules = _rules(plan)
    older = older_tracks(plan, home, rules)
    return MadeEdition(
        week=plan.week,
        revision=int(plan.document["revision"]),
        matrix=matrix,
        model=models.load(Artefact.open(folder / "als_model").path).with_users_of(matrix),
        candidates=Candidates.load(Artefact.open(folder / "candidates").path, matrix),
        playlists=Artefact.open(folder / "playlists").file("playlists.parquet"),
        cooling=_cooling(plan, home),
        taste=_taste(plan, home),
        blocked=plan.blocked,
        rules=rules,
        new=None if older is None else new_songs(matrix, older, spill=home.root),
    )


def _rules(plan: Plan) -> PlaylistsSettings:
    """The rules as they were; a rule that was not there yet was off, which is its default."""
    known = {field.name for field in dataclasses.fields(PlaylistsSettings)}
    then = plan.document["settings"]["playlists"]
    return PlaylistsSettings(**{key: value for key, value in then.items() if key in known})


def _cooling(plan: Plan, home: Home) -> dict[str, Path]:
    try:
        return {
            f"{one['edition']} r{one['revision']}": pinned_playlists(home, one)
            for one in plan.cooling
        }
    except PlanError as error:
        raise ArtefactError(str(error)) from error


def _taste(plan: Plan, home: Home) -> Path | None:
    try:
        return Artefact.open(home.taste(plan.week)).file("taste.parquet")
    except ArtefactError:
        return None
