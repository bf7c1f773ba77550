"""Parts of the listeners and of the songs that are worth a look of their own."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from recsys.matrix import TasteMatrix

#: A listener who has heard fewer songs is new.
NEW_UNDER: Final = 20

Mask = npt.NDArray[np.bool_]


def listener_segments(base: TasteMatrix, users: npt.NDArray[np.int32]) -> dict[str, Mask]:
    """Each user in one segment, by how many songs they have heard (or disliked) in the base.

    Args:
        base: what is known.
        users: rows of ``base``.

    Returns:
        bool ``[users]`` by name: ``new`` has heard under 20 songs; of the others, ``light`` has
        heard no more than their median, and ``heavy`` more.
    """
    heard = np.diff(base.excluded.indptr)[users]
    new = heard < NEW_UNDER
    median = np.median(heard[~new]) if not new.all() else 0
    return {"new": new, "light": ~new & (heard <= median), "heavy": ~new & (heard > median)}


def song_segments(base: TasteMatrix) -> dict[str, Mask]:
    """Each song in one segment, by how many listeners hold to it.

    Returns:
        bool ``[songs]`` by name: ``head`` is the fewest songs that have at least half of all
        (listener, song) pairs of the base between them; ``tail`` is the others.
    """
    listeners = base.songs["listeners"].to_numpy()
    order = np.lexsort((np.arange(len(listeners)), -listeners))
    before = np.cumsum(listeners[order]) - listeners[order]
    head = np.zeros(len(listeners), bool)
    head[order] = before < listeners.sum() / 2
    return {"head": head, "tail": ~head}
