"""Playlists: from each user's candidates, by rules, to the table that readers get."""

from recsys.playlists._rules import RULES, Artists, Lists, Picks, Spares, make_lists
from recsys.playlists._table import (
    NOTHING_LEFT,
    REFUSED,
    artist_codes,
    count_kinds,
    default_list,
    playlist_batches,
    popular_songs,
    refused_users,
)

__all__ = [
    "NOTHING_LEFT",
    "REFUSED",
    "RULES",
    "Artists",
    "Lists",
    "Picks",
    "Spares",
    "artist_codes",
    "count_kinds",
    "default_list",
    "make_lists",
    "playlist_batches",
    "popular_songs",
    "refused_users",
]
