"""Archives that are garbled, joined or hollow: never fewer rows without an error."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import zstandard

from recsys.errors import BadLogError
from tests.listens.test_odd_files import tar

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

SAID = r"cannot be read: .*it holds more and no member of an archive"


def members(lab: Lab, count: int, first: int = 0) -> bytes:
    """An archive of files of one listen, each two blocks with its header."""
    listens = (json.dumps(lab.listen(track_id=f"t{n}")).encode() for n in range(first, count))
    return tar(*((f"{n}.listens.jsonl", line + b"\n") for n, line in enumerate(listens)))


def garbled_header(content: bytes) -> bytes:
    at = 2 * 1024 + 5
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


def zeroed_block(content: bytes) -> bytes:
    return content[:1024] + bytes(512) + content[1536:]


def joined(content: bytes) -> bytes:
    return content + content


@pytest.mark.parametrize("harm", [garbled_header, zeroed_block, joined])
@pytest.mark.parametrize("suffix", [".tar", ".tar.zst", ".tar.xz"])
@pytest.mark.parametrize("format_", ["jsonl", "listenbrainz"])
def test_what_follows_the_last_member_of_a_tar_is_not_passed_over(
    lab: Lab, harm: Callable[[bytes], bytes], suffix: str, format_: str
) -> None:
    pack = {".tar": bytes, ".tar.zst": zstandard.compress, ".tar.xz": lzma.compress}[suffix]
    path = lab.partition() / f"a{suffix}"
    path.write_bytes(pack(members(lab, 5)))
    assert lab.clean(format_, user="ann").report.read == 5
    path.write_bytes(pack(harm(members(lab, 5))))
    with pytest.raises(BadLogError, match=rf"a{suffix} {SAID}"):
        lab.clean(format_, user="ann")


PACKED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
}


@pytest.mark.parametrize("suffix", PACKED)
def test_every_part_of_a_compressed_file_counts(lab: Lab, suffix: str) -> None:
    first, second = (
        PACKED[suffix](json.dumps(lab.listen(track_id=track)).encode() + b"\n") for track in "tu"
    )
    path = lab.partition() / f"a.jsonl{suffix}"
    path.write_bytes(first + second + bytes(8))
    assert lab.clean("jsonl").report.kept == 2
    garbled = bytes([second[0] ^ 0xFF]) + second[1:]
    for content in (first + garbled, first + b"more", first + second[:-3]):
        path.write_bytes(content)
        with pytest.raises(BadLogError, match=rf"a\.jsonl{suffix} cannot be read"):
            lab.clean("jsonl")


@pytest.mark.parametrize(
    ("format_", "name", "suffix"),
    [
        ("jsonl", "p.jsonl.gz", ".gz"),
        ("jsonl", "more.tar", ".tar"),
        ("jsonl", "more.TGZ", ".tgz"),
        ("lastfm", "p.tsv.bz2", ".bz2"),
        ("listenbrainz", "x/1.listens.zst", ".zst"),
        ("spotify", "endsong_0.json.xz", ".xz"),
        ("spotify", "my_spotify_data.zip", ".zip"),
    ],
)
def test_what_is_packed_twice_is_refused(lab: Lab, format_: str, name: str, suffix: str) -> None:
    packed = gzip.compress(json.dumps(lab.listen()).encode())
    contents = {"a.zip": zipped((name, packed)), "a.tar": tar((name, packed))}
    if format_ == "spotify":
        del contents["a.tar"]  # an export is a zip
    for archive, content in contents.items():
        path = lab.partition() / archive
        path.write_bytes(content)
        with pytest.raises(BadLogError, match=rf"read: a file in it ends in \{suffix}, "):
            lab.clean(format_, user="ann")
        path.unlink()


@pytest.mark.parametrize("name", ["__MACOSX/p.jsonl.gz", ".p.jsonl.gz"])
def test_what_is_hidden_and_packed_twice_is_left_out(lab: Lab, name: str) -> None:
    row = json.dumps(lab.listen()).encode()
    (lab.partition() / "a.tar").write_bytes(tar((name, b"x"), ("a.jsonl", row)))
    assert lab.clean("jsonl").report.read == 1


def test_a_sparse_member_is_refused(lab: Lab) -> None:
    info = tarfile.TarInfo("a.jsonl")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "a.jsonl",
        "GNU.sparse.size": str(20 << 30),
        "GNU.sparse.map": "0,0",
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    (lab.partition() / "a.tar").write_bytes(buffer.getvalue())
    with pytest.raises(BadLogError, match=r"a\.tar cannot be read: a file in it is stored sparse"):
        lab.clean("jsonl")


def test_a_zip_may_not_swell_in_many_small_members(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.listens._archive._FREE_SWELLING", 1 << 20)
    with zipfile.ZipFile(lab.partition() / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for n in range(20):
            archive.writestr(f"{n}.jsonl", b" " * 999_999 + b"\n")
    with pytest.raises(BadLogError, match=r"a\.zip cannot be read: it is over 250 times"):
        lab.clean("jsonl")


def zipped(*members: tuple[str, str | bytes], comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_zip_is_all_that_is_in_its_file(lab: Lab) -> None:
    row = json.dumps(lab.listen())
    first, second = (zipped((f"{n}.jsonl", row), comment=b"of 2026") for n in "ab")
    path = lab.partition() / "a.zip"
    path.write_bytes(first)
    assert lab.clean("jsonl").report.kept == 1
    for content in (first + second, b"more" + first, first + second[:-30], first + b"more"):
        path.write_bytes(content)
        with pytest.raises(BadLogError, match=r"a\.zip cannot be read: (before byte|at its end)"):
            lab.clean("jsonl")
