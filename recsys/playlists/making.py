"""From candidates to the files of an edition's playlists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._pipelined import pipelined
from recsys._tables import ROW_GROUP
from recsys.candidates import Candidates
from recsys.eligibility import barred_songs, cooling_songs
from recsys.fresh import new_songs, older_tracks
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.plan import Plan, cooling_playlists
from recsys.playlists._rules import RULES, Artists, make_lists
from recsys.playlists._table import (
    artist_codes,
    count_kinds,
    default_list,
    playlist_batches,
    popular_songs,
    refused_users,
)
from recsys.publishing import ENCODED
from recsys.reasons import reasons
from recsys.rerank import rerank
from recsys.schemas import CODED_PLAYLISTS
from recsys.settings import PlaylistsSettings
from recsys.store import playlists_digest
from recsys.weeks import Week

#: Room for the ids or names of a million tracks: with dictionaries, publishing hashes each once.
_DICTIONARY_BYTES: Final = 2**25
_FLAT: Final = (c.EDITION, c.USER_ID, c.KIND, c.VALID_FROM, c.VALID_UNTIL)
#: What is written by dictionaries: scores hardly repeat.
_REPEATING: Final = (
    *_FLAT,
    *ENCODED,
    f"{c.RELAXED}.list.element",
    f"{c.TRACKS}.list.element.{c.POSITION}",
    f"{c.SPARES}.list.element.{c.NOT_AT}.list.element",
)


@dataclass(frozen=True, eq=False)
class Recipe:
    """What all playlists of an edition are made by, whoever they are for; from :func:`recipe_of`.

    Attributes:
        week: the edition.
        settings: the rules.
        popular: int32, the songs that may fill a list up, best first.
        popularity: float64 ``[songs]``.
        artists: the credited artists of each song.
        barred: bool ``[songs]``: blocked or unavailable.
        new: bool ``[songs]``: what ``freshness`` favours; None for nothing.
    """

    week: Week
    settings: PlaylistsSettings
    popular: npt.NDArray[np.int32]
    popularity: npt.NDArray[np.float64]
    artists: Artists
    barred: npt.NDArray[np.bool_]
    new: npt.NDArray[np.bool_] | None

    @property
    def rules(self) -> dict[str, Any]:
        """The arguments that :func:`make_lists` and :func:`default_list` have in common."""
        names = ("popular", "popularity", "artists", "barred", "settings")
        return {name: getattr(self, name) for name in names}


def recipe_of(
    matrix: TasteMatrix,
    *,
    blocked: Collection[str],
    week: Week,
    settings: PlaylistsSettings,
    older: Sequence[Path] | None = None,
    spill: Path,
) -> Recipe:
    """Look at the songs once, for all listeners.

    Args:
        matrix: its songs and tracks; of whom it is plays no part.
        blocked: tracks that nobody may get.
        week: the edition.
        settings: the rules.
        older: from :func:`recsys.fresh.older_tracks`, what is too old to be favoured as fresh.
        spill: a folder for what does not fit into memory.
    """
    return Recipe(
        week=week,
        settings=settings,
        popular=popular_songs(matrix.songs),
        popularity=matrix.songs["popularity"].to_numpy(),
        artists=artist_codes(matrix.songs),
        barred=barred_songs(matrix, blocked),
        new=None if older is None else new_songs(matrix, older, spill=spill),
    )


@dataclass(frozen=True)
class Made:
    """Playlists of some listeners, and how they came out.

    Attributes:
        playlists: of :data:`recsys.schemas.CODED_PLAYLISTS`; made while they are iterated over.
        refused: users without one, with the reason.
        counts: ``eligible``, ``refused``, and how many there are of each kind and with each rule
            that gave way.
    """

    playlists: Iterator[pa.RecordBatch]
    refused: pa.Table
    counts: Counter[str]


def make_slice(
    recipe: Recipe,
    matrix: TasteMatrix,
    model: ALSModel,
    candidates: Candidates,
    *,
    cooling: Sequence[Path],
) -> Made:
    """Make the playlists of the listeners of a matrix, or of a slice of it.

    Args:
        recipe: of the edition.
        matrix: who holds to what.
        model: the model that scored the candidates; it gives the reasons.
        candidates: of every eligible user of ``matrix``.
        cooling: playlists of earlier editions, not to be repeated.
    """
    ordered = rerank(
        candidates,
        matrix,
        model.item_factors,
        artists=recipe.artists,
        new=recipe.new,
        settings=recipe.settings,
    )
    lists = make_lists(
        ordered,
        excluded=matrix.excluded[candidates.users],
        cooling=cooling_songs(matrix, candidates.users, cooling),
        **recipe.rules,
    )
    both, of_lists, of_spares = lists.with_spares()
    because = reasons(model, matrix, both)
    playlists = playlist_batches(lists, matrix, because[of_lists], because[of_spares], recipe.week)
    refused = refused_users(lists, matrix)
    counts = count_kinds(lists)
    for name, bit in RULES.items():
        counts[name] = int(np.count_nonzero(lists.relaxed & bit))
    counts.update(eligible=len(candidates.users), refused=len(refused))
    return Made(playlists, refused, counts)


def written(playlists: Iterable[pa.RecordBatch], path: Path) -> Iterator[pa.RecordBatch]:
    """The same playlists, written to a file so that stores read them fast; all are when it ends.

    A row group is written in another thread, while the next one is made.

    Args:
        playlists: row groups of :data:`recsys.schemas.CODED_PLAYLISTS`.
        path: the file, in :data:`recsys.schemas.PLAYLISTS`.
    """
    with pq.ParquetWriter(
        path,
        CODED_PLAYLISTS,
        compression="zstd",
        use_dictionary=list(_REPEATING),
        dictionary_pagesize_limit=_DICTIONARY_BYTES,
        write_statistics=list(_FLAT),  # nobody looks for a track by those of a list
        store_schema=False,  # readers see nothing of codes
    ) as writer:

        def write(batch: pa.RecordBatch) -> pa.RecordBatch:
            writer.write_batch(batch, row_group_size=ROW_GROUP)
            return batch

        yield from pipelined(write, playlists)


def write_default(recipe: Recipe, matrix: TasteMatrix, out: Path) -> pa.Table:
    """Write the default playlist beside everyone's.

    Args:
        recipe: of the edition.
        matrix: its songs and tracks.
        out: the folder to write into.
    """
    default = default_list(matrix, week=recipe.week, **recipe.rules)
    pq.write_table(default, out / "default.parquet", compression="zstd")
    return default


def facts(digest: str, counts: Counter[str]) -> dict[str, Any]:
    """What is said of an edition's playlists.

    Args:
        digest: the store's, of the edition.
        counts: of all slices together.

    Returns:
        The digest, and how many playlists there are of each kind, how many users are eligible and
        refused, and in how many playlists each rule gave way.
    """
    return {
        "digest": digest,
        "eligible": counts["eligible"],
        "kinds": {kind: counts[kind] for kind in ("personal", "blended", "popular")},
        "refused": counts["refused"],
        "relaxed": {name: counts[name] for name in RULES},
    }


def make_playlists(
    matrix: TasteMatrix,
    model: ALSModel,
    candidates: Candidates,
    *,
    cooling: Sequence[Path],
    blocked: Collection[str],
    week: Week,
    settings: PlaylistsSettings,
    older: Sequence[Path] | None = None,
    out: Path,
) -> dict[str, Any]:
    """Make everyone's playlist and write it under ``out``.

    Writes ``playlists.parquet`` and ``default.parquet`` (:data:`recsys.schemas.PLAYLISTS`), and
    ``refused.parquet``: eligible users without a playlist, with the reason.

    Args:
        matrix: who holds to what.
        model: the model that scored the candidates; it gives the reasons.
        candidates: of every eligible user.
        cooling: playlists of earlier editions, not to be repeated.
        blocked: tracks that nobody may get.
        week: the edition.
        settings: the rules.
        older: from :func:`recsys.fresh.older_tracks`, what is too old to be favoured as fresh.
        out: the folder to write into.

    Returns:
        What :func:`facts` says.
    """
    recipe = recipe_of(
        matrix, blocked=blocked, week=week, settings=settings, older=older, spill=out
    )
    made = make_slice(recipe, matrix, model, candidates, cooling=cooling)
    pq.write_table(made.refused, out / "refused.parquet", compression="zstd")
    default = write_default(recipe, matrix, out)
    digest = playlists_digest(written(made.playlists, out / "playlists.parquet"), default)
    return facts(digest, made.counts)


def edition_playlists(
    plan: Plan,
    home: Home,
    model: ALSModel,
    matrix: TasteMatrix,
    candidates: Candidates,
    *,
    settings: PlaylistsSettings,
    out: Path,
) -> dict[str, Any]:
    """Make everyone's playlist of an edition, as its plan wants it (:func:`make_playlists`)."""
    return make_playlists(
        matrix,
        model,
        candidates,
        cooling=cooling_playlists(plan, home),
        blocked=plan.blocked,
        week=plan.week,
        settings=settings,
        older=older_tracks(plan, home, settings),
        out=out,
    )
