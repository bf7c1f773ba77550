"""The weekly run as a Luigi DAG: ``luigi --module workflows WeeklyPlaylists``."""

from workflows import _luigi_defaults
from workflows.tune_model import TuneModel
from workflows.weekly_playlists import BackfillPlaylists, WeeklyPlaylists

_luigi_defaults.apply()

__all__ = ["BackfillPlaylists", "TuneModel", "WeeklyPlaylists"]
