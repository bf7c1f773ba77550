"""A slow reading of the rules that can be argued about, one candidate at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recsys.settings import PlaylistsSettings


def slow_rerank(
    songs: Sequence[int],
    scores: Sequence[float],
    *,
    listeners: Sequence[int],
    new: Sequence[bool] | None,
    artists: Sequence[frozenset[int]],
    known_artists: set[int],
    item_factors: npt.NDArray[np.float32],
    rules: PlaylistsSettings,
    like: Sequence[int] = (),
) -> list[int]:
    """One listener's candidates in the order that docs/rules.md promises.

    Similarity is added up in float32; songs that it cannot tell apart come as in ``like``.
    """

    def relevance(song: int) -> float:
        score = scores[songs.index(song)]
        if score <= 0:
            return score
        fresh = 1 + rules.freshness if new is not None and new[song] else 1.0
        return float(score * (float(max(listeners[song], 1)) ** rules.popularity_exponent * fresh))

    left = sorted(songs, key=lambda song: (-relevance(song), songs.index(song)))
    if not left or (rules.familiar_at_least, rules.familiar_at_most, rules.diversity) == (0, 1, 0):
        return left
    most = {
        True: int(rules.familiar_at_most * rules.length + 1e-9),
        False: rules.length - int(-(-(rules.familiar_at_least * rules.length - 1e-9) // 1)),
    }
    best_relevance = relevance(left[0])
    best_relevance = best_relevance if best_relevance > 0 else 1.0
    picked: list[int] = []

    def allowed(song: int) -> bool:
        credited = [artist for other in picked for artist in artists[other]]
        same = [other for other in picked if familiar(other) == familiar(song)]
        capped = any(credited.count(artist) >= rules.per_artist for artist in artists[song])
        return not capped and len(same) < most[familiar(song)]

    def familiar(song: int) -> bool:
        return bool(artists[song] & known_artists)

    def value(song: int) -> float:
        worth = (1 - rules.diversity) * relevance(song) / best_relevance
        if rules.diversity == 0 or not picked:
            return worth
        return worth - rules.diversity * max(_cosine(item_factors, song, one) for one in picked)

    pool = set(left[: 3 * rules.length] if rules.diversity else left)
    while len(picked) < rules.length:
        able = [song for song in left if allowed(song)]
        able = [song for song in able if song in pool] or able[:1]
        if not able:
            break
        top = max(map(value, able))
        best = [song for song in able if value(song) >= top - 1e-6 * (rules.diversity > 0)]
        proposed = like[len(picked)] if len(like) > len(picked) else None
        picked.append(proposed if proposed in best else best[0])
        left.remove(picked[-1])
    return picked + left


def _cosine(factors: npt.NDArray[np.float32], one: int, other: int) -> float:
    a, b = factors[one].astype(np.float64), factors[other].astype(np.float64)
    return float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300))
