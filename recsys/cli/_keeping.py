"""The commands about what is kept, what is blocked, and what goes."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from recsys import artefact, home
from recsys.artefact import Artefact
from recsys.cli import _print
from recsys.errors import SettingsError
from recsys.home import Home
from recsys.settings import load_settings
from recsys.store import open_store
from recsys.weeks import Week


def block_track(options: argparse.Namespace) -> int:
    """Take a track, and every other track of its song, out of every playlist."""
    from recsys.catalogue import tracks_of_song
    from recsys.publishing import refresh_copy
    from recsys.serve.purge import purge

    settings = load_settings()
    place = Home.of(settings)
    catalogue = _newest_catalogue(place)
    names = tracks_of_song(catalogue, options.track) if catalogue else {}
    with open_store(settings.store_url) as store:
        refresh_copy(store, place.store_copy)
        for track_id in names or {options.track: None}:
            store.block(track_id)
        purge(settings.serve.purge_url)
        refresh_copy(store, place.store_copy)
    if not names:
        print("No catalogue here knows a track with this id: check its spelling.")
    for track_id, name in (names or {options.track: None}).items():
        print(f"  {_print.plain(track_id).plain}  {_print.plain(name).plain}".rstrip())
    print("Blocked in every playlist from now on. The song is in no edition planned after this.")
    return 0


def pin(options: argparse.Namespace) -> int:
    """Keep an edition for good."""
    from recsys.publishing import refresh_copy

    try:
        week = Week.parse(options.edition)
    except ValueError as error:
        raise SettingsError(f"EDITION: {error}") from None
    settings = load_settings()
    copy = Home.of(settings).store_copy
    with open_store(settings.store_url) as store:
        refresh_copy(store, copy)
        store.pin(str(week))
        refresh_copy(store, copy)
    print(f"Edition {week} is kept for good, in the store and at home.")
    return 0


def clean(options: argparse.Namespace) -> int:
    """Erase, prune, and remove what nothing needs any more."""
    from recsys.erasure import erase_forgotten
    from recsys.publishing import refresh_copy
    from recsys.retention import remove, unneeded

    settings = load_settings()
    place = Home.of(settings)
    home.admit(place.root)
    home.lock(place.root)
    with open_store(settings.store_url) as store:
        if not options.dry_run:
            place.tidy()
            refresh_copy(store, place.store_copy)
            rewritten = erase_forgotten(store, place, everywhere=True)
            pruned = store.prune(settings.store.keep_weeks)
            refresh_copy(store, place.store_copy)
            print(f"{rewritten} copies rewritten without forgotten listeners.")
            print(f"{len(pruned)} editions pruned from the store.")
        found = unneeded(place, settings, store.editions())
    if found:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Path", overflow="fold")
        table.add_column("Size", justify="right", no_wrap=True)
        table.add_column("Why it can go")
        for one in found:
            path = str(one.path.relative_to(place.root))
            table.add_row(_print.plain(path), decimal(one.size), one.why)
        _print.put(table)
    if not options.dry_run:
        remove(place, found)
    total = decimal(sum(one.size for one in found))
    print(f"{len(found)} folders, {total}, {'can go' if options.dry_run else 'removed'}.")
    return 0


def _newest_catalogue(place: Home) -> Path | None:
    """The newest catalogue made from this log, if there is one."""
    folders = (place.root / "states" / place.states_digest).glob("*-W*/catalogue")
    found = sorted(folder for folder in folders if artefact.exists(folder))
    return Artefact.open(found[-1]).file("catalogue.parquet") if found else None
