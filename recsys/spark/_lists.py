"""Candidates and playlists by ranges of listeners: the kernels of one machine, in executors.

Songs, tracks and item factors are read by each Python worker once and kept; of the listeners, of
what they got before and of their candidates it reads those of the part in hand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import candidates as found
from recsys import models
from recsys._slices import FOLDER, LISTENERS, part_name, read_listeners, slice_of, user_ranges
from recsys._tables import part_files
from recsys.candidates import Candidates, eligible_candidates
from recsys.eligibility import barred_songs
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel
from recsys.playlists.making import (
    Recipe,
    facts,
    make_slice,
    recipe_of,
    write_default,
    written,
)
from recsys.publishing import edition_digest
from recsys.settings import PlaylistsSettings
from recsys.spark._parts import for_each_part, place, scratch
from recsys.weeks import Week

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True)
class _Job:
    """What the tasks of a stage are told; all paths are on the shared disk."""

    matrix: Path
    model: Path
    listeners: tuple[Path, ...]
    #: For each part, the files of earlier playlists that hold its users.
    cooling: tuple[tuple[Path, ...], ...]
    blocked: frozenset[str]
    out: Path
    spill: Path


def find_candidates(
    spark: SparkSession,
    matrix: Path,
    model: Path,
    *,
    cooling: Sequence[Path],
    blocked: Collection[str],
    out: Path,
) -> dict[str, int]:
    """Write the candidates of every eligible listener, by the parts of the matrix.

    Args:
        spark: where.
        matrix: the folder of a matrix that is kept by listeners.
        model: the folder of a model that was trained on it.
        cooling: playlists of earlier editions, whose songs rest.
        blocked: tracks that nobody may get.
        out: the folder for ``candidates.parquet``.

    Returns:
        The numbers of ``users`` and ``candidates``.
    """
    (out / found.FOLDER).mkdir()
    with scratch(out) as spill:
        job = _job(matrix, model, cooling, blocked, out, spill)
        counts = for_each_part(spark, len(job.listeners), lambda part: _find(job, part))
    return {name: sum(one[name] for one in counts) for name in ("users", "candidates")}


def make_playlists(
    spark: SparkSession,
    matrix: Path,
    model: Path,
    candidates: Path,
    *,
    cooling: Sequence[Path],
    blocked: Collection[str],
    week: Week,
    settings: PlaylistsSettings,
    older: Sequence[Path] | None,
    out: Path,
) -> dict[str, Any]:
    """:func:`recsys.playlists.making.make_playlists`, by the parts of the matrix.

    Args:
        spark: where.
        matrix: the folder of a matrix that is kept by listeners.
        model: the folder of the model that scored the candidates.
        candidates: their folder.
        cooling: playlists of earlier editions, not to be repeated.
        blocked: tracks that nobody may get.
        week: the edition.
        settings: the rules.
        older: what is too old to be favoured as fresh.
        out: the folder for ``playlists.parquet``, ``refused.parquet`` and ``default.parquet``.
    """
    for name in ("playlists", "refused"):
        (out / f"{name}.parquet").mkdir()
    with scratch(out) as spill:
        job = _job(matrix, model, cooling, blocked, out, spill)
        rules = (week, settings, None if older is None else tuple(older))

        def make(part: int) -> dict[str, int]:
            return _make(job, rules, candidates, part)

        counts = sum(map(Counter, for_each_part(spark, len(job.listeners), make)), Counter[str]())
        songs, tracks, _ = _shared(matrix, model)
        nobody = slice_of(LISTENERS.empty_table(), songs, tracks)
        write_default(_recipe(job, rules), nobody, out)
        return facts(edition_digest(out), counts)


def _job(
    matrix: Path,
    model: Path,
    cooling: Sequence[Path],
    blocked: Collection[str],
    out: Path,
    spill: Path,
) -> _Job:
    listeners = part_files(matrix / FOLDER)
    resting: list[tuple[Path, ...]] = [()] * len(listeners)
    for between, parts in user_ranges(matrix / FOLDER):
        files = tuple(file for earlier in cooling for file in between.files_of(earlier))
        for part in parts:
            resting[part] = files
    return _Job(matrix, model, tuple(listeners), tuple(resting), frozenset(blocked), out, spill)


def _find(job: _Job, part: int) -> dict[str, int]:
    matrix = _eligible(job, part)
    model = _shared(job.matrix, job.model)[2].folded(matrix)
    result = eligible_candidates(
        model,
        matrix,
        barred=barred_songs(matrix, job.blocked),
        cooling=job.cooling[part],
    )
    rows = result.to_rows(matrix)
    place(
        job.out / found.FOLDER / part_name(part),
        job.spill,
        lambda path: pq.write_table(rows, path, compression="zstd"),
    )
    return {"users": len(result.users), "candidates": len(result.songs)}


_Rules = tuple[Week, PlaylistsSettings, tuple[Path, ...] | None]


def _make(job: _Job, rules: _Rules, candidates: Path, part: int) -> dict[str, int]:
    matrix = _eligible(job, part)
    rows = pq.ParquetFile(candidates / found.FOLDER / part_name(part)).read()
    made = make_slice(
        _recipe(job, rules),
        matrix,
        _shared(job.matrix, job.model)[2],
        Candidates.of_rows(rows, matrix),
        cooling=job.cooling[part],
    )

    def write_playlists(path: Path) -> None:
        for _ in written(made.playlists, path):
            pass

    def write_refused(path: Path) -> None:
        pq.write_table(made.refused, path, compression="zstd")

    for name, write in (("playlists", write_playlists), ("refused", write_refused)):
        place(job.out / f"{name}.parquet" / part_name(part), job.spill, write)
    return dict(made.counts)


def _eligible(job: _Job, part: int) -> TasteMatrix:
    """The listeners of a part who get a playlist."""
    songs, tracks, _ = _shared(job.matrix, job.model)
    rows = read_listeners([job.listeners[part]])
    return slice_of(rows.filter(rows["eligible"]), songs, tracks)


# Kept for the life of a Python worker, which works on many parts of one stage after another.


@lru_cache(maxsize=1)
def _shared(matrix: Path, model: Path) -> tuple[pa.Table, pa.Table, ALSModel]:
    songs, tracks = (pq.read_table(matrix / f"{name}.parquet") for name in ("songs", "tracks"))
    return songs, tracks, models.load(model).without_users()


@lru_cache(maxsize=1)
def _recipe(job: _Job, rules: _Rules) -> Recipe:
    songs, tracks, _ = _shared(job.matrix, job.model)
    week, settings, older = rules
    nobody = slice_of(LISTENERS.empty_table(), songs, tracks)
    return recipe_of(
        nobody, blocked=job.blocked, week=week, settings=settings, older=older, spill=job.spill
    )
