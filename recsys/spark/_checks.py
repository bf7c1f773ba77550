"""The playlist gate on Spark: invariants by ranges of listeners, shares in Spark SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys import gate, models
from recsys._gate_scores import Factors
from recsys._slices import (
    FOLDER,
    LISTENERS,
    UserRange,
    part_name,
    read_listeners,
    slice_of,
    user_ranges,
)
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.home import Home
from recsys.models import ALSModel
from recsys.plan import Plan, cooling_playlists
from recsys.schemas import CATALOGUE, PLAYLISTS
from recsys.settings import GatesSettings, PlaylistsSettings, Settings
from recsys.shares import count_in_sql, judge_shares, views
from recsys.spark._datasets import read
from recsys.spark._parts import for_each_part
from recsys.verdict import Verdict
from recsys.verification import last_weeks_playlists
from recsys.weeks import Week

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


_ELIGIBLE: Final = pa.schema([(c.USER_ID, pa.string())])


@dataclass(frozen=True)
class Made:
    """What is checked, and against what; all paths are on the shared disk.

    Attributes:
        playlists: the folder of the playlists.
        matrix: the folder of a matrix that is kept by listeners, in the parts of the playlists.
        model: the folder of the model that made the scores.
        taste: a table of :data:`recsys.schemas.TASTE`.
        catalogue: a table of :data:`recsys.schemas.CATALOGUE`.
        cooling: playlists of earlier editions, not to be repeated.
        blocked: tracks that nobody may get.
        week: the edition.
        settings: the rules.
    """

    playlists: Path
    matrix: Path
    model: Path
    taste: Path
    catalogue: Path
    cooling: tuple[Path, ...]
    blocked: tuple[str, ...]
    week: Week
    settings: PlaylistsSettings


def check_edition(spark: SparkSession, home: Home, edition: Path, settings: Settings) -> Verdict:
    """Check every invariant on every playlist of an edition, and its shares as a whole.

    Args:
        spark: where.
        home: the home that the edition is in.
        edition: the edition's folder.
        settings: the rules it was made by, and the bands.
    """
    plan = Plan.load(edition / "plan")
    playlists, matrix, model, catalogue = (
        Artefact.open(edition / name) for name in ("playlists", "matrix", "als_model", "catalogue")
    )
    made = Made(
        playlists=playlists.path,
        matrix=matrix.path,
        model=model.path,
        taste=Artefact.open(home.taste(plan.week)).file("taste.parquet"),
        catalogue=catalogue.file("catalogue.parquet"),
        cooling=tuple(cooling_playlists(plan, home)),
        blocked=tuple(sorted(plan.blocked)),
        week=plan.week,
        settings=settings.playlists,
    )
    shares = check_shares(
        spark,
        playlists=playlists.file("playlists.parquet"),
        eligible=matrix.file("eligible.parquet"),
        catalogue=made.catalogue,
        previous=last_weeks_playlists(plan, home),
        settings=settings.playlists,
        gates=settings.gates,
    )
    return check_playlists(spark, made).also(shares)


def check_playlists(spark: SparkSession, made: Made) -> Verdict:
    """:func:`recsys.gate.check_playlists`, a range of users a task.

    The ranges leave out no user id there can be: whoever has a playlist and is in no part of the
    matrix is a stranger to one of them.
    """
    ranges = user_ranges(made.matrix / FOLDER)

    def check(number: int) -> dict[str, Any]:
        return _check(made, *ranges[number], first=number == 0).to_dict()

    said = for_each_part(spark, len(ranges), check)
    return gate.together([Verdict.from_dict(one) for one in said])


def _check(made: Made, users: UserRange, parts: Sequence[int], *, first: bool) -> Verdict:
    playlists, refused = (
        [made.playlists / f"{name}.parquet" / part_name(part) for part in parts]
        for name in ("playlists", "refused")
    )
    return gate.check_playlists(
        playlists=playlists,
        default=made.playlists / "default.parquet" if first else None,
        refused=refused,
        taste=made.taste,
        catalogue=made.catalogue,
        eligible=made.matrix / "eligible.parquet",
        model=_factors(made, parts),
        cooling=[file for table in made.cooling for file in users.files_of(table)],
        blocked=made.blocked,
        week=made.week,
        settings=made.settings,
        users=users,
    )


def _factors(made: Made, parts: Sequence[int]) -> Factors:
    """The item factors of the model, and the listeners of some parts folded in."""
    model, songs = _under_songs(made.model, made.matrix)
    files = part_files(made.matrix / FOLDER)
    known = model.folded(slice_of(read_listeners([files[part] for part in parts]), songs, songs))
    return Factors(known.user_ids, known.user_factors, known.song_keys, known.item_factors)


@lru_cache(maxsize=1)
def _under_songs(model: Path, matrix: Path) -> tuple[ALSModel, pa.Table]:
    """A model under the songs of a matrix, by their keys; kept for the life of a worker."""
    songs = pq.read_table(matrix / "songs.parquet", columns=["song_key"])
    nobody = slice_of(LISTENERS.empty_table(), songs, songs)
    return models.load(model).without_users().refolded(nobody), songs


def check_shares(
    spark: SparkSession,
    *,
    playlists: Path,
    eligible: Path,
    catalogue: Path,
    previous: Path | None,
    settings: PlaylistsSettings,
    gates: GatesSettings,
) -> Verdict:
    """:func:`recsys.shares.check_shares`, in Spark SQL."""
    session = spark.newSession()  # its views are nobody else's
    tables = {
        "playlist": (playlists, PLAYLISTS),
        "eligible": (eligible, _ELIGIBLE),
        "track": (catalogue, CATALOGUE),
        **({"earlier": (previous, PLAYLISTS)} if previous else {}),
    }
    for name, (table, schema) in tables.items():
        read(session, [table], schema).createTempView(name)
    made = views("explode(tracks.track_id)", "size(relaxed) > 0", previous)
    for name, query in made.items():
        session.sql(query).createTempView(name)
    try:
        for name in made:
            session.catalog.cacheTable(name)

        def ask(query: str) -> list[dict[str, Any]]:
            return [row.asDict(recursive=True) for row in session.sql(query).collect()]

        earlier = previous is not None
        counts = count_in_sql(ask, previous=earlier)
        return judge_shares(counts, ask, previous=earlier, settings=settings, gates=gates)
    finally:
        for name in made:
            session.catalog.uncacheTable(name)
