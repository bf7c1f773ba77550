"""Small worlds of songs and listeners, and a slow reading of the rules in plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from recsys.candidates import Candidates
from recsys.playlists import RULES, Lists, make_lists
from recsys.settings import PlaylistsSettings


@dataclass(frozen=True)
class Listener:
    candidates: tuple[int, ...] = ()
    excluded: frozenset[int] = frozenset()
    cooling: frozenset[int] = frozenset()


@dataclass(frozen=True)
class World:
    """Songs 0, 1, 2... by their credited artists; the popular ones in the order of `popular`."""

    artists: tuple[frozenset[int], ...]
    popular: tuple[int, ...]
    listeners: tuple[Listener, ...]
    barred: frozenset[int] = frozenset()
    rules: PlaylistsSettings = field(default_factory=PlaylistsSettings)


def rows(sets: list[frozenset[int]], columns: int) -> csr_matrix:
    flat = [song for songs in sets for song in sorted(songs)]
    starts = np.cumsum([0, *(len(songs) for songs in sets)])
    return csr_matrix((np.ones(len(flat), bool), flat, starts), (len(sets), columns))


def make(world: World) -> Lists:
    songs = len(world.artists)
    ranked = [song for listener in world.listeners for song in listener.candidates]
    credited = [code for codes in world.artists for code in sorted(codes)]
    return make_lists(
        Candidates(
            users=np.arange(len(world.listeners), dtype=np.int32),
            offsets=np.cumsum([0, *(len(one.candidates) for one in world.listeners)]),
            songs=np.array(ranked, np.int32),
            scores=np.arange(len(ranked), dtype=np.float64) + 1000,
        ),
        popular=np.array(world.popular, np.int32),
        popularity=np.arange(songs, dtype=np.float64),
        artists=(
            np.cumsum([0, *(len(codes) for codes in world.artists)]),
            np.array(credited, np.int32),
        ),
        excluded=rows([one.excluded for one in world.listeners], songs),
        barred=np.isin(np.arange(songs), list(world.barred)),
        cooling=rows([one.cooling for one in world.listeners], songs),
        settings=world.rules,
    )


def songs_of(lists: Lists, user: int = 0) -> list[int]:
    return [int(song) for song in lists.songs[lists.offsets[user] : lists.offsets[user + 1]]]


def relaxed_of(lists: Lists, user: int = 0) -> set[str]:
    return {name for name, bit in RULES.items() if lists.relaxed[user] & bit}


@dataclass
class Reference:
    """What `make_lists` promises, one set at a time."""

    world: World
    listener: Listener
    songs: list[int] = field(default_factory=list)

    def allows(self, song: int, without: set[str]) -> bool:
        credited = [artist for taken in self.songs for artist in self.world.artists[taken]]
        full = [
            artist
            for artist in self.world.artists[song]
            if credited.count(artist) >= self.world.rules.per_artist
        ]
        return (
            song not in {*self.songs, *self.listener.excluded, *self.world.barred}
            and ("cooldown" in without or song not in self.listener.cooling)
            and ("per_artist" in without or not full)
        )

    def place(self, song: int) -> bool:
        for at in range(len(self.songs), -1, -1):
            beside = self.songs[max(at - 1, 0) : at + 1]
            if not any(self.world.artists[song] & self.world.artists[other] for other in beside):
                self.songs.insert(at, song)
                return True
        return False

    def grow(self, without: set[str]) -> bool:
        before, waiting = len(self.songs), list[int]()
        for song in (*self.listener.candidates, *self.world.popular):
            if len(self.songs) == self.world.rules.length:
                break
            if song in waiting or not self.allows(song, without):
                continue
            if not self.place(song):
                if "neighbours" not in without:
                    waiting.append(song)
                    continue
                self.songs.append(song)
            while len(self.songs) < self.world.rules.length and any(
                self.allows(late, without) and self.place(late) for late in waiting
            ):
                pass
        return len(self.songs) > before

    def run(self) -> list[int]:
        n, c, a = RULES
        steps = [{n}, {c}, {a}, {n, c}, {n, a}, {c, a}, {n, c, a}]
        relaxing: set[str] = set()
        self.grow(relaxing)
        while more := next((step for step in steps if self.grow(relaxing | step)), None):
            relaxing |= more
        return self.songs


def broken(world: World, listener: Listener, songs: list[int]) -> set[str]:
    held = [artist for song in songs for artist in world.artists[song]]
    return {
        name
        for name, breach in {
            "neighbours": any(world.artists[a] & world.artists[b] for a, b in pairwise(songs)),
            "cooldown": bool(listener.cooling & set(songs)),
            "per_artist": any(held.count(artist) > world.rules.per_artist for artist in held),
        }.items()
        if breach
    }


@st.composite
def worlds(draw: st.DrawFn) -> World:
    count = draw(st.integers(1, 14))
    some = st.frozensets(st.integers(0, count - 1), max_size=count)
    ranked = st.permutations(range(count))
    listener = st.builds(
        lambda order, take, excluded, cooling: Listener(tuple(order[:take]), excluded, cooling),
        ranked,
        st.integers(0, count),
        some,
        some,
    )
    artist = st.integers(0, draw(st.integers(0, 5)))
    return World(
        artists=tuple(
            draw(st.lists(st.frozensets(artist, max_size=3), min_size=count, max_size=count))
        ),
        popular=tuple(draw(ranked)),
        listeners=tuple(draw(st.lists(listener, min_size=1, max_size=4))),
        barred=draw(st.frozensets(st.integers(0, count - 1), max_size=2)),
        rules=PlaylistsSettings(
            length=draw(st.integers(1, 16)), per_artist=draw(st.integers(1, 3))
        ),
    )


def one_listener(artists: list[set[int]], listener: Listener, **rules: int) -> World:
    return World(
        artists=tuple(frozenset(codes) for codes in artists),
        popular=tuple(range(len(artists))),
        listeners=(listener,),
        rules=PlaylistsSettings(**rules),
    )
