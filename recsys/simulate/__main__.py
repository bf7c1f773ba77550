"""``python -m recsys.simulate OUT``: write a simulated listening log and its truth."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import date
from pathlib import Path

from recsys.artefact import Artefact
from recsys.errors import RecsysError
from recsys.simulate import World, simulate
from recsys.simulate._simulation import written


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options = _parser().parse_args(arguments)
    try:
        world = World(
            listeners=options.listeners,
            tracks=options.tracks,
            artists=options.artists,
            days=options.days,
            last_day=options.last_day,
            seed=options.seed,
        )
        found = written(options.out)
        if found is not None and options.if_missing:
            print("Found", _summary(found, world))
        else:
            print("Wrote", _summary(simulate(world).write(options.out, options.format), world))
    except RecsysError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    standard = World()
    parser = argparse.ArgumentParser(
        prog="python -m recsys.simulate",
        description="Write a simulated listening log to OUT/log and what its listeners would "
        "really like to OUT/truth. Equal options give equal files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to write")
    for name, what in {
        "listeners": "how many people listen",
        "tracks": "how many tracks there are",
        "artists": "how many artists own them",
        "days": "how many days the log covers",
        "seed": "another seed, another world",
    }.items():
        parser.add_argument(f"--{name}", type=int, default=getattr(standard, name), help=what)
    parser.add_argument(
        "--last-day",
        type=date.fromisoformat,
        default=standard.last_day,
        metavar="YYYY-MM-DD",
        help="the last day on which listens arrive",
    )
    parser.add_argument(
        "--format", choices=("jsonl", "parquet"), default="jsonl", help="format of the log"
    )
    parser.add_argument(
        "--if-missing", action="store_true", help="leave a complete simulation in OUT as it is"
    )
    return parser


def _summary(found: Artefact, world: World) -> str:
    rows, settings = found.manifest["rows"], found.facts["world"]
    there = World.from_settings(settings)
    differing = [name for name, value in world.settings().items() if settings[name] != value]
    text = (
        f"{rows['rows']:,} rows of {there.listeners:,} listeners "
        f"and {there.tracks:,} tracks by {there.artists:,} artists, arriving {there.first_day} to "
        f"{there.last_day}: {rows['late']:,} late, {rows['duplicate']:,} duplicate, "
        f"{rows['private']:,} private, {rows['robot']:,} by machines, {rows['broken']:,} broken. "
        f"The log ({found.facts['log_format']}) is in {found.path / 'log'}, what the listeners "
        f"would like in {found.path / 'truth'}."
    )
    if differing:
        text += f" It is another world than asked for: {', '.join(differing)} differ."
    return text


if __name__ == "__main__":
    sys.exit(main())
