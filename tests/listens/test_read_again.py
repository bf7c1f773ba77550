"""A day that is read again after a fix, of whatever size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from recsys.listens import Again, CleanedDay, list_log, read_again

if TYPE_CHECKING:
    from tests.listens.conftest import Lab

ROWS = 200
#: Of every seven rows one was refused, and every fifth of these stays so.
BROKEN = range(0, ROWS, 7)


def test_a_day_that_is_held_against_what_is_known_in_parts_comes_to_the_same(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = [lab.listen(user_id=f"u\0{n % 9}", track_id=f"t{n}", ms_played=n) for n in range(ROWS)]
    bad = {n: good[n] | {"ms_played": -1} for n in BROKEN}
    path = lab.jsonl(*(bad.get(n, row) for n, row in enumerate(good)))
    day = lab.clean("jsonl")
    assert day.report.quarantined == {"bad_number": len(BROKEN)}
    still = {n: bad[n] for n in BROKEN[::5]}
    mended = [still.get(n, row) for n, row in enumerate(good)]
    # A listen that was kept is gone, and one of somebody who is forgotten; another is new.
    gone, forgotten = good[1], good[8]
    rows = [row for row in mended if row not in (gone, forgotten)]
    lab.jsonl(*rows[:150], good[7], name=path.name)
    lab.jsonl(*rows[150:], good[0] | {"track_id": "new"}, name="b.jsonl")
    settings = lab.settings("jsonl")
    files = list_log(settings).days[lab.DAY]
    then = CleanedDay(day.path, day.path.with_name("quarantine.parquet"))

    def again(name: str) -> tuple[Again, Path]:
        out = lab.root / name
        users = [forgotten["user_id"]]
        return read_again(settings, lab.DAY, files, then, [day.path], users, out), out

    whole, first = again("whole.parquet")
    monkeypatch.setattr("recsys.listens._requeue.PART_ROWS", 9)
    parts, second = again("parts.parquet")
    assert parts == whole
    assert second.read_bytes() == first.read_bytes()
    assert whole.lost == 1
    assert whole.refused == {"bad_number": len(still)}
    back = pq.read_table(first).to_pylist()
    assert forgotten["user_id"] not in {row["user_id"] for row in back}
    expected = {good[n]["track_id"] for n in BROKEN if n not in still and n % 9 != 8} | {"new"}
    assert {row["track_id"] for row in back} == expected
    assert len(back) == len(expected) == sum(whole.returned.values())
    assert [(row["file"], row["row"]) for row in back] == sorted(
        (row["file"], row["row"]) for row in back
    )
