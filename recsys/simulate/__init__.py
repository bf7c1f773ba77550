"""A seeded simulator of listening logs, with the truth of what each listener would like.

>>> from recsys.simulate import World, simulate
>>> simulation = simulate(World(listeners=20, artists=5, tracks=40, days=7))
>>> day, listens = next(simulation.days())
>>> listens.column_names[:3]
['user_id', 'track_id', 'listened_at']
"""

from recsys.simulate._simulation import Simulation, simulate
from recsys.simulate._truth import PlaylistScore, Truth
from recsys.simulate._world import World

__all__ = ["PlaylistScore", "Simulation", "Truth", "World", "simulate"]
