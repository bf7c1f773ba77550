"""Tables for people. Names from the log are untrusted text: never markup, no control characters."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from recsys.artefact import Artefact
from recsys.errors import ArtefactError, NoSuchUserError
from recsys.home import Home
from recsys.plan import Plan
from recsys.settings import Settings
from recsys.store import Edition, Playlist, Store
from recsys.store._url import redacted
from recsys.untrusted import harmless, harmless_name
from recsys.weeks import Week

_POPULAR: Final = Text("popular with others", style="dim")


def put(shown: RenderableType, *, piped: int = 120) -> None:
    """Print; into a pipe ``piped`` wide, and without blanks at the ends of lines."""
    console = Console()
    if console.is_terminal:
        console.print(shown)
        return
    console = Console(width=piped)
    with console.capture() as captured:
        console.print(shown)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def plain(text: str | None) -> Text:
    """Untrusted text as it may be shown on a terminal.

    >>> plain("a" + chr(27) + "[31m[bold]b").plain
    'a�[31m[bold]b'
    """
    return Text(harmless(text or ""))


def name(text: str) -> Text:
    """An untrusted name: one line, and not endless."""
    return Text(harmless_name(text))


def put_json(value: Any, default: Callable[[Any], Any] | None = None) -> None:
    """Print JSON; in ASCII, so that untrusted text cannot steer the terminal that shows it.

    Args:
        value: what to print.
        default: as in `json.dump`.
    """
    json.dump(value, sys.stdout, indent=1, default=default)
    print()


def playlist_table(playlist: Playlist, names: Mapping[str, str]) -> RenderableType:
    """One listener's playlist with the reason for each track.

    Args:
        playlist: from the store.
        names: track names by id, for the reasons.
    """
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("#", justify="right", width=3)
    for heading, ratio in (("Track", 3), ("Artists", 2), ("Because of", 3)):
        table.add_column(heading, ratio=ratio, overflow="ellipsis", no_wrap=True)
    for track in playlist.tracks:
        because = track.because_track_id
        table.add_row(
            str(track.position),
            plain(track.track_name or track.track_id),
            plain(", ".join(track.artist_names)),
            plain(names.get(because) or because) if because else _POPULAR,
        )
    title = Text.assemble(
        "\n", (f"Playlist {playlist.edition}", "bold"), " for ", plain(playlist.user_id)
    )
    said = f"{playlist.kind}, {playlist.valid_from} to {playlist.valid_until}"
    if playlist.relaxed:
        said += f", rules that gave way: {', '.join(playlist.relaxed)}"
    return Group(title, Text(said, style="dim"), table)


def editions_table(editions: Sequence[Edition]) -> Table:
    """Every edition of a store."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Edition", "Revision", "State", "Playlists", "Staged (UTC)", "Digest"):
        table.add_column(heading, justify="right" if heading == "Playlists" else "left")
    for one in editions:
        gone = "pruned" if one.pruned else "rows missing"
        facts = {"served": one.served, "pinned": one.pinned, gone: not one.present}
        state = [one.state.replace("_", " "), *(name for name, true in facts.items() if true)]
        table.add_row(
            one.edition,
            str(one.revision),
            ", ".join(state),
            str(one.rows),
            f"{one.staged_at:%Y-%m-%d %H:%M}",
            one.digest[:12],
        )
    return table


def summary_table(record: Mapping[str, Any], settings: Settings, folder: Path) -> Table:
    """An edition in a few lines."""
    playlists, model = record["playlists"], record["model"]
    relaxed = ", ".join(f"{name} {n}" for name, n in playlists["relaxed"].items() if n) or "none"
    kinds = ", ".join(f"{n} {kind}" for kind, n in playlists["kinds"].items())
    slowest = sorted(record["seconds"].items(), key=lambda item: -item[1])
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (
        ("Edition", f"{record['edition']} revision {record['revision']}"),
        ("Log", log_text(record["log"])),
        ("Playlists", f"{kinds} (of {playlists['eligible']} eligible listeners)"),
        ("Refused", str(playlists["refused"])),
        ("Rules relaxed", relaxed),
        ("Model", f"{record['verdict']}: {metrics_text(model)}"),
        *((f"Released, {gate}", why) for gate, why in record.get("released", {}).items()),
        ("Seconds", ", ".join(f"{name} {spent:.1f}" for name, spent in slowest)),
        ("Store", redacted(settings.store_url)),
        ("Report", str(folder / "report.html")),
        ("Playlists file", str(folder / "playlists" / "playlists.parquet")),
        ("Everything else", str(folder)),
    ):
        table.add_row(name, plain(value))
    return table


def log_text(log: Mapping[str, Any]) -> str:
    """From when to when the log is, and what was odd about it and accepted."""
    said = [f"{log['first_day']} to {log['last_day']}", *log["odd"]]
    # Records did not count rows on no day at first.
    if undated := ", ".join(f"{n} {reason}" for reason, n in log.get("undated", {}).items()):
        said.append(f"rows of the dump: {undated} on no day")
    if later := log.get("later"):
        said.append(f"{later} after the cutoff")
    return "; ".join(said)


def metrics_text(model: Mapping[str, Any]) -> str:
    """How good the model was on the week that it had not seen."""
    listeners = model["listeners_evaluated"]
    said = [f"{name} {values['recall_at_30']:.3f}" for name, values in model["metrics"].items()]
    if not said:
        return "nothing to measure it on"
    return f"recall@30 {', '.join(said)} ({listeners} listeners, unseen week)"


def outcome(last: Mapping[str, Any]) -> str:
    """How a run ended, as the end of a sentence."""
    if last.get("outcome") == "running":
        return "is still running" if alive(last) else "was killed before it ended"
    if last.get("outcome") == "succeeded":
        return "succeeded"
    code = last.get("exit_code")
    return "failed" if code is None else f"failed with exit code {code}"


def alive(last: Mapping[str, Any]) -> bool:
    """Whether the run's process is still there."""
    try:
        os.kill(int(last["process"]), 0)
    except PermissionError:
        return True
    except (KeyError, ValueError, OSError):
        return False
    return True


def track_names(home: Home, playlist: Playlist) -> dict[str, str]:
    """Names of the tracks that a playlist gives as reasons, as far as home knows them."""
    import pyarrow.parquet as pq

    wanted = sorted({t.because_track_id for t in playlist.tracks if t.because_track_id})
    try:
        catalogue = Artefact.open(home.catalogue(Week.parse(playlist.edition)))
    except ArtefactError:
        return {}
    rows = pq.read_table(
        catalogue.file("catalogue.parquet"),
        columns=["track_id", "track_name", "artist_name"],
        filters=[("track_id", "in", wanted)],
    ).to_pylist()
    return {
        row["track_id"]: f"{row['track_name']} – {row['artist_name']}"
        for row in rows
        if row["track_name"]
    }


def sample(store: Store, edition: Path) -> Playlist | None:
    """The playlist of the first listener who has a personal one, or of the first at all."""
    import pyarrow.parquet as pq

    week = str(Plan.load(edition / "plan").week)
    path = Artefact.open(edition / "playlists").file("playlists.parquet")
    rows = pq.read_table(path, columns=["user_id", "kind"]).to_pylist()
    for row in sorted(rows, key=lambda row: row["kind"] != "personal"):
        try:
            return store.playlist(row["user_id"], edition=week)
        except NoSuchUserError:
            continue
    return None
