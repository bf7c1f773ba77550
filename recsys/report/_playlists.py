"""What an edition's playlists look like: counted over all of them, and a few as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recsys import columns as c
from recsys._pipelined import ahead
from recsys._tables import database, encoded_batches_of, read_parquet
from recsys.artefact import Artefact
from recsys.errors import ArtefactError
from recsys.publishing import ENCODED

#: So many playlists of a kind are shown.
_SAMPLES: Final = {"personal": 2, "blended": 1, "popular": 1}
#: So far down the playlists, scores are shown.
_POSITIONS: Final = pa.array([1, 5, 10, 15, 20, 25, 30], pa.int32())
_SLOT: Final = tuple(
    f"{c.TRACKS}.list.element.{name}" for name in (c.POSITION, c.SCORE, c.SOURCE, c.TRACK_ID)
)
_ASKED: Final = pa.schema(
    [(c.POSITION, pa.int32()), (c.SCORE, pa.float64()), (c.SOURCE, pa.string())]
)
#: Songs by rank of popularity: the first 1%, the next 4%...
_BANDS: Final = ((0.0, 0.01), (0.01, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1.0))


def describe(playlists: Artefact, matrix: Artefact) -> dict[str, Any]:
    """Count over all playlists of an edition.

    Args:
        playlists: the artefact of the stage ``playlists``.
        matrix: that of the stage ``matrix``, which knows how popular each song is.

    Returns:
        ``lengths`` and ``positions`` as rows, and ``popularity``: how often songs are recommended
        against how popular they are.
    """
    file = playlists.file("playlists.parquet")
    tracks = pq.ParquetFile(matrix.file("tracks.parquet")).read()
    listed = np.zeros(len(tracks) + 1, np.int64)
    lengths, asked = Counter[int](), [_ASKED.empty_table()]
    for batch in ahead(encoded_batches_of(file, _SLOT, _SLOT[-2:])):
        lengths.update(pc.list_value_length(batch[c.TRACKS]).to_pylist())
        slot = batch[c.TRACKS].flatten()
        ids = slot.field(c.TRACK_ID)
        row = pc.fill_null(pc.index_in(ids.dictionary, tracks[c.TRACK_ID]), -1).to_numpy()
        listed += np.bincount(row[ids.indices.to_numpy()] + 1, minlength=len(listed))
        some = slot.filter(pc.is_in(slot.field(c.POSITION), _POSITIONS))
        source = some.field(c.SOURCE).cast(pa.string())
        values = [some.field(c.POSITION), some.field(c.SCORE), source]
        asked.append(pa.table(values, _ASKED))
    songs = pq.read_table(matrix.file("songs.parquet"), columns=["popularity", "available"])
    recommended = np.zeros(len(songs), np.int64)
    np.add.at(recommended, tracks["song"].to_numpy(), listed[1:])
    with TemporaryDirectory() as spill, database(Path(spill)) as connection:
        connection.register("slot", pa.concat_tables(asked))
        return {
            "lengths": [
                {"tracks": length, "playlists": lengths[length]}
                for length in sorted(lengths, reverse=True)
            ],
            "positions": _rows(
                connection,
                """SELECT position, count(*) FILTER (source = 'als') AS personal, count(*) AS n,
                    quantile_disc(score, [0.1, 0.5, 0.9]) FILTER (source = 'als') AS scores
                FROM slot GROUP BY position ORDER BY position""",
            ),
            "popularity": _by_popularity(songs, recommended),
        }


def _by_popularity(songs: pa.Table, recommended: npt.NDArray[np.int64]) -> dict[str, Any]:
    popularity = songs["popularity"].to_numpy()
    # What is not available cannot be recommended.
    order = np.argsort(-popularity, kind="stable")
    order = order[songs["available"].to_numpy(zero_copy_only=False)[order]]
    popularity, recommended = popularity[order], recommended[order]
    edges = [round(len(order) * upper) for _, upper in _BANDS]
    bands = []
    for (low, high), begin, end in zip(_BANDS, [0, *edges], edges, strict=False):
        part = slice(begin, end)
        bands.append(
            {
                "name": f"first {high:.0%}" if not low else f"{low:.0%} to {high:.0%}",
                "songs": end - begin,
                "listening": float(popularity[part].sum()),
                "slots": int(recommended[part].sum()),
                "recommended": int(np.count_nonzero(recommended[part])),
            }
        )
    return {
        "bands": bands,
        "listening": float(popularity.sum()),
        "slots": int(recommended.sum()),
        "songs": len(order),
        "recommended": int(np.count_nonzero(recommended)),
        "most": int(recommended.max(initial=0)),
    }


def samples(playlists: Artefact, catalogue: Artefact | None) -> list[dict[str, Any]]:
    """A few playlists of each kind, and the default one, with the names of their reasons.

    Which ones is drawn by a hash of the user, so that it is the same whenever it is asked.
    """
    file = playlists.file("playlists.parquet")
    with TemporaryDirectory() as spill, database(Path(spill)) as connection:
        drawn = _rows(
            connection,
            f"""SELECT user_id, kind FROM {read_parquet([file])}
            QUALIFY row_number() OVER (
                PARTITION BY kind ORDER BY md5(user_id || edition), user_id) <= 2
            ORDER BY md5(user_id || edition)""",
        )
    chosen = [
        row["user_id"]
        for kind, wanted in _SAMPLES.items()
        for row in [row for row in drawn if row["kind"] == kind][:wanted]
    ]
    wanted = pa.array(chosen, pa.string())
    found = [
        row
        for batch in ahead(encoded_batches_of(file, None, ENCODED))
        for row in batch.filter(pc.is_in(batch[c.USER_ID], wanted)).to_pylist()
    ]
    by_user = {row["user_id"]: row for row in found}
    rows = [by_user[user] for user in chosen]
    rows += pq.read_table(playlists.file("default.parquet")).to_pylist()
    reasons = {track["because_track_id"] for row in rows for track in row["tracks"]} - {None}
    names = _names(catalogue, "track_id", reasons)
    for row in rows:
        for track in row["tracks"]:
            because = track["because_track_id"]
            track["because"] = names.get(because, (because,))
    return rows


def names_of_samples(
    catalogue: Artefact | None, verdicts: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, ...]]:
    """Title and artist of the songs (by key) in the sample rows of rules, where they are known."""
    samples = [row for one in verdicts for check in one["verdict"].checks for row in check.samples]
    return _names(catalogue, "song_key", {row["song"] for row in samples if "song" in row})


def _names(
    catalogue: Artefact | None, key: str, wanted: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Title and artist by a column of the catalogue; of the first track where there are several."""
    if catalogue is None or not wanted:
        return {}
    try:
        file = catalogue.file("catalogue.parquet")
    except ArtefactError:
        return {}
    known = pq.read_table(
        file,
        columns=["track_id", key, "track_name", "artist_name"],
        filters=[(key, "in", sorted(wanted))],
    ).to_pylist()
    return {
        row[key]: tuple(filter(None, (row["track_name"], row["artist_name"])))
        for row in sorted(known, key=itemgetter("track_id"), reverse=True)
        if row["track_name"]
    }


def _rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query)
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
