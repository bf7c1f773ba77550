"""Opening a file of a log: from any file system, decompressed, its hash taken on the way."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import zstandard
from fsspec.implementations.local import LocalFileSystem

from recsys._tables import RAN_OUT
from recsys.errors import BadLogError, RecsysError
from recsys.listens._archive import (
    DamagedFileError,
    Member,
    is_compressed,
    is_zip,
    stream_members,
    zip_members,
)
from recsys.listens._inventory import LOG, LogFile, file_system

_CHUNK: Final = 1 << 20
_UNREADABLE: Final = (
    DamagedFileError,
    EOFError,
    NotImplementedError,  # a zip's compression that nobody knows
    OSError,
    UnicodeError,
    lzma.LZMAError,
    pa.ArrowException,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)
#: Those of a file that is not whole, whatever they say.
_CUT: Final = (
    EOFError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    zstandard.ZstdError,
)


class HashingReader(io.RawIOBase):
    """Reads a stream and keeps the SHA-256 and the number of the bytes that passed."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        """Whether it can be read: it can."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the stream; 0 at its end."""
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._hash.update(data)
        self.bytes += len(data)
        return len(data)

    def drain(self) -> None:
        """Read on to the end."""
        while self.read(_CHUNK):
            pass

    @property
    def sha256(self) -> str:
        """The hash of what was read so far, in hex."""
        return self._hash.hexdigest()


@contextlib.contextmanager
def reading(file: LogFile, expected: str = "[listens] format") -> Iterator[None]:
    """Turn whatever is wrong with ``file`` into a `BadLogError` that names it.

    Memory or disk that runs out is no fault of the file, and goes on as it is.
    """
    try:
        yield
    except (RecsysError, MemoryError):  # pyarrow's is one of these
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in RAN_OUT:
            raise
        # A remote file system has errors of its own library besides.
        if file.url.startswith(("file:", "/")) and not isinstance(error, _UNREADABLE):
            raise
        LOG.debug("%s is %s, and cannot be read: %s", file.name, file.url, error)
        private = file.listener is not None
        where = "" if private else f" ({file.url})"
        raise BadLogError(
            f"{file.name} cannot be read: {_why(error, file).rstrip('.')}. "
            f"The file may be cut short, damaged, or of another format than {expected}: "
            f"deliver it again, or remove it{where}."
        ) from (None if private else error)


def _why(error: Exception, file: LogFile) -> str:
    """What an error says; of a listener's file only in words of ours, since others name folders."""
    if isinstance(error, UnicodeError):  # text is looked at line by line, and value by value
        return "the name of a column, or of a file in it, is not UTF-8"
    if file.listener is not None and not isinstance(error, DamagedFileError):
        if isinstance(error, _CUT):
            return "it is damaged or cut short"
        return (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return str(error) or type(error).__name__


class Opened:
    """A stored file of text, and the reader that hashes what is stored."""

    def __init__(self, file: LogFile, scratch: Path, wanted: Callable[[str], bool]) -> None:
        """``scratch``: room for a copy; ``wanted``: which members of an archive to read."""
        self._file = file
        self._scratch = scratch
        self._wanted = wanted
        self.hashing: HashingReader

    def members(self) -> Iterator[Member]:
        """The text of the file, or of each wanted member of an archive, with its name.

        Compression and archives go by the end of the name: ``.gz``, ``.bz2``, ``.xz``, ``.zst``,
        ``.tar`` and these together, ``.zip``, or none. A member is read up before the next.
        """
        file = self._file
        if is_zip(file.name):
            with unchanging(file, self._scratch) as (path, self.hashing), path.open("rb") as stored:
                yield from zip_members(stored, file.name, self._wanted)
            return
        fs, at = file_system(file)
        with fs.open(at, "rb") as stored:
            self.hashing = hashing = HashingReader(stored)
            if file.size == 0 and is_compressed(file.name):
                raise DamagedFileError("it is empty")
            yield from stream_members(hashing, lambda: hashing.bytes, file.name, self._wanted)
            hashing.drain()


def local_copy(file: LogFile, scratch: Path) -> tuple[Path, HashingReader]:
    """A path to ``file`` on this machine, fetched into ``scratch`` if it is not here yet."""
    fs, path = file_system(file)
    with fs.open(path, "rb") as stored:
        hashing = HashingReader(stored)
        if isinstance(fs, LocalFileSystem):
            hashing.drain()
            return Path(path), hashing
        fetched = scratch / "fetched"
        with fetched.open("wb") as copy:
            shutil.copyfileobj(hashing, copy, _CHUNK)
        return fetched, hashing


@contextlib.contextmanager
def unchanging(file: LogFile, scratch: Path) -> Iterator[tuple[Path, HashingReader]]:
    """`local_copy` for a reader that opens it by its path, and so once more.

    Raises:
        BadLogError: at the end, if the file was replaced or written to since the beginning.
    """
    before = _version(file)
    yield local_copy(file, scratch)
    if _version(file) != before:
        raise changed(file, "it was replaced or written to between its hash and its rows")


def changed(file: LogFile, how: str) -> BadLogError:
    """The error of a file that is not what it was."""
    return BadLogError(
        f"{file.name} has changed while the log was read: {how}. Run again when its delivery is "
        "over."
    )


def _version(file: LogFile) -> tuple[int, ...]:
    """Tells a file on this machine from the next one of that name; of others a copy is read."""
    fs, path = file_system(file)
    if not isinstance(fs, LocalFileSystem):
        return ()
    found = Path(path).stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
