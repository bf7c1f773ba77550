"""The rules that can be argued about reorder candidates as promised, and do nothing else."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.candidates import Candidates, find_candidates
from recsys.errors import SettingsError
from recsys.fresh import new_songs
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, train
from recsys.playlists import Artists
from recsys.rerank import is_on, rerank
from recsys.settings import PlaylistsSettings, load_settings
from tests.models.worlds import SETTINGS, matrix_of, sparse_strength
from tests.reranking import slow_rerank

SONGS = 60


def credited(songs: int, seed: int) -> list[frozenset[int]]:
    rng = np.random.default_rng(seed)
    return [frozenset(rng.integers(0, 15, rng.integers(0, 3)).tolist()) for _ in range(songs)]


def codes_of(artists: list[frozenset[int]]) -> Artists:
    return (
        np.cumsum([0, *map(len, artists)]),
        np.array([code for codes in artists for code in sorted(codes)], np.int32),
    )


class Setup:
    """A small world, and its candidates."""

    def __init__(self, seed: int = 1, users: int = 12, count: int = 25) -> None:
        heard_too = np.random.default_rng(seed).random((users, SONGS)) < 0.05
        self.matrix: TasteMatrix = matrix_of(
            sparse_strength(seed, users, SONGS, 0.15), excluded=heard_too
        )
        self.model: ALSModel = train(self.matrix, SETTINGS, seed=seed)
        self.artists = credited(SONGS, seed)
        self.new = np.random.default_rng(seed + 1).random(SONGS) < 0.3
        everyone = np.arange(0, users, 2, dtype=np.int32)
        self.candidates = find_candidates(self.model, self.matrix, everyone, count=count)

    def rerank(self, rules: PlaylistsSettings) -> Candidates:
        return rerank(
            self.candidates,
            self.matrix,
            self.model.item_factors,
            artists=codes_of(self.artists),
            new=self.new if rules.freshness else None,
            settings=rules,
        )

    def slowly(self, rules: PlaylistsSettings, k: int, like: list[int]) -> list[int]:
        songs, scores = of_user(self.candidates, k)
        heard = self.matrix.excluded[self.candidates.users[k]].indices
        return slow_rerank(
            songs,
            scores,
            listeners=self.matrix.songs["listeners"].to_pylist(),
            new=self.new.tolist() if rules.freshness else None,
            artists=self.artists,
            known_artists={artist for song in heard for artist in self.artists[song]},
            item_factors=self.model.item_factors,
            rules=rules,
            like=like,
        )


setup_of = cache(Setup)


def of_user(candidates: Candidates, k: int) -> tuple[list[int], list[float]]:
    mine = slice(candidates.offsets[k], candidates.offsets[k + 1])
    return candidates.songs[mine].tolist(), candidates.scores[mine].tolist()


RULES = st.builds(
    lambda shares, **others: PlaylistsSettings(
        familiar_at_least=min(shares), familiar_at_most=max(shares), **others
    ),
    shares=st.tuples(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([0.5, 0.75, 1.0])),
    length=st.integers(1, 12),
    per_artist=st.integers(1, 3),
    popularity_exponent=st.sampled_from([-1.0, -0.3, 0.0, 0.5]),
    diversity=st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    freshness=st.sampled_from([0.0, 0.5]),
)


@given(seed=st.integers(0, 5), rules=RULES)
def test_the_order_is_the_one_that_the_rules_say(seed: int, rules: PlaylistsSettings) -> None:
    setup = setup_of(seed)
    ordered = setup.rerank(rules)
    for k in range(len(setup.candidates.users)):
        songs = of_user(ordered, k)[0]
        assert songs == setup.slowly(rules, k, songs)


@given(rules=RULES)
def test_nothing_but_the_order_changes(rules: PlaylistsSettings) -> None:
    setup = setup_of(1)
    ordered = setup.rerank(rules)
    np.testing.assert_array_equal(ordered.offsets, setup.candidates.offsets)
    for k in range(len(setup.candidates.users)):
        before, after = (
            sorted(zip(*of_user(one, k), strict=True)) for one in (setup.candidates, ordered)
        )
        assert before == after


def test_rules_that_are_off_hand_the_candidates_back() -> None:
    setup = setup_of(1)
    assert not is_on(PlaylistsSettings())
    assert setup.rerank(PlaylistsSettings()) is setup.candidates


def test_shares_hold_where_the_candidates_allow() -> None:
    setup = Setup(users=40, count=40)
    rules = PlaylistsSettings(length=8, per_artist=8)

    def familiar(**shares: float) -> list[tuple[int, int]]:
        """Per listener, how many of the first eight are by familiar artists, and of all."""
        ordered, found = setup.rerank(replace(rules, **shares)), []
        for k, user in enumerate(ordered.users):
            heard = setup.matrix.excluded[user].indices
            known = {artist for song in heard for artist in setup.artists[song]}
            them = [bool(setup.artists[song] & known) for song in of_user(ordered, k)[0]]
            found.append((sum(them[:8]), sum(them)))
        return found

    usual = familiar()
    assert min(usual)[0] < 4 < max(usual)[0]
    assert all(
        first == min(usual[k][0], 4) for k, (first, _) in enumerate(familiar(familiar_at_most=0.5))
    )
    assert any(of_all < 4 for _, of_all in usual)
    for k, (first, of_all) in enumerate(familiar(familiar_at_least=0.5)):
        assert first == max(usual[k][0], min(of_all, 4))


def test_a_larger_exponent_is_for_the_head_and_diversity_is_for_the_different() -> None:
    setup = Setup(users=40, count=40)
    listeners = setup.matrix.songs["listeners"].to_numpy()

    def firsts(**rules: float) -> list[list[int]]:
        ordered = setup.rerank(PlaylistsSettings(length=8, **rules))
        return [of_user(ordered, k)[0][:8] for k in range(len(ordered.users))]

    head, usual, tail = (
        listeners[np.concatenate(firsts(popularity_exponent=x))].mean() for x in (0.5, 0.0, -0.5)
    )
    assert head > usual > tail

    def alike(songs: list[int]) -> float:
        vectors = setup.model.item_factors[songs]
        vectors = vectors / np.linalg.norm(vectors, axis=1)[:, None]
        return float((vectors @ vectors.T).mean())

    assert np.mean([alike(songs) for songs in firsts(diversity=0.5)]) < np.mean(
        [alike(songs) for songs in firsts()]
    )


def test_same_bytes_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    setup = Setup(users=1400)
    rules = PlaylistsSettings(diversity=0.4, familiar_at_most=0.5, popularity_exponent=-0.2)
    found = set()
    for threads in (1, 2, 5):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=threads: set(range(n)))
        found.add(setup.rerank(rules).songs.tobytes())
    assert len(found) == 1


def test_a_song_is_new_until_an_older_day_knows_a_track_of_it(tmp_path: Path) -> None:
    matrix = replace(
        matrix_of(np.ones((2, 3))),
        tracks=pa.table(
            {
                "track_id": ["a", "b", "b remastered", "c"],
                "song": pa.array([0, 1, 1, 2], pa.int32()),
            }
        ),
    )
    for name, tracks in (("first", ["a", "gone"]), ("second", ["b remastered", "a"])):
        pq.write_table(pa.table({"track_id": tracks}), tmp_path / f"{name}.parquet")
    days = [tmp_path / "first.parquet", tmp_path / "second.parquet"]
    assert new_songs(matrix, days, spill=tmp_path).tolist() == [False, False, True]
    assert new_songs(matrix, [], spill=tmp_path).tolist() == [True, True, True]


def test_shares_that_contradict_each_other_are_refused_at_the_start(tmp_path: Path) -> None:
    config = tmp_path / "luigi.cfg"
    config.write_text(
        "[listens]\nsource = log\n[playlists]\nfamiliar_at_least = 0.6\nfamiliar_at_most = 0.4\n",
        encoding="utf-8",
    )
    with pytest.raises(SettingsError, match=r"familiar_at_least = 0.6 is over familiar_at_most"):
        load_settings([config])
