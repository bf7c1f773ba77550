"""One stage by one contender, timed without what it needs to begin.

    python -m benchmarks.stages STAGE CONTENDER FOLDER [--tracks N]

FOLDER is what :func:`prepare` made of a log. Prints JSON: ``seconds``, ``cpu``, and what is
checked beside them (:func:`benchmarks._quality.check_alike`).
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # implicit asks for it

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix, load_npz, save_npz

from benchmarks._logs import CUTOFF, Log

if TYPE_CHECKING:
    from recsys.matrix import TasteMatrix
    from recsys.models import ALSModel
    from recsys.playlists import Picks

COLUMNS = ["user_id", "track_id", "listened_at", "event", "private"]
COUNT = 200
Work = Callable[[], Any]
Factors = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
Listed = tuple["Picks", npt.NDArray[np.int32]]


def prepare(log: Log, folder: Path) -> Path:
    """Count a log and train on it: what the stages begin with."""
    from benchmarks.ours import read
    from recsys.models import train
    from recsys.settings import AlsSettings

    if not (folder / "items.npy").exists():
        folder.mkdir(parents=True, exist_ok=True)
        matrix = read(log.source, str(CUTOFF))
        model = train(matrix, AlsSettings(), seed=1)
        save_npz(folder / "strength.npz", matrix.strength)
        np.save(folder / "users.npy", model.user_factors)
        np.save(folder / "items.npy", model.item_factors)
    return folder


def aggregate(contender: str, log: Path, _: argparse.Namespace) -> tuple[Work, Work]:
    """Plays per listener and track of the days before the cutoff; or merely reading these rows."""
    days = sorted(day for day in log.glob("date=*") if day.name < f"date={CUTOFF}")
    files = [day / "listens.parquet" for day in days]

    def ours() -> Any:
        from benchmarks.ours import read

        return read(log, str(CUTOFF)).strength.data

    def by_pandas() -> Any:
        import pandas as pd

        listens = pd.concat(pd.read_parquet(file, columns=COLUMNS) for file in files)
        listens = listens.dropna(subset=["user_id", "track_id", "listened_at"])
        listens = listens[(listens["event"] == "play") & ~listens["private"].fillna(False)]
        return listens.groupby(["user_id", "track_id"]).size()

    def by_polars() -> Any:
        import polars as pl

        counts = (
            pl.scan_parquet(files)
            .drop_nulls(["user_id", "track_id", "listened_at"])
            .filter(pl.col("event") == "play", ~pl.col("private").fill_null(value=False))
            .group_by("user_id", "track_id")
            .agg(pl.len().alias("listens"), pl.col("listened_at").max())
            .collect(engine="streaming")
        )
        return counts["listens"]

    def reading() -> None:
        import pyarrow.parquet as pq

        for file in files:
            pq.ParquetFile(file).read(COLUMNS)

    def check(found: Any) -> dict[str, Any]:
        if found is None:
            return {"pairs and plays": None}
        plays = np.rint(np.expm1(found)) if contender == "ours" else np.asarray(found)
        return {"pairs and plays": (len(plays), int(plays.sum(dtype=np.int64)))}

    if contender == "ours":
        __import__("benchmarks.ours")
    works = {"ours": ours, "pandas": by_pandas, "polars": by_polars, "reading": reading}
    return _after_imports(works[contender], contender), check


def _after_imports(work: Work, contender: str) -> Work:
    if contender in ("pandas", "polars"):
        __import__(contender)
    import pyarrow.parquet as pq

    pq.core.pa.scalar("")  # imports pandas where it is installed
    return work


def training(contender: str, folder: Path, given: argparse.Namespace) -> tuple[Work, Work]:
    """Five iterations under implicit's objective; the loss afterwards, measured by one code."""
    from recsys.models import ImplicitALS

    confidence = load_npz(folder / "strength.npz").astype(np.float32)
    confidence.data = 1 + 2 * confidence.data
    asked = {"factors": given.factors, "regularization": 2.0, "iterations": 5, "random_state": 1}
    fit = _by_lenskit(confidence, asked) if contender == "lenskit" else _by_als(contender, asked)

    def fitted() -> float:
        judge = ImplicitALS(alpha=1.0, **asked)
        judge.user_factors, judge.item_factors = fit(confidence)
        return judge.loss(confidence)

    return fitted, lambda found: {"loss": round(found, 6)}


def _by_als(contender: str, asked: dict[str, Any]) -> Callable[[csr_matrix], Factors]:
    from implicit.cpu.als import AlternatingLeastSquares

    from recsys.models import ImplicitALS

    kind = {"ours": ImplicitALS, "implicit": AlternatingLeastSquares}[contender]

    def fit(confidence: csr_matrix) -> Factors:
        model = kind(alpha=1.0, **asked)
        model.fit(confidence, show_progress=False)
        return model.user_factors, model.item_factors

    return fit


def _by_lenskit(confidence: csr_matrix, asked: dict[str, Any]) -> Callable[[csr_matrix], Factors]:
    """Its weights are those beyond 1; it knows none but who and what has an entry."""
    import pandas as pd
    from lenskit.als import ImplicitMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions

    entries = confidence.tocoo()
    names = {"user_id": entries.row, "item_id": entries.col, "rating": entries.data - 1}
    data = from_interactions_df(pd.DataFrame(names))
    model = ImplicitMFScorer(
        features=asked["factors"], epochs=asked["iterations"],
        regularization=asked["regularization"], weight=1.0, use_ratings=True,
    )  # fmt: skip

    def fit(confidence: csr_matrix) -> Factors:
        model.train(data, TrainingOptions(rng=asked["random_state"]))
        factors = np.zeros((2, max(confidence.shape), asked["factors"]), np.float32)
        factors[0, model.users.ids()] = model.user_embeddings
        factors[1, model.items.ids()] = model.item_embeddings
        return factors[0, : confidence.shape[0]], factors[1, : confidence.shape[1]]

    return fit


def candidates(contender: str, folder: Path, given: argparse.Namespace) -> tuple[Work, Work]:
    """The best 200 unheard of every listener; or the product of the factors alone."""
    from implicit.cpu.als import AlternatingLeastSquares

    from recsys.models import rank

    users, items, heard = catalogue(folder, given.tracks, given.listeners)
    rows = np.arange(len(users), dtype=np.int32)

    def ours() -> npt.NDArray[np.int32]:
        found = rank(
            users,
            items,
            limits=np.full(len(users), COUNT),
            allowed=np.ones(len(items), bool),
            excluded=heard,
            rows=rows,
        )
        return found.songs.reshape(len(users), COUNT)

    def theirs() -> npt.NDArray[np.int32]:
        model = AlternatingLeastSquares(factors=items.shape[1])
        model.user_factors, model.item_factors = users.astype(np.float32), items
        ids, _ = model.recommend(rows, heard, N=COUNT, filter_already_liked_items=True)
        return np.asarray(ids)

    def product() -> npt.NDArray[np.int32]:
        from recsys._threads import over_blocks

        left = users.astype(np.float32)
        own = threading.local()

        def block(start: int, stop: int) -> None:
            if not hasattr(own, "scores"):
                own.scores = np.empty((128, len(items)), np.float32)
            np.matmul(left[start:stop], items.T, out=own.scores[: stop - start])

        for _ in over_blocks(block, len(users), 128):
            pass
        return np.zeros((1, COUNT), np.int32)

    if contender == "ours":  # what compiling costs is shown apart
        rank(
            users[:1],
            items,
            limits=np.full(1, COUNT),
            allowed=np.ones(len(items), bool),
            excluded=heard,
            rows=rows[:1],
        )
    works = {"ours": ours, "implicit": theirs, "product": product}

    def check(found: npt.NDArray[np.int32]) -> dict[str, Any]:
        return {"best": None if contender == "product" else found[:: len(found) // 50].tolist()}

    return works[contender], check


def catalogue(
    folder: Path, tracks: int, listeners: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], csr_matrix]:
    """Trained factors, under a catalogue of any size: songs are repeated, each a little different.

    So lengths and directions of the factors are spread as they are in a model, and no two songs
    are the same.
    """
    users, items = np.load(folder / "users.npy"), np.load(folder / "items.npy")
    strength = load_npz(folder / "strength.npz")
    held = np.flatnonzero(np.diff(strength.indptr))[:listeners]
    if tracks in (0, len(items)):
        return users[held], items, strength[held]
    rng = np.random.default_rng(1)
    which = rng.integers(0, len(items), tracks)
    noise = rng.standard_normal((tracks, items.shape[1]), np.float32)
    wide = items[which] + 0.2 * noise * np.linalg.norm(items[which], axis=1)[:, None] / 8
    heard = strength[held]
    columns = (heard.indices.astype(np.int64) * 7919 + 13) % tracks
    moved = csr_matrix((heard.data, columns.astype(np.int32), heard.indptr), (len(held), tracks))
    moved.sum_duplicates()
    return users[held], wide.astype(np.float32), moved


def rules(contender: str, edition: Path, _: argparse.Namespace) -> tuple[Work, Work]:
    """Candidates to lists under rules, each track with its reason; or finding the candidates."""
    from recsys import models
    from recsys.candidates import Candidates, find_candidates
    from recsys.eligibility import barred_songs, cooling_songs, eligible_users
    from recsys.matrix import TasteMatrix
    from recsys.plan import Plan
    from recsys.playlists import make_lists
    from recsys.playlists.making import recipe_of
    from recsys.reasons import reasons
    from recsys.rerank import rerank
    from recsys.settings import PlaylistsSettings

    matrix, model = TasteMatrix.load(edition / "matrix"), models.load(edition / "als_model")
    plan, settings = Plan.load(edition / "plan"), PlaylistsSettings()
    recipe = recipe_of(
        matrix, blocked=plan.blocked, week=plan.week, settings=settings, spill=edition
    )
    users, barred = eligible_users(matrix), barred_songs(matrix, plan.blocked)
    cooling = cooling_songs(matrix, users, [])
    found = Candidates.load(edition / "candidates", matrix)

    def ours() -> Listed:
        ordered = rerank(found, matrix, model.item_factors, artists=recipe.artists, new=recipe.new,
                         settings=settings)  # fmt: skip
        lists = make_lists(
            ordered, excluded=matrix.excluded[users], cooling=cooling, **recipe.rules,
        )  # fmt: skip
        both, _, _ = lists.with_spares()
        return both, reasons(model, matrix, both)

    def finding() -> int:
        folded = model.with_users_of(matrix)
        return len(find_candidates(folded, matrix, users, barred=barred, cooling=cooling).songs)

    def check(done: Any) -> dict[str, Any]:
        if contender == "candidates":
            return {"tracks": done}
        listed: Listed = done
        check_reasons(model, matrix, *listed)
        return {"tracks": len(listed[1])}

    works: dict[str, Work] = {"ours": ours, "candidates": finding}
    works[contender]()  # what compiling costs is shown apart
    return works[contender], check


def check_reasons(
    model: ALSModel, matrix: TasteMatrix, picks: Picks, because: npt.NDArray[np.int32]
) -> None:
    """Hold the reasons of some lists against all that each song held to adds, in float64.

    Raises:
        RuntimeError: another song than the reason adds more.
    """
    from recsys.models import contributions

    confidence, ready = model.confidences(matrix.strength), model.rotated()
    for n in range(0, len(picks.users), max(1, len(picks.users) // 200)):
        mine = slice(picks.offsets[n], picks.offsets[n + 1])
        personal = picks.personal[mine]
        held = slice(*matrix.strength.indptr[picks.users[n] : picks.users[n] + 2])
        added = contributions(ready, confidence[picks.users[n]], picks.songs[mine][personal])
        if added.size == 0:
            continue
        tracks = matrix.played_track[held][:, None]
        most = np.where(tracks >= 0, added, -np.inf).max(axis=0)
        named = np.where(tracks == because[mine][personal], added, -np.inf).max(axis=0)
        if (named < most - 2e-9).any():
            raise RuntimeError(f"list {n}: another song than the reason adds more")


STAGES = {
    "aggregate": aggregate,
    "training": training,
    "candidates": candidates,
    "rules": rules,
}


def main() -> None:
    """Run one stage by one contender."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("contender")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tracks", type=int, default=0, help="0 for the log's own")
    parser.add_argument("--listeners", type=int, default=20_000)
    parser.add_argument("--factors", type=int, default=64)
    given = parser.parse_args()
    work, check = STAGES[given.stage](given.contender, given.folder, given)
    began, cpu = time.perf_counter(), time.process_time()
    found = work()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(json.dumps({"seconds": seconds, "cpu": cpu, **check(found)}))


if __name__ == "__main__":
    main()
