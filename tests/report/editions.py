"""An edition's folder, as its stages would leave it, written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys import artefact, schemas
from recsys.home import Home
from recsys.verdict import Check, Verdict
from recsys.weeks import Week

WEEK = Week.parse("2026-W47")


def interval(mean: float) -> dict[str, Any]:
    return {"mean": mean, "low": mean - 0.01, "high": mean + 0.01, "users": 40}


METRICS = {
    model: {f"{name}_at_30": interval(mean) for name in ("recall", "ndcg", "hit_rate", "map")}
    for model, mean in (("popularity", 0.1), ("parent", 0.2))
}
COUNTS = {"tracks": 60, "played": 12, "finished": 6, "saved": 1, "kept": 7, "skipped": 3}
HINDSIGHT: dict[str, Any] = {
    "editions": [
        {
            "edition": "2026-W46",
            "revision": 1,
            "in_time": True,
            "days": 6,
            "settled": False,
            "playlists": 3,
            "audiences": {
                "active": {
                    "listeners": 2,
                    "played_any": 2,
                    "kept_any": 1,
                    "total": COUNTS,
                    "by_position": [{"position": 1, **COUNTS}],
                    "by_source": [{"source": "als", **COUNTS}],
                    "by_kind": [{"kind": "personal", **COUNTS}],
                }
            },
            "discoveries": {"reason": "the edition's taste state is no longer there"},
        }
    ],
    "left_out": [{"edition": "2026-W45", "revision": 1, "in_time": True, "reason": "gone"}],
    "exposures": None,
}


@dataclass
class Made:
    """An edition under a temporary home."""

    root: Path
    #: What every name of the log is.
    name: str = "Song"
    user: str = "ann"
    stages: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Home:
        return Home(self.root, "days", "states")

    @property
    def folder(self) -> Path:
        return self.home.edition(WEEK, 1)

    def plan(self, **replaced: Any) -> None:
        self._write(
            "plan",
            {
                "plan.json": {
                    "edition": str(WEEK),
                    "revision": 1,
                    "cutoff": "2026-11-15",
                    "settings": {"als": {"factors": 64}},
                    "log": {"missing": [], "empty": [], "odd": []},
                    "days": {str(day): "x" for day in self._days()},
                    "state_before": None,
                    "parent": {"edition": "2026-W46", "revision": 1, "digest": "x"},
                    "cooling": [],
                    "forgotten": ["secret listener"],
                    "blocked": [],
                }
                | replaced
            },
        )
        for n, day in enumerate(self._days()):
            with artefact.write(self.home.clean(day), stage="clean_listens", version=1) as draft:
                draft.rows = {"read": 2530 + n, "kept": 90, "duplicates": 7, "quarantined": 3 + n}
                refused = [
                    {"file": f"part-{22 * (row == 0):02d}.jsonl", "row": row, "reason": "no_user"}
                    for row in range(3 + n)
                ]
                pq.write_table(
                    pa.Table.from_pylist(refused, schemas.QUARANTINE),
                    draft.path / "quarantine.parquet",
                )
                draft.facts = {
                    "quarantined": {"no_user": 3 + n},
                    "sources": [
                        {"name": f"part-{part:02d}.jsonl", "rows": 10 * part} for part in range(23)
                    ],
                }

    def _days(self) -> list[date]:
        return [date(2026, 11, 6) + timedelta(days=n) for n in range(9)]

    def model(self) -> None:
        self._write(
            "evaluation",
            {
                "evaluation.json": {
                    "listeners": 40,
                    "of_listeners": 50,
                    "week": {"begin": "2026-11-08", "end": "2026-11-15"},
                    "metrics": METRICS,
                    "beyond": {
                        "parent": {"coverage": 0.5, "novelty": 3.25, "overlap_previous": None}
                    },
                    "beyond_intervals": {"parent": {"novelty": interval(3.25)}},
                    "segments": {"new": {"listeners": 4, "metrics": METRICS}},
                    "paired": {"parent_over_item_knn": interval(0.1)},
                }
            },
        )
        check = Check("parent_over_popularity", True, "+0.1", "above 0")
        verdict = Verdict.of([check], {"parent_not_below_grandparent": "it has no parent itself"})
        self.verdict(
            "model_choice", verdict, way="continue", because="nothing speaks for a cold start"
        )
        self.verdict("als_model", Verdict.of([check]), facts={"way": "continue"})

    def verdict(
        self, gate: str, verdict: Verdict, facts: dict[str, Any] | None = None, **about: Any
    ) -> None:
        self._write(gate, {"verdict.json": {**about, **verdict.to_dict()}}, facts or {})

    def refusal(self, gate: str, *checks: Check) -> None:
        report = self.folder / "refused" / f"{gate}.json"
        report.parent.mkdir()
        artefact.write_json(report, Verdict.of(checks).to_dict())

    def playlists(self) -> None:
        ids = [f"t{n:02d}" for n in range(40)]
        songs = pa.table(
            {
                "track_id": ids,
                "popularity": [float(40 - n) for n in range(40)],
                "available": [True] * 40,
            }
        )
        tracks = pa.table({"track_id": ids, "song": pa.array(range(40), pa.int32())})
        with artefact.write(self.folder / "matrix", stage="matrix", version=1) as draft:
            pq.write_table(songs, draft.path / "songs.parquet")
            pq.write_table(tracks, draft.path / "tracks.parquet")
        with artefact.write(self.folder / "playlists", stage="playlists", version=1) as draft:
            rows = [self._row(self.user, ids[10:40]), self._row("zoe", ids[9:39])]
            table = pa.Table.from_pylist(rows, schemas.PLAYLISTS)
            pq.write_table(table, draft.path / "playlists.parquet")
            pq.write_table(table.slice(0, 0), draft.path / "default.parquet")
            draft.facts = {
                "digest": "d" * 64,
                "eligible": 3,
                "kinds": {"personal": 2, "blended": 0, "popular": 0},
                "refused": 1,
                "relaxed": {"neighbours": 1, "cooldown": 0, "per_artist": 0},
            }
        with artefact.write(self.folder / "catalogue", stage="catalogue", version=1) as draft:
            known = {
                "track_id": ["t00"],
                "song_key": ["song t00"],
                "track_name": [self.name],
                "artist_name": ["Artist"],
            }
            pq.write_table(pa.table(known), draft.path / "catalogue.parquet")

    def _row(self, user: str, tracks: list[str]) -> dict[str, Any]:
        return {
            "edition": str(WEEK),
            "user_id": user,
            "kind": "personal",
            "tracks": [
                {
                    "position": place,
                    "track_id": track,
                    "track_name": self.name,
                    "artist_names": [self.name, "Guest"],
                    "score": 1 / place,
                    "source": "als",
                    "because_track_id": "t00",
                }
                for place, track in enumerate(tracks, start=1)
            ],
            "relaxed": ["neighbours"],
            "valid_from": WEEK.monday,
            "valid_until": WEEK.sunday,
        }

    def publish(self, hindsight: dict[str, Any] = HINDSIGHT) -> None:
        self.verdict("playlist_gate", Verdict.of([Check("not_heard", True, 0, "0 songs")]))
        self._write("published", {}, {"digest": "d" * 64})
        self._write("hindsight", {"hindsight.json": hindsight})

    def _write(
        self, stage: str, files: dict[str, Any], facts: dict[str, Any] | None = None
    ) -> None:
        with artefact.write(self.folder / stage, stage=stage, version=1) as draft:
            for name, value in files.items():
                artefact.write_json(draft.path / name, value)
            draft.facts = facts or {}
