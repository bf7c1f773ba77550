"""What each command does. Heavy imports wait until a command needs them."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, date, datetime
from typing import Any

from recsys import artefact
from recsys.artefact import Artefact
from recsys.cli import _print
from recsys.cli._release import doubt_lines, held_by, refusal_lines
from recsys.erasure import overdue
from recsys.errors import (
    ArtefactError,
    NoEditionError,
    NoSuchUserError,
    PlanError,
    SettingsError,
    StoreError,
)
from recsys.home import Home, read_last_run
from recsys.refusals import release_of
from recsys.settings import Settings, load_settings
from recsys.store import Edition, Store, open_store
from recsys.weeks import Week


def show(options: argparse.Namespace) -> int:
    """Print one listener's playlist."""
    settings = load_settings()
    with open_store(settings.store_url) as store:
        try:
            playlist = store.playlist(options.user, edition=options.edition)
        except NoSuchUserError:
            edition = _edition(store, options.edition)
            why = _why_none(settings, edition, options.user)
            raise NoSuchUserError(
                f"Edition {edition.edition} has no playlist for this listener. {why}".strip()
            ) from None
    if options.json:
        _print.put_json(playlist.to_dict())
    else:
        names = _print.track_names(Home.of(settings), playlist)
        _print.put(_print.playlist_table(playlist, names))
    return 0


def editions(options: argparse.Namespace) -> int:
    """List every edition of the store."""
    del options
    with open_store(load_settings().store_url) as store:
        found = store.editions()
    if not found:
        raise NoEditionError("The store has no edition yet: publish a week first.")
    _print.put(_print.editions_table(found))
    return 0


def status(options: argparse.Namespace) -> int:
    """Say what is served and how the last run ended."""
    del options
    settings = load_settings()
    root = settings.home
    with open_store(settings.store_url) as store:
        served = store.current()
        tombstones = store.history().tombstones
        last, home = read_last_run(root) or {}, Home.of(settings)
        refusal = held_by(home, last)
        released = release_of(store, refusal) if refusal else None
        if released is not None:
            last = {**last, "why": None}  # it offers the release
    code, lines = _judge(served, last, datetime.now(UTC).date())
    if refusal is not None:
        lines += refusal_lines(home, refusal, released)
    elif last.get("verdict") == "unproven" and "edition" in last:
        lines += doubt_lines(home, last)
    days = settings.store.erase_days
    if waiting := overdue(tombstones, home, days):
        code = max(code, 1)
        lines.append(
            f"{waiting} listeners were forgotten more than {days} days ago and are not erased from "
            "every copy yet: recsys clean"
        )
    verdict = ("OK", "WARNING", "CRITICAL")[code]
    print(f"{verdict}: {lines[0]}")
    for line in lines[1:]:
        print(line)
    return code


def _judge(served: Edition | None, last: Any, today: date) -> tuple[int, list[str]]:
    code, lines = 0, []
    if served is None:
        code = 2
        lines.append("no edition is served.")
    else:
        week = Week.parse(served.edition)
        age = (today - week.monday).days
        when = f"its week began {age} days ago" if age >= 0 else f"its week begins on {week.monday}"
        lines.append(
            f"edition {served.edition} revision {served.revision} is served to {served.rows} "
            f"listeners; {when}."
        )
        if today > week.sunday:
            code = 2
            lines.append(f"Its week ended on {week.sunday}: a newer edition is due.")
        if not served.present:
            code = 2
            lines.append("Its rows are missing from the store: run the week again.")
    if not last:
        lines.append("No run has left word here.")
    else:
        outcome = _print.outcome(last)
        lines.append(
            f"The last run ({last.get('command')} {last.get('edition', 'of the newest week')}, "
            f"{last.get('at')}) {outcome}."
        )
        if last.get("why"):
            lines.append(f"{last.get('stage', 'run')}: {last.get('why')}")
        running = last.get("outcome") == "running" and _print.alive(last)
        if last.get("outcome") != "succeeded" and not running:
            code = max(code, 1)
        elif last.get("verdict") == "unproven":
            code = max(code, 1)
            lines.append("Its model is unproven: served, and not shown to be good enough.")
        elif last.get("verdict") == "released":
            code = max(code, 1)
            lines.append("A gate refused it, and an operator let it go on: see recsys summary.")
    return code, lines


def summary(options: argparse.Namespace) -> int:
    """Print an edition's table and one listener's playlist."""
    settings = load_settings()
    home = Home.of(settings)
    weeks = [_week(options.edition)] if options.edition else home.weeks()[::-1]
    recorded = [
        home.edition(week, revision)
        for week in weeks
        for revision in home.revisions(week)[::-1]
        if artefact.exists(home.edition(week, revision) / "record")
    ]
    if not recorded:
        raise NoEditionError(f"No edition is recorded under {home.root}: run a week first.")
    folder = recorded[0]
    record = json.loads(
        Artefact.open(folder / "record").file("record.json").read_text(encoding="utf-8")
    )
    _print.put(_print.summary_table(record, settings, folder), piped=1000)  # paths stay whole
    with open_store(settings.store_url) as store:
        playlist = _print.sample(store, folder)
    if playlist is not None:
        _print.put(_print.playlist_table(playlist, _print.track_names(home, playlist)))
    return 0


def verify(options: argparse.Namespace) -> int:
    """Hold an edition against its own files."""
    from recsys.verification import check_edition, compare_stored

    settings = load_settings()
    home = Home.of(settings)
    with open_store(settings.store_url) as store:
        edition = _edition(store, options.edition)
        folder = home.edition(Week.parse(edition.edition), edition.revision)
        for stage in ("plan", "matrix", "als_model", "playlists"):
            Artefact.open(folder / stage).check()
        rows = compare_stored(store, Artefact.open(folder / "playlists"))
    try:
        verdict = check_edition(home, folder, settings.playlists)
    except PlanError as error:
        raise ArtefactError(str(error)) from error
    print(f"Edition {edition.edition} revision {edition.revision}")
    print("  files      as their manifests say")
    print(f"  invariants {verdict.summary()}")
    print(
        f"  rows       {rows.stored} stored, {rows.expected} expected, {rows.left_out} left out "
        f"when staged, {rows.different} different"
    )
    if verdict.outcome == "refused" or not rows.agree:
        print("NOT as it should be. Consider: recsys rollback", file=sys.stderr)
        return 30
    return 0


def rollback(options: argparse.Namespace) -> int:
    """Serve what was served before."""
    from recsys.publishing import refresh_copy
    from recsys.serve.purge import purge
    from recsys.tracking import make_champion

    del options
    settings = load_settings()
    home = Home.of(settings)
    with open_store(settings.store_url) as store:
        refresh_copy(store, home.store_copy)
        entry = store.rollback()
        purge(settings.serve.purge_url)
        refresh_copy(store, home.store_copy)
    print(f"Edition {entry.edition} revision {entry.revision} is served again.", flush=True)
    model = home.edition(Week.parse(entry.edition), entry.revision) / "als_model"
    failure = (
        make_champion(settings.tracking_uri, Artefact.open(model).digest)
        if artefact.exists(model)
        else "its model was cleaned"
    )
    if failure is not None:
        print(f"It is not the champion in MLflow: {failure}", file=sys.stderr)
    return 0


def forget(options: argparse.Namespace) -> int:
    """Hide a listener everywhere."""
    from recsys.publishing import refresh_copy
    from recsys.serve.purge import purge

    settings = load_settings()
    copy = Home.of(settings).store_copy
    with open_store(settings.store_url) as store:
        refresh_copy(store, copy)  # a store that was lost knows again who was forgotten before
        known = _is_known(store, options.user)
        store.forget(options.user)
        purge(settings.serve.purge_url)
        refresh_copy(store, copy)
    if not known:
        print("The edition served has no playlist under this id: check its spelling.")
    print("Hidden from every reader, and out of every matrix from the next edition on.")
    print("Erased from every copy by the next weekly run, or at once by: recsys clean")
    return 0


def _is_known(store: Store, user: str) -> bool:
    """Whether the edition served has this listener; True where that cannot be told."""
    try:
        store.playlist(user)
    except NoSuchUserError:
        return False
    except StoreError:
        return True
    return True


def _week(text: str) -> Week:
    try:
        return Week.parse(text)
    except ValueError as error:
        raise SettingsError(f"--edition: {error}") from None


def _edition(store: Store, name: str | None) -> Edition:
    if name is None:
        current = store.current()
        if current is None:
            raise NoEditionError("The store serves no edition yet: publish a week first.")
        return current
    week = str(_week(name))
    found = [one for one in store.editions() if one.edition == week and one.readable]
    if not found:
        raise NoEditionError(f"The store has no edition {week} that readers may see.")
    return found[0]


def _why_none(settings: Settings, edition: Edition, user: str) -> str:
    """Why a listener of the log has no playlist, as far as home knows."""
    from recsys.listeners import why_no_playlist

    folder = Home.of(settings).edition(Week.parse(edition.edition), edition.revision)
    return why_no_playlist(folder, user, settings.edition.active_days)
