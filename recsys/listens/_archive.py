"""What a stored file holds: its text decompressed, and the members of an archive, one by one.

Nothing is unpacked to disk and a member's name is only a label, so a name such as ``../../x``
leads nowhere. Memory does not grow with a file, and one that swells a thousandfold is refused.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final

import zstandard

_CHUNK: Final = 1 << 20
_BLOCK: Final = tarfile.BLOCKSIZE
#: Beyond the first 256 MiB, text may be so many times as large as what it was compressed to.
MOST_SWELLING: Final = 250
_FREE_SWELLING: Final = 256 << 20
_NO_MEMBER: Final = "none of the files in it is called as a part of such a log is"

Member = tuple[str, io.BufferedReader]


class DamagedFileError(Exception):
    """A file is not what its name, or the format of the log, says it is."""


class _Source(io.RawIOBase):
    """A readable stream made of a function."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _ZstdReader:
    """Decompresses every frame of a zstd stream, and notices when the last one is cut short."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._compressed = b""
        self._ready = b""
        self._inside = False

    def read(self, size: int) -> bytes:
        while not self._ready:
            if not self._compressed:
                self._compressed = self._stream.read(_CHUNK // 8)
                if not self._compressed:
                    if self._inside:
                        raise EOFError("the last zstd frame is cut short")
                    return b""
            self._ready = self._frame.decompress(self._compressed)
            self._inside = not self._frame.eof
            self._compressed = b"" if self._inside else self._frame.unused_data
            if not self._inside:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


_DECOMPRESS: Final[dict[str, Callable[[Any], Any]]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": _ZstdReader,
}
_SHORT: Final = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz", ".tzst": ".zst"}


def is_compressed(name: str) -> bool:
    """Whether a file is compressed or an archive, by its name, and so never empty."""
    return PurePosixPath(name.lower()).suffix in {*_DECOMPRESS, *_SHORT, ".tar", ".zip"}


def is_zip(name: str) -> bool:
    """Whether a file is a zip archive, by its name; it is read from its end."""
    return name.lower().endswith(".zip")


def zip_members(stored: Any, name: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The members of a zip archive that are wanted, named ``archive!member``, decompressed."""
    none = True
    with zipfile.ZipFile(stored) as archive:
        for info in archive.infolist():
            if info.is_dir() or not wanted(info.filename):
                continue
            if info.flag_bits & 1:
                name = PurePosixPath(info.filename).name
                raise DamagedFileError(f"{name} in it needs a password")
            with archive.open(info) as member:
                packed = info.compress_size
                text = _guarded(member.read, partial(int, packed))
                none = False
                yield f"{name}!{info.filename}", text
    if none:
        raise DamagedFileError(_NO_MEMBER)


def stream_members(
    stored: Any, read_so_far: Callable[[], int], name: str, wanted: Callable[[str], bool]
) -> Iterator[Member]:
    """The text of a file; of a tar archive, its members that are wanted, ``archive!member``.

    Args:
        stored: the stored bytes.
        read_so_far: how many of them have been read.
        name: of the file; its end tells compression and archive.
        wanted: whether a member of an archive is to be read, by its name.
    """
    stem, suffix = name.lower(), PurePosixPath(name.lower()).suffix
    compression = _SHORT.get(suffix, suffix)
    if compression in _DECOMPRESS:
        text = _guarded(_DECOMPRESS[compression](stored).read, read_so_far)
        stem = stem.removesuffix(suffix) + (".tar" if suffix in _SHORT else "")
    else:
        text = io.BufferedReader(stored)
    if stem.endswith(".tar"):
        yield from _tar_members(text, name, wanted)
    else:
        yield name, text


def _tar_members(
    text: io.BufferedReader, name: str, wanted: Callable[[str], bool]
) -> Iterator[Member]:
    tail = b""

    def read(size: int) -> bytes:
        nonlocal tail
        data = text.read(size)
        tail = (tail + data)[-_BLOCK:]
        return data

    none = True
    with tarfile.open(fileobj=_Source(read), mode="r|", bufsize=_CHUNK) as archive:
        for info in archive:
            if info.isfile() and wanted(info.name):
                member = archive.extractfile(info)
                if member is not None:
                    none = False
                    yield f"{name}!{info.name}", io.BufferedReader(_Source(member.read), _CHUNK)
            archive.members = []  # type: ignore[attr-defined] # else it remembers every one
    while read(_CHUNK):
        pass
    if tail.strip(b"\0"):  # an archive ends in blocks of zeros
        raise EOFError("the archive is cut short")
    if none:
        raise DamagedFileError(_NO_MEMBER)


def _guarded(read: Callable[[int], bytes], stored_bytes: Callable[[], int]) -> io.BufferedReader:
    passed = 0

    def guarded(size: int) -> bytes:
        nonlocal passed
        data = read(size)
        passed += len(data)
        if passed > _FREE_SWELLING + MOST_SWELLING * stored_bytes():
            raise DamagedFileError(
                f"it is over {MOST_SWELLING} times as large as what it is compressed to, as no "
                "listening log is"
            )
        return data

    return io.BufferedReader(_Source(guarded), _CHUNK)
