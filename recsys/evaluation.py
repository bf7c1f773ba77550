"""How well a model finds what listeners went on to hear for the first time.

The task is the product's own: from everything known at the base, rank the songs a listener has
*not* heard, and see which of them were heard in the week after. Hearing an old song again counts
neither for nor against. Every model is scored on the same base, the same listeners and the same
songs, so that two of them can be compared listener by listener.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, Ranking, rank

#: The length of the lists that are scored.
CUTOFF: Final = 30
_RESAMPLES: Final = 1000

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What listeners of a base heard for the first time in the week after it.

    Attributes:
        users: int32 ``[n]``, ascending rows of the base: eligible, with some positive strength
            (nobody can rank for the others), and with at least one song in ``songs``.
        songs: bool ``[n, songs]``, row by row beside ``users``.
        dropped: plays (user, track pairs) that take no part, by reason: ``unknown_user``,
            ``not_rankable`` (a user who is not eligible or without strength), ``unknown_track``,
            ``excluded`` (heard or disliked before).
    """

    users: npt.NDArray[np.int32]
    songs: csr_matrix
    dropped: dict[str, int]


@dataclass(frozen=True)
class Metrics:
    """Quality of one ranking, listener by listener, beside ``Truth.users``.

    Attributes:
        recall: hits in the first ``k`` over all songs of the truth.
        ndcg: discounted gain of the hits over that of the best possible list.
    """

    recall: Scores
    ndcg: Scores


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval, over so many users."""

    mean: float
    low: float
    high: float
    users: int


def truth(base: TasteMatrix, plays: pa.Table) -> Truth:
    """Find what is to be predicted.

    Args:
        base: the matrix before the week.
        plays: user_id and track_id of what was played in the week; repeats do no harm.
    """
    pairs = plays.select([c.USER_ID, c.TRACK_ID]).group_by([c.USER_ID, c.TRACK_ID]).aggregate([])
    user = _places(pairs[c.USER_ID], base.users[c.USER_ID])
    track = _places(pairs[c.TRACK_ID], base.tracks[c.TRACK_ID])
    rankable = base.users["eligible"].to_numpy() & (np.diff(base.strength.indptr) > 0)
    dropped = {}

    def keep(which: npt.NDArray[np.bool_], reason: str) -> None:
        nonlocal user, track
        dropped[reason] = int(len(which) - which.sum())
        user, track = user[which], track[which]

    keep(user >= 0, "unknown_user")
    keep(rankable[user], "not_rankable")
    keep(track >= 0, "unknown_track")
    song = base.tracks["song"].to_numpy()[track]
    found = csr_matrix((np.ones(len(user), np.int32), (user, song)), base.strength.shape)
    known = found.multiply(base.excluded).tocsr()
    dropped["excluded"] = int(known.sum())
    found = found - known
    found.eliminate_zeros()
    found.sort_indices()
    users = np.flatnonzero(np.diff(found.indptr)).astype(np.int32)
    return Truth(users, found[users].astype(bool), dropped)


def recommend(
    model: ALSModel, base: TasteMatrix, users: npt.NDArray[np.int32], k: int = CUTOFF
) -> Ranking:
    """Rank ``k`` songs for each of ``users``, as ``model`` would from what ``base`` knows of them.

    The listeners are folded into the model's item factors from their rows of ``base``, whatever
    week it was trained in; so two models of different weeks differ by their item factors alone.
    """
    refolded = model.refolded(base)
    return rank(
        refolded.user_factors[users],
        refolded.item_factors,
        limits=np.full(len(users), k),
        allowed=refolded.learnt,
        excluded=base.excluded,
        rows=users,
        what="Scoring a model",
    )


def recommend_popular(base: TasteMatrix, users: npt.NDArray[np.int32], k: int = CUTOFF) -> Ranking:
    """Rank the ``k`` most popular songs that each of ``users`` has not heard: the baseline."""
    popularity = base.songs["popularity"].to_numpy()
    order = np.lexsort((np.arange(len(popularity)), -popularity))
    standing = np.empty(len(order))
    standing[order] = np.arange(len(order), 0, -1)
    return rank(
        np.ones((len(users), 1)),
        standing[:, None],
        limits=np.full(len(users), k),
        allowed=popularity > 0,
        excluded=base.excluded,
        rows=users,
        what="Scoring popularity",
    )


def score(ranking: Ranking, truth: Truth, k: int = CUTOFF) -> Metrics:
    """Score the first ``k`` songs of each listener's ranking.

    Recall is ``hits / |truth|``, so it stays below 1 for a listener with more than ``k`` songs in
    the truth. nDCG is binary (Järvelin and Kekäläinen 2002): a hit at position ``p`` (from 1) gains
    ``1 / log2(p + 1)``, over the gain of ``min(k, |truth|)`` hits in front.

    >>> ranking = Ranking(np.array([0, 3]), np.array([5, 2, 7], np.int32), np.zeros(3))
    >>> heard = csr_matrix(([True, True], ([0, 0], [2, 9])), (1, 10))
    >>> metrics = score(ranking, Truth(np.array([0], np.int32), heard, {}))
    >>> float(metrics.recall[0]), round(float(metrics.ndcg[0]), 4)
    (0.5, 0.3869)
    """
    users, songs = truth.songs.shape
    lengths = np.diff(ranking.offsets)
    row = np.repeat(np.arange(users), lengths)
    position = np.arange(len(ranking.songs)) - np.repeat(ranking.offsets[:-1], lengths)
    wanted = np.diff(truth.songs.indptr)
    keys = np.repeat(np.arange(users), wanted) * songs + truth.songs.indices
    hit = (position < k) & np.isin(row * songs + ranking.songs, keys)
    gain = 1 / np.log2(np.arange(k) + 2)
    best = np.concatenate([[0.0], np.cumsum(gain)])[np.minimum(wanted, k)]
    hits = np.bincount(row[hit], minlength=users)
    gained = np.bincount(row[hit], gain[position[hit]], minlength=users)
    return Metrics(hits / wanted, gained / best)


def paired(a: Scores, b: Scores, seed: int) -> Interval:
    """The mean of ``a - b`` and its 95% interval, by a seeded percentile bootstrap over users.

    1000 resamples (Efron and Tibshirani 1993, chapter 13). Without users all is zero.

    Args:
        a: float64 ``[users]``, a metric of one model.
        b: float64 ``[users]``, the same of the other, user by user.
        seed: of the resampling.
    """
    difference = a - b
    users = len(difference)
    if not users:
        return Interval(0.0, 0.0, 0.0, 0)
    rng = np.random.default_rng(seed)
    means = [difference[rng.integers(0, users, users)].mean() for _ in range(_RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(difference.mean()), float(low), float(high), users)


def _places(values: pa.ChunkedArray, known: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """The row of each value among ``known``, or -1."""
    found: npt.NDArray[np.int32] = pc.fill_null(pc.index_in(values, value_set=known), -1).to_numpy()
    return found
