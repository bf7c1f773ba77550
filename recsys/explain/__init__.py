"""Why a track is on a listener's playlist, and why another one is not: docs/explain.md.

>>> edition = open_edition(home, folder)  # doctest: +SKIP
>>> listener = Listener(edition, "u_000042")  # doctest: +SKIP
>>> listener.playlist()[0].parts[0]  # doctest: +SKIP
Part(track=Track(track_id='t_000123', ...), weight=0.1831, played=True)
>>> listener.why("t_000456").reason  # doctest: +SKIP
<Reason.HEARD: 'heard'>
"""

from recsys.explain._answers import Answer, Listed, Part, Reason, Standing, Track
from recsys.explain._edition import MadeEdition, open_edition
from recsys.explain._listener import Listener

__all__ = [
    "Answer",
    "Listed",
    "Listener",
    "MadeEdition",
    "Part",
    "Reason",
    "Standing",
    "Track",
    "open_edition",
]
