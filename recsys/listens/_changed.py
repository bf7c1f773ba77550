"""Whether a file of the log is still what it was when it was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from recsys.listens._inventory import LogFile, file_system


def changed_files(
    files: Iterable[LogFile], read: Iterable[Mapping[str, Any]], read_at: str
) -> list[str]:
    """Names of files that have changed, come, or gone since they were read.

    Size is compared first; a file of the same size that was touched since is hashed.

    Args:
        files: as they are now.
        read: ``name``, ``bytes`` and ``sha256`` of each file that was read.
        read_at: when reading began, ISO 8601, UTC.
    """
    then = {source["name"]: source for source in read}
    now = {file.name: file for file in files}
    return sorted(
        name
        for name in then.keys() | now.keys()
        if name not in then or name not in now or _differs(now[name], then[name], read_at)
    )


def _differs(file: LogFile, read: Mapping[str, Any], read_at: str) -> bool:
    if file.size != read["bytes"]:
        return True
    if file.modified is None or file.modified < read_at:
        return False
    fs, path = file_system(file)
    with fs.open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() != str(read["sha256"])
