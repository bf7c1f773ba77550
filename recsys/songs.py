"""Song keys: one song under several track ids is one song."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_VERSION: Final = (
    r"(?:(?:\d{4}\s+)?(?:digital(?:ly)?\s+)?remaster(?:ed)?(?:\s+version)?(?:\s+\d{4})?"
    r"|bonus\s+track|(?:super\s+)?deluxe(?:\s+(?:edition|version))?"
    r"|(?:album|single|original|mono|stereo|explicit|clean)\s+(?:version|mix)"
    r"|mono|stereo|explicit|clean|radio\s+edit)"
)

#: Applied in this order to the lower-case title; each is (RE2 pattern, replacement).
_RULES: Final = (
    # Guests are no part of a title: "(feat. X)", "[with X]", "feat. X" at its end.
    (r"\s*[(\[](?:feat\.?|ft\.?|featuring|with)\s[^)\]]*[)\]]", ""),
    (r"\s+(?:feat\.|ft\.|featuring)\s[^(\[-]*", " "),
    # What names a pressing, not a song, where it stands in brackets or after a dash.
    (r"([(\[\-–—,;/]\s*)" + _VERSION + r"(\s*(?:$|[)\]\-–—,;/]))", r"\1\2"),
    (r"([(\[\-–—,;/]\s*)" + _VERSION + r"(\s*(?:$|[)\]\-–—,;/]))", r"\1\2"),
    # What that leaves behind: empty brackets and dangling dashes.
    (r"[\s\-–—,;/]+([)\]])", r"\1"),
    (r"([(\[])[\s\-–—,;/]+", r"\1"),
    (r"[(\[]\s*[)\]]", ""),
    # Punctuation and spacing differ from pressing to pressing.
    (r"[^\p{L}\p{M}\p{N}]+", " "),
)


def song_keys(
    track_ids: pa.ChunkedArray, track_names: pa.ChunkedArray, main_artists: pa.ChunkedArray
) -> pa.ChunkedArray:
    """The key that all versions of a song share.

    Two tracks are one song when their main artist is the same and their titles agree but for
    accents on Latin letters, case, punctuation, guests, and what names a pressing ("Remastered
    2011", "Bonus Track", "Mono"). A live take, a remix or an acoustic version is another song.
    Where the title or the artist is missing, the key is the track id.

    Args:
        track_ids: string.
        track_names: string, may be null.
        main_artists: string, the id of the first credited artist, may be null.

    Returns:
        string, one key per track.

    >>> def key(name):
    ...     return song_keys(*(pa.chunked_array([[v]]) for v in ("t", name, "a")))[0].as_py()
    >>> key("Déjà Vu - Remastered 2011") == key("deja vu (Bonus Track) [feat. Someone]")
    True
    >>> key("Déjà Vu (Live 1999 - Remastered)") == key("Déjà Vu")
    False
    """
    title = pc.utf8_lower(pc.utf8_normalize(track_names, "NFKD"))
    title = pc.replace_substring_regex(title, r"([a-z])[\x{0300}-\x{036F}]+", r"\1")
    title = pc.utf8_normalize(title, "NFKC")
    bare = title
    for pattern, replacement in _RULES:
        bare = pc.replace_substring_regex(bare, pattern, replacement)
    bare = pc.utf8_trim_whitespace(bare)
    # A title of nothing but marks ("???", "(Remastered)") stands for itself.
    bare = pc.if_else(pc.equal(bare, ""), pc.utf8_trim_whitespace(title), bare)
    known = pc.and_(
        pc.fill_null(pc.not_equal(bare, ""), False),
        pc.fill_null(pc.not_equal(main_artists, ""), False),
    )
    by_song = pc.binary_join_element_wise("song", main_artists, bare, "\x1f")
    by_track = pc.binary_join_element_wise("track", track_ids, "\x1f")
    keys: pa.ChunkedArray = pc.if_else(known, by_song, by_track)
    return keys
