"""What item factors know of a sample of listeners: for comparing factors of different weeks.

Factors of any model are put under the songs of one matrix, and the same listeners are folded into
them exactly; so two models differ by their item factors alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from recsys import columns as c
from recsys.matrix import TasteMatrix
from recsys.models._als import ALSModel, aligned, strings
from recsys.models._fold_in import Floats, fold_in, rotate
from recsys.models._loss import loss
from recsys.models._objective import Objective, confidences
from recsys.models._rank import Ranking, rank
from recsys.settings import AlsSettings

#: Length of the lists.
CUTOFF: Final = 30
_LISTENERS: Final = 1000
#: With fewer songs there is nothing to hide, or nothing to show.
_LEAST_SONGS: Final = 2


@dataclass(frozen=True)
class Sample:
    """Some listeners of a matrix, and the half of their songs that is hidden.

    Attributes:
        rows: int64 ``[n]``, ascending rows of the matrix: at most 1000, drawn by a seed among
            those who hold to two songs or more.
        strength: float32 ``[n, songs]``, all that they hold to.
        shown: float32 ``[n, songs]``, one half of it, drawn by the seed.
        hidden: bool ``[n, songs]``, the other half.
        excluded: bool ``[n, songs]``, what they must not be recommended.
    """

    rows: npt.NDArray[np.int64]
    strength: csr_matrix
    shown: csr_matrix
    hidden: csr_matrix
    excluded: csr_matrix

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Knowledge:
    """What factors make of a sample.

    Attributes:
        factors: float64 ``[n, factors]``, the listeners folded in from all they hold to.
        loss: the objective per unit of confidence, over these listeners and all songs.
        recall: known-item recall: folded in from the songs shown, the share of the hidden ones
            (of 30, where more are hidden) among the best 30 that are not shown; the mean.
        lists: the best 30 songs that are not excluded.
    """

    factors: Floats
    loss: float
    recall: float
    lists: Ranking


def draw_sample(matrix: TasteMatrix, seed: int) -> Sample:
    """Draw listeners, and which half of their songs is hidden."""
    rng = np.random.default_rng(seed)
    rows = np.flatnonzero(np.diff(matrix.strength.indptr) >= _LEAST_SONGS)
    rows = np.sort(rng.choice(rows, min(len(rows), _LISTENERS), replace=False))
    strength = matrix.strength[rows]
    held = np.diff(strength.indptr)
    row = np.repeat(np.arange(len(rows)), held)
    by_lot = np.lexsort((rng.random(strength.nnz), row))
    hidden = np.empty(strength.nnz, bool)
    hidden[by_lot] = np.arange(strength.nnz) - strength.indptr[row] < (held // 2)[row]
    return Sample(
        rows=rows,
        strength=strength,
        shown=_entries(strength, row, ~hidden),
        hidden=_entries(strength, row, hidden).astype(bool),
        excluded=matrix.excluded[rows],
    )


def items_of(model: ALSModel, matrix: TasteMatrix) -> npt.NDArray[np.float32]:
    """The model's item factors under the songs of a matrix; zero for songs it does not know."""
    return aligned(model.item_factors, model.song_keys, strings(matrix.songs, c.SONG_KEY))


def knowledge(items: npt.NDArray[np.float32], sample: Sample, settings: AlsSettings) -> Knowledge:
    """What item factors make of a sample.

    Args:
        items: float32 ``[songs, factors]``, under the songs of the sample's matrix.
        sample: the listeners.
        settings: confidence and regularization by which they are folded in.
    """
    objective = Objective.of(settings)
    songs = rotate(items, objective)
    confidence = confidences(sample.strength, settings.alpha)
    factors = fold_in(songs, confidence)
    shown = fold_in(songs, confidences(sample.shown, settings.alpha))
    return Knowledge(
        factors=factors,
        loss=loss(confidence, factors, items, objective),
        recall=_recall(_best(shown, items, sample.shown), sample.hidden),
        lists=_best(factors, items, sample.excluded),
    )


def popularity_recall(popularity: Floats, sample: Sample) -> float:
    """Known-item recall of the most popular songs."""
    standing = np.empty(len(popularity), np.float32)
    standing[np.argsort(popularity, kind="stable")] = np.arange(1, len(popularity) + 1)
    return _recall(_best(np.ones((len(sample), 1)), standing[:, None], sample.shown), sample.hidden)


def list_overlaps(a: Ranking, b: Ranking) -> Floats:
    """The share of songs that two rankings of the same users have in common: float64 ``[users]``.

    Of the longer list; nan for users with two empty lists.
    """
    lengths = np.diff(a.offsets), np.diff(b.offsets)
    longer = np.maximum(*lengths)
    row = [np.repeat(np.arange(len(n), dtype=np.int64), n) for n in lengths]
    songs = max((int(one.songs.max(initial=0)) for one in (a, b)), default=0) + 1
    both = np.isin(row[0] * songs + a.songs, row[1] * songs + b.songs)
    common = np.bincount(row[0][both], minlength=len(longer))
    shares = np.full(len(longer), np.nan)
    np.divide(common, longer, out=shares, where=longer > 0)
    return shares


def _entries(
    matrix: csr_matrix, row: npt.NDArray[np.intp], which: npt.NDArray[np.bool_]
) -> csr_matrix:
    return csr_matrix((matrix.data[which], (row[which], matrix.indices[which])), matrix.shape)


def _best(users: Floats, items: npt.NDArray[np.float32], out: csr_matrix) -> Ranking:
    return rank(
        users,
        items,
        limits=np.full(len(users), CUTOFF),
        allowed=np.asarray(items.any(axis=1)),
        excluded=out,
        rows=np.arange(len(users), dtype=np.int32),
        what="Looking at the factors",
    )


def _recall(ranking: Ranking, wanted: csr_matrix) -> float:
    users, songs = wanted.shape
    row = np.repeat(np.arange(users, dtype=np.int64), np.diff(ranking.offsets))
    held = np.diff(wanted.indptr)
    keys = np.repeat(np.arange(users, dtype=np.int64), held) * songs + wanted.indices
    hits = np.bincount(row[np.isin(row * songs + ranking.songs, keys)], minlength=users)
    return float((hits / np.minimum(held, CUTOFF)).mean()) if users else 0.0
