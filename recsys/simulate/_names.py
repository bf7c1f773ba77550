"""Invented names of artists, songs and albums, a few of them in other scripts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence

import numpy as np


def _words(text: str) -> Sequence[str]:
    return text.split()


_ADJECTIVE = _words(
    "Amber Borrowed Brittle Copper Crooked Distant Electric Feral Folded Gentle Gilded Half-Lit "
    "Hollow Idle Inland Ivory Lantern Late Lonesome Lunar Magnetic Midwinter Nameless Northern "
    "Paper Patient Plastic Polar Quiet Restless Rusted Salted Second Silver Slow Spare Static "
    "Sunken Tangerine Tender Tidal Tin Unlit Velvet Violet Wandering Weathered Western Wild Woollen"
)
_NOUN = _words(
    "Anchor Arcade Atlas Balcony Beacon Blanket Bridge Canal Cathedral Cinema Compass Corridor "
    "Delta Engine Envelope Ferry Field Foundry Garden Glacier Harbour Hinterland Island Kettle "
    "Ladder Letter Lighthouse Machine Meridian Meadow Mirror Motel Needle Orchard Parade Pavilion "
    "Pigeon Postcard Radio Railway River Satellite Season Shoreline Signal Sparrow Staircase "
    "Summer Telegraph Thunder Timetable Tramline Umbrella Valley Weekend Window Winter"
)
_FIRST = _words(
    "Ada Alma Anouk Bastien Bela Caro Cleo Dario Edda Elif Ezra Fenna Gus Hana Ilse Imre Ines Ivo "
    "Jory Kaya Lars Lena Lio Maren Mika Nell Noor Odile Orla Otis Pia Quinn Rafi Romy Saskia Senna "
    "Tamsin Tove Ugo Vera Wanda Yara Yusuf Zadie Zeno"
)
_LAST = _words(
    "Abelard Ashdown Barrow Bellweather Calloway Corvin Dunmore Eastlake Fairholm Farrow Grayling "
    "Halloran Hartsfield Holloway Ingleby Jessop Kestrel Kingsley Larkin Lindqvist Lowell Marlowe "
    "Merriweather Nightingale Okonjo Oakes Pemberton Quill Ravenscar Rosewood Sandoval Sorrel "
    "Thackeray Thorne Underhill Vance Vasquez Whitlock Winslow Yardley"
)
_ACCENT_FIRST = _words("Zoé André Chloé Jürgen Søren Åsa Núria José Inês Željka Märta Renée")
_ACCENT_LAST = _words("Desrivières Müllerová Ångvik Peñalba Gonçalvão Škvorc Bergström Lefèbvrel")
_ACCENT_WORD = _words(
    "Été Rêve Forêt Señal Corazón Canción Mañana Nächte Grüner Flüsse Ljós Kärlek Saudadé Março "
    "Lumière Déjà Crépuscule Volcán Över Hôtel"
)
_CYRILLIC = _words("Тихий Полярный Северный Бумажный Ночной Дальний")
_CYRILLIC_NOUN = _words("Берег Ветер Остров Трамвай Вокзал Маяк Ноябрь Причал")
_JAPANESE = _words("青い 夜の 静かな 最後の 遠い")
_JAPANESE_NOUN = _words("灯台 電車 海岸 手紙 季節 天気 交差点")
_PLACE = (
    "Tonight",
    "at Dawn",
    "by the Sea",
    "in the Rain",
    "on the Line",
    "After Hours",
    "for Two",
    "Again",
)
_VERB = (
    "Follow",
    "Forget",
    "Leave",
    "Carry",
    "Paint",
    "Call",
    "Wait for",
    "Remember",
    "Outrun",
    "Borrow",
    "Return",
)

Pick = Callable[[Sequence[str]], str]


def _plural(noun: str) -> str:
    if noun.endswith("s"):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeo":
        return f"{noun[:-1]}ies"
    return f"{noun}s"


_ARTISTS: dict[str, tuple[Callable[[Pick], str], ...]] = {
    "english": (
        lambda pick: f"{pick(_FIRST)} {pick(_LAST)}",
        lambda pick: f"{pick(_FIRST)} {pick(_LAST)}",
        lambda pick: f"The {pick(_ADJECTIVE)} {_plural(pick(_NOUN))}",
        lambda pick: f"{pick(_ADJECTIVE)} {pick(_NOUN)}",
        lambda pick: f"{pick(_NOUN)} & {pick(_NOUN)}",
        lambda pick: f"{pick(_FIRST)} and the {_plural(pick(_NOUN))}",
    ),
    "accented": (
        lambda pick: f"{pick(_ACCENT_FIRST)} {pick(_ACCENT_LAST)}",
        lambda pick: f"{pick(_ACCENT_FIRST)} {pick(_LAST)}",
        lambda pick: f"{pick(_ACCENT_WORD)} {pick(_NOUN)}",
    ),
    "cyrillic": (lambda pick: f"{pick(_CYRILLIC)} {pick(_CYRILLIC_NOUN)}",),
    "japanese": (lambda pick: f"{pick(_JAPANESE)}{pick(_JAPANESE_NOUN)}",),
}
_SONGS: dict[str, tuple[Callable[[Pick], str], ...]] = {
    "english": (
        lambda pick: f"{pick(_ADJECTIVE)} {pick(_NOUN)}",
        lambda pick: f"{pick(_NOUN)} {pick(_PLACE)}",
        lambda pick: f"{pick(_VERB)} the {pick(_NOUN)}",
        lambda pick: f"{pick(_VERB)} Me {pick(_PLACE)}",
        lambda pick: f"{pick(_FIRST)}'s {pick(_NOUN)}",
        lambda pick: f"One {pick(_NOUN)} Like {pick(_FIRST)}",
        lambda pick: f"{_plural(pick(_NOUN))} and {_plural(pick(_NOUN))}",
        lambda pick: f"No More {_plural(pick(_NOUN))}",
    ),
    "accented": (
        lambda pick: f"{pick(_ACCENT_WORD)} {pick(_ACCENT_WORD)}",
        lambda pick: f"{pick(_ACCENT_WORD)} {pick(_NOUN)}",
        lambda pick: f"{pick(_VERB)} {pick(_ACCENT_FIRST)}",
    ),
    "cyrillic": (lambda pick: f"{pick(_CYRILLIC)} {pick(_CYRILLIC_NOUN)}",),
    "japanese": (lambda pick: f"{pick(_JAPANESE)}{pick(_JAPANESE_NOUN)}",),
}
_LANGUAGES = ("english", "accented", "cyrillic", "japanese")
_LANGUAGE_SHARES = (0.86, 0.08, 0.03, 0.03)
_TRIES = 20
_LATIN_ACCENTS = re.compile("([A-Za-z])[\u0300-\u036f]+")


class Names:
    """Hands out names; none is given twice within one owner, accents and case aside."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._given: set[tuple[int, str]] = set()

    def languages(self, artists: int) -> list[str]:
        """The language that each artist is named and sings in."""
        return [
            _LANGUAGES[row] for row in self._random.choice(4, artists, p=_LANGUAGE_SHARES).tolist()
        ]

    def artist(self, language: str) -> str:
        """A name that no other artist has."""
        return self._unique(_ARTISTS[language], owner=-1)

    def song(self, language: str, artist: int) -> str:
        """A title that no other song or album of the artist has."""
        return self._unique(_SONGS[language], owner=artist)

    def _unique(self, patterns: tuple[Callable[[Pick], str], ...], owner: int) -> str:
        for _ in range(_TRIES):
            name = patterns[self._below(len(patterns))](self._pick)
            if self._claim(owner, name):
                return name
        number = 2
        while not self._claim(owner, f"{name} No. {number}"):
            number += 1
        return f"{name} No. {number}"

    def _claim(self, owner: int, name: str) -> bool:
        key = (owner, plain(name))
        fresh = key not in self._given
        self._given.add(key)
        return fresh

    def _pick(self, words: Sequence[str]) -> str:
        return words[self._below(len(words))]

    def _below(self, bound: int) -> int:
        return int(self._random.random() * bound)


def plain(name: str) -> str:
    """``name`` without accents and case.

    >>> plain("Été Señal")
    'ete senal'
    """
    return without_accents(name).casefold()


def without_accents(name: str) -> str:
    """``name`` as someone without the right keyboard types it: Latin letters lose their accents.

    >>> without_accents("Été, Ночной, 電車で")
    'Ete, Ночной, 電車で'
    """
    bare = _LATIN_ACCENTS.sub(r"\1", unicodedata.normalize("NFD", name))
    return unicodedata.normalize("NFC", bare)
