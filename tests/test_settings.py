from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from recsys.errors import SettingsError
from recsys.settings import Settings, default_paths, load_settings

MINIMAL = "[listens]\nsource = log\n"


def load(folder: Path, *texts: str) -> Settings:
    paths = [folder / f"{n}.cfg" for n in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, encoding="utf-8")
    return load_settings(paths)


def problems(folder: Path, text: str) -> str:
    with pytest.raises(SettingsError) as refused:
        load(folder, text)
    assert refused.value.exit_code == 50
    return str(refused.value)


def test_one_setting_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load(tmp_path, MINIMAL)
    assert settings.home == tmp_path / "data"
    assert settings.store_url == f"sqlite:///{tmp_path}/data/store"
    assert settings.tracking_uri == f"sqlite:///{tmp_path}/data/mlflow.db"
    assert (settings.edition.lead_hours, settings.edition.active_days) == (24, 28)
    assert (settings.playlists.length, settings.playlists.per_artist) == (30, 2)
    assert settings.playlists.cooldown_editions == 8
    assert settings.als.cold_every_weeks == 4


def test_a_later_file_wins_setting_by_setting(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        MINIMAL + "[als]\nfactors = 8\niterations = 3\n",
        "[als]\nfactors = 16\n",
    )
    assert (settings.als.factors, settings.als.iterations) == (16, 3)


def test_the_files_that_luigi_reads_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overlay = tmp_path / "overlay.cfg"
    Path("luigi.cfg").touch()
    overlay.touch()
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(overlay))
    assert default_paths()[-2:] == [Path("luigi.cfg"), overlay]
    monkeypatch.setenv("LUIGI_CONFIG_PATH", str(tmp_path / "nowhere.cfg"))
    with pytest.raises(SettingsError, match=r"nowhere\.cfg"):
        default_paths()
    monkeypatch.delenv("LUIGI_CONFIG_PATH")
    assert default_paths()[-1:] == [Path("luigi.cfg")]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = problems(
        tmp_path,
        "[listens]\nformat = csv\n[als]\nfactors = 0\nfactor = 3\n[playlist]\nlength = 3\n",
    )
    for line in (
        "[listens] source is missing: expected a value",
        "[listens] format = 'csv': expected one of parquet, jsonl, lastfm",
        "[als] factors = '0': expected a whole number from 1 to 4096",
        "[als] factor is not a setting. Did you mean 'factors'?",
        "[playlist] is not a section of ours or of Luigi's. Did you mean 'playlists'?",
    ):
        assert f"  - {line}" in said


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("recsys", "home", "", "a value"),
        ("recsys", "seed", "-1", "a whole number from 0"),
        ("recsys", "seed", "1.5", "a whole number"),
        ("listens", "half_life_days", "0", "a number from 0.1"),
        ("listens", "half_life_days", "nan", "a number from 0.1"),
        ("listens", "weight_dislike", "5", "a number from -1000 to 0"),
        ("listens", "missing_day", "ignore", "one of stop, continue"),
        ("listens", "columns", "[1]", "a JSON object"),
        ("listens", "columns", '{"a": 1}', "a JSON object"),
        ("listens", "columns", '{"a": "when"}', "'when' is none of"),
        ("listens", "columns", '{"a": "event", "b": "event"}', "each of ours named once"),
        ("edition", "lead_hours", "12", "a multiple of 24"),
        ("als", "regularization", "inf", "a number from 0"),
        ("als", "unobserved_weight", "0", "a number from 1e-06 to 1"),
        ("playlists", "length", "0", "a whole number from 1 to 200"),
        ("store", "url", "/srv/store", "sqlite:///DIR"),
    ],
)
def test_a_wrong_value_is_told_with_what_was_expected(
    tmp_path: Path, section: str, key: str, value: str, expected: str
) -> None:
    text = f"[{section}]\n{key} = {value}\n"
    said = problems(tmp_path, text if section == "listens" else MINIMAL + text)
    assert f"[{section}] {key} = {value!r}: expected " in said
    assert expected in said


def test_sections_of_luigi_and_of_tasks_are_let_be(tmp_path: Path) -> None:
    load(
        tmp_path,
        MINIMAL + "[core]\nx = 1\n[worker]\ny = 2\n[retcode]\nz = 3\n[WeeklyPlaylists]\nweek = 1\n",
    )


def test_the_environment_can_name_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/srv/listens")
    assert load(tmp_path, "[listens]\nsource = ${SOMEWHERE}/log\n").listens.source == (
        "/srv/listens/log"
    )


def test_a_percent_sign_alone_is_told_about(tmp_path: Path) -> None:
    assert "write a plain % as %%" in problems(tmp_path, "[listens]\nsource = a%zb\n")
    assert load(tmp_path, "[listens]\nsource = a%%zb\n").listens.source == "a%zb"


@pytest.mark.parametrize("damage", [b"source = log\n", b"[listens\n", b"[listens]\nsource = \xff"])
def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "broken.cfg"
    path.write_bytes(damage)
    with pytest.raises(SettingsError, match=r"broken\.cfg cannot be read"):
        load_settings([path])


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.als.factors = 3  # type: ignore[misc]


def test_what_shapes_an_edition_is_everything_but_places(tmp_path: Path) -> None:
    first = load(tmp_path, MINIMAL)
    moved = load(
        tmp_path,
        MINIMAL + "[recsys]\nhome = /elsewhere\n[store]\nurl = sqlite:///x\n"
        "[mlflow]\ntracking_uri = http://localhost\n",
    )
    assert first.shaping() == moved.shaping()
    for text in ("[recsys]\nseed = 5\n", "[als]\nalpha = 5\n", "[playlists]\nlength = 5\n"):
        assert load(tmp_path, MINIMAL + text).shaping() != first.shaping()


def test_settings_of_spark_are_handed_through_as_they_are(tmp_path: Path) -> None:
    spark = load(
        tmp_path,
        MINIMAL
        + "[engine]\nName = spark\n[spark]\nmaster = local-cluster[2,1,1024]\n"
        + "spark.executor.memoryOverhead = 1g\nspark.driver.extraJavaOptions = -Da=b:c\n",
    ).spark
    assert spark.master == "local-cluster[2,1,1024]"
    assert spark.options == {
        "spark.executor.memoryOverhead": "1g",
        "spark.driver.extraJavaOptions": "-Da=b:c",
    }
    assert "[spark] executor.memory is not a setting" in problems(
        tmp_path, MINIMAL + "[spark]\nexecutor.memory = 1g\n"
    )
    assert "[spark] options is not a setting" in problems(
        tmp_path, MINIMAL + "[spark]\noptions = 1g\n"
    )


@pytest.mark.parametrize(
    "master", ["locals", "local[0]", "spark://host", "local-cluster[1,1]", "sc://host:1", ""]
)
def test_a_master_that_no_cluster_has_is_refused(tmp_path: Path, master: str) -> None:
    said = problems(tmp_path, MINIMAL + f"[spark]\nmaster = {master}\n")
    assert f"[spark] master = {master!r}: expected local[CORES], local[*]" in said


def test_an_edition_is_shaped_by_the_engine_and_not_by_the_cluster(tmp_path: Path) -> None:
    local = load(tmp_path, MINIMAL + "[spark]\ntraining = implicit\n").shaping()
    assert local["engine"] == {"name": "local"}
    assert "spark" not in local
    spark = load(tmp_path, MINIMAL + "[engine]\nname = spark\n[spark]\nspark.a.B = 1\n")
    assert spark.shaping()["spark"] == {"training": "spark"}
    assert Settings.shaped(spark.shaping(), tmp_path).engine.name == "spark"
