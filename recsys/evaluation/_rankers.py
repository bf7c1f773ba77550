"""Rankings of the songs that listeners have not heard: by a model of ours, and by the baselines.

All stand on one base, serve the same listeners, and leave out exactly what the listener has heard
or disliked, and songs that nobody holds to.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.sparse import csr_matrix

from recsys._threads import cores, one_blas_thread
from recsys.evaluation._metrics import CUTOFF
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, Ranking, rank

POPULARITY: Final = "popularity"

_USERS_AT_ONCE: Final = 1024

Users = npt.NDArray[np.int32]


def recommend(model: ALSModel, base: TasteMatrix, users: Users, k: int = CUTOFF) -> Ranking:
    """Rank ``k`` songs for each of ``users``, as ``model`` would from what ``base`` knows of them.

    The listeners are folded into the model's item factors from their rows of ``base``, whatever
    week it was trained in; so two models of different weeks differ by their item factors alone.
    """
    known = base.strength[users]
    asked = replace(base, users=base.users.take(pa.array(users)), strength=known)
    refolded = model.refolded(asked)
    return rank(
        refolded.user_factors,
        refolded.item_factors,
        limits=np.full(len(users), k),
        allowed=refolded.learnt,
        excluded=base.excluded,
        rows=users,
        what="Scoring a model",
    )


def recommend_baselines(
    names: Collection[str],
    base: TasteMatrix,
    users: Users,
    k: int = CUTOFF,
    *,
    recent: npt.NDArray[np.int64],
    seed: int,
) -> dict[str, Ranking]:
    """Rank by popularity, and by each other baseline that is named.

    Args:
        names: of :data:`recsys.settings.BASELINES`.
        base: what is known.
        users: rows of ``base``.
        k: the length of the lists.
        recent: int64 ``[songs]``, listeners of the last four weeks.
        seed: of the baselines that have one.
    """
    rankings = {POPULARITY: recommend_popular(base, users, k)}
    if "recent_popularity" in names:
        rankings["recent_popularity"] = recommend_popular(base, users, k, popularity=recent)
    if "item_knn" in names:
        rankings["item_knn"] = recommend_neighbours(base, users, k)
    if "als_defaults" in names:
        rankings["als_defaults"] = recommend_als_defaults(base, users, k, seed=seed)
    return rankings


def recommend_popular(
    base: TasteMatrix,
    users: Users,
    k: int = CUTOFF,
    *,
    popularity: npt.NDArray[Any] | None = None,
) -> Ranking:
    """Rank the ``k`` most popular songs that each of ``users`` has not heard.

    Args:
        base: what is known.
        users: rows of ``base``.
        k: the length of the lists.
        popularity: ``[songs]``, songs at 0 are left out; by default that of ``base``, the sum over
            listeners of how strongly they hold to the song.
    """
    if popularity is None:
        popularity = base.songs["popularity"].to_numpy()
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    standing = np.empty(len(order))
    standing[order] = np.arange(len(order), 0, -1)
    return rank(
        np.ones((len(users), 1)),
        standing[:, None],
        limits=np.full(len(users), k),
        allowed=(popularity > 0) & known_songs(base),
        excluded=base.excluded,
        rows=users,
        what="Scoring popularity",
    )


def recommend_neighbours(base: TasteMatrix, users: Users, k: int = CUTOFF) -> Ranking:
    """Rank by what is held to together: item-kNN (Sarwar et al. 2001).

    A song's score for a listener is the sum, over the songs that the listener holds to, of strength
    times cosine; each song has its 20 nearest neighbours. That is ``implicit``'s
    ``CosineRecommender`` with its defaults, which itself warns of a matrix it makes. Songs that are
    no neighbour of anything held to are not ranked, so a list may be short.
    """
    strength = base.strength.astype(np.float64)
    length = np.sqrt(np.bincount(strength.indices, strength.data**2, strength.shape[1]))
    unit = csr_matrix(
        (strength.data / length[strength.indices], strength.indices, strength.indptr),
        strength.shape,
    )
    model = ItemItemRecommender(num_threads=cores())
    model.fit(unit, show_progress=False)
    lists = []
    for start in range(0, len(users), _USERS_AT_ONCE):
        rows = users[start : start + _USERS_AT_ONCE]
        scores = (strength[rows] @ model.similarity).tocsr()
        lists.append(_best(scores, base.excluded[rows], k))
    return _one_below_the_other(lists)


def recommend_als_defaults(
    base: TasteMatrix, users: Users, k: int = CUTOFF, *, seed: int
) -> Ranking:
    """Rank by ``implicit``'s ``AlternatingLeastSquares`` with its own defaults.

    It is given the decayed, weighted events of each listener and song as they are, which is what
    its own tutorial does with play counts.
    """
    with one_blas_thread():
        model = AlternatingLeastSquares(random_state=seed, num_threads=cores())
        model.fit(events(base), show_progress=False)
    return rank(
        model.user_factors[users].astype(np.float64),
        model.item_factors,
        limits=np.full(len(users), k),
        allowed=known_songs(base),
        excluded=base.excluded,
        rows=users,
        what="Scoring implicit's ALS",
    )


def events(base: TasteMatrix) -> csr_matrix:
    """The decayed, weighted events behind each strength: float32 ``[users, songs]``."""
    found = base.strength.astype(np.float32)
    found.data = np.expm1(base.strength.data)
    return found


def known_songs(base: TasteMatrix) -> npt.NDArray[np.bool_]:
    """Bool ``[songs]``: the songs that anybody holds to; no other can be ranked."""
    return np.asarray(base.songs["listeners"].to_numpy() > 0)


def _best(scores: csr_matrix, excluded: csr_matrix, k: int) -> Ranking:
    """The ``k`` largest positive scores of each row that are not excluded; equal ones by song."""
    users, songs = scores.shape
    row = np.repeat(np.arange(users), np.diff(scores.indptr))
    heard = np.repeat(np.arange(users), np.diff(excluded.indptr)) * songs + excluded.indices
    kept = (scores.data > 0) & ~np.isin(row * songs + scores.indices, heard)
    row, song, value = row[kept], scores.indices[kept], scores.data[kept].round(6)
    order = np.lexsort((song, -value, row))
    row, song, value = row[order], song[order], value[order]
    counts = np.bincount(row, minlength=users)
    first = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) < k
    offsets = np.concatenate([[0], np.cumsum(np.minimum(counts, k))])
    return Ranking(offsets, song[first].astype(np.int32), value[first])


def _one_below_the_other(lists: list[Ranking]) -> Ranking:
    lengths = np.concatenate([np.zeros(0, np.int64), *(np.diff(one.offsets) for one in lists)])
    return Ranking(
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        songs=np.concatenate([np.zeros(0, np.int32), *(one.songs for one in lists)]),
        scores=np.concatenate([np.zeros(0), *(one.scores for one in lists)]),
    )
