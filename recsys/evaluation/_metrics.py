"""Accuracy of a ranking, listener by listener."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.evaluation._kernel import stored
from recsys.evaluation._truth import Truth
from recsys.models import CUTOFF as CUTOFF
from recsys.models import Ranking
from recsys.models._objective import index_arrays

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metrics:
    """Accuracy of the first ``k`` of a ranking, listener by listener, beside ``Truth.users``.

    With ``rel(p)`` 1 where the song at position ``p`` (from 1) is in the truth and 0 elsewhere, and
    ``R`` the number of songs in the truth:

    Attributes:
        recall: ``sum of rel(p) over p <= k``, over ``R``. It stays below 1 where ``R > k``.
        ndcg: binary normalised discounted cumulative gain (Järvelin and Kekäläinen 2002, with the
            usual ``log2(p + 1)`` in place of their ``log2(p)``): the sum of ``rel(p) / log2(p +
            1)``, over that of ``min(k, R)`` hits in front.
        hit: 1 where any song of the first ``k`` is in the truth, else 0; its mean is the hit rate.
        average_precision: the sum of ``rel(p) * (hits up to p) / p``, over ``R`` (Manning, Raghavan
            and Schütze 2008, section 8.4; ``map_cut`` of trec_eval); its mean is MAP. It is *not*
            over ``min(k, R)``, so that a song that was missed counts for nothing, as in recall.
    """

    recall: Scores
    ndcg: Scores
    hit: Scores
    average_precision: Scores

    def named(self, k: int = CUTOFF) -> dict[str, Scores]:
        """Each metric by the name it goes by in files and in MLflow, such as ``ndcg_at_30``."""
        return {
            f"recall_at_{k}": self.recall,
            f"ndcg_at_{k}": self.ndcg,
            f"hit_rate_at_{k}": self.hit,
            f"map_at_{k}": self.average_precision,
        }


def score(ranking: Ranking, truth: Truth, k: int = CUTOFF) -> Metrics:
    """Score the first ``k`` songs of each listener's ranking, by the formulas of :class:`Metrics`.

    A listener with a shorter list is scored on what there is. One without any truth (there is none
    in what :func:`truth` returns) scores 0.

    >>> import numpy as np
    >>> from scipy.sparse import csr_matrix
    >>> ranking = Ranking(np.array([0, 3]), np.array([5, 2, 7], np.int32), np.zeros(3))
    >>> heard = csr_matrix(([True, True], ([0, 0], [2, 9])), (1, 10))
    >>> metrics = score(ranking, Truth(np.array([0], np.int32), heard, {}))
    >>> {name: round(float(values[0]), 4) for name, values in metrics.named().items()}
    {'recall_at_30': 0.5, 'ndcg_at_30': 0.3869, 'hit_rate_at_30': 1.0, 'map_at_30': 0.25}
    """
    users = truth.songs.shape[0]
    row, position = positions(ranking)
    wanted = np.diff(truth.songs.indptr)
    hit = (position < k) & stored(*index_arrays(truth.songs), row, ranking.songs)
    row, position = row[hit], position[hit]

    gain = 1 / np.log2(np.arange(k) + 2)
    best = np.concatenate([[0.0], np.cumsum(gain)])[np.minimum(wanted, k)]
    hits = np.bincount(row, minlength=users)
    # Hits come row by row and in order: the number of a hit within its row counts those up to it.
    number = np.arange(len(row)) - np.repeat(np.cumsum(hits) - hits, hits) + 1
    gained = np.bincount(row, gain[position], minlength=users)
    precision = np.bincount(row, number / (position + 1), minlength=users)
    some = np.maximum(wanted, 1)
    return Metrics(
        recall=hits / some,
        ndcg=gained / np.where(wanted > 0, best, 1),
        hit=(hits > 0).astype(np.float64),
        average_precision=precision / some,
    )


def positions(ranking: Ranking) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The row, and the position from 0, of each song of a ranking."""
    lengths = np.diff(ranking.offsets)
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(ranking.songs)) - np.repeat(ranking.offsets[:-1], lengths)
