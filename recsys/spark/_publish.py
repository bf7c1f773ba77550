"""Publishing from the executors: each part of the playlists goes from its task to the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from recsys import errors
from recsys._tables import part_files
from recsys.artefact import Artefact
from recsys.errors import RecsysError
from recsys.publishing import encoded_batches
from recsys.spark._parts import for_each_part
from recsys.store import PartedStore, PartWriter

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def stage_edition(
    spark: SparkSession, store: PartedStore, edition: str, revision: int, playlists: Artefact
) -> None:
    """:func:`recsys.publishing.stage_edition`, a part of the playlists a task.

    Raises:
        StoreError: the store refuses.
        ResourceError: the server has no room.
    """
    files = part_files(playlists.file("playlists.parquet"))

    def send(writer: PartWriter) -> None:
        def write(part: int) -> tuple[str, str] | None:
            try:
                writer.write(part, encoded_batches(files[part]))
            except RecsysError as error:  # another attempt would say the same
                return type(error).__name__, str(error)
            return None

        for refused in filter(None, for_each_part(spark, len(files), write)):
            kind, why = refused
            raise getattr(errors, kind)(why)

    store.stage_parts(
        edition,
        revision,
        playlists.facts["digest"],
        [encoded_batches(file) for file in files],
        pq.read_table(playlists.file("default.parquet")),
        send,
        remaining=playlists.erasure.get("facts", {}).get("digest"),
    )
