"""Song keys: one song under several track ids is one song."""

from __future__ import annotations

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_REMASTER: Final = (
    r"(?:r[ei]-?master(?:ed|isee?|izad[oa]|isad[oa]|izzat[oa])?|ремастер(?:инг)?"
    r"|リマスター(?:版|盤)?|리마스터(?:링|드)?(?:\s*버전)?|重[制製]版)"
)
_YEAR: Final = r"(?:\d{4}年?)"
_ANNIVERSARY: Final = r"(?:(?:\d+(?:st|nd|rd|th)\s+)?anniversary)"
_KIND: Final = r"(?:album|single|original|lp|mono|stereo|explicit|clean|main)"
#: What names a pressing of a song, and not another take of it.
_PRESSING: Final = (
    r"(?:"
    rf"(?:{_KIND}\s+)?(?:{_YEAR}\s*[-/]?\s*)?(?:\d{{2}}[- ]?bit\s+)?"
    rf"(?:digital(?:ly)?\s+|{_ANNIVERSARY}\s+|{_KIND}\s+)?"
    rf"{_REMASTER}(?:\s+{_KIND})?(?:\s+(?:version|edition|edit|mix))?"
    rf"(?:\s*(?:in|en|/)?\s*{_YEAR})?"
    r"|bonus\s+track(?:\s+version)?|bonus\s+version"
    rf"|(?:(?:super\s+)?deluxe|{_ANNIVERSARY}|expanded|special)\s+(?:edition|version)"
    rf"|(?:full\s+|{_YEAR}\s+)?(?:{_KIND}\s+)+(?:version|mix|edit)"
    r"|radio\s+(?:edit|version|mix)"
    r'|from\s+"[^"]*"(?:\s+soundtrack)?'
    r")"
)
#: Words that name a pressing only where nothing else can be meant.
_PRESSING_WORD: Final = (
    rf"(?:bonus|(?:super\s+)?deluxe|{_ANNIVERSARY}|expanded|mono|stereo|explicit|clean|edited"
    r"|original)"
)
#: Pressings named after the first, as in "2003 Remaster; Stereo".
_AND_MORE: Final = rf"(?:\s*[/;,]\s*(?:{_PRESSING}|{_PRESSING_WORD}))*"
_OPEN, _SHUT = r"(?:\(|\s[-–—]|[-–—,;/])\s*", r"\s*(?:$|[)\-–—,;/])"
_WORD_OPEN, _WORD_SHUT = r"(?:\(|\s[-–—]\s)\s*", r"\s*(?:$|\)|\s[-–—]\s)"

#: A credit of guests, in brackets; and without, up to a bracket or a dash that stands alone.
#: After a number, "ft" is a length.
_CREDIT: Final = r"(?:(?:feat|ft)\.|(?:feat|ft|featuring)\s)"
_GUESTS: Final = (
    rf"(?s)^(?P<before>.*?)\((?P<guests>(?:{_CREDIT}|with\s)[^)]*)\)(?P<after>.*)$",
    r"(?s)^(?P<before>.*?(?:[^\s(]\s+|[^\s\d(]\s+))"
    rf"(?P<guests>{_CREDIT}\s*[^\s(\-–—].*?)(?P<after>(?:\s[-–—]\s|\().*)?$",
)
#: The same after "with", told from a title by the case: a small "with" before a name. After a dash
#: or written "w/" it needs no brackets, and before a name "The" is no word of a title.
_WITH: Final = (
    (r"\s(?:[-–—]\s+(with|w/)|(w/))\s*(\p{Lu}[^()\[\]]*)$", r" (\1\2 \3)"),
    (r"([(\[])(?:with\s|w/)\s*The\s+([\p{Lu}\p{N}])", r"\1feat. the \2"),
)
#: Words of another take, and of where one is recorded.
_TAKE: Final = (
    r"(?:\b(?:live\w*|\w*mix\w*|\w*rmx\w*|r\.m\.x|l\.i\.v\.e|a[ck]o?usti\w*|\w*unplugged\w*|desenchufado|demos?"
    r"|karaoke\w*|playback|backing|(?:re-?)?dub|vip|\w*instrumental\w*|inst|orchest\w*|orquest\w*|symphon\w*"
    r"|philharmon\w*|s[iy]nfoni\w*|quartet\w*|solo|hardstyle|tv\s+size"
    r"|minus\s+one|off\s+vocal|tour|mtv|bbc|kexp|npr|tiny\s+desk|strings|choir|a[\s-]?c+ap+el+a|piano|\w*versi?on\w*|versi|versao|wersja|ver"
    r"|\w*edit(?:s|ed|ion)?|extended|re-?work\w*|re-?fix\w*|re-?do|redux|re-?visited|re-?loaded"
    r"|re-?imagin\w*|re-?cut|flip|bootlegs?|mash[\s-]?ups?|medleys?|(?:re-?)?covers?|remakes?|tribute"
    r"|lullab\w*|parody|reprise|re-?record(?:ed|ings?)|\w*sessions?|rehearsals?|sound-?check"
    r"|out-?takes?|takes?\s+(?:\d+|one|two|three|[ivx]+)|alternat(?:e|ive)|stripped|sped|spe+d[\s-]?up"
    r"|slowed|reverb|night-?core|lo-?fi|8d|8-?bit|commentary|interview|intro|outro|lyrics|en\s+vivo"
    r"|ao\s+vivo|dal\s+vivo|na\s+zywo|en\s+directo|canli|\w*concerts?|concierto|\w*kon[zc]ert\w*"
    r"|remixado|remezcla|chopped|screwed|freestyle|skit|interlude|preview|snippet|excerpt)\b"
    r"|ремикс|концерт|живой|вживую|живьем|акуст|верси|кавер|демо|караоке|лайв|инструментал"
    r"|ライ[ブヴ]|リミックス|アコースティック|カラオケ|インスト|バージョン|ヴァージョン|デモ|カバー"
    r"|라이브|리믹스|어쿠스틱|버전|커버|반주|现场|現場|伴奏|混音|翻唱|不插[电電])"
)
#: Words of a show, a tour or a station, from which comes another take.
_SHOW: Final = (
    r"\b(?:festival|show|lounge|radio|tv|on\s+(?:air|stage)|stage|later|singles|voice|idol|factor"
    r"|talent|eurovision|woodstock|glastonbury|wembley|coachella|montreux|red\s+rocks|abbey\s+road"
    r"|apollo|fillmore|olympia|budokan|studios?|garden|arena|stadium|hall|theat(?:re|er)|club|at)\b"
)
#: A credit that holds one of these may say more than who was there, and is left in the title: a
#: word of another take, another part of the title, or "with" and "ft" before what is no name.
_MORE_THAN_GUESTS: Final = (
    rf"{_TAKE}|\b(?:(?:p(?:ar)?t|vol(?:ume)?|chapter|no)\.?\s*(?:\d+|[ivx]+)|v\.?\s?\d+)\b"
    r'|[|:;~"]|\s/|/\s|\s(?:at|from)\s|\s(?:ii|iii|iv)$'
    r"|\b(?:spanish|english|french|german|italian|portuguese|japanese|korean)$|\b(?:19|20)\d\d$|\bmr$"
    r"|^with\s+(?:the|an?|yo?u|me|us|him|her|them|it|my|your|our|his|their|no|all|every"
    r"|everything|nothing|some|this|that|these|those|one|each|in|out|or|and|love)\b"
    r"|^with\s.*\b(?:vocals?|voices?|verse|chorus|rap|beats?|drums?|bass|guitars?|band"
    r"|audience|applause|dialogue?|narration|spoken|talk(?:ing)?|count|click|fade|ending|bonus)\b"
    r"|^ft\.?\s*(?:under|tall|deep|high|below|down|long|wide|away|worth|knox|wayne|lauderdale"
    r"|bragg|collins|myers|sumter|mchenry|benning|apache|ord|hood|dix)\b"
    r"|^feat\s+of\s"
)

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

#: One spelling of what the rules below look for; each is (RE2 pattern, replacement).
_SPELLING: Final = (
    (r"\p{Cc}+", " "),  # a key's parts are set apart by one
    (r"\s*[(\[{（【〔]\s*", " ("),
    (r"\s*[)\]}）】〕]", ")"),
    (r"\(w/(?:\s+|([^\so]))", r"(with \1"),  # not "w/o"
    (r"[“”„‟«»]", '"'),
    (r"(^|\s)([a-f])-$", r"\1\2 minus"),  # a mark, as A+ is
    (r"\bfrom\s+['‘’]((?:[^'‘’\"()]|['‘’]\p{L})*)['‘’]", r'from "\1"'),
    # From a concert, a session or the like comes another take: what its name says is kept.
    (rf'\bfrom\s+"([^"]*(?:{_TAKE}|{_SHOW})[^"]*)"', r"from \1"),
    # "ft" is a length after a number at the start, and a fort after "at".
    (
        r"(^|\b(?:a|the|by|of|at|than|about|under|over)\s)"
        r"(\d{1,3}|two|three|four|five|six|seven|eight|nine|ten|\d*,?000)\s+ft[.\s]\s*",
        r"\1\2 feet ",
    ),
    (r"\b(at|to|from|in|of|near|on|outside|leaving|old|the)\s+ft[.\s]\s*", r"\1 fort "),
)
#: What is no part of a title: twice each, for two pressings named in a row.
_PRESSINGS: Final = (
    *((rf"({_OPEN}){_PRESSING}{_AND_MORE}({_SHUT})", r"\1\2"),) * 2,
    *((rf"({_WORD_OPEN}){_PRESSING_WORD}{_AND_MORE}({_WORD_SHUT})", r"\1\2"),) * 2,
    # What that leaves behind: empty brackets and dangling dashes.
    (r"[\s\-–—,;/]+\)", ")"),
    (r"\([\s\-–—,;/]+", "("),
    (r"\(\s*\)", ""),
    (r"[\s\-–—,;/]+$", ""),
)
_UNSPACED: Final = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_PUNCTUATION: Final = (
    (r"^[^\p{L}\p{N}]+$", ""),  # a title of nothing but marks
    # Two spellings of one word.
    (r"\bpt\.?\s*(\d+|[ivx]+)\b", r"part \1"),
    (r"&", " and "),
    # The marks that make another title: C#, B♭, A+. Of "#Title" and "#1" they are no part.
    (r"\b([a-g])\s+#\s*(m\b|min|maj|moll|dur)", r"\1♯ \2"),
    (r"(^|[\s\"'(.,:;/!?¡¿*&-])#+([\p{L}\p{N}])", r"\1\2"),
    (r"𝄪", "♯♯"),
    (r"𝄫", "♭♭"),
    (r"[#♯]", " sharp "),
    (r"♭", " flat "),
    (r"\+", " plus "),
    # "Rock'n'Roll" and "Rock 'n' Roll".
    (r"\s*['’‘ʼ`´]n['’‘ʼ`´\s]\s*", " n "),
    # Apostrophes are left out ("dont"); other punctuation and spacing differ between pressings.
    (r"['’‘ʼ`´]", ""),
    (r"[^\p{L}\p{M}\p{N}]+", " "),
    # Chinese and Japanese set no spaces between words; twice, for a letter between two spaces.
    *((rf"({_UNSPACED}) ({_UNSPACED})", r"\1\2"),) * 2,
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
    title = pc.utf8_normalize(_replaced(track_names, _WITH), "NFKD")
    title = _replaced(pc.utf8_lower(title), _MARKS)
    title = pc.utf8_normalize(title, "NFKC")
    for letter, plain in _LETTERS:
        title = pc.replace_substring(title, letter, plain)
    title = pc.utf8_trim_whitespace(_replaced(title, _SPELLING))
    song = _replaced(title, _PRESSINGS)
    for guests in (_GUESTS[0], *_GUESTS):
        song = _without_guests(song, guests)
    song = pc.utf8_trim_whitespace(_replaced(song, _PRESSINGS))
    bare = pc.utf8_trim_whitespace(_replaced(song, _PUNCTUATION))
    # A title of nothing but marks ("???", "❤", "(Remastered)") stands for itself.
    for marks in (song, title):
        bare = pc.if_else(pc.equal(bare, ""), marks, bare)
    known = pc.and_(
        pc.fill_null(pc.not_equal(bare, ""), False),
        pc.fill_null(pc.not_equal(main_artists, ""), False),
    )
    by_song = pc.binary_join_element_wise("song", main_artists, bare, "\x1f")
    by_track = pc.binary_join_element_wise("track", track_ids, "\x1f")
    keys: pa.ChunkedArray = pc.if_else(known, by_song, by_track)
    return keys


def _replaced(titles: pa.ChunkedArray, rules: tuple[tuple[str, str], ...]) -> pa.ChunkedArray:
    for pattern, replacement in rules:
        titles = pc.replace_substring_regex(titles, pattern, replacement)
    return titles


def _without_guests(titles: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """The titles without the first credit of guests, where it says no more than their names."""
    found = pc.extract_regex(titles, pattern)
    before, guests, after = (pc.struct_field(found, n) for n in ("before", "guests", "after"))
    only_guests = pc.invert(pc.match_substring_regex(guests, _MORE_THAN_GUESTS))
    rest = pc.binary_join_element_wise(before, after, " ")
    return pc.if_else(pc.fill_null(only_guests, False), rest, titles)
