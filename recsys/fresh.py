"""Which songs are new to the log: what the setting ``freshness`` favours.

A log says nothing of when a song came out. What it does say is the first day on which somebody
played it, and that is what *new* means here. In a log that began less than ``fresh_days`` ago
everything is new, and so nothing is favoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recsys._tables import database, read_parquet
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.matrix import TasteMatrix
from recsys.plan import Plan
from recsys.settings import PlaylistsSettings


def older_tracks(plan: Plan, home: Home, settings: PlaylistsSettings) -> list[Path] | None:
    """``tracks.parquet`` of each arrival day that is too old to be fresh.

    Returns:
        None where ``freshness`` is off.

    Raises:
        ArtefactError: a day of the plan is no longer under home.
    """
    if settings.freshness == 0:
        return None
    end = plan.cutoff - timedelta(days=settings.fresh_days)
    return [
        Artefact.open(home.plays(day)).file("tracks.parquet")
        for day in plan.days_between(None, end)
    ]


def new_songs(matrix: TasteMatrix, older: Sequence[Path], *, spill: Path) -> npt.NDArray[np.bool_]:
    """Songs of which the older days know no track.

    Args:
        matrix: the songs.
        older: from :func:`older_tracks`.
        spill: a folder for what does not fit into memory.

    Returns:
        bool ``[songs]``.
    """
    new = np.ones(len(matrix.songs), bool)
    if older:
        with database(spill) as connection:
            connection.register("track", matrix.tracks)
            known = connection.execute(
                f"""SELECT DISTINCT song FROM track
                    SEMI JOIN {read_parquet(older)} USING (track_id)"""
            ).fetchnumpy()
        new[np.asarray(known["song"])] = False
    return new
