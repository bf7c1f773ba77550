"""Each reader against the bare cost of decompressing and parsing the same bytes.

    python -m benchmarks.readers [--rows 500000] [--rounds 5]

One simulated log is written in every format. The reader judges every row, as `clean_day` has it do;
the bare cost is the same DuckDB parsing the same file for the same columns, judging nothing. Both
run in turn, and the ratio of each pair is what counts: of processor time, of all threads, which
other work on the machine changes little, and of wall time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import duckdb

from recsys._tables import database
from recsys.listens import list_log
from recsys.listens._judge import Judge, Window
from recsys.settings import ListensSettings

_MAKE: Final = """
    SELECT 'user ' || (i % 5000) AS user_id, 'track ' || (i * 7919 % 40000) AS track_id,
        TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS listened_at,
        ['artist ' || (i * 7919 % 40000 % 3000)] AS artist_ids,
        200000 + i % 1000 AS ms_played, 210000 AS duration_ms, false AS skipped,
        'Song number ' || (i * 7919 % 40000) AS track_name,
        'Artist number ' || (i * 7919 % 40000 % 3000) AS artist_name
    FROM range({rows}) AS t(i)
"""
_FILES: Final = {
    "parquet": ("log.parquet", "SELECT * FROM listen", "FORMAT parquet, COMPRESSION zstd"),
    "jsonl": ("log.jsonl.gz", "SELECT * FROM listen", "FORMAT json, COMPRESSION gzip"),
    "lastfm": (
        "log.tsv.gz",
        """SELECT user_id, strftime(listened_at, '%Y-%m-%dT%H:%M:%SZ'), artist_ids[1], artist_name,
            track_id, track_name FROM listen""",
        "FORMAT csv, DELIMITER '\t', HEADER false, QUOTE '', ESCAPE '', COMPRESSION gzip",
    ),
    "listenbrainz": (
        "log.jsonl.gz",
        """SELECT user_id AS user_name, epoch(listened_at)::BIGINT AS listened_at, {
            'artist_name': artist_name, 'track_name': track_name,
            'additional_info': {'duration_ms': duration_ms},
            'mbid_mapping': {'recording_mbid': track_id, 'artist_mbids': artist_ids}
            } AS track_metadata FROM listen""",
        "FORMAT json, COMPRESSION gzip",
    ),
    "spotify": (
        "Streaming_History_Audio_0.json.gz",
        """SELECT strftime(listened_at, '%Y-%m-%dT%H:%M:%SZ') AS ts, ms_played,
            track_name AS master_metadata_track_name,
            artist_name AS master_metadata_album_artist_name, track_id AS spotify_track_uri,
            NULL AS skipped, 'trackdone' AS reason_end, false AS incognito_mode,
            '203.0.113.7' AS ip_addr FROM listen""",
        "FORMAT json, ARRAY true, COMPRESSION gzip",
    ),
}
_BARE: Final = {
    "parquet": "read_parquet('{file}')",
    "jsonl": """read_json('{file}', format = 'newline_delimited', columns = {{
        user_id: 'VARCHAR', track_id: 'VARCHAR', listened_at: 'VARCHAR', artist_ids: 'VARCHAR[]',
        ms_played: 'BIGINT', duration_ms: 'BIGINT', skipped: 'BOOLEAN', track_name: 'VARCHAR',
        artist_name: 'VARCHAR'}})""",
    "lastfm": """read_csv('{file}', delim = '\t', header = false, quote = '', escape = '',
        columns = {{a: 'VARCHAR', b: 'VARCHAR', c: 'VARCHAR', d: 'VARCHAR', e: 'VARCHAR',
        f: 'VARCHAR'}})""",
    "listenbrainz": """read_json('{file}', format = 'newline_delimited', columns = {{
        user_name: 'VARCHAR', listened_at: 'BIGINT', track_metadata: 'STRUCT(artist_name VARCHAR,
        track_name VARCHAR, additional_info STRUCT(duration_ms BIGINT),
        mbid_mapping STRUCT(recording_mbid VARCHAR, artist_mbids VARCHAR[]))'}})""",
    "spotify": """read_json('{file}', format = 'array', maximum_object_size = 1000000, columns = {{
        ts: 'VARCHAR', ms_played: 'BIGINT', master_metadata_track_name: 'VARCHAR',
        master_metadata_album_artist_name: 'VARCHAR', spotify_track_uri: 'VARCHAR',
        skipped: 'VARCHAR', reason_end: 'VARCHAR', incognito_mode: 'BOOLEAN'}})""",
}


def write_logs(folder: Path, rows: int) -> dict[str, Path]:
    """One log in every format; the folder of each."""
    folders = {}
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE listen AS {_MAKE.format(rows=rows)}")
        for format_, (name, query, options) in _FILES.items():
            folders[format_] = folder / format_ / "somebody"
            folders[format_].mkdir(parents=True)
            connection.execute(f"COPY ({query}) TO '{folders[format_] / name}' ({options})")
    return folders


def read(format_: str, folder: Path, scratch: Path) -> int:
    """Judge every row; how many are kept."""
    settings = ListensSettings(source=str(folder.parent), format=format_)
    kept = 0
    with database(scratch, "2GB") as connection:
        judge = Judge(connection, settings, Window.of_dump(), scratch)
        for block in judge.judged(list_log(settings).files):
            connection.execute(f"CREATE OR REPLACE TABLE judged AS {block}")
            counted = connection.execute("SELECT count(*) FROM judged WHERE reason IS NULL")
            kept += counted.fetchall()[0][0]
    return kept


def parse(format_: str, folder: Path, scratch: Path) -> int:
    """Parse every row into a table; how many there are."""
    (file,) = folder.iterdir()
    with database(scratch, "2GB") as connection:
        connection.execute(f"CREATE TABLE bare AS FROM {_BARE[format_].format(file=file)}")
        return int(connection.execute("SELECT count(*) FROM bare").fetchall()[0][0])


def seconds(work: Callable[[], int], rows: int) -> tuple[float, float]:
    """How long it takes, of the processor and on the wall; it must see every row."""
    begun, began = time.process_time(), time.perf_counter()
    found = work()
    if found != rows:
        raise SystemExit(f"{found} rows of {rows} came through")
    return time.process_time() - begun, time.perf_counter() - began


def main() -> None:
    """Print a table, and one JSON line a format."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scratch = folder / "scratch"
        print("| format | MB | clock | reader, µs a row | bare, µs a row | ratio (range) |")
        print("|---|---|---|---|---|---|")
        for format_, log in write_logs(folder, options.rows).items():
            size = sum(file.stat().st_size for file in log.iterdir()) / 1e6
            turns = [
                [
                    seconds(partial(work, format_, log, scratch), options.rows)
                    for work in (read, parse)
                ]
                for _ in range(options.rounds + 1)
            ][1:]  # the first one warms the caches
            for clock, which in enumerate(("processor", "wall")):
                pairs = [(ours[clock], bare[clock]) for ours, bare in turns]
                ratios = sorted(ours / bare for ours, bare in pairs)
                ours, bare = (
                    1e6 * statistics.median(side) / options.rows
                    for side in zip(*pairs, strict=True)
                )
                found = {"ratio": statistics.median(ratios), "range": [ratios[0], ratios[-1]]}
                print(
                    f"| {format_} | {size:.1f} | {which} | {ours:.2f} | {bare:.2f} | "
                    f"{found['ratio']:.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f}) |"
                )
                print(json.dumps({"format": format_, "clock": which, **found}), flush=True)


if __name__ == "__main__":
    main()
