"""From candidates to the files of an edition's playlists."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys._tables import ROW_GROUP
from recsys.candidates import Candidates
from recsys.eligibility import barred_songs, cooling_songs
from recsys.fresh import new_songs, older_tracks
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.plan import Plan, cooling_playlists
from recsys.playlists._rules import RULES, make_lists
from recsys.playlists._table import artist_codes, default_list, playlist_table, popular_songs
from recsys.publishing import edition_digest
from recsys.reasons import reasons
from recsys.rerank import rerank
from recsys.settings import PlaylistsSettings
from recsys.weeks import Week

#: Room for the ids or names of a million tracks: with dictionaries, publishing hashes each once.
_DICTIONARY_BYTES: Final = 2**25


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
        The store's digest of the edition, and how many playlists there are of each kind, how many
        users are eligible and refused, and in how many playlists each rule gave way.
    """
    artists = artist_codes(matrix.songs)
    common: dict[str, Any] = {
        "popular": popular_songs(matrix.songs),
        "popularity": matrix.songs["popularity"].to_numpy(),
        "artists": artists,
        "barred": barred_songs(matrix, blocked),
        "settings": settings,
    }
    ordered = rerank(
        candidates,
        matrix,
        model.item_factors,
        artists=artists,
        new=None if older is None else new_songs(matrix, older, spill=out),
        settings=settings,
    )
    lists = make_lists(
        ordered,
        excluded=matrix.excluded[candidates.users],
        cooling=cooling_songs(matrix, candidates.users, cooling, spill=out),
        **common,
    )
    both, of_lists, of_spares = lists.with_spares()
    because = reasons(model, matrix, both)
    table, refused = playlist_table(lists, matrix, because[of_lists], because[of_spares], week)
    default = default_list(matrix, week=week, **common)
    for name, rows in (("playlists", table), ("refused", refused), ("default", default)):
        pq.write_table(
            rows,
            out / f"{name}.parquet",
            compression="zstd",
            row_group_size=ROW_GROUP,
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
        )
    return {
        "digest": edition_digest(out),
        "eligible": len(candidates.users),
        "kinds": _kinds(table),
        "refused": len(refused),
        "relaxed": {
            name: int(np.count_nonzero(lists.relaxed & bit)) for name, bit in RULES.items()
        },
    }


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


def _kinds(table: pa.Table) -> dict[str, int]:
    counted = pc.value_counts(table["kind"]).to_pylist()
    found = {one["values"]: one["counts"] for one in counted}
    return {kind: found.get(kind, 0) for kind in ("personal", "blended", "popular")}
