from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from recsys import artefact
from recsys.artefact import Artefact
from recsys.errors import PlanError
from recsys.home import Home
from recsys.plan import (
    PLAN_FILE,
    Plan,
    check_plan,
    cooling_playlists,
    days_digest,
    make_plan,
    open_pinned,
    pinned_model,
    usable_snapshot,
)
from recsys.settings import Settings, load_settings
from recsys.weeks import Week

WEEK = Week.parse("2026-W47")
DAYS = {date(2026, 11, 1) + timedelta(days=n): f"digest {n}" for n in range(14)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path)


def configured(folder: Path, more: str = "") -> Settings:
    path = folder / "settings.cfg"
    path.write_text(f"[recsys]\nhome = {folder}/home\n[listens]\nsource = log\n{more}", "utf-8")
    return load_settings([path])


def published(*editions: tuple[str, int, str]) -> list[dict[str, Any]]:
    return [{"edition": week, "revision": n, "state": state} for week, n, state in editions]


def made(folder: Path, **said: Any) -> Artefact:
    with artefact.write(folder, stage=folder.name, version=1) as draft:
        (draft.path / f"{folder.name}.parquet").write_bytes(repr(said).encode())
        draft.inputs.update(said)
    return Artefact.open(folder)


def edition(settings: Settings, week: str, revision: int = 1, **plan: Any) -> None:
    """An earlier edition: its plan, its model and its playlists."""
    folder = Home.of(settings).edition(Week.parse(week), revision)
    with artefact.write(folder / "plan", stage="plan", version=1) as draft:
        artefact.write_json(draft.path / PLAN_FILE, {"parent": None, **plan})
    for stage in ("als_model", "playlists"):
        made(folder / stage, of=f"{week} r{revision}")


def planned(settings: Settings, *editions: tuple[str, int, str], **more: Any) -> Plan:
    given: dict[str, Any] = {
        "days": DAYS,
        "log": {"missing": [], "empty": [], "odd": []},
        "published": published(*editions),
        "forgotten": [],
        "blocked": [],
    }
    return make_plan(settings, WEEK, 1, **(given | more))


# --- what hindsight looks at ------------------------------------------------------------------


def activated(week: str, revision: int, state: str, on: str | None) -> dict[str, Any]:
    said = {"edition": week, "revision": revision, "state": state}
    return said | {"activated_on": on and date.fromisoformat(on)}


def test_of_each_week_the_newest_revision_that_was_there_on_its_monday_is_looked_back_at(
    settings: Settings,
) -> None:
    editions = [
        activated("2026-W46", 1, "superseded", "2026-11-08"),
        activated("2026-W46", 2, "superseded", "2026-11-09"),  # its Monday
        activated("2026-W46", 3, "activated", "2026-11-10"),
        activated("2026-W45", 1, "rolled_back", "2026-11-01"),
        activated("2026-W44", 1, "superseded", "2026-11-01"),  # its Sunday
        activated("2026-W43", 1, "staged", None),
        activated("2026-W38", 1, "superseded", "2026-09-13"),
        activated("2026-W48", 1, "superseded", "2026-11-20"),
    ]
    for one in editions:
        edition(settings, one["edition"], one["revision"])
    looked_at = planned(settings, published=editions).past
    assert [(one["edition"], one["revision"], one["in_time"]) for one in looked_at] == [
        ("2026-W46", 2, True),
        ("2026-W44", 1, False),
    ]
    assert [one["hindsight"] for one in looked_at] == [None, None]


# --- what is pinned --------------------------------------------------------------------------


def test_a_first_edition_has_nothing_to_go_on_from(settings: Settings) -> None:
    plan = planned(settings)
    assert (plan.week, plan.cutoff, plan.base_cutoff) == (
        WEEK,
        date(2026, 11, 15),
        date(2026, 11, 8),
    )
    assert plan.parent is plan.grandparent is plan.state_before is plan.catalogue_before is None
    assert plan.cooling == []
    assert plan.days == DAYS


def test_it_is_the_same_whatever_order_things_came_in(settings: Settings) -> None:
    edition(settings, "2026-W45")
    edition(settings, "2026-W46")
    editions = [("2026-W45", 1, "superseded"), ("2026-W46", 1, "activated")]
    first = planned(settings, *editions, forgotten=["b", "a"], blocked=["2", "1"])
    second = planned(
        settings,
        *editions[::-1],
        days=dict(reversed(DAYS.items())),
        forgotten=frozenset("ab"),
        blocked={"1", "2"},
    )
    assert artefact.digest_of(first.document) == artefact.digest_of(second.document)
    assert list(second.document["days"]) == sorted(map(str, DAYS))


def test_what_was_written_is_read(settings: Settings, tmp_path: Path) -> None:
    plan = planned(settings, forgotten=["ann"], blocked=["x"])
    with artefact.write(tmp_path / "plan", stage="plan", version=1) as draft:
        artefact.write_json(draft.path / PLAN_FILE, plan.document)
    read = Plan.load(tmp_path / "plan")
    assert read == plan
    assert (read.forgotten, read.blocked) == ({"ann"}, {"x"})


# --- parent and cooling ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("editions", "parent"),
    [
        ([("2026-W45", 1, "superseded"), ("2026-W46", 1, "activated")], ("2026-W46", 1)),
        ([("2026-W45", 1, "activated"), ("2026-W46", 1, "rolled_back")], ("2026-W45", 1)),
        ([("2026-W45", 1, "activated"), ("2026-W46", 1, "staged")], ("2026-W45", 1)),
        ([("2026-W46", 1, "superseded"), ("2026-W46", 2, "activated")], ("2026-W46", 2)),
        ([("2026-W46", 1, "activated"), ("2026-W46", 2, "rolled_back")], ("2026-W46", 1)),
        ([("2026-W45", 1, "superseded"), ("2026-W44", 1, "activated")], ("2026-W45", 1)),
        ([("2026-W46", 1, "activated"), ("2026-W47", 1, "activated")], ("2026-W46", 1)),
        ([("2026-W46", 1, "activated"), ("2026-W48", 1, "activated")], ("2026-W46", 1)),
        ([("2026-W46", 1, "rolled_back")], None),
        ([("2026-W47", 1, "activated")], None),
        # Its folder was removed: the one before it has to do.
        ([("2026-W45", 1, "superseded"), ("2026-W46", 7, "activated")], ("2026-W45", 1)),
    ],
)
def test_the_parent_is_the_newest_that_was_served_and_not_rolled_back(
    settings: Settings,
    editions: list[tuple[str, int, str]],
    parent: tuple[str, int] | None,
) -> None:
    for week, revision, _ in editions:
        if revision != 7:
            edition(settings, week, revision)
    found = planned(settings, *editions).parent
    assert (found and (found["edition"], found["revision"])) == parent
    if found is not None:
        model = pinned_model(Home.of(settings), found)
        assert model.inputs["of"] == f"{found['edition']} r{found['revision']}"


def test_the_grandparent_is_the_parents_own_parent(settings: Settings) -> None:
    edition(settings, "2026-W44")
    older = {"edition": "2026-W44", "revision": 1, "digest": "x"}
    edition(settings, "2026-W46", parent=older)
    assert planned(settings, ("2026-W46", 1, "activated")).grandparent == older
    gone = {"edition": "2026-W43", "revision": 1, "digest": "x"}
    edition(settings, "2026-W46", parent=gone)
    assert planned(settings, ("2026-W46", 1, "activated")).grandparent is None


def test_every_revision_of_the_last_weeks_rests_but_the_weeks_own(tmp_path: Path) -> None:
    settings = configured(tmp_path, "[playlists]\ncooldown_editions = 2\n")
    editions = [
        ("2026-W44", 1, "superseded"),
        ("2026-W45", 1, "superseded"),
        ("2026-W46", 1, "rolled_back"),
        ("2026-W46", 2, "activated"),
        ("2026-W47", 1, "activated"),
        ("2026-W48", 1, "activated"),
    ]
    for week, revision, _ in editions:
        edition(settings, week, revision)
    plan = planned(settings, *editions)
    resting = [(one["edition"], one["revision"]) for one in plan.cooling]
    assert resting == [("2026-W45", 1), ("2026-W46", 1), ("2026-W46", 2)]
    files = cooling_playlists(plan, Home.of(settings))
    assert [file.read_bytes() for file in files] == [
        repr({"of": f"{week} r{revision}"}).encode() for week, revision in resting
    ]


def test_no_cooldown(tmp_path: Path) -> None:
    settings = configured(tmp_path, "[playlists]\ncooldown_editions = 0\n")
    edition(settings, "2026-W46")
    assert planned(settings, ("2026-W46", 1, "activated")).cooling == []


# --- days and states -------------------------------------------------------------------------


def test_days_between(settings: Settings) -> None:
    plan = planned(settings)
    assert plan.days_between(None, plan.cutoff) == list(DAYS)
    assert plan.days_between(plan.base_cutoff, plan.cutoff) == list(DAYS)[7:]
    assert plan.days_digest(date(2026, 11, 8)) == days_digest(DAYS, date(2026, 11, 8))
    assert plan.days_digest(date(2026, 11, 8)) != plan.days_digest(date(2026, 11, 9))


@pytest.mark.parametrize("kind", ["taste", "catalogue"])
def test_a_state_is_gone_on_from_only_if_its_days_are_still_the_same(
    settings: Settings, kind: str
) -> None:
    home = Home.of(settings)

    def state(week: str, days: Mapping[date, str]) -> Artefact:
        at = Week.parse(week)
        folder = home.taste(at) if kind == "taste" else home.catalogue(at)
        return made(folder, days=days_digest(days, at.cutoff(24).date()))

    def usable(days: Mapping[date, str] = DAYS) -> str | None:
        found = usable_snapshot(home, kind, WEEK, days, 24)
        return found and found["week"]

    assert usable() is None
    older = state("2026-W45", DAYS)
    state("2026-W46", {**DAYS, date(2026, 11, 5): "another"})
    state("2026-W47", DAYS)  # the week's own is what is to be made
    assert usable() == "2026-W45"
    state("2026-W46", DAYS)
    assert usable() == "2026-W46"
    # A day that came too late for the states there are: all begins from the days.
    assert usable({date(2026, 10, 20): "late", **DAYS}) is None
    found = usable_snapshot(home, kind, Week.parse("2026-W46"), DAYS, 24)
    assert found == {"week": "2026-W45", "digest": older.digest}


def test_a_state_of_another_half_life_is_not_seen(tmp_path: Path) -> None:
    first = configured(tmp_path)
    at = Week.parse("2026-W46")
    made(Home.of(first).taste(at), days=days_digest(DAYS, at.cutoff(24).date()))
    assert planned(first).state_before is not None
    other = configured(tmp_path, "half_life_days = 10\n")
    assert planned(other).state_before is None
    assert planned(configured(tmp_path, "weight_like = 10\n")).state_before is not None


# --- what was pinned must still be there ------------------------------------------------------


def test_what_a_plan_pinned_and_is_gone_or_another_is_told(settings: Settings) -> None:
    edition(settings, "2026-W46")
    plan = planned(settings, ("2026-W46", 1, "activated"))
    home = Home.of(settings)
    folder = home.edition(Week.parse("2026-W46"), 1)
    made(folder / "als_model", of="something else")
    with pytest.raises(PlanError, match="another als_model"):
        pinned_model(home, plan.parent or {})
    with pytest.raises(PlanError, match=r"The plan needs .*it is gone"):
        open_pinned(folder / "nothing", "digest")


def test_settings_that_differ_are_named_with_both_values(tmp_path: Path) -> None:
    plan = planned(configured(tmp_path))
    check_plan(plan, configured(tmp_path))
    check_plan(plan, configured(tmp_path, "[store]\nurl = sqlite:///elsewhere\n"))
    with pytest.raises(PlanError) as refused:
        check_plan(plan, configured(tmp_path, "weight_skip = -1\n[als]\nalpha = 3\n"))
    said = str(refused.value)
    assert "Edition 2026-W47 revision 1 was planned with other settings" in said
    assert "[listens] weight_skip was -0.5, is -1.0" in said
    assert "[als] alpha was " in said
    assert ", is 3.0" in said
    assert "--revision 2" in said
    assert refused.value.exit_code == 50


def test_a_setting_that_is_new_since_the_plan_is_named(settings: Settings) -> None:
    plan = planned(settings)
    document = {**plan.document, "settings": {**plan.document["settings"], "als": {}}}
    with pytest.raises(PlanError, match=r"\[als\] factors was None"):
        check_plan(Plan(document), settings)


def test_a_plan_from_before_engines_could_be_chosen_was_made_on_one_machine(
    tmp_path: Path,
) -> None:
    document = dict(planned(configured(tmp_path)).document)
    document["settings"] = {k: v for k, v in document["settings"].items() if k != "engine"}
    check_plan(Plan(document), configured(tmp_path))
    with pytest.raises(PlanError, match=r"\[engine\] name was 'local', is 'spark'"):
        check_plan(Plan(document), configured(tmp_path, "[engine]\nname = spark\n"))
