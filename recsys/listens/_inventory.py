"""What files a log consists of, and the days they arrived on."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import PurePosixPath
from typing import Any, Final

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from recsys.errors import BadLogError, MissingDataError, SettingsError
from recsys.settings import FIXED_FORMATS, ListensSettings

LOG: Final = logging.getLogger(__name__)
_PARTITION: Final = re.compile(r"(?:date|day)=(\d{4}-\d{2}-\d{2})")
_IN_PARTITION: Final = re.compile(rf"(?<=/){_PARTITION.pattern}(?=/)")
_HIDDEN: Final = re.compile(r"(?:^|/)[._]")
_ONLY: Final = {"spotify": ", and all but Streaming_History_Audio_*.json, endsong*.json and *.zip"}
_HISTORY: Final = re.compile(
    r"(Streaming_History_Audio_|endsong).*\.json(\.(gz|bz2|xz|zst))?|.*\.zip", re.IGNORECASE
)
#: The parts of such a name that Spotify gives: what it is, a year or two and a number, the ending.
_OWN_NAME: Final = re.compile(
    r"(Streaming_History_Audio|endsong)((?:[-_]\d{1,4})*(?=\.json)|).*?(\.json(?:\.\w+)?)",
    re.IGNORECASE,
)
#: Such a file as it is named here.
_NUMBERED: Final = re.compile(
    r"(?:.*/)?listener-\d+/\d+-(?:Streaming_History_Audio|endsong|export\.zip).*", re.IGNORECASE
)
_MAGIC: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of a log."""

    #: Relative to the source; rows are traced by it. It names no listener.
    name: str
    url: str
    #: Bytes, as they are stored.
    size: int
    #: When it changed (ISO 8601, UTC), else its ETag, if the file system knows.
    modified: str | None
    #: Whose listens it holds, where folders say so, empty in none of them; in no message and no
    #: manifest, and neither is its path.
    listener: str | None = None


@dataclass(frozen=True)
class Inventory:
    """The files of a log."""

    #: Whether the files lie in ``date=YYYY-MM-DD/`` or ``day=YYYY-MM-DD/`` folders.
    partitioned: bool
    #: The files of each day of arrival, by name; empty for a log without such folders.
    days: Mapping[date, tuple[LogFile, ...]]
    #: Every file, sorted by name.
    files: tuple[LogFile, ...]


def list_log(settings: ListensSettings) -> Inventory:
    """List the files of the log that ``[listens] source`` names; nothing is read yet.

    Whatever lies at or under a name that begins with ``.`` or ``_`` is left out, such as
    ``_SUCCESS`` and unfinished uploads.

    Raises:
        SettingsError: the URL's protocol is unknown or needs a package that is not installed, or
            columns are mapped for a format that has no names to map.
        MissingDataError: the source does not exist, or holds no file.
        BadLogError: only some of the files lie in folders of a day, or a folder's date is no day.
    """
    if settings.format in FIXED_FORMATS and settings.columns:
        raise SettingsError(
            f"[listens] columns: the columns of {settings.format} have one meaning each. Remove "
            "the setting, or name the format that the log is in."
        )
    spotify = settings.format == "spotify"
    found = find_files(settings.source, "[listens] source", names_listeners=spotify)
    found = tuple(file for file in found if not spotify or is_history(file.name))
    if not found:
        raise MissingDataError(
            f"[listens] source = {settings.source} holds no file of format {settings.format}. "
            "Expected the files of a listening log; names that begin with . or _ are left out"
            f"{_ONLY.get(settings.format, '')}."
        )
    by_day: dict[date | None, list[LogFile]] = defaultdict(list)
    for file in found:
        by_day[_arrival(file)].append(file)
    if spotify:
        by_day = {day: _by_listener(files) for day, files in by_day.items()}
    loose = by_day.pop(None, [])
    days = {day: tuple(by_day[day]) for day in sorted(filter(None, by_day))}
    if loose and days:
        raise BadLogError(
            f"[listens] source = {settings.source}: {loose[0].name} lies in no date=YYYY-MM-DD/ "
            f"folder, but {next(iter(days.values()))[0].name} does. Expected all files of a log "
            "in such folders, or none: move the ones that differ, or name a narrower source."
        )
    files = (file for group in (loose, *days.values()) for file in group)
    return Inventory(bool(days), days, tuple(sorted(files, key=lambda file: file.name)))


def is_day(folder: str) -> bool:
    """Whether a folder is named as the partition of a day."""
    return _PARTITION.fullmatch(folder) is not None


def is_numbered(name: str) -> bool:
    """Whether a file's listener is called by a number, which holds within a day or a dump.

    >>> is_numbered("date=2026-11-16/listener-2/1-endsong_0.json"), is_numbered("listener-2/a.json")
    (True, False)
    """
    return _NUMBERED.fullmatch(name) is not None


def is_history(name: str) -> bool:
    """Whether a file of a Spotify export is a part of the listening history, or an archive."""
    return _HISTORY.fullmatch(PurePosixPath(name).name) is not None


def history_name(name: str) -> str:
    """What a file of a Spotify export is called, without what people add: it may be an id.

    >>> history_name("mine/endsong_3.json"), history_name("endsong_alice.json.gz")
    ('endsong_3.json', 'endsong.json.gz')
    """
    own = _OWN_NAME.fullmatch(PurePosixPath(name).name)
    return "".join(own.groups()) if own else "export.zip"


def _by_listener(files: Sequence[LogFile]) -> list[LogFile]:
    """The same files, named by the listener's number and their own; each knows its listener.

    A folder is called by the listener's id, which belongs into no manifest, quarantine or message.
    """
    mine: dict[str, list[LogFile]] = defaultdict(list)
    for file in files:
        folders = [part for part in PurePosixPath(file.name).parts[:-1] if not is_day(part)]
        mine[folders[0] if folders else ""].append(file)
    named = []
    for number, listener in enumerate(sorted(mine), start=1):
        for at, file in enumerate(mine[listener], start=1):
            path = PurePosixPath(file.name)
            days = [part for part in path.parts[:-1] if is_day(part)]
            name = "/".join((*days, f"listener-{number}", f"{at}-{history_name(file.name)}"))
            named.append(replace(file, name=name, listener=listener))
    return named


def find_files(source: str, setting: str, *, names_listeners: bool = False) -> tuple[LogFile, ...]:
    """Every file at or under a directory, glob or URL, by name; hidden ones are left out.

    Args:
        source: where to look.
        setting: what names the source, for errors.
        names_listeners: whether names of folders are ids of listeners, and in no error.

    Raises:
        SettingsError: the URL's protocol is unknown or needs a package that is not installed.
        MissingDataError: nothing is there.
        BadLogError: it cannot be listed, or a file has a name that is not UTF-8 or is a pipe, a
            socket or a device.
    """
    try:
        fs, path = url_to_fs(source)
    except (ValueError, ImportError) as error:
        raise SettingsError(
            f"{setting} = {source}: {error} Expected a directory, a glob, or a URL of a "
            "kind that fsspec knows, its package installed."
        ) from error
    try:
        root, found = _expand(fs, path)
        named = ((at.removeprefix(root).lstrip("/"), at, info) for at, info in found)
        shown = [one for one in named if not _HIDDEN.search(one[0])]
        files = [
            LogFile(name, _url(fs, at), int(info.get("size") or 0), _modified(info))
            for name, at, info in shown
        ]
        special = next((name for name, _, info in shown if info.get("type") == "other"), None)
        there = bool(files) or fs.exists(path)
    except Exception as error:
        if isinstance(fs, LocalFileSystem) and not isinstance(error, OSError):
            raise
        # A remote file system has errors of its own library besides.
        LOG.debug("%s cannot be listed: %s", source, error)
        why = error.strerror if names_listeners and isinstance(error, OSError) else error
        raise BadLogError(
            f"{setting} = {source} cannot be listed: {why}. Check permissions, "
            "credentials and the connection."
        ) from (None if names_listeners else error)
    if not there:
        raise MissingDataError(
            f"{setting} = {source} does not exist or matches nothing. Expected a "
            "directory, a glob, a file, or a URL: check the setting, and that the log is there."
        )
    if special is not None:
        which = "a file in it" if names_listeners else escaped(special)
        raise BadLogError(
            f"{setting} = {source}: {which} is a pipe, a socket or a device. Expected regular "
            "files: move it elsewhere, or let its name begin with a dot."
        )
    if odd := next((file.name for file in files if not is_utf8(file.name)), None):
        which = "of a file or a folder" if names_listeners else f"of {escaped(odd)}"
        raise BadLogError(
            f"{setting} = {source}: the name {which} is not UTF-8. Rename it; "
            "`LC_ALL=C ls -b` shows such names."
        )
    return tuple(sorted(files, key=lambda file: file.name))


def file_system(file: LogFile) -> tuple[Any, str]:
    """The file system that a file is in, and its path there."""
    # To fsspec two colons join the URLs of an archive and what is in it; here they are of a name.
    if file.url.startswith("file://"):
        return LocalFileSystem(), file.url.removeprefix("file://")
    return url_to_fs(file.url)  # type: ignore[no-any-return]


def is_utf8(name: str) -> bool:
    """Whether the name of a file, as the file system or an archive gives it, is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(name: str) -> str:
    r"""A name that is not UTF-8 as text that is.

    >>> print(escaped("caf\udce9.jsonl"))
    caf\xe9.jsonl
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _expand(fs: Any, path: str) -> tuple[str, Iterable[tuple[str, Mapping[str, Any]]]]:
    """The folder that names are relative to, and every file's path and information."""
    if fs.isdir(path):
        return path, _files_under(fs, path)
    if fs.exists(path):
        return fs._parent(path), [(path, fs.info(path))]  # noqa: SLF001 - fsspec has no public one
    fixed = []
    for part in PurePosixPath(path).parts:
        if _MAGIC.search(part):
            break
        fixed.append(part)
    found: dict[str, Mapping[str, Any]] = {}
    for at, info in fs.glob(path, detail=True).items():
        found |= _files_under(fs, at) if info["type"] == "directory" else {at: info}
    return os.path.join("", *fixed), found.items()  # noqa: PTH118 - not "." where there is none


def _files_under(fs: Any, path: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if not isinstance(fs, LocalFileSystem):
        return fs.find(path, detail=True).items()  # type: ignore[no-any-return]
    # On local disks find() follows no links, and passes over folders that it may not read.
    walk = os.walk(path, onerror=_raise, followlinks=True)
    paths = (os.path.join(folder, name) for folder, _, names in walk for name in names)  # noqa: PTH118 - a million of them
    return ((path, _about(os.stat(path))) for path in paths)  # noqa: PTH116


def _url(fs: Any, path: str) -> str:
    return f"file://{path}" if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path)


def _about(found: os.stat_result) -> dict[str, Any]:
    kind = "file" if stat.S_ISREG(found.st_mode) else "other"
    return {"size": found.st_size, "mtime": found.st_mtime, "type": kind}


def _raise(error: OSError) -> None:
    raise error


def _modified(info: Mapping[str, Any]) -> str | None:
    for key in ("mtime", "LastModified", "last_modified", "updated", "created", "ETag", "etag"):
        value = info.get(key)
        if isinstance(value, float):
            value = datetime.fromtimestamp(value, UTC)
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat()
        if value is not None:
            return str(value)
    return None


def _arrival(file: LogFile) -> date | None:
    *_, found = None, *_IN_PARTITION.finditer(file.url)
    try:
        return found and date.fromisoformat(found[1])
    except ValueError:
        raise BadLogError(
            f"The log has a folder {found[0]}, which is no day of the calendar. "
            "Rename the folder to the day that its files arrived, or remove it."
        ) from None
