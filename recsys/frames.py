"""Tables of an edition, handed out as the kind of frame that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.dataset as ds

if TYPE_CHECKING:
    import pandas
    import polars


class Rows:
    """Rows of one table, in memory or in Parquet files that are read when a frame is asked for.

    It hands out Arrow, so Polars, DuckDB and :func:`recsys.evaluation.evaluate` take it as it is.

    >>> rows = Rows(pa.table({"track_id": ["a", "b"], "score": [0.7, 0.2]}))
    >>> rows
    2 rows: track_id, score
    >>> rows.to_polars()["score"].sum(), len(rows.to_pandas()), rows.to_arrow().schema.names
    (0.8999999999999999, 2, ['track_id', 'score'])

    Attributes:
        files: the Parquet files, oldest first, for ``polars.scan_parquet`` or DuckDB's
            ``read_parquet``, which read no more than a query needs; none for a table in memory.
    """

    def __init__(
        self,
        source: pa.Table | Sequence[Path],
        schema: pa.Schema | None = None,
        *,
        owner: object = None,
    ) -> None:
        """Rows of ``source``; ``owner``, which its files may go with, lives as long as they do."""
        self._owner = owner
        self.files: tuple[Path, ...] = () if isinstance(source, pa.Table) else tuple(source)
        self._rows = (
            ds.dataset(source)
            if isinstance(source, pa.Table)
            else ds.dataset([str(file) for file in source], schema=schema)
        )

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns."""
        return self._rows.schema

    def to_arrow(self) -> pa.Table:
        """As a ``pyarrow.Table``."""
        return self._rows.to_table()

    def to_pandas(self) -> pandas.DataFrame:
        """As a ``pandas.DataFrame``; a list becomes an array in a cell, a date an object."""
        return self.to_arrow().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        """As a ``polars.DataFrame``."""
        import polars

        return polars.DataFrame(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def __len__(self) -> int:
        return int(self._rows.count_rows())

    def __repr__(self) -> str:
        return f"{len(self):,} rows: {', '.join(self.schema.names)}"
