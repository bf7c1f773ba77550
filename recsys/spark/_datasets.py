"""Tables between stages: read from a file or a folder of parts, written by ranges of a key.

Parts are cut at borders that are drawn from the rows alone, by a hash. The same rows make the same
parts, whatever ran before in the session and however many executors there are.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as everybody calls them
from pyspark.sql.pandas.types import from_arrow_schema

from recsys._tables import TableWriter, part_files, rows_of
from recsys.spark._parts import place, scratch

#: Rows of a part, about.
PART_ROWS: Final = 1_000_000

_FILE: Final = "part-{:05}.parquet"
#: Column of the number of the part that a row belongs to.
PART: Final = "part"
#: Rows that borders are drawn from, about; keys where each counts once.
_SAMPLED: Final = 200_000
#: A part may be so much larger than others before the key that would make it so begins another.
_OVERFULL: Final = 1.5
_SCHEME: Final = re.compile("^file:/+")
#: What makes a path a pattern to Hadoop.
_PATTERN: Final = re.compile(r"([{}\[\]*?\\])")


def read(session: SparkSession, tables: Sequence[Path], schema: pa.Schema) -> DataFrame:
    """The rows of tables, one after another; none of no table."""
    files = [_PATTERN.sub(r"\\\1", f"file://{file}") for one in tables for file in part_files(one)]
    if not files:
        return session.createDataFrame(schema.empty_table())
    return session.read.schema(from_arrow_schema(schema)).parquet(*files)


def read_marked(
    session: SparkSession, marks: Mapping[Path, int], schema: pa.Schema, *, mark: str
) -> DataFrame:
    """The rows of files, with the number of their file as column ``mark``."""
    return _marked(session, marks, schema).withColumnRenamed("file_mark", mark).drop("file_row")


def read_numbered(
    session: SparkSession, table: Path, schema: pa.Schema, *, number: str
) -> DataFrame:
    """The rows of a table, with their places in it, from 0, as column ``number`` (int32)."""
    files = part_files(table)
    starts = itertools.accumulate((rows_of(file) for file in files), initial=0)
    rows = _marked(session, dict(zip(files, starts, strict=False)), schema)
    place = (F.col("file_mark") + F.col("file_row")).cast("int")
    return rows.withColumn(number, place).drop("file_mark", "file_row")


def _marked(session: SparkSession, marks: Mapping[Path, int], schema: pa.Schema) -> DataFrame:
    rows = read(session, list(marks), schema)
    if not marks:
        return rows.withColumns({"file_mark": F.lit(0), "file_row": F.lit(0)})
    # Spark spells a path in more than one way, and percent-encodes it.
    named = [_SCHEME.sub("/", name) for name in rows.inputFiles()]
    known = session.createDataFrame(
        pa.table({"file": named, "mark": [marks[Path(unquote(name))] for name in named]})
    )
    traced = rows.select(
        "*",
        F.regexp_replace("_metadata.file_path", _SCHEME.pattern, "/").alias("file"),
        F.col("_metadata.row_index").alias("file_row"),
    ).join(F.broadcast(known), "file", "left")
    lost = F.raise_error(F.concat(F.lit("rows of an unknown file: "), "file"))
    return traced.withColumn("file_mark", F.coalesce("mark", lost)).drop("file", "mark")


@dataclass(frozen=True)
class Ranges:
    """Borders that divide keys into ranges: a key at a border is in the range above it.

    ``keys`` are the columns of a key, ``borders`` its values there, ascending.
    """

    keys: tuple[str, ...]
    types: str
    borders: tuple[tuple[Any, ...], ...]

    @property
    def count(self) -> int:
        """The number of ranges."""
        return len(self.borders) + 1

    def number(self) -> Column:
        """The number of a row's range, from 0: a binary search among the borders."""
        if not self.borders:
            return F.lit(0)
        rows = json.dumps([dict(zip(self.keys, border, strict=True)) for border in self.borders])
        borders = F.from_json(F.lit(rows), f"array<struct<{self.types}>>")
        steps = [2**n for n in reversed(range(len(self.borders).bit_length()))]
        return F.aggregate(
            F.lit(steps),
            F.lit(0),
            lambda low, step: F.when(
                F.get(borders, low + step - 1) <= F.struct(*self.keys), low + step
            ).otherwise(low),
        )


def ranges(
    rows: DataFrame, *keys: str, count: int, apart: Sequence[str] = (), distinct: bool = False
) -> Ranges:
    """Ranges of about `PART_ROWS` rows each; a key with more rows than that has one to itself.

    Args:
        rows: where the keys are.
        keys: columns of a key, strings and integers.
        count: how many rows there are.
        apart: columns that tell the rows of a key apart, where it has several.
        distinct: whether a key counts once, however many rows it has.
    """
    types = ", ".join(f"{name}: {rows.schema[name].dataType.simpleString()}" for name in keys)
    if count <= PART_ROWS:
        return Ranges(keys, types, ())
    if distinct:
        count = rows.select(F.approx_count_distinct(F.struct(*keys))).collect()[0][0]
    every = max(1, count // _SAMPLED)
    sampled = (
        rows.select(*keys, *apart)
        .where(F.pmod(F.xxhash64(*keys, *apart), F.lit(every)) == 0)
        .groupBy(*keys)
        .agg((F.lit(1) if distinct else F.count(F.lit(1))).alias("rows"))
        .orderBy(*keys)
        .collect()
    )
    full = sum(row.rows for row in sampled) / -(-count // PART_ROWS)
    borders: list[tuple[Any, ...]] = []
    filled = 0
    for row in sampled:
        if filled >= full or (filled and filled + row.rows > _OVERFULL * full):
            borders.append(tuple(row[name] for name in keys))
            filled = 0
        filled += row.rows
    return Ranges(keys, types, tuple(borders))


def in_parts(rows: DataFrame, by: Ranges) -> DataFrame:
    """The same rows, each range in a partition of its own, numbered in column `PART`."""
    return rows.withColumn(PART, by.number()).repartitionById(by.count, F.col(PART))


def write(rows: DataFrame, table: Path, schema: pa.Schema) -> int:
    """Write a table as a folder of a file per partition, in order; returns its rows.

    Arrow writes the files: those of Spark's writer differ from one Java process to the next, which
    list the encodings of a column in the order of a hash set.

    Args:
        rows: as they are to stand in each file, with the columns of ``schema`` among theirs.
        table: the folder to make.
        schema: columns and types of the table.
    """
    table.mkdir()
    with scratch(table) as spill:

        def write_part(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            from pyspark import TaskContext

            filled = (batch for batch in batches if len(batch))
            first = next(filled, None)
            if first is None:
                return
            context = TaskContext.get()
            number = context.partitionId() if context else 0

            def put(aside: Path) -> None:
                with TableWriter(aside, schema) as writer:
                    for batch in itertools.chain([first], filled):
                        writer.write(batch)

            place(table / _FILE.format(number), spill, put)
            yield pa.RecordBatch.from_pydict({"part": [number]})

        written = rows.to(_loose(schema)).mapInArrow(write_part, "part long").toArrow()["part"]
    for position, number in enumerate(sorted(written.to_pylist())):
        (table / _FILE.format(number)).rename(table / _FILE.format(position))
    if not len(written):
        _write_empty(table, schema)
    return rows_of(table)


def write_nothing(table: Path, schema: pa.Schema) -> None:
    """Write a table without rows: no cluster is asked for that."""
    table.mkdir()
    _write_empty(table, schema)


def _write_empty(table: Path, schema: pa.Schema) -> None:
    pq.write_table(schema.empty_table(), table / _FILE.format(0))


def _loose(schema: pa.Schema) -> Any:
    """The schema for Spark, whose planner does not know that a column holds no null."""
    return from_arrow_schema(pa.schema([field.with_nullable(True) for field in schema]))
