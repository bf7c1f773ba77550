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

from recsys.listens._inventory import escaped, is_utf8

_CHUNK: Final = 1 << 20
_PIECE: Final = 1 << 12
#: Beyond the first 256 MiB, text may be so many times as large as what it was compressed to.
MOST_SWELLING: Final = 250
_FREE_SWELLING: Final = 256 << 20
_NO_MEMBER: Final = "none of the files in it is called as a part of such a log is"

#: The record that ends a zip archive, but for the comment behind it (APPNOTE.TXT, 4.3.16).
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_END_BYTES: Final = 22

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


class _FramesReader:
    """Decompresses one frame after the other up to the end of what is stored.

    Only zeros may lie between frames or behind the last. A piece is small, so that what it swells
    to is bounded.
    """

    def __init__(self, start: Callable[[], Any], stream: Any) -> None:
        self._start = start
        self._stream = io.BufferedReader(stream, _CHUNK)
        self._frame = start()
        self._inside = True
        self._compressed = b""
        self._ready = b""

    def read(self, size: int) -> bytes:
        while not self._ready:
            piece = self._compressed or self._stream.read(_PIECE)
            if not piece:
                if self._inside:
                    raise DamagedFileError("what is compressed in it is cut short")
                return b""
            if not self._inside:
                piece = piece.lstrip(b"\0")
                self._frame, self._inside = self._start(), bool(piece)
            self._ready = self._frame.decompress(piece) if piece else b""
            self._compressed = b""
            if self._frame.eof:
                self._compressed, self._inside = self._frame.unused_data, False
        data, self._ready = self._ready[:size], self._ready[size:]
        return data


_DECOMPRESS: Final[dict[str, Callable[[Any], Any]]] = {
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream),
    ".bz2": partial(_FramesReader, bz2.BZ2Decompressor),
    ".xz": partial(_FramesReader, lzma.LZMADecompressor),
    ".zst": partial(_FramesReader, lambda: zstandard.ZstdDecompressor().decompressobj()),
}
_SHORT: Final = {".tgz": ".gz", ".tbz2": ".bz2", ".txz": ".xz", ".tzst": ".zst"}


def is_compressed(name: str) -> bool:
    """Whether a file is compressed or an archive, by its name, and so never empty."""
    return PurePosixPath(name.lower()).suffix in {*_DECOMPRESS, *_SHORT, ".tar", ".zip"}


def is_zip(name: str) -> bool:
    """Whether a file is a zip archive, by its name; it is read from its end."""
    return name.lower().endswith(".zip")


def is_shown(member: str) -> bool:
    """Whether neither a member of an archive nor a folder in its name is hidden."""
    parts = (part for part in member.split("/") if part not in ("", ".", ".."))
    return not any(part.startswith((".", "_")) for part in parts)


def zip_members(stored: Any, name: str, wanted: Callable[[str], bool]) -> Iterator[Member]:
    """The members of a zip archive that are wanted, named ``archive!member``, decompressed."""
    none = True
    guard = Guard(partial(int, stored.seek(0, io.SEEK_END)))
    with zipfile.ZipFile(stored) as archive:
        _check_ends(stored, archive)
        for info in archive.infolist():
            if info.is_dir() or not _is_read(info.filename, wanted):
                continue
            if info.flag_bits & 1:
                raise DamagedFileError("a file in it needs a password")
            with archive.open(info) as member:
                none = False
                yield f"{name}!{info.filename}", guard.stream(member.read)
    if none:
        raise DamagedFileError(_NO_MEMBER)


def _is_read(member: str, wanted: Callable[[str], bool]) -> bool:
    """Whether a member is wanted.

    Raises:
        DamagedFileError: it would be, and is compressed or an archive itself.
    """
    suffix = PurePosixPath(member.lower()).suffix
    if not is_compressed(member):
        return wanted(member)
    if wanted(member) or wanted(member[: -len(suffix)]):
        raise DamagedFileError(
            f"a file in it ends in {suffix}, and what is packed in an archive is not unpacked "
            f"again: put the file in as it was before {suffix}, or deliver it by itself"
        )
    return False


def _check_ends(stored: Any, archive: zipfile.ZipFile) -> None:
    """See that nothing lies before the first member or behind the directory.

    Of two archives in one file `zipfile` reads the last, or the one that is not cut short.
    """
    begin = min((info.header_offset for info in archive.infolist()), default=0)
    stored.seek(-_ZIP_END_BYTES - len(archive.comment), io.SEEK_END)
    if begin or not stored.read(_ZIP_END_BYTES).startswith(_ZIP_END):
        where = f"before byte {begin:,}" if begin else "at its end"
        raise DamagedFileError(f"{where} it holds something that is no part of the archive")


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
        text = Guard(read_so_far).stream(_DECOMPRESS[compression](stored).read)
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
    passed = filled = 0  # bytes read, and up to the last of them that is not zero

    def read(size: int) -> bytes:
        nonlocal passed, filled
        data = text.read(size)
        if content := data.rstrip(b"\0"):
            filled = passed + len(content)
        passed += len(data)
        return data

    none = True
    with tarfile.open(fileobj=_Source(read), mode="r|", bufsize=_CHUNK) as archive:
        for info in archive:
            if info.isfile() and _is_read(info.name, wanted):
                if not is_utf8(info.name):
                    raise DamagedFileError(f"the name of {escaped(info.name)} in it is not UTF-8")
                if info.issparse():  # a few bytes that stand for any number of zeros
                    raise DamagedFileError(
                        "a file in it is stored sparse: pack it without --sparse"
                    )
                member = archive.extractfile(info)
                if member is not None:
                    none = False
                    yield f"{name}!{info.name}", io.BufferedReader(_Source(member.read), _CHUNK)
            archive.members = []  # type: ignore[attr-defined] # else it remembers every one
    while read(_CHUNK):
        pass
    end = archive.offset  # where it met what is no member, garbled or a block of zeros
    if filled > end:
        raise DamagedFileError(
            f"from byte {end:,} on, as unpacked, it holds more and no member of an archive"
        )
    if passed == end:  # an archive ends in blocks of zeros
        raise DamagedFileError("the archive is cut short")
    if none:
        raise DamagedFileError(_NO_MEMBER)


class Guard:
    """Refuses a stored file that swells beyond what a log does, all that is in it together."""

    def __init__(self, stored_bytes: Callable[[], int]) -> None:
        self._stored_bytes = stored_bytes
        self._passed = 0

    def count(self, size: int) -> None:
        """Note that ``size`` bytes came out of the file."""
        self._passed += size
        if self._passed > _FREE_SWELLING + MOST_SWELLING * self._stored_bytes():
            raise DamagedFileError(
                f"it is over {MOST_SWELLING} times as large as what it is compressed to, as no "
                "log and no catalogue is"
            )

    def stream(self, read: Callable[[int], bytes]) -> io.BufferedReader:
        """What ``read`` gives, as long as it is not too much."""

        def guarded(size: int) -> bytes:
            data = read(size)
            self.count(len(data))
            return data

        return io.BufferedReader(_Source(guarded), _CHUNK)
