"""The weekly run as a Luigi DAG: ``luigi --module workflows WeeklyPlaylists``."""

from workflows import _allocator

_allocator.hold_memory()

from workflows import _luigi_defaults  # noqa: E402 - these bring Arrow
from workflows.tune_model import TuneModel  # noqa: E402 - as above
from workflows.weekly_playlists import BackfillPlaylists, WeeklyPlaylists  # noqa: E402 - as above

_luigi_defaults.apply()

__all__ = ["BackfillPlaylists", "TuneModel", "WeeklyPlaylists"]
