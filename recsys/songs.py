"""Song keys: one song under several track ids is one song."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_REMASTER: Final = r"(?:remaster(?:ed|isé|isée|izado|izada|izzato)?|リマスター(?:版|盤)?)"
_YEAR: Final = r"(?:\d{4}年?)"
#: What names a pressing of a song, and not another take of it.
_PRESSING: Final = (
    r"(?:"
    rf"(?:{_YEAR}\s*)?(?:(?:\d{{2}}[- ]?bit|digital(?:ly)?|\d+th anniversary|anniversary)\s+)?"
    rf"{_REMASTER}(?:\s+(?:version|edition|edit|mix))?(?:\s*(?:in|en)?\s*{_YEAR})?"
    rf"|{_YEAR}\s*-\s*{_REMASTER}"
    r"|bonus(?:\s+track)?(?:\s+version)?"
    r"|(?:super\s+)?deluxe(?:\s+(?:edition|version))?"
    r"|(?:\d+th\s+)?anniversary(?:\s+(?:edition|version))?|expanded(?:\s+edition)?"
    r"|(?:original|full)\s+album\s+version"
    r"|(?:album|single|original|lp|mono|stereo|explicit|clean|main)\s+(?:version|mix|edit)"
    r"|mono|stereo|explicit|clean|original|radio\s+(?:edit|version|mix)|single\s+edit"
    r'|from\s+"[^"]*"(?:\s+soundtrack)?'
    r")"
)
_OPEN, _SHUT = r"(?:[(\[（【]|\s[-–—]|[-–—,;/])\s*", r"\s*(?:$|[)\]）】\-–—,;/])"

#: Letters that no accent can be taken off.
_LETTERS: Final = (
    ("ø", "o"), ("ł", "l"), ("đ", "d"), ("ð", "d"), ("þ", "th"), ("ı", "i"), ("ħ", "h"),
    ("æ", "ae"), ("œ", "oe"), ("ß", "ss"), ("ς", "σ"), ("ـ", ""),
)  # fmt: skip
#: Marks that writers set or leave out at will, decomposed: accents on Latin and Greek letters, the
#: dots of ё, and the vowel points of Arabic and Hebrew. Not those that make another letter: й, が.
_MARKS: Final = (
    (r"([a-zα-ω])[\x{0300}-\x{036F}]+", r"\1"),
    (r"е\x{0308}", "е"),
    (r"[\x{064B}-\x{0655}\x{0670}\x{0591}-\x{05BD}\x{05BF}-\x{05C7}]", ""),
)

#: Applied in this order to the lower-case title; each is (RE2 pattern, replacement).
_RULES: Final = (
    # Guests are no part of a title: "(feat. X)", "[with X]", "feat. X" at its end.
    (r"\s*[(\[（【](?:feat\.?|ft\.?|featuring|with|w/)\s[^)\]）】]*[)\]）】]", ""),
    (r"\s+(?:feat\.?|ft\.|featuring)\s[^(\[（【-]*", " "),
    # What names a pressing, where it stands in brackets or after a dash; twice, for two of them.
    (rf"({_OPEN}){_PRESSING}({_SHUT})", r"\1\2"),
    (rf"({_OPEN}){_PRESSING}({_SHUT})", r"\1\2"),
    # What that leaves behind: empty brackets and dangling dashes.
    (r"[\s\-–—,;/]+([)\]）】])", r"\1"),
    (r"([(\[（【])[\s\-–—,;/]+", r"\1"),
    (r"[(\[（【]\s*[)\]）】]", ""),
    # Two spellings of one word.
    (r"\bpt\.?\s*(\d+|[ivx]+)\b", r"part \1"),
    (r"&", " and "),
    # Apostrophes are left out ("dont"); other punctuation and spacing differ between pressings.
    (r"['’‘ʼ`´]", ""),
    (r"[^\p{L}\p{M}\p{N}]+", " "),
)


def song_keys(
    track_ids: pa.ChunkedArray, track_names: pa.ChunkedArray, main_artists: pa.ChunkedArray
) -> pa.ChunkedArray:
    """The key that all pressings of a song share.

    Two tracks are one song when their main artist is the same and their titles agree but for case,
    punctuation, accents and points that writers leave out, guests ("feat. X"), and what names a
    pressing: a remaster, bonus track, deluxe or anniversary edition, mono or stereo, album, single
    or radio edit, explicit or clean. Another take is another song: live, remix, extended or club
    mix, acoustic, instrumental, demo, karaoke, a re-recording. Two artists never share a song.
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
    for pattern, replacement in _MARKS:
        title = pc.replace_substring_regex(title, pattern, replacement)
    title = pc.utf8_normalize(title, "NFKC")
    for letter, plain in _LETTERS:
        title = pc.replace_substring(title, letter, plain)
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
