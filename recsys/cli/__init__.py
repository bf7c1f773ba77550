"""The command line of the people who run it: ``recsys``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from recsys.cli import _commands, _keeping, _log, _release, _requeue, _serve
from recsys.errors import RecsysError
from recsys.settings import FORMATS

_EPILOG = """\
The playlists are made by Luigi:

  luigi --module workflows WeeklyPlaylists --local-scheduler                  this week
  luigi --module workflows WeeklyPlaylists --local-scheduler --week 2026-W47  one week

Settings are read from luigi.cfg in this directory and from the overlay that LUIGI_CONFIG_PATH
names. Exit codes: 0 all is well, 30 something is wrong, 50 bad settings; those of `recsys status`
are a monitor's (recsys status --help).
"""

_STATUS = """\
Say what is served, how old it is, and how the last run ended and why.

Exit codes, as monitoring plugins use them:
  0  this week's edition (or a later one) is served, and the last run succeeded
  1  it is served, but the last run failed, its model is unproven or was released, or a
     forgotten listener is not erased in time
  2  nothing is served, or only an edition whose week is over
  3  it cannot be told: the settings or the store cannot be read
"""


def parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    raw = argparse.RawDescriptionHelpFormatter
    root = argparse.ArgumentParser(
        prog="recsys",
        description="Look at the weekly playlists, and step in where a person must.",
        epilog=_EPILOG,
        formatter_class=raw,
    )
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)

    show = commands.add_parser(
        "show",
        help="one listener's playlist",
        description="Print one listener's playlist: each track, and the reason it is there.",
        epilog="Example: recsys show u_000042 --edition 2026-W47 --json",
    )
    show.add_argument("user", metavar="USER", help="the listener's id, as in the log")
    show.add_argument("--edition", help="a week, YYYY-Www; by default the one served")
    show.add_argument("--json", action="store_true", help="as a service would get it")
    show.set_defaults(run=_commands.show)

    explain = commands.add_parser(
        "explain",
        help="why a track is on a playlist, or is not",
        description="Take a listener's playlist apart: for every track the songs that speak for "
        "it, with weights that add up to its score. Or say why a track is not there.",
        epilog="Example: recsys explain u_000042 --track t_000123",
    )
    explain.add_argument("user", metavar="USER", help="the listener's id, as in the log")
    explain.add_argument("--track", help="a track's id: why is it there, or why not?")
    explain.add_argument("--edition", help="a week, YYYY-Www; by default the one served")
    explain.add_argument(
        "--revision", type=int, help="of the edition, as it was made, though a gate held it"
    )
    explain.add_argument("--json", action="store_true", help="everything, for programs")
    explain.set_defaults(run=_explained)

    editions = commands.add_parser(
        "editions", help="every edition in the store", description="List every edition staged."
    )
    editions.set_defaults(run=_commands.editions)

    status = commands.add_parser(
        "status", help="what is served; for monitors", description=_STATUS, formatter_class=raw
    )
    status.set_defaults(run=_commands.status)

    summary = commands.add_parser(
        "summary",
        help="one edition in a short table, with one listener's playlist",
        description="Sum an edition up: playlists by kind, rules relaxed, time by stage.",
    )
    summary.add_argument("--edition", help="a week, YYYY-Www; by default the newest recorded")
    summary.set_defaults(run=_commands.summary)

    verify = commands.add_parser(
        "verify",
        help="hold the stored rows against the edition's own files",
        description="Hash the edition's files against their manifests, check every invariant on "
        "every playlist again, and compare every stored row with the file, under its user.",
    )
    verify.add_argument("--edition", help="a week, YYYY-Www; by default the one served")
    verify.set_defaults(run=_commands.verify)

    rollback = commands.add_parser(
        "rollback",
        help="serve what was served before",
        description="Serve what was served before the current edition, at once and without "
        "computing anything. A scheduled run will not undo it.",
    )
    rollback.set_defaults(run=_commands.rollback)

    release = commands.add_parser(
        "release",
        help="let an edition go on that a gate refused",
        description="Let an edition go on that a gate refused. The store's ledger keeps what it "
        "was let off, and why; the edition goes on when its week is run again. Playlists that "
        "break a promise and factors that cannot be ranked by are never released.",
        epilog="Example: recsys release --edition 2026-W47 --because 'half the log is on strike'",
    )
    release.add_argument("--edition", help="a week, YYYY-Www; by default the newest one planned")
    release.add_argument(
        "--revision", type=int, help="of the edition; by default the newest one planned"
    )
    release.add_argument(
        "--because", metavar="TEXT", required=True, help="why; kept in the ledger and the record"
    )
    release.set_defaults(run=_release.release)

    formats = commands.add_parser(
        "formats",
        help="the formats a log can be in",
        description="List every [listens] format, with an example of one listen.",
    )
    formats.set_defaults(run=_log.formats)

    check_log = commands.add_parser(
        "check-log",
        help="look into a log before it is read",
        description="Read the beginning of a few files of a log: its format, what would be "
        "refused and why, and which mapping of columns its names suggest.",
        epilog="Example: recsys check-log data/demo/log",
    )
    check_log.add_argument("source", metavar="SOURCE", help="a directory, glob, file or URL")
    check_log.add_argument("--format", help="instead of guessing", choices=FORMATS)
    check_log.add_argument("--user", help="whose listens those are that name nobody", default="")
    check_log.set_defaults(run=_log.check_log)

    requeue = commands.add_parser(
        "requeue",
        help="read what is in quarantine again, after a fix",
        description="Read days of the log again that have refused rows, or files that have changed "
        "since: what can be used now arrives with the next day that is cleaned. A day comes back "
        "only where everything that was kept of it is still there.",
        epilog="Example: recsys requeue --since 2026-11-01 --dry-run",
    )
    which = requeue.add_mutually_exclusive_group()
    which.add_argument("--day", help="only this arrival day, YYYY-MM-DD")
    which.add_argument("--since", help="this arrival day and those after it, YYYY-MM-DD")
    requeue.add_argument("--dry-run", action="store_true", help="only say what would come back")
    requeue.set_defaults(run=_requeue.requeue)

    forget = commands.add_parser(
        "forget",
        help="hide a listener everywhere, for good",
        description="Hide a listener from every reader at once, in every edition, and keep them "
        "out of every matrix from the next edition on.",
    )
    forget.add_argument("user", metavar="USER", help="the listener's id, as in the log")
    forget.set_defaults(run=_commands.forget)

    block = commands.add_parser(
        "block-track",
        help="take a track out of every playlist, for good",
        description="Take a track, and every other track of its song, out of every playlist at "
        "once, in every edition; a spare takes its place. No edition planned later has the song.",
    )
    block.add_argument("track", metavar="TRACK", help="the track's id, as in the log")
    block.set_defaults(run=_keeping.block_track)

    pin = commands.add_parser(
        "pin",
        help="keep an edition for good",
        description="Keep an edition readable for good: its rows are not pruned, and its folder "
        "is not cleaned.",
    )
    pin.add_argument("edition", metavar="EDITION", help="a week, YYYY-Www")
    pin.set_defaults(run=_keeping.pin)

    clean = commands.add_parser(
        "clean",
        help="remove old artefacts that nothing needs any more",
        description="Erase forgotten listeners from every copy, prune old editions from the store, "
        "and remove artefacts at home that no edition to come needs. Days of the log stay.",
    )
    clean.add_argument("--dry-run", action="store_true", help="only list what can go, and why")
    clean.set_defaults(run=_keeping.clean)

    serve = commands.add_parser(
        "serve",
        help="playlists over HTTP, for services and people",
        description="Serve the store's playlists over HTTP until a signal says to stop. [serve] "
        "has its settings; docs/serve.md says what it answers.",
        epilog="Example: recsys serve --port 8080",
    )
    serve.add_argument("--host", help="the address to listen on, instead of [serve] host")
    serve.add_argument("--port", type=int, help="instead of [serve] port; 0 takes a free one")
    serve.set_defaults(run=_serve.serve)
    return root


def _explained(options: argparse.Namespace) -> int:
    from recsys.cli import _explain  # reads matrices and models: not for `recsys show`

    return _explain.explain(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except RecsysError as error:
        print(f"recsys: {error}", file=sys.stderr)
        return 3 if options.command == "status" else error.exit_code
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return code
