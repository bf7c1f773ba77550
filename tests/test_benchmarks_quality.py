"""benchmarks/quality.py and benchmarks/solver.py, as they are called."""

import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix

from benchmarks import quality, search, solver
from benchmarks.interactions import read_pairs, read_wanted
from recsys.errors import BadLogError


def pairs(seed: int = 0, weighted: bool = False) -> tuple[pa.Table, pa.Table]:
    """120 users who each keep to one of eight groups of items: for training and for testing."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(120), 16)
    item = np.where(rng.random(len(user)) < 0.8, rng.integers(0, 12, len(user)) * 8 + user % 8,
                    rng.integers(0, 96, len(user)))  # fmt: skip
    keys = np.unique(user * 1000 + item)
    table = pa.table(
        {"user": [f"u{key // 1000}" for key in keys.tolist()], "item": pa.array(keys % 1000)}
    )
    if weighted:
        table = table.append_column("weight", pa.array(rng.pareto(1.5, len(keys)) + 0.1))
    late = pa.array(rng.random(len(keys)) < 0.25)
    return table.filter(pc.invert(late)), table.filter(late)


def called(
    folder: Path, monkeypatch: pytest.MonkeyPatch, train: pa.Table, test: pa.Table, *more: str
) -> int:
    for name, table in (("train", train), ("test", test)):
        pq.write_table(table, folder / f"{name}.parquet")
    files = ["--train", str(folder / "train.parquet"), "--test", str(folder / "test.parquet")]
    monkeypatch.setattr(sys, "argv", ["quality.py", *files, *more])
    return quality.main()


@pytest.mark.parametrize("weighted", [False, True])
def test_one_line_that_beats_both_baselines(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    weighted: bool,
) -> None:
    tables = pairs(weighted=weighted)
    assert called(tmp_path, monkeypatch, *tables, "--k", "10", "--factors", "12") == 0
    (text,) = capsys.readouterr().out.splitlines()
    line = json.loads(text)
    assert line["settings"]["factors"] == 12
    assert line["users"] == len(tables[1]["user"].unique())
    assert line["unknown_pairs"] == 0
    for measure in ("recall_at_10", "ndcg_at_10"):
        for baseline in ("popularity", "implicit_defaults"):
            assert line[measure] > 1.1 * line[baseline][measure]


def test_a_budget_that_is_spent_at_once_still_gives_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert called(tmp_path, monkeypatch, *pairs(), "--budget", "0.001", "--factors", "70") == 0
    line = json.loads(capsys.readouterr().out)
    assert line["settings"]["factors"] == 70
    assert [one["factors"] for one in line["validation"]] == [64]
    assert line["recall_at_20"] > line["popularity"]["recall_at_20"]


def test_settings_are_chosen_without_the_test_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = pairs()
    for asked in (test, test.slice(0, 3)):
        called(tmp_path, monkeypatch, train, asked, "--factors", "8")
    first, second = (json.loads(text) for text in capsys.readouterr().out.splitlines())
    assert first["settings"] == second["settings"]
    for line in (first, second):
        del line["validation"][0]["seconds_per_iteration"]
    assert first["validation"] == second["validation"]
    assert first["users"] != second["users"]


def test_metrics_are_those_of_the_published_table() -> None:
    """Recall over all test items; the ideal nDCG over min(k, test items)."""

    shown = csr_matrix(np.array([[1, 0, 0, 0, 0]], np.float32))
    hidden = csr_matrix(np.array([[0, 1, 1, 0, 1]], bool))
    scores = np.array([[9.0], [5.0], [1.0], [4.0], [0.5]], np.float32)  # 1, 3, then 2
    found = search.judged(np.ones((1, 1), np.float32), scores, shown, hidden, 2)
    assert found.recall == pytest.approx(1 / 3, abs=1e-6)
    assert found.ndcg == pytest.approx(1 / (1 + 1 / np.log2(3)), abs=1e-6)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda t: t.rename_columns(["listener", "item"]), 30, "has no column user; it has"),
        (lambda t: t.append_column("weight", pa.array([-1.0] * len(t))), 30, "-1 in row 0"),
        (lambda t: t.append_column("weight", pa.array([np.nan] * len(t))), 30, "nan in row 0"),
        (lambda t: t.append_column("weight", pa.array(["x"] * len(t))), 30, "no number"),
        (lambda t: t.set_column(1, "item", pa.array([0.5] * len(t))), 30, "item is double"),
        (lambda t: pa.concat_tables([t, pa.table({"user": [None], "item": [1]}, t.schema)]), 30,
         "user is null in row"),
        (lambda t: t.slice(0, 0), 20, "holds no pair"),
    ],
)  # fmt: skip
def test_a_training_file_that_will_not_do_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    change: object,
    code: int,
    said: str,
) -> None:
    train, test = pairs()
    assert called(tmp_path, monkeypatch, change(train), test) == code  # type: ignore[operator]
    told = capsys.readouterr()
    assert said in told.err
    assert str(tmp_path / "train.parquet") in told.err
    assert not told.out


KINDS = {
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "category": pa.dictionary(pa.int32(), pa.string()),
    "large category": pa.dictionary(pa.int8(), pa.large_string()),
}


def of_kind(table: pa.Table, kind: pa.DataType) -> pa.Table:
    users = table["user"].cast(pa.string())
    users = users.dictionary_encode() if pa.types.is_dictionary(kind) else users
    return table.set_column(0, "user", users.cast(kind))


@pytest.mark.parametrize(("train", "test"), [*pairwise([*KINDS, "large_string"])])
def test_strings_of_every_kind_are_ids(tmp_path: Path, train: str, test: str) -> None:
    found = []
    for kinds in ((pa.string(), pa.string()), (KINDS[train], KINDS[test])):
        paths = (tmp_path / "train.parquet", tmp_path / "test.parquet")
        for path, table, kind in zip(paths, pairs(), kinds, strict=True):
            pq.write_table(of_kind(table, kind), path)
        known = read_pairs(paths[0])
        wanted, unknown = read_wanted(paths[1], known)
        found.append((known.strength.toarray(), wanted.toarray(), unknown))
    for plain, other in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, other)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (pa.array(["a", "b"]), "column item holds strings, and that of the training file integers"),
        (pa.array([1.0, 2.0]), "column item is double: expected integers or strings"),
        (pa.array([1, 2**63], pa.uint64()), "column item holds an integer beyond 64 bits"),
    ],
)
def test_ids_of_another_type_than_those_trained_on_are_named(
    tmp_path: Path, item: pa.Array, said: str
) -> None:
    train, path = tmp_path / "train.parquet", tmp_path / "test.parquet"
    pq.write_table(pairs()[0], train)
    pq.write_table(pa.table({"user": ["u1", "u2"], "item": item}), path)
    with pytest.raises(BadLogError, match=f"{path}: {said}"):
        read_wanted(path, read_pairs(train))


def test_files_that_are_not_there_or_ask_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train, _ = pairs()
    assert called(tmp_path, monkeypatch, train, train) == 20
    assert "is in it already" in capsys.readouterr().err
    (tmp_path / "test.parquet").unlink()
    assert quality.main() == 20
    assert "There is no file" in capsys.readouterr().err
    (tmp_path / "test.parquet").write_text("not parquet")
    assert quality.main() == 30
    assert "cannot be read as Parquet" in capsys.readouterr().err


def test_the_solvers_are_compared_at_one_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pq.write_table(pairs()[0], tmp_path / "train.parquet")
    monkeypatch.setattr(
        sys, "argv", ["solver", "--train", str(tmp_path / "train.parquet"), "--factors", "8",
                      "--rounds", "1", "--threads", "1"],
    )  # fmt: skip
    solver.main()
    cold, theirs, ours, *table = capsys.readouterr().out.splitlines()
    assert json.loads(cold)["cold_seconds"] >= 0
    losses = [json.loads(line)["loss"] for line in (theirs, ours)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert table[-1].startswith("| 8 |")
