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
from implicit.nearest_neighbours import ItemItemRecommender
from scipy.sparse import csr_matrix

from recsys._threads import cores, over_blocks
from recsys.evaluation._kernel import best_neighbours, first_unheard
from recsys.evaluation._metrics import CUTOFF
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, ImplicitALS, Ranking, rank
from recsys.models._objective import index_arrays

POPULARITY: Final = "popularity"

#: Of ``implicit.als.AlternatingLeastSquares`` 0.7.
_IMPLICIT_DEFAULTS: Final[dict[str, Any]] = {
    "factors": 100,
    "regularization": 0.01,
    "alpha": 1.0,
    "iterations": 15,
}

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
    order = np.lexsort((np.arange(len(popularity)), -popularity)).astype(np.int32)
    ranked = order[((popularity > 0) & known_songs(base))[order]]
    standing = np.empty(len(order))
    standing[order] = np.arange(len(order), 0, -1)
    songs = np.zeros((len(users), min(k, len(ranked))), np.int32)
    counts = np.zeros(len(users), np.int64)
    heard = index_arrays(base.excluded)

    def block(start: int, stop: int) -> None:
        first_unheard(ranked, *heard, users[start:stop], songs[start:stop], counts[start:stop])

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
    return _ranking(songs, standing[songs], counts)


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
    similarity = (*index_arrays(model.similarity), model.similarity.data)
    held = (*index_arrays(strength), strength.data)
    excluded = index_arrays(base.excluded)
    width = min(k, strength.shape[1])
    songs = np.zeros((len(users), width), np.int32)
    scores = np.zeros((len(users), width))
    counts = np.zeros(len(users), np.int64)

    def block(start: int, stop: int) -> None:
        own = slice(start, stop)
        best_neighbours(
            held, excluded, similarity, users[own], songs[own], scores[own], counts[own]
        )

    for _ in over_blocks(block, len(users), _USERS_AT_ONCE):
        pass
    return _ranking(songs, scores, counts)


def recommend_als_defaults(
    base: TasteMatrix, users: Users, k: int = CUTOFF, *, seed: int
) -> Ranking:
    """Rank by what ``implicit``'s ``AlternatingLeastSquares`` is with its own defaults.

    It is given the decayed, weighted events of each listener and song as they are, which is what
    its own tutorial does with play counts. Our solver trains it: under the same objective it comes
    to the same loss in a third of the time (``benchmarks/solver.py``).
    """
    model = ImplicitALS(random_state=seed, **_IMPLICIT_DEFAULTS)
    model.fit(events(base), show_progress=False)
    return rank(
        model.user_factors[users].astype(np.float64),
        model.item_factors,
        limits=np.full(len(users), k),
        allowed=known_songs(base),
        excluded=base.excluded,
        rows=users,
        what="Scoring ALS with implicit's defaults",
    )


def events(base: TasteMatrix) -> csr_matrix:
    """The decayed, weighted events behind each strength: float32 ``[users, songs]``."""
    found = base.strength.astype(np.float32)
    found.data = np.expm1(base.strength.data)
    return found


def known_songs(base: TasteMatrix) -> npt.NDArray[np.bool_]:
    """Bool ``[songs]``: the songs that anybody holds to; no other can be ranked."""
    return np.asarray(base.songs["listeners"].to_numpy() > 0)


def _ranking(
    songs: npt.NDArray[np.int32], scores: npt.NDArray[np.float64], counts: npt.NDArray[np.int64]
) -> Ranking:
    """The first ``counts`` of each row, one below the other."""
    filled = np.arange(songs.shape[1]) < counts[:, None]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    return Ranking(offsets, songs[filled], scores[filled])
