"""A playlist as JSPF with MusicBrainz's extensions, as ListenBrainz writes it.

https://xspf.org/jspf and https://musicbrainz.org/doc/jspf. A track that MusicBrainz knows, one
whose id is an MBID, is named by its page there; a URI stands for itself; any other id becomes one
under ``recsys:track:``. Nothing is known of when a playlist was last changed, so its dates are the
Monday of its week.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from recsys.store import Playlist, PlaylistTrack

PLAYLIST_EXTENSION: Final = "https://musicbrainz.org/doc/jspf#playlist"
TRACK_EXTENSION: Final = "https://musicbrainz.org/doc/jspf#track"
_CREATOR: Final = "recsys"
_JOIN: Final = ", "
_URI: Final = re.compile(r"[a-z][a-z0-9+.-]*:[-A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%]+")


def to_jspf(playlist: Playlist, status: str) -> dict[str, Any]:
    """The playlist as a JSON value.

    Args:
        playlist: as the store gives it.
        status: ``ready`` or ``fallback``.
    """
    date = datetime.combine(playlist.valid_from, time(), UTC).isoformat()
    over = datetime.combine(playlist.valid_until + timedelta(days=1), time(), UTC)
    about = {
        "created_for": playlist.user_id,
        "creator": _CREATOR,
        "public": False,
        "last_modified_at": date,
        "additional_metadata": {
            "algorithm_metadata": {"source_patch": "recsys-weekly"},
            "expires_at": over.isoformat(),
            "edition": playlist.edition,
            "status": status,
            "kind": playlist.kind,
        },
    }
    if not playlist.user_id:  # the edition's default playlist is for nobody in particular
        del about["created_for"]
    return {
        "playlist": {
            "title": f"Weekly playlist {playlist.edition}",
            "identifier": _playlist_identifier(playlist),
            "creator": _CREATOR,
            "date": date,
            "extension": {PLAYLIST_EXTENSION: about},
            "track": [_track(track, date) for track in playlist.tracks],
        }
    }


def identifier(track_id: str) -> str:
    """A track's id as a URI.

    >>> identifier("8f3471b5-7e6a-48da-86a9-c1c07a0f47ae")
    'https://musicbrainz.org/recording/8f3471b5-7e6a-48da-86a9-c1c07a0f47ae'
    >>> identifier("spotify:track:4uLU6hMCjMI75M1A2tKUQC"), identifier("t 1")
    ('spotify:track:4uLU6hMCjMI75M1A2tKUQC', 'recsys:track:t%201')
    """
    try:
        if str(UUID(track_id)) == track_id.lower():
            return f"https://musicbrainz.org/recording/{track_id.lower()}"
    except ValueError:
        pass
    if _URI.fullmatch(track_id):
        return track_id
    return f"recsys:track:{quote(track_id, safe='')}"


def _playlist_identifier(playlist: Playlist) -> str:
    listener = quote(playlist.user_id, safe="")
    return ":".join(filter(None, ("recsys:playlist", playlist.edition, listener)))


def _track(track: PlaylistTrack, date: str) -> dict[str, Any]:
    joins = [_JOIN] * (len(track.artist_names) - 1) + [""] * bool(track.artist_names)
    metadata = {
        "artists": [
            {"artist_credit_name": name, "join_phrase": joined}
            for name, joined in zip(track.artist_names, joins, strict=True)
        ],
        "track_id": track.track_id,
        "score": track.score,
        "source": track.source,
        "because_track_id": track.because_track_id,
    }
    return {
        "title": track.track_name or track.track_id,
        "creator": _JOIN.join(track.artist_names),
        "identifier": [identifier(track.track_id)],
        "extension": {
            TRACK_EXTENSION: {
                "added_by": _CREATOR,
                "added_at": date,
                "additional_metadata": metadata,
            }
        },
    }
