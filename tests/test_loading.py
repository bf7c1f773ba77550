"""Any artefact of any edition by its week; a model of one's own under the weekly rules."""

from __future__ import annotations

import gc
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from implicit.nearest_neighbours import BM25Recommender
from scipy.sparse import csr_matrix

import recsys
from recsys import artefact, models
from recsys.errors import ArtefactError, NoEditionError, RecsysError, SettingsError
from recsys.loading import Edition
from recsys.settings import AlsSettings, load_settings

WEEK = "2026-W47"


@pytest.fixture(scope="module")
def edition(simulated: Path) -> Edition:
    return recsys.load(WEEK, home=simulated / "home")


def files_of(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_every_table_comes_in_the_kind_that_is_asked_for(edition: Edition) -> None:
    for name in ("listens", "quarantine", "plays", "taste", "catalogue", "candidates", "playlists"):
        rows = getattr(edition, name)
        arrow, pandas, polars = rows.to_arrow(), rows.to_pandas(), rows.to_polars()
        assert len(rows) == len(arrow) == len(pandas) == len(polars) > 0, name
        assert arrow.schema.names == list(pandas) == polars.columns == rows.schema.names, name
    lazily = pl.scan_parquet(edition.listens.files).select(pl.len()).collect().item()
    assert lazily == len(edition.listens)


def test_candidates_are_ranked_and_named(edition: Edition) -> None:
    found = edition.candidates.to_polars()
    of_one = found.filter(pl.col("user_id") == found["user_id"][0])
    assert of_one["rank"].to_list() == list(range(1, len(of_one) + 1))
    assert of_one["score"].is_sorted(descending=True)
    row = edition.matrix.users["user_id"].to_pylist().index(of_one["user_id"][0])
    song = edition.matrix.songs["song_key"].to_pylist().index(of_one["song_key"][0])
    score = edition.model.user_factors[row] @ edition.model.item_factors[song]
    assert of_one["score"][0] == pytest.approx(score, abs=1e-6)


def test_the_matrix_has_labels_for_its_rows_and_columns(edition: Edition) -> None:
    matrix = edition.matrix
    assert isinstance(matrix.strength, csr_matrix)
    assert matrix.strength.shape == (len(matrix.users), len(matrix.songs))
    assert edition.model.item_factors.shape == (len(matrix.songs), 8)


def test_what_the_stages_said_is_there(edition: Edition) -> None:
    assert set(edition.verdicts) == {"model_choice", "als_model", "playlist_gate"}
    assert edition.record["edition"] == str(edition.plan.week) == WEEK
    assert edition.hindsight
    shown = str(edition.evaluation)
    assert "parent" in shown
    assert f"{edition.evaluation.listeners} listeners" in shown
    user = edition.playlists.to_polars()["user_id"][0]
    assert len(edition.listener(user).playlist()) == 30


def test_the_home_is_that_of_the_settings(
    simulated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(simulated / "overlay.cfg"))
    monkeypatch.chdir(tmp_path)
    found = recsys.load("2026-W45")
    assert (str(found.week), found.revision) == ("2026-W45", 1)
    shaped = load_settings().shaping()
    assert found.settings.shaping() == shaped


def test_a_week_that_is_not_there_names_those_that_are(simulated: Path, tmp_path: Path) -> None:
    home = simulated / "home"
    with pytest.raises(NoEditionError, match="Editions: 2026-W45, 2026-W46, 2026-W47"):
        recsys.load("2026-W40", home=home)
    with pytest.raises(NoEditionError, match="Revisions: 1"):
        recsys.load(WEEK, home=home, revision=2)
    with pytest.raises(NoEditionError, match="none yet"):
        recsys.load(WEEK, home=tmp_path)
    with pytest.raises(SettingsError, match="YYYY-Www"):
        recsys.load("last week", home=home)


def test_a_week_tuned_before_it_is_planned_has_its_tuning(
    simulated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(simulated / "overlay.cfg"))
    monkeypatch.chdir(tmp_path)
    with artefact.write(
        tmp_path / "tuning" / "2026-W48", stage="tuning", version=1, seed=1
    ) as draft:
        artefact.write_json(draft.path / "evidence.json", {"verdict": "better"})
    found = recsys.load("2026-W48", home=tmp_path)
    assert found.tuning == {"verdict": "better"}
    for name in ("plan", "listens", "model", "playlists", "unseen"):
        with pytest.raises(ArtefactError, match=r"WeeklyPlaylists .*2026-W48 --revision 1"):
            getattr(found, name)
    with pytest.raises(NoEditionError, match="Revisions: 1"):
        recsys.load("2026-W48", home=tmp_path, revision=2)


def test_a_stage_that_is_none_is_told_from_one_not_made(edition: Edition) -> None:
    with pytest.raises(ArtefactError, match=r"no stage .nosuch.: expected .*als_model"):
        edition.artefact("nosuch")
    for path in edition.folder.iterdir():
        if artefact.exists(path):
            assert edition.artefact(path.name).path == path


def test_playlists_are_made_with_settings_or_a_model_of_ours(edition: Edition) -> None:
    few = AlsSettings(factors=4, iterations=2)
    made = edition.playlists_from(few)
    assert made.model.settings == few
    assert len(made.playlists) == len(edition.playlists)
    with pytest.raises(RecsysError, match="expected an ALSModel"):
        edition.playlists_from(models.ImplicitALS(4))  # type: ignore[arg-type]


def test_a_stage_that_is_not_there_says_what_makes_it(edition: Edition, tmp_path: Path) -> None:
    (tmp_path / "plan").symlink_to(edition.folder / "plan")
    unmade = replace(edition, folder=tmp_path)
    with pytest.raises(ArtefactError, match=r"no playlists yet\. .*WeeklyPlaylists .*2026-W47"):
        _ = unmade.playlists
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "model_choice.json").write_text('{"outcome": "refused", "checks": []}')
    with pytest.raises(ArtefactError, match="model_choice refused it"):
        _ = unmade.model
    assert unmade.verdicts["model_choice"].refused


def test_nothing_is_written(simulated: Path) -> None:
    before = files_of(simulated / "home")
    found = recsys.load(WEEK, home=simulated / "home")
    model = models.train(found.unseen.base, found.settings.als, seed=1)
    found.evaluate({"mine": model})
    found.playlists_from(model)
    assert files_of(simulated / "home") == before


def test_the_weekly_evaluation_comes_out_again(edition: Edition) -> None:
    again = edition.evaluate({"mine": edition.settings.als})
    weekly = edition.evaluation
    for name in ("popularity", "item_knn", "parent", "grandparent"):
        assert again.to_dict()["metrics"][name] == weekly.to_dict()["metrics"][name], name
    assert again.listeners == weekly.listeners
    assert edition.judge("mine", again).passed


def test_settings_and_the_model_trained_with_them_score_the_same(edition: Edition) -> None:
    settings = AlsSettings(factors=4, iterations=3)
    trained = models.train(edition.unseen.base, settings, edition.settings.recsys.seed)
    found = edition.evaluate({"settings": settings, "model": trained})
    assert found.metrics["settings"] == found.metrics["model"]
    assert found.paired["model_over_settings"].mean == 0


def test_any_model_with_fit_and_recommend_is_scored(edition: Edition) -> None:
    found = edition.evaluate({"bm25": BM25Recommender(K=50)})
    assert found.metrics["bm25"]["ndcg_at_30"].mean > found.metrics["popularity"]["ndcg_at_30"].mean


def test_a_model_that_knows_the_week_is_not_judged_by_it(edition: Edition) -> None:
    with pytest.raises(ArtefactError, match="may know the answers"):
        edition.evaluate({"mine": edition.model})


@pytest.mark.parametrize(
    ("name", "model", "said"),
    [
        ("popularity", AlsSettings(), "There is a model 'popularity' already"),
        ("parent", AlsSettings(), "otherwise than .*parent.*popularity"),
        ("mine", 3, "'mine' is 3: expected an AlsSettings"),
        ("mine", BM25Recommender, "expected an AlsSettings"),
    ],
)
def test_what_cannot_be_scored_is_refused(
    edition: Edition, name: str, model: object, said: str
) -> None:
    with pytest.raises(RecsysError, match=said):
        edition.evaluate({name: model})  # type: ignore[dict-item]


def test_only_a_model_that_was_scored_is_judged(edition: Edition) -> None:
    for name in ("typo", "popularity"):
        with pytest.raises(RecsysError, match=rf"no model '{name}' .* can judge: parent"):
            edition.judge(name, edition.evaluation)


def test_the_editions_own_model_makes_its_own_playlists(edition: Edition) -> None:
    trial = edition.playlists_from(edition.model)
    assert trial.playlists.to_arrow() == edition.playlists.to_arrow()
    assert {name: trial.verdicts[name].to_dict() for name in ("als_model", "playlist_gate")} == {
        name: edition.verdicts[name].to_dict() for name in ("als_model", "playlist_gate")
    }


def test_a_bad_model_is_refused_by_the_same_gate(edition: Edition) -> None:
    model = models.train(edition.matrix, edition.settings.als, seed=1)
    rng = np.random.default_rng(1)
    shuffled = replace(model, item_factors=rng.permutation(model.item_factors))
    verdict = edition.playlists_from(shuffled.refolded(edition.matrix)).verdicts["als_model"]
    assert verdict.refused
    assert "known_recall" in {check.name for check in verdict.refusing}


def test_a_trial_is_gone_with_the_object(edition: Edition) -> None:
    trial = edition.playlists_from(edition.model)
    folder = trial.folder
    assert folder.exists()
    del trial
    assert not folder.exists()


def test_the_rows_of_a_trial_outlive_its_name(edition: Edition) -> None:
    playlists = edition.playlists_from(edition.model).playlists
    gc.collect()
    assert len(playlists.to_pandas()) == len(edition.playlists)
    folder = playlists.files[0].parent
    del playlists
    assert not folder.exists()


def test_importing_recsys_is_light() -> None:
    code = (
        "import sys, recsys, recsys.store; heavy = {'numpy', 'pyarrow', 'duckdb', 'luigi'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
