"""The weekly run as a Luigi DAG: ``luigi --module workflows WeeklyPlaylists``."""

from workflows import _luigi_defaults
from workflows.weekly_playlists import BackfillPlaylists, WeeklyPlaylists

_luigi_defaults.apply()

__all__ = ["BackfillPlaylists", "WeeklyPlaylists"]
