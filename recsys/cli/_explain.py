"""``recsys explain``: why a track is on a playlist, and why another one is not."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from recsys import artefact
from recsys.cli import _print
from recsys.cli._release import planned_edition
from recsys.errors import ArtefactError, NoEditionError, NoSuchUserError, SettingsError
from recsys.explain import Answer, Listed, Listener, Part, Reason, Standing, Track, open_edition
from recsys.home import Home
from recsys.settings import load_settings
from recsys.store import PlaylistTrack, Store, open_store
from recsys.weeks import Week

#: Parts of a score that are shown one by one.
_SHOWN: Final = 3


def explain(options: argparse.Namespace) -> int:
    """Explain a listener's playlist, or one track's place on it."""
    settings = load_settings()
    home = Home.of(settings)
    with open_store(settings.store_url) as store:
        forgotten = options.user in store.tombstones()
        readable = False
        if options.revision is not None:
            folder = home.edition(*planned_edition(home, options.edition, options.revision))
        else:
            folder, readable = _folder(store, home, options.edition)
        # What readers do not see is explained as it was made.
        shown = _shown(store, options.user, options.edition) if readable else None
        blocked = store.blocks() if readable else frozenset[str]()
    edition = open_edition(home, folder, options.user)
    if forgotten:
        raise NoSuchUserError(f"Edition {edition.week} has no playlist for this listener.")
    listener = Listener(edition, options.user, shown=shown, blocked=blocked)
    about = {
        "edition": str(edition.week),
        "revision": edition.revision,
        "user_id": listener.user_id,
        "kind": listener.row and listener.row["kind"],
        "relaxed": listener.row["relaxed"] if listener.row else [],
    }
    if options.track is not None:
        answer = listener.why(options.track)
        tracks = [one for one in listener.playlist() if one.position == answer.position]
        if options.json:
            _print.put_json(about | {"answer": answer, "tracks": tracks}, _plain_value)
        else:
            sentence = _sentence(answer, edition.rules.per_artist)
            _print.put(Group(sentence, _tracks(tracks)) if tracks else sentence)
        return 0
    if listener.row is None:
        from recsys.listeners import why_no_playlist

        why = why_no_playlist(folder, listener.user_id, settings.edition.active_days)
        raise NoSuchUserError(
            f"Edition {edition.week} has no playlist for this listener. {why}".strip()
        )
    if options.json:
        _print.put_json(about | {"tracks": listener.playlist()}, _plain_value)
    else:
        _print.put(Group(_title(about), _tracks(listener.playlist())))
    return 0


def _shown(store: Store, user: str, edition: str | None) -> Sequence[PlaylistTrack]:
    try:
        return store.playlist(user, edition=edition).tracks
    except NoSuchUserError:
        return ()


def _folder(store: Store, home: Home, name: str | None) -> tuple[Path, bool]:
    """The edition served, or the one named: the revision that readers see, else the newest one.

    Returns:
        Its folder, and whether the store has it for readers.
    """
    if name is None:
        served = store.current()
        if served is None:
            raise NoEditionError("The store serves no edition yet: publish a week first.")
        return home.edition(Week.parse(served.edition), served.revision), served.present
    try:
        week = Week.parse(name)
    except ValueError as error:
        raise SettingsError(f"--edition: {error}") from None
    seen = [one for one in store.editions() if one.edition == str(week) and one.readable]
    if seen:
        return home.edition(week, seen[0].revision), seen[0].present
    planned = [home.edition(week, revision) for revision in home.revisions(week)[::-1]]
    made = [folder for folder in planned if artefact.exists(folder / "playlists")]
    if not made and any(home.cleaned(folder).exists() for folder in planned):
        raise ArtefactError(
            f"Edition {week} was cleaned away: its plan, verdicts, report and record are left, and "
            "they do not explain a playlist."
        )
    if not made:
        known = ", ".join(map(str, home.weeks()[-3:])) or "none"
        raise NoEditionError(
            f"There is no edition {week} under {home.root} that has playlists. The newest ones "
            f"planned there: {known}."
        )
    return made[0], False


def _plain_value(value: Any) -> Any:
    """What JSON has no form for."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _title(about: dict[str, Any]) -> RenderableType:
    title = Text.assemble(
        "\n", (f"Playlist {about['edition']}", "bold"), " for ", _print.plain(about["user_id"])
    )
    said = f"{about['kind']}, revision {about['revision']}"
    if about["relaxed"]:
        said += f", rules that gave way: {', '.join(about['relaxed'])}"
    return Group(title, Text(said, style="dim"))


def _tracks(listed: Iterable[Listed]) -> RenderableType:
    """Tracks of the playlist, each with what adds up to its score."""
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    table.add_column("#", justify="right", width=3)
    table.add_column("Score", justify="right", width=8)
    table.add_column("Track, and what speaks for it", ratio=1, overflow="ellipsis", no_wrap=True)
    for track in listed:
        position, name = Text(str(track.position), style="bold"), _name(track.track)
        name.stylize("bold")
        if track.source == "als":
            rank = (f"  (rank {track.rank} by score)", "dim")
            table.add_row(position, Text(f"{track.score:.4f}", "bold"), Text.assemble(name, rank))
        else:
            table.add_row(position, "popular", name)
            table.add_row("", "", "  popular with others; nothing of this listener's speaks for it")
        if track.entered:
            table.add_row("", "", "  a spare, in place of a blocked track")
        for part in track.parts[:_SHOWN]:
            table.add_row("", f"{part.weight:+.4f}", _part(part))
        others = track.parts[_SHOWN:]
        if others:
            weight = sum(part.weight for part in others)
            noun = "other" if len(others) == 1 else "others"
            table.add_row("", f"{weight:+.4f}", f"  {len(others)} {noun}")
    return table


def _part(part: Part) -> Text:
    return Text.assemble(
        "  ", _name(part.track), "" if part.played else "  (saved or liked, not played)"
    )


def _name(track: Track) -> Text:
    artists = f" – {', '.join(track.artist_names)}" if track.artist_names else ""
    return _print.name(f"{track.track_name or track.track_id}{artists}")


def _sentence(answer: Answer, per_artist: int) -> Text:
    """The answer in words."""
    track, tracks = _name(answer.track), Text(" and ").join(map(_name, answer.tracks))
    ids = Text(" and ").join(_print.name(one.track_id) for one in answer.tracks)
    known_as = Text() if answer.tracks in ((), (answer.track,)) else Text.assemble(", as ", ids)
    said: dict[Reason, tuple[str | Text, ...]] = {
        Reason.UNKNOWN_TRACK: (" is not in the catalogue of this edition: check the id.",),
        Reason.NOT_ELIGIBLE: (
            " is on no playlist, for this listener has none: they ",
            f"last listened on {answer.last_heard}." if answer.last_heard else "never played any.",
        ),
        Reason.NOTHING_LEFT: (
            " is on no playlist, for this listener has none: no song was left for them.",
        ),
        Reason.LISTED: (f" is there, at position {answer.position}.",),
        Reason.SAME_SONG: (f" is there, at position {answer.position}", known_as, "."),
        Reason.BLOCKED: (" is blocked for everyone", known_as, "."),
        Reason.UNAVAILABLE: (" is not available: no track of the song is.",),
        Reason.DISLIKED: (" is disliked by this listener", known_as, "."),
        Reason.HEARD: (
            " was heard by this listener",
            known_as,
            f", last on {answer.last_heard}." if answer.last_heard else ".",
        ),
        Reason.COOLDOWN: (
            " rests: this listener had it in ", ", ".join(answer.editions), ".",
        ),
        Reason.ARTIST_CAP: (
            f" would have been more than {per_artist} by one artist. On the list were ",
            tracks,
            ".",
        ),
        Reason.NEIGHBOURS: (
            " found no place that is not beside a song by one of its artists: ", tracks, ".",
        ),
        Reason.FULL: (" is a candidate, and better ones filled the list.",),
        Reason.NOTHING_TO_GO_BY: (
            " came too late: this listener holds to no song, so the list is popular songs.",
        ),
        Reason.NOT_LEARNT: (" cannot be scored: no listener holds to it.",),
        Reason.SAVED: (" is saved or liked by this listener, so it is no discovery.",),
        Reason.BELOW_CUT: (" has too low a score to be a candidate.",),
    }  # fmt: skip
    return Text.assemble(track, *said[answer.reason], _where(answer.standing))


def _where(standing: Standing | None) -> str:
    if standing is None:
        return ""
    said = ""
    if standing.rank is not None:
        said = (
            f" By score ({standing.score:.4f}) it is number {standing.rank} of the {standing.of} "
            f"songs that this listener could get; {standing.candidates} of those are candidates."
        )
        if standing.turn is not None and standing.turn != standing.rank:
            said += f" The rules that reorder candidates made it number {standing.turn}."
    elif standing.popularity_rank is not None:
        said = f" It is number {standing.popularity_rank} by popularity."
    return said
