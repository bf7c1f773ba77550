"""Opening a file of a log: from any file system, decompressed, its hash taken on the way."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import hashlib
import io
import lzma
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final

import fsspec
import pyarrow as pa
import zstandard
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from recsys.errors import BadLogError
from recsys.listens._inventory import LogFile

_CHUNK: Final = 1 << 20
_UNREADABLE: Final = (
    pa.ArrowException,
    EOFError,
    OSError,
    lzma.LZMAError,
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


class _ZstdReader(io.RawIOBase):
    """Decompresses every frame of a zstd stream, and notices when the last one is cut short."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = b""
        self._ready = b""
        self._inside = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            if not self._compressed:
                self._compressed = self._stream.read(_CHUNK // 8)
                if not self._compressed:
                    if self._inside:
                        raise EOFError("the last zstd frame is cut short")
                    return 0
            self._ready = self._frame.decompress(self._compressed)
            self._inside = not self._frame.eof
            self._compressed = b"" if self._inside else self._frame.unused_data
            if not self._inside:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


_DECOMPRESS: Final[dict[str, Callable[[Any], Any]]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _ZstdReader,
}


@contextlib.contextmanager
def reading(file: LogFile) -> Iterator[None]:
    """Turn whatever goes wrong while reading ``file`` into a `BadLogError` that names it."""
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise BadLogError(
            f"{file.name} cannot be read: {str(error).rstrip('.') or type(error).__name__}. "
            "The file may be cut short, damaged, or of another format than [listens] format: "
            f"deliver it again, or remove it ({file.url})."
        ) from error


@contextlib.contextmanager
def open_text(file: LogFile) -> Iterator[tuple[io.BufferedReader, HashingReader]]:
    """The decompressed bytes of ``file``, and the reader that hashes what is stored.

    The compression goes by the end of the name: ``.gz``, ``.bz2``, ``.xz``, ``.zst``, or none.
    """
    with fsspec.open(file.url, "rb") as stored:
        hashing = HashingReader(stored)
        decompress = _DECOMPRESS.get(PurePosixPath(file.name).suffix.lower())
        if decompress is None:
            yield io.BufferedReader(hashing), hashing
        else:
            if file.size == 0:
                raise EOFError("it is empty")
            yield io.BufferedReader(decompress(hashing)), hashing
        hashing.drain()


def local_copy(file: LogFile, scratch: Path) -> tuple[Path, HashingReader]:
    """A path to ``file`` on this machine, fetched into ``scratch`` if it is not here yet."""
    fs, path = url_to_fs(file.url)
    with fs.open(path, "rb") as stored:
        hashing = HashingReader(stored)
        if isinstance(fs, LocalFileSystem):
            hashing.drain()
            return Path(path), hashing
        fetched = scratch / "fetched"
        with fetched.open("wb") as copy:
            shutil.copyfileobj(hashing, copy, _CHUNK)
        return fetched, hashing
