"""Training by Spark's own ALS, and the listeners that its factors are looked at with.

Spark minimises ``sum of c (p - s)^2 + regParam (sum of n_u |x_u|^2 + sum of n_i |y_i|^2)`` with
``c = 1 + rating`` (Hu, Koren, Volinsky 2008, with the regularization of Zhou et al. 2008). Our
objective (:mod:`recsys.models._objective`) divided by the weight of the unobserved ``w0`` has the
same sum over pairs where ``rating = (1 + alpha strength) / w0 - 1``. Its penalty of a row,
``regularization (n + w0 N)^nu / w0``, is not in proportion to ``n``: Spark's is set to it at the
mean row. Two penalties, of users and of items, act by their product alone, since factors of the
one can be scaled up as those of the other are scaled down; so ``regParam`` is their geometric mean,
and the item factors are scaled to where our own balance lies. Users are folded in exactly, by our
objective, whoever trained the items.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them

from recsys import columns as c
from recsys import models
from recsys._slices import FOLDER, LISTENERS, slice_of
from recsys.engine import Trained
from recsys.errors import MissingDataError
from recsys.matrix import TasteMatrix
from recsys.models import ALSModel, OnIteration
from recsys.settings import IMPLICIT, AlsSettings, Settings
from recsys.spark._datasets import read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: So many entries of the matrix, about, are solved together; drawn from the data alone, since the
#: first factors are random by block.
_ENTRIES_A_BLOCK: Final = 4_000_000
_LEAST_BLOCKS: Final = 2
_MOST_BLOCKS: Final = 2000
#: As many listeners, of as many songs, as :func:`recsys.models.check_factors` draws.
_LOOKED_AT: Final = 1000
_LEAST_SONGS: Final = 2


def train(
    session: SparkSession,
    matrix: Path,
    settings: Settings,
    *,
    parent: ALSModel | None,
    on_iteration: OnIteration,
) -> Trained:
    """Train as ``[spark] training`` says, and draw the listeners to look at the factors with.

    Args:
        session: where.
        matrix: the folder of a matrix that is kept by listeners.
        settings: of the run.
        parent: the model to go on from, for the training of one machine.
        on_iteration: told of each iteration of that.
    """
    seed = settings.recsys.seed
    if settings.spark.training == IMPLICIT:
        known = TasteMatrix.load(matrix)
        trained = models.train(known, settings.als, seed, parent=parent, on_iteration=on_iteration)
        return Trained(trained.without_users(), trained, known)
    model = train_cold(session, matrix, settings)
    some = drawn(
        read(session, [matrix / FOLDER], LISTENERS).where(F.size("songs") >= _LEAST_SONGS),
        matrix,
        _LOOKED_AT,
        seed,
    )
    return Trained(model, model.folded(some), some)


def train_cold(session: SparkSession, matrix: Path, settings: Settings) -> ALSModel:
    """Train item factors, cold, on a matrix that is kept by listeners.

    Spark tells no losses, and its sums are in no fixed order: the same rows and seed give the same
    factors within rounding.

    Args:
        session: where.
        matrix: the folder of the matrix.
        settings: of the run: the model's, and the seed of the first factors.

    Returns:
        A model without users.

    Raises:
        MissingDataError: there are no users or no songs.
    """
    from pyspark.ml.recommendation import ALS

    listeners = read(session, [matrix / FOLDER], LISTENERS)
    songs = pq.read_table(matrix / "songs.parquet", columns=[c.SONG_KEY])[c.SONG_KEY]
    counted = listeners.select(F.count("*").alias("users"), F.sum(F.size("songs")).alias("pairs"))
    (counts,) = counted.collect()
    users, pairs = int(counts.users), int(counts.pairs or 0)
    if not users or not len(songs):
        raise MissingDataError(
            f"There is nothing to train on: {users} users and {len(songs)} songs in the matrix. "
            "Check that the log holds listens before the edition's cutoff."
        )
    wanted, seed = settings.als, settings.recsys.seed
    items = np.zeros((len(songs), wanted.factors), np.float32)
    if pairs:
        of_users = _penalty(wanted, pairs / users, len(songs))
        of_items = _penalty(wanted, pairs / len(songs), users)
        blocks = int(np.clip(pairs // _ENTRIES_A_BLOCK, _LEAST_BLOCKS, _MOST_BLOCKS))
        als = ALS(
            rank=wanted.factors, maxIter=wanted.iterations, seed=seed, implicitPrefs=True,
            alpha=1.0, regParam=(of_users * of_items) ** 0.5, numUserBlocks=blocks,
            numItemBlocks=blocks, userCol="code", itemCol="song", ratingCol="rating",
        )  # fmt: skip
        found = als.fit(_ratings(listeners, wanted)).itemFactors.toArrow()
        items[found["id"].to_numpy()] = _rows(found["features"])
        items *= np.float32((of_users / of_items) ** 0.25)
    return ALSModel(
        item_factors=items,
        user_factors=np.zeros((0, wanted.factors)),
        song_keys=pa.concat_arrays([pa.array([], pa.string()), *songs.chunks]),
        user_ids=pa.array([], pa.string()),
        settings=wanted,
        seed=seed,
        warm=False,
        loss=(),
    )


def _penalty(settings: AlsSettings, observed: float, others: int) -> float:
    """What Spark multiplies ``observed`` by, for a row of so many."""
    weights = observed + settings.unobserved_weight * others
    ridge = settings.regularization * weights**settings.regularization_exponent
    return float(ridge / settings.unobserved_weight / observed)


def _ratings(listeners: DataFrame, settings: AlsSettings) -> DataFrame:
    entries = listeners.select("code", F.inline(F.arrays_zip("songs", "strength")))
    confidence = 1 + F.lit(settings.alpha) * F.col("strength")
    rating = confidence / F.lit(settings.unobserved_weight) - 1
    return entries.select(
        "code", F.col("songs").alias("song"), rating.cast("float").alias("rating")
    )


def _rows(features: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    lists = features.combine_chunks()
    flat: npt.NDArray[np.float32] = lists.flatten().to_numpy()
    return flat.reshape(len(lists), -1)


def drawn(rows: DataFrame, matrix: Path, listeners: int, seed: int) -> TasteMatrix:
    """At most so many of the listeners in ``rows``, by a hash of their ids and a seed."""
    lot = F.xxhash64(c.USER_ID, F.lit(seed))
    some = rows.select(*LISTENERS.names).orderBy(lot, c.USER_ID).limit(listeners).toArrow()
    tables = (pq.read_table(matrix / f"{name}.parquet") for name in ("songs", "tracks"))
    return slice_of(some.cast(LISTENERS).sort_by(c.USER_ID), *tables)
