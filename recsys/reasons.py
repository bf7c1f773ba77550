"""Why a track is on a playlist: the heard track that adds most to its score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, strongest
from recsys.playlists import Picks


def reasons(model: ALSModel, matrix: TasteMatrix, picks: Picks) -> npt.NDArray[np.int32]:
    """Find the reason of every personal track, be it in a list or a spare.

    A score is the sum of what each song the listener holds to adds to it (Hu, Koren, Volinsky 2008,
    section 5); the reason is the one that adds most among those played, under the model that is
    shipped, shown as the track of that song which the listener plays most. Ties go to the lower
    song.

    Returns:
        int32, beside ``picks.songs``: a row of ``matrix.tracks``; -1 for a track that is not
        personal, and where the listener has played nothing they hold to.
    """
    listed = np.where(picks.personal, picks.songs, -1).astype(np.int32)
    entries = strongest(
        model.rotated(),
        model.confidences(matrix.strength),
        picks.users,
        picks.offsets,
        listed,
        among=matrix.played_track >= 0,
    )
    found: npt.NDArray[np.int32] = np.append(matrix.played_track, np.int32(-1))[entries]
    return found
