"""Explanations agree with the playlists, with the scores, and with a reading of their own."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from recsys.errors import NoSuchUserError
from recsys.explain import Answer, Listener, MadeEdition, Reason
from recsys.settings import PlaylistsSettings
from recsys.store import PlaylistTrack
from tests.explain.worlds import AWAY, NEWCOMER, SATED, SAVER, SKIPPER, World
from tests.models.dense import dense_parts
from tests.reranking import slow_rerank

RULES = {
    "plain": PlaylistsSettings(length=6),
    "one by one artist": PlaylistsSettings(length=8, per_artist=1),
    "tail first": PlaylistsSettings(length=6, popularity_exponent=-1.0, diversity=0.3),
    "mostly unfamiliar": PlaylistsSettings(length=6, familiar_at_most=0.2, per_artist=3),
    "longer than can be": PlaylistsSettings(length=25, per_artist=1),
    "two artists": PlaylistsSettings(length=8, per_artist=5),
}
SEEDS = (1, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explain")


@cache
def made(folder: Path, rules: str, seed: int = 1) -> tuple[World, MadeEdition]:
    world = World(
        seed, RULES[rules], count=14, folder=folder / f"{rules} {seed}",
        artists_in_all=2 if rules == "two artists" else 9,
    )  # fmt: skip
    return world, world.make()


@cache
def answers(folder: Path, rules: str, seed: int, user: int) -> dict[str, Answer]:
    """What a listener is told of every track."""
    world, edition = made(folder, rules, seed)
    listener = Listener(edition, f"user {user:02}")
    return {track: listener.why(track) for track in [*world.track_ids, "never heard of"]}


class Oracle:
    """The reason for each song, from dense arrays and a replay of the rules in plain Python."""

    def __init__(self, world: World, edition: MadeEdition, user: int) -> None:
        self.world, self.edition, self.user = world, edition, user
        self.scores = world.scores(edition)[user].round(6)
        self.resting = {int(s) for songs in world.cooling.values() for s in songs[user]}
        self.barred = {int(s) for s in np.flatnonzero(~world.available)}
        self.barred |= {world.track_ids[track] for track in world.blocked}
        self.known = {int(s) for s in np.flatnonzero(world.heard[user] | world.disliked[user])}
        out = self.barred | self.known | self.resting
        self.learnt = {int(s) for s in np.flatnonzero(world.strength.any(axis=0))}
        holds = int((world.strength[user] > 0).sum())
        could = self.learnt - out - {int(s) for s in np.flatnonzero(world.saved[user])}
        self.ranked = sorted(could, key=lambda s: (-self.scores[s], s)) if holds else []
        self.candidates = self.ranked[: min(world.count, 10 * holds)]
        popularity = world.strength.sum(axis=0).round(6)
        order = sorted(range(world.songs), key=lambda s: (-popularity[s], s))
        self.popular = [s for s in order if world.available[s]]

    def turns(self, like: list[int]) -> list[int]:
        ordered = slow_rerank(
            self.candidates,
            [float(self.scores[s]) for s in self.candidates],
            listeners=[int(n) for n in (self.world.strength > 0).sum(axis=0)],
            new=None,
            artists=self.world.artists,
            known_artists={a for s in self.known for a in self.world.artists[s]},
            item_factors=self.edition.model.item_factors,
            rules=self.world.rules,
            like=like,
        )
        return list(dict.fromkeys([*ordered, *self.popular]))

    def reason(self, song: int, listed: list[int], relaxed: list[str], like: list[int]) -> Reason:
        world, turns = self.world, self.turns(like)
        if self.user == AWAY:
            return Reason.NOT_ELIGIBLE
        if not listed:
            return Reason.NOTHING_LEFT
        if song in listed:
            return Reason.LISTED
        if song in self.barred:
            by_hand = any(world.track_ids[track] == song for track in world.blocked)
            return Reason.BLOCKED if by_hand else Reason.UNAVAILABLE
        if world.disliked[self.user, song]:
            return Reason.DISLIKED
        if song in self.known:
            return Reason.HEARD
        if song in self.resting:
            return Reason.COOLDOWN
        last = max(map(turns.index, listed))
        if relaxed or turns.index(song) < last:
            credited = Counter(artist for other in listed for artist in world.artists[other])
            full = any(credited[a] >= world.rules.per_artist for a in world.artists[song])
            return Reason.ARTIST_CAP if full else Reason.NEIGHBOURS
        if song in self.candidates:
            return Reason.FULL
        if not world.strength[self.user].any():
            return Reason.NOTHING_TO_GO_BY
        if song not in self.learnt:
            return Reason.NOT_LEARNT
        return Reason.SAVED if world.saved[self.user, song] else Reason.BELOW_CUT


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rules", RULES)
def test_every_track_of_the_catalogue_has_the_reason_that_an_oracle_finds(
    folder: Path, rules: str, seed: int
) -> None:
    world, edition = made(folder, rules, seed)
    lists = world.rows()
    for user in range(world.users):
        listener = Listener(edition, f"user {user:02}")
        row = lists.get(user)
        at = {track["track_id"]: track["position"] for track in row["tracks"]} if row else {}
        listed = [world.track_ids[track] for track in at]
        oracle = Oracle(world, edition, user)
        like = listener._order.tolist()
        for track, song in world.track_ids.items():
            answer = answers(folder, rules, seed, user)[track]
            assert (answer.reason is Reason.LISTED) == (track in at), (user, track)
            assert answer.position == at.get(f"track {song:02}"), (user, track)
            wanted = oracle.reason(song, listed, row["relaxed"] if row else [], like)
            if wanted is Reason.LISTED and track not in at:
                wanted = Reason.SAME_SONG
            assert answer.reason is wanted, (user, track, answer)
            if answer.standing is not None:
                check_standing(oracle, song, answer)


def check_standing(oracle: Oracle, song: int, answer: Answer) -> None:
    standing = answer.standing
    assert standing is not None
    rank = oracle.ranked.index(song) + 1 if song in oracle.ranked else None
    assert (standing.rank, standing.of) == (rank, len(oracle.ranked))
    assert standing.candidates == len(oracle.candidates)
    assert (standing.turn is not None) == (song in oracle.candidates)
    assert standing.popularity_rank == oracle.popular.index(song) + 1
    if rank is not None:
        assert standing.score == pytest.approx(oracle.scores[song], abs=1e-6)


def reasons_in(folder: Path) -> dict[Reason, list[Answer]]:
    found: dict[Reason, list[Answer]] = {}
    for rules in RULES:
        for seed in SEEDS:
            for user in range(World.users):
                for answer in answers(folder, rules, seed, user).values():
                    found.setdefault(answer.reason, []).append(answer)
    return found


def test_the_worlds_hold_every_reason_and_each_names_what_it_speaks_of(folder: Path) -> None:
    found = reasons_in(folder)
    assert set(found) == set(Reason)
    assert {one.last_heard for one in found[Reason.NOT_ELIGIBLE]} == {
        made(folder, "plain")[0].last_heard
    }
    assert all(one.last_heard for one in found[Reason.HEARD])
    assert any(one.tracks != (one.track,) for one in found[Reason.HEARD])
    assert all(one.tracks for one in found[Reason.DISLIKED] + found[Reason.BLOCKED])
    assert all(len(one.tracks) >= 1 for one in found[Reason.ARTIST_CAP])
    assert all(one.tracks for one in found[Reason.NEIGHBOURS])
    assert {len(one.editions) for one in found[Reason.COOLDOWN]} == {1, 2}
    assert all(one.position and one.tracks for one in found[Reason.SAME_SONG])


@pytest.mark.parametrize("rules", ["plain", "tail first", "longer than can be"])
def test_weights_are_those_of_the_paper_and_add_up_to_the_score(folder: Path, rules: str) -> None:
    world, edition = made(folder, rules)
    for user, row in world.rows().items():
        listed = Listener(edition, f"user {user:02}").playlist()
        assert [one.track.track_id for one in listed] == [t["track_id"] for t in row["tracks"]]
        for one, track in zip(listed, row["tracks"], strict=True):
            assert (one.position, one.score, one.source) == (
                track["position"], track["score"], track["source"],
            )  # fmt: skip
            if one.source == "popular":
                assert one.parts == ()
                continue
            assert sum(part.weight for part in one.parts) == pytest.approx(one.score, abs=2e-6)
            exact = dense_parts(
                edition.matrix, edition.model, user, world.track_ids[one.track.track_id]
            )
            assert [part.weight for part in one.parts] == pytest.approx(
                sorted(exact[world.strength[user] > 0], reverse=True), abs=1e-9
            )
            reason = next(part for part in one.parts if part.played)
            assert reason.track.track_id == track["because_track_id"]


def test_a_song_saved_and_never_played_speaks_too_and_says_so(folder: Path) -> None:
    world, edition = made(folder, "plain")
    listener = Listener(edition, f"user {SAVER:02}")
    saved = {f"track {song:02}" for song in np.flatnonzero(world.saved[SAVER])}
    for one in listener.playlist():
        unplayed = {part.track.track_id for part in one.parts if not part.played}
        assert unplayed == (saved if one.source == "als" else set())
    assert not saved & {one.track.track_id for one in listener.playlist() if one.source == "als"}


def test_popular_tracks_and_listeners_without_a_list(folder: Path) -> None:
    world, edition = made(folder, "plain")
    assert {one.source for one in Listener(edition, f"user {SKIPPER:02}").playlist()} == {"popular"}
    for user in (AWAY, SATED):
        assert Listener(edition, f"user {user:02}").playlist() == ()
        assert user not in world.rows()
    newcomer = Listener(edition, f"user {NEWCOMER:02}")
    assert {len(one.parts) for one in newcomer.playlist() if one.source == "als"} == {2}


@pytest.mark.parametrize("rules", ["plain", "longer than can be"])
def test_a_block_changes_what_is_told_of_the_blocked_song_and_the_spare_alone(
    folder: Path, rules: str
) -> None:
    world, edition = made(folder, rules)
    entered = 0
    for user, row in world.rows().items():
        blocked, *rest = row["tracks"]
        spares = [spare for spare in row["spares"] if 1 not in spare["not_at"]][:1]
        shown = [
            PlaylistTrack(**{name: track[name] for name in rest[0]} | {"position": place})
            for place, track in enumerate([one | {"position": 0} for one in spares] + rest, start=1)
        ]
        song = world.track_ids[blocked["track_id"]]
        ids = frozenset(one for one, of in world.track_ids.items() if of == song)
        listener = Listener(edition, f"user {user:02}", shown=shown, blocked=ids)
        listed = {one.track.track_id: one for one in listener.playlist()}
        assert list(listed) == [track.track_id for track in shown]
        spare_songs = {world.track_ids[spare["track_id"]] for spare in spares}
        for track, its_song in world.track_ids.items():
            answer = listener.why(track)
            if its_song == song:
                assert answer.reason is Reason.BLOCKED
                assert {one.track_id for one in answer.tracks} == ids
            elif its_song in spare_songs:
                entered += 1
                assert answer.reason in (Reason.LISTED, Reason.SAME_SONG)
                assert answer.position == 1
            else:
                assert answer.reason is answers(folder, rules, 1, user)[track].reason
        assert {one for one, what in listed.items() if what.entered} == {
            spare["track_id"] for spare in spares
        }
    assert entered or rules != "plain"


def test_a_listener_that_the_log_never_knew(folder: Path) -> None:
    _, edition = made(folder, "plain")
    with pytest.raises(NoSuchUserError, match="knows no such listener"):
        Listener(edition, "user 99")


def test_without_the_taste_state_heard_is_still_heard(folder: Path) -> None:
    from dataclasses import replace

    world, edition = made(folder, "plain")
    song = int(np.flatnonzero(world.heard[SKIPPER] & world.available)[0])
    while f"track {song:02}" in world.blocked:
        song += 1
    answer = Listener(replace(edition, taste=None), f"user {SKIPPER:02}").why(f"track {song:02}")
    assert (answer.reason, answer.last_heard) == (Reason.HEARD, None)
