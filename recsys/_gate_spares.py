"""What the playlist gate asks of the spares; they may be on a list without a further look.

On top of the tables of :mod:`recsys._gate_tables`:

=========  ========================================================================================
spare      no, nth (from 1, as stored), track, song and the other columns of a playlist's spare
misfit     no, nth, place: where a spare would break an artist rule that its list keeps
=========  ========================================================================================
"""

from __future__ import annotations

from typing import Final

MOST_SPARES: Final = 5
#: implicit pads what it does not find with -3.4e38.
LARGEST_SCORE: Final = 1e30

#: To be run once the lists are there.
SPARES: Final = """
    CREATE TABLE spare AS
        WITH entry AS (
            SELECT no, generate_subscripts(spares, 1)::INTEGER AS nth,
                unnest(spares, max_depth := 2)
            FROM stored WHERE role <> 'refused'
        )
        SELECT no, nth, score, source, not_at, track.track, track.song, track.available,
            CASE WHEN track.track IS NULL THEN entry.track_id END AS unknown_id,
            because_track_id IS NOT NULL AS has_reason, reason.track AS because
        FROM entry
        LEFT JOIN (FROM track WHERE listed) AS track ON entry.track_id = track.track_id
        LEFT JOIN track AS reason ON because_track_id = reason.track_id;
"""

#: The same, with the cap per artist filled in. A breach that the list has itself is not the
#: spare's: it may stand where the track it stands in for shares the artist.
MISFITS: Final = """
    CREATE TABLE misfit AS
        WITH own AS (SELECT no, place, artist FROM slot JOIN credit USING (track)),
        theirs AS (SELECT no, nth, artist FROM spare JOIN credit USING (track)),
        full_artist AS (SELECT no, artist FROM own GROUP BY ALL HAVING count(*) >= {per_artist}),
        pair AS (
            SELECT one.no, one.place, other.place AS beside
            FROM own AS one JOIN own AS other USING (no, artist)
            WHERE abs(one.place - other.place) = 1
        ),
        breach AS (
            SELECT theirs.no, nth, slot.place
            FROM theirs SEMI JOIN full_artist USING (no, artist) JOIN slot USING (no)
            ANTI JOIN own ON own.no = theirs.no AND own.artist = theirs.artist
                AND own.place = slot.place
            UNION ALL
            SELECT no, nth, place FROM (
                SELECT theirs.no, nth, own.place AS beside, own.place + step AS place
                FROM theirs JOIN own USING (no, artist), (VALUES (-1), (1)) AS side (step)
            ) ANTI JOIN pair USING (no, place, beside)
        )
        SELECT DISTINCT no, nth, place FROM breach SEMI JOIN slot USING (no, place);
"""


def _spares(rows: str) -> str:
    return f"""
        SELECT user_id, nth, coalesce(track_id, unknown_id) AS track_id
        FROM (SELECT spare.* FROM {rows}) JOIN list USING (no) LEFT JOIN track USING (track)"""


#: Name of the check -> what may not be there, and the query that finds it.
CHECKS: Final = {
    "spares_number": (
        f"lists with more than {MOST_SPARES} spares, or none at all",
        f"""SELECT user_id, len(spares) AS spares FROM stored
        WHERE role <> 'refused' AND (spares IS NULL OR len(spares) > {MOST_SPARES})""",
    ),
    "spares_twice": (
        "spares whose song is in the list, or stands by already",
        _spares(
            "spare SEMI JOIN (FROM (SELECT no, song FROM slot UNION ALL SELECT no, song FROM spare)"
            " GROUP BY no, song HAVING count(*) > 1) AS twice USING (no, song)"
        ),
    ),
    "spares_in_catalogue": (
        "spares that the catalogue does not know",
        _spares("spare WHERE track IS NULL"),
    ),
    "spares_available": ("spares that are not available", _spares("spare WHERE NOT available")),
    "spares_not_heard": (
        "spares that the user heard",
        _spares("spare SEMI JOIN (FROM known WHERE heard) USING (no, song)"),
    ),
    "spares_not_disliked": (
        "spares that the user dislikes",
        _spares("spare SEMI JOIN (FROM known WHERE disliked) USING (no, song)"),
    ),
    "spares_not_blocked": (
        "spares that are blocked",
        _spares("spare SEMI JOIN blocked USING (song)"),
    ),
    "spares_not_cooling": (
        "spares of a cooling edition",
        _spares("spare SEMI JOIN recent USING (no, song)"),
    ),
    "spares_artists": (
        "spares that share an artist",
        _spares(
            "spare SEMI JOIN (SELECT one.no, one.nth"
            " FROM (SELECT no, nth, artist FROM spare JOIN credit USING (track)) AS one"
            " JOIN (SELECT no, nth, artist FROM spare JOIN credit USING (track)) AS other"
            " USING (no, artist) WHERE one.nth <> other.nth) AS alike USING (no, nth)"
        ),
    ),
    "spares_scores": (
        "spares with a score that is not finite, or of an unknown source",
        _spares(
            "spare WHERE score IS NULL OR NOT isfinite(score) "
            f"OR abs(score) >= {LARGEST_SCORE} "
            "OR source NOT IN ('als', 'popular')"
        ),
    ),
    "spares_because": (
        "spares with a reason that the user never heard, or personal ones without any",
        _spares(
            "spare ANTI JOIN (FROM known WHERE heard) AS heard "
            "ON spare.no = heard.no AND spare.because = heard.track "
            "WHERE has_reason OR (source = 'als' AND no NOT IN "
            "(SELECT no FROM known WHERE NOT heard AND NOT disliked))"
        ),
    ),
    "spares_not_at": (
        "spares that fit nowhere, or at other positions than they say",
        """SELECT user_id, nth, not_at, misfits FROM (
            SELECT no, nth, not_at, coalesce(misfits, []) AS misfits
            FROM spare LEFT JOIN (
                SELECT no, nth, list(place ORDER BY place) AS misfits FROM misfit GROUP BY ALL
            ) USING (no, nth)) JOIN list USING (no)
        WHERE not_at IS DISTINCT FROM misfits OR len(misfits) >= n""",
    ),
}
