"""What lists are like, apart from their hits: how many songs they reach, and which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from scipy.sparse import csr_matrix

from recsys._threads import over_blocks
from recsys.evaluation._kernel import any_stored, similarity_within, stored
from recsys.evaluation._metrics import Scores, positions
from recsys.evaluation._rankers import known_songs
from recsys.matrix import TasteMatrix
from recsys.models import Ranking
from recsys.models._objective import index_arrays, sorted_arrays

#: Lists looked at for the diversity within them.
_DIVERSITY_LISTS: Final = 1000
_LISTS_AT_ONCE: Final = 64

Values = npt.NDArray[np.float64]


class BeyondAccuracy:
    """Measures lists of the same listeners on the same base, so that models compare.

    Nothing here stands on the factors of a model: a model would look diverse by its own measure.
    What is a mean is one over listeners, of the mean over the songs of their list.
    """

    def __init__(
        self,
        base: TasteMatrix,
        users: npt.NDArray[np.int32],
        *,
        popular: Ranking,
        previous: csr_matrix | None = None,
        holders: int | None = None,
    ) -> None:
        """Make ready what all lists share.

        Args:
            base: what is known.
            users: rows of ``base``, one per list.
            popular: popularity's lists of these users.
            previous: ``[users, songs]``, the songs of each user's playlist in an earlier edition.
            holders: how many listeners hold to a song, where ``base`` has some of them only.
        """
        self._users, self._songs = len(users), len(base.songs)
        self._known = known_songs(base)
        listeners = base.songs["listeners"].to_numpy()
        here = int(np.count_nonzero(np.diff(base.strength.indptr)))
        of = max(here if holders is None else holders, 1)
        self._information = -np.log2(np.maximum(listeners, 1) / of)
        artists = _artists(base)
        self._artists = index_arrays(artists)
        self._heard_artists = sorted_arrays(base.excluded[users].astype(np.int32) @ artists)
        self._listeners = base.strength.tocsc()
        lists = (np.ones(len(popular.songs), bool), popular.songs, popular.offsets)
        self._popular = sorted_arrays(csr_matrix(lists, (self._users, self._songs)))
        self._previous = None if previous is None else sorted_arrays(previous)

    def of(
        self, ranking: Ranking, by_listener: Mapping[str, Scores] | None = None
    ) -> dict[str, float | None]:
        """Measure lists, one per user.

        Args:
            ranking: the lists.
            by_listener: from :meth:`by_listener`, where it is at hand.

        Returns:
            - ``coverage``: songs that are in any list, over the songs that anybody holds to
              (*catalogue coverage*, Ge et al. 2010);
            - ``gini``: how unequally the places in lists are shared among these songs; 0 where each
              is in as many, towards 1 where few songs take all (Castells, Hurley and Vargas 2022);
            - ``novelty``: mean self-information ``-log2(listeners of the song / listeners)``, in
              bits (Vargas and Castells 2011);
            - ``unheard_artists``: share of songs of which the listener has heard no credited
              artist, in any song; None where no song has an artist;
            - ``intra_list_diversity``: mean distance of any two songs of a list (Ziegler et al.
              2005), which is 1 less the cosine of the sets of their listeners; of at most 1000
              lists, evenly picked; None where no list has two songs;
            - ``overlap_previous``: share of songs that were in the listener's playlist of an
              earlier edition, among listeners who had one (1 less the temporal diversity of Lathia
              et al. 2010); None where nobody had;
            - ``popularity_overlap``: share of songs that are in popularity's list for the listener.

            Where all lists are empty, ``novelty`` and ``popularity_overlap`` are 0.
        """
        times = np.bincount(ranking.songs, minlength=self._songs)[self._known]
        each = self.by_listener(ranking) if by_listener is None else by_listener
        means = {name: _mean(values) for name, values in each.items()}
        return {
            "coverage": _rounded(np.count_nonzero(times) / max(len(times), 1)),
            "gini": _rounded(gini(times)),
            **means,
            "novelty": means["novelty"] or 0.0,
            "popularity_overlap": means["popularity_overlap"] or 0.0,
        }

    def by_listener(self, ranking: Ranking) -> dict[str, Scores]:
        """What :meth:`of` takes the mean of: float64 ``[users]``, NaN for a list without."""
        row, _ = positions(ranking)
        previous = np.full(self._users, np.nan)
        if self._previous is not None:
            had = np.diff(self._previous[0])[row] > 0
            again = stored(*self._previous, row[had], ranking.songs[had])
            previous = self._means(row[had], again)
        return {
            "novelty": self._means(row, self._information[ranking.songs]),
            "unheard_artists": self._unheard_artists(row, ranking.songs),
            "intra_list_diversity": self._diversity(ranking),
            "overlap_previous": previous,
            "popularity_overlap": self._means(row, stored(*self._popular, row, ranking.songs)),
        }

    def _means(self, row: npt.NDArray[np.int64], values: npt.NDArray[np.generic]) -> Scores:
        """The mean over each user's values; NaN without any."""
        counts = np.bincount(row, minlength=self._users)
        sums = np.bincount(row, values, minlength=self._users)
        means: Scores = np.full(self._users, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    def _unheard_artists(self, row: npt.NDArray[np.int64], songs: npt.NDArray[np.int32]) -> Scores:
        starts, artists = self._artists
        some = np.diff(starts)[songs] > 0
        row, songs = row[some], songs[some]
        return self._means(row, ~any_stored(*self._heard_artists, row, starts, artists, songs))

    def _diversity(self, ranking: Ranking) -> Scores:
        step = max(-(-self._users // _DIVERSITY_LISTS), 1)
        begins, ends = ranking.offsets[:-1][::step], ranking.offsets[1:][::step]
        holders = (*index_arrays(self._listeners), self._listeners.shape[0])

        def block(start: int, stop: int) -> Scores:
            similarity: Scores = similarity_within(
                begins[start:stop], ends[start:stop], ranking.songs, *holders
            )
            return similarity

        found = np.full(self._users, np.nan)
        found[::step] = 1 - np.concatenate([*over_blocks(block, len(begins), _LISTS_AT_ONCE)])
        return found


def gini(times: npt.NDArray[np.integer]) -> float:
    """The Gini coefficient of counts: 0 where all are equal, near 1 where one has all.

    >>> gini(np.array([5, 5, 5])), gini(np.array([0, 0, 0, 8]))
    (0.0, 0.75)
    """
    n, total = len(times), int(times.sum())
    if not total:
        return 0.0
    place = 2 * np.arange(1, n + 1) - n - 1
    return float((place * np.sort(times)).sum() / (n * total))


def _artists(base: TasteMatrix) -> csr_matrix:
    """Who is credited on what: int32 ``[songs, artists]``."""
    credited = base.songs["artist_ids"].combine_chunks()
    names = pc.list_flatten(credited).dictionary_encode(null_encoding="encode")
    lengths = pc.fill_null(pc.list_value_length(credited), 0).to_numpy(zero_copy_only=False)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    artists = names.indices.to_numpy(zero_copy_only=False)
    shape = (len(credited), max(len(names.dictionary), 1))
    return csr_matrix((np.ones(len(artists), np.int32), artists, indptr), shape)


def _mean(values: Scores) -> float | None:
    some = values[~np.isnan(values)]
    return _rounded(some.mean()) if len(some) else None


def _rounded(value: float) -> float:
    return round(float(value), 6)
