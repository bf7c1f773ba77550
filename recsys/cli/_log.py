"""Commands about the log: what can be read, and what a log holds before it is read."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path

from rich.table import Table
from rich.text import Text

from recsys.cli import _print
from recsys.errors import SettingsError
from recsys.settings import ListensSettings, default_paths, load_settings


def formats(options: argparse.Namespace) -> int:
    """List the formats with an example of each."""
    from recsys.listens import FORMATS

    del options
    for one in FORMATS:
        print(f"{one.name}\n  {one.what}\n  {one.example}\n")
    print("Set [listens] format to one of these. All but parquet may be compressed.")
    return 0


def check_log(options: argparse.Namespace) -> int:
    """Say what a log holds, what would be refused, and which mapping it suggests."""
    from recsys.listens import find_files, guess_format, sample_log

    known = ListensSettings(source=options.source)
    try:
        if default_paths() and (set_up := load_settings().listens).source == options.source:
            known = set_up
    except SettingsError as error:
        print(f"Settings  left out, since no run would take them: {error}", file=sys.stderr)
    settings = dataclasses.replace(
        known, source=options.source, user=options.user or known.user or "somebody"
    )
    with tempfile.TemporaryDirectory() as scratch:
        files = find_files(options.source, "SOURCE")
        format_ = options.format or (guess_format(files, Path(scratch)) if files else "jsonl")
    settings = dataclasses.replace(
        settings, format=format_, columns=settings.columns if format_ == known.format else {}
    )
    sample = sample_log(settings)
    arrived = f"{sample.days[0]} to {sample.days[1]}" if sample.days else "no date= folders: a dump"
    print(f"Source    {options.source}")
    print(f"Format    {format_}")
    print(f"Files     {sample.files} ({sample.bytes / 1e6:,.1f} MB), {arrived}")
    if sample.listeners is not None:
        print(f"Listeners {sample.listeners:,}, by the first folder below the source")
    if sample.problem:
        print(f"Problem   {_print.plain(sample.problem).plain}")
    print(f"Sample    {sample.read:,} rows: {sample.kept:,} would be kept")
    if sample.refused:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("Refused", "Rows", "Where, and what"):
            table.add_column(heading, justify="right" if heading == "Rows" else "left")
        for reason, rows in sample.refused.items():
            examples = Text("\n").join(map(_print.plain, sample.examples[reason]))
            table.add_row(reason, f"{rows:,}", examples)
        _print.put(table)
    if sample.mapping:
        columns = settings.columns | dict(sample.mapping)
        print("Columns that seem to be ours by another name; to read them as such:")
        print(f"  [listens]\n  columns = {json.dumps(columns)}")
        mapped = sample_log(dataclasses.replace(settings, columns=columns))
        print(f"Of {mapped.read:,} rows {mapped.kept:,} would then be kept.")
    return 0 if sample.kept and not sample.problem else 30
