"""The page of an edition: what it says, that it runs nothing, and that no name can break it."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import jinja2
import pytest

from recsys import artefact
from recsys.report import REPORT_FILE, _page, _text, environment, write_report
from recsys.verdict import RELEASED, Check, Verdict
from tests.report.editions import COUNTS, HINDSIGHT, Made


class Page(HTMLParser):
    """A page's elements and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += f" {' '.join(data.split())}"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """An edition that was published."""
    edition = Made(tmp_path_factory.mktemp("home"))
    edition.plan()
    return published(edition)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    edition = Made(tmp_path)
    edition.plan()
    return edition


def published(edition: Made) -> Page:
    edition.model()
    edition.playlists()
    edition.publish()
    return Page(write_report(edition.home, edition.folder))


# --- what it says ----------------------------------------------------------------------------


def test_it_tells_the_whole_edition(page: Page) -> None:
    for said in (
        "✓ PUBLISHED.",
        "of 3 eligible listeners",
        "Scored on 40 listeners, a sample of 50",
        "it has no parent itself",
        "parent over item kNN",
        "so far",
        "the edition's taste state is no longer there",
        "left out: gone",
        "half of the track or four minutes",
        "Song – Artist",
        "no user",
    ):
        assert said in page.text, said
    assert "secret listener" not in page.source
    assert page.open == []


def test_hindsight_shows_rates_of_what_was_counted(page: Page) -> None:
    text = page.text
    # Of 60 tracks, 7 were kept and 12 played; of 2 listeners, 1 kept one or more.
    assert re.search(r"2026-W46 so far\s+6 of 7\s+2\s+11\.67%\s+20\.00%\s+5\.00%\s+50\.00%", text)


def test_recommendations_are_held_against_popularity(page: Page) -> None:
    # The nine most popular of forty songs are in nobody's playlist, and zoe alone has the tenth.
    text = page.text
    assert "31 of 40 available songs (77.50%)" in text
    assert re.search(r"20% to 50%\s+12\s", text)


def test_the_newest_days_show_their_quarantine(page: Page) -> None:
    text = page.text
    assert re.search(r"2026-11-14\s+2,538\s+90\s+7\s+11\s+11\b", text)
    # A day of the week before has its figures among all days.
    assert re.search(r"2026-11-07\s+2,531\s+0\s+90\s+7\s+4\s+4\s+2026-11-08", text)


def test_rows_are_drawn_by_day_and_source_and_refused_ones_by_reason(page: Page) -> None:
    by_source, by_reason = re.findall(
        r'<figure>\s<div class="columns"[^>]*by.*?</figure>', page.source, re.DOTALL
    )
    assert "part-22.jsonl" in by_source
    drawn = re.findall(r'class="part-1" style="height: ([0-9.]+)%"', by_source)
    assert [float(one) for one in drawn] == [round(100 * 220 / 2538, 1)] * 9
    drawn = re.findall(r'class="part-1" style="height: ([0-9.]+)%"', by_reason)
    # Nine days of 3, 4, ... 11 rows, against the most.
    assert [float(one) for one in drawn] == [round(100 * n / 11, 1) for n in range(3, 12)]
    assert re.search(r"2026-11-14\s+part-22\.jsonl\s+220\s+1\s", page.text)
    assert re.search(r"2026-11-14\s+15 others\s+1,050\s+10\s", page.text)


def test_the_newest_week_is_shown_by_file(page: Page) -> None:
    # Seven days, each with 23 files.
    assert re.search(r"part-22\.jsonl\s+1,540\s+part-21\.jsonl\s+1,470\b", page.text)
    assert re.search(r"part-03\.jsonl\s+210\s+3 others\s+210\b", page.text)
    assert "part-02.jsonl" not in page.text


def test_the_longest_files_of_a_dump_are_shown(made: Made) -> None:
    made.plan()
    for manifest in (made.home.days / "clean").glob("*/manifest.json"):
        facts = json.loads(manifest.read_text())
        facts["facts"] |= {"sources": [], "files": {"a.listens": 2000, "b.listens": 500}}
        manifest.write_text(json.dumps(facts))
    page = published(made)
    assert re.search(r"2026-11-14\s+a\.listens\s+2,000\s", page.text)
    assert re.search(r"a\.listens\s+14,000\s+b\.listens\s+3,500\s+other files\s+245\b", page.text)


def test_listeners_who_deliver_their_own_files_are_one_source(made: Made) -> None:
    # They are numbered within each day: the first of one day is not the first of the next.
    for n, manifest in enumerate(sorted((made.home.days / "clean").glob("*/manifest.json"))):
        files = [
            {"name": f"date=x/listener-{number}/1-endsong_0.json", "rows": rows}
            for number, rows in ((1, 1000 + n), (2, 500))
        ]
        files.append({"name": "date=x/listener-3/kept.json", "rows": 7})
        facts = json.loads(manifest.read_text())
        facts["facts"] |= {"sources": files}
        manifest.write_text(json.dumps(facts).replace("date=x", manifest.parent.name))
    page = published(made)
    assert re.search(r"2026-11-14\s+all listeners\s+1,508\s", page.text)
    assert re.search(r"2026-11-14\s+listener-3\s+7\s", page.text), "a folder called so"
    assert re.search(r"date=2026-11-14/listener-1/1-endsong_0\.json\s+1,008\s", page.text)


def test_rows_that_belong_to_no_day_are_counted(tmp_path: Path, page: Page) -> None:
    title = "Rows of the dump that belong to no day, by reason"
    assert title not in page.text, "a plan that did not count them"
    counted = {"undated": {"no_time": 1200, "bad_time": 7}, "later": 45}
    log = {"missing": [], "empty": [], "odd": [], **counted}
    made = Made(tmp_path)
    made.plan(log=log)
    text = published(made).text
    assert title in text
    assert re.search(r"bad time\s+7\s+no time\s+1,200\s+dated 2026-11-15 or later[^0-9]+45", text)


def test_measures_have_their_intervals_and_one_number_of_decimals(page: Page) -> None:
    assert re.search(
        r"parent\s+0\.2000\s+0\.1900 to 0\.2100\s+0\.2000\s+0\.1900 to 0\.2100"
        r"\s+0\.5000\s+–\s+3\.2500\s+3\.2400 to 3\.2600\s",
        page.text,
    )
    assert "hit rate@30 MAP@30 coverage" in re.sub(r"\s+", " ", page.text)


def test_title_and_artist_of_a_reason_have_a_direction_each(page: Page) -> None:
    assert "<bdi>Song</bdi> – <bdi>Artist</bdi>" in page.source


def test_packages_are_told_apart(page: Page) -> None:
    assert re.search(r"duckdb \S+, implicit \S+, ", re.sub(r"\s+", " ", page.text))


def test_the_page_says_who_opened_what_and_what_the_exposure_log_lacks(made: Made) -> None:
    (one,) = HINDSIGHT["editions"]
    nobody = dict.fromkeys((*COUNTS, "shown"), 0)
    opened = {"listeners": 0, "played_any": 0, "kept_any": 0, "total": nobody}
    opened |= {f"by_{key}": [] for key in ("position", "source", "kind")}
    active = one["audiences"]["active"]
    not_opened = active | {"total": COUNTS | {"shown": 0}}
    asked = {"active": active, "opened": opened, "not_opened": not_opened}
    lacking = {"reason": "the exposure log holds no row of this edition"}
    counted = {"rows": 4, "incomplete": 4, "after_cutoff": 0, "other_edition": 0}
    made.publish(
        HINDSIGHT
        | {
            "editions": [
                one | {"audiences": asked},
                one | {"edition": "2026-W45", "exposures": lacking},
                one | {"edition": "2026-W44"},
            ],
            "exposures": counted | {"unknown_listener": 0, "used": 0},
        }
    )
    text = re.sub(r"\s+", " ", Page(write_report(made.home, made.folder)).text)
    assert "2026-W46 opened 0 – – – – –" in text
    assert "2026-W46 not opened 2 0.00% 20.00% 11.67%" in text
    assert "2026-W45 the exposure log holds no row of this edition" in text
    assert "2026-W44 settled before there was an exposure log" in text
    assert "No row of the exposure log could be used. Exposure log: 4 rows, 0 used" in text
    assert "4 incomplete." in text


def test_a_refusal_is_at_the_top_with_rule_and_sample_rows(made: Made) -> None:
    made.model()
    made.playlists()
    made.refusal(
        "playlist_gate",
        Check("available", True, 0, "0 tracks"),
        Check("not_heard", False, 2, "0 songs that the user heard", ({"user_id": "bob"},)),
    )
    page = Page(write_report(made.home, made.folder))
    top = page.text[: page.text.index("Verdicts")]
    assert "REFUSED by playlist_gate" in re.sub(r"\s+", " ", top)
    assert "not_heard : found 2, allowed 0 songs that the user heard" in top
    assert "available" not in top
    assert "bob" in page.text
    assert "The weeks before have not been looked at yet." in page.text


def test_sample_songs_have_their_names(made: Made) -> None:
    made.playlists()
    rows = ({"song": "song t00", "playlists": 9}, {"song": "unknown", "playlists": 8})
    made.refusal("playlist_gate", Check("alike", False, 0.9, "at most 0.8", rows))
    text = re.sub(r"\s+", " ", Page(write_report(made.home, made.folder)).text)
    assert "song playlists Song – Artist 9 unknown 8" in text


def test_an_edition_refused_before_its_playlists_has_a_page(made: Made) -> None:
    made.refusal("model_choice", Check("parent_over_popularity", False, "-0.1", "above 0"))
    verdict = Verdict.of([Check("parent_over_popularity", False, "-0.1", "above 0")])
    artefact.write_json(
        made.folder / "refused" / "model_choice.json",
        {"way": "continue", "because": "nothing speaks for a cold start", **verdict.to_dict()},
    )
    text = Page(write_report(made.home, made.folder)).text
    assert "REFUSED" in text
    assert "Without the refusal it would have gone on from the parent" in text
    assert "There are no playlists yet." in text


def test_what_an_operator_released_says_so(made: Made) -> None:
    made.model()
    made.playlists()
    made.publish()
    refused = Verdict.of([Check("repeated", False, 0.9, "at most 0.5", severity="soft")])
    made.verdict("playlist_gate", refused.release("a known outage"))
    text = Page(write_report(made.home, made.folder)).text
    assert "PUBLISHED, RELEASED." in text
    assert "a known outage" in text
    assert RELEASED in text


def test_an_unproven_model_says_so(made: Made) -> None:
    made.model()
    doubt = Check("enough_listeners", False, 3, "at least 30", severity="doubt")
    made.verdict("model_choice", Verdict.of([doubt]), way="cold", because="there is no parent")
    made.playlists()
    made.publish()
    assert "PUBLISHED, UNPROVEN." in Page(write_report(made.home, made.folder)).text


# --- the page as such ------------------------------------------------------------------------


def test_it_needs_nothing_and_runs_nothing(page: Page) -> None:
    policy = next(
        meta["content"]
        for meta in page.of("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert not page.of("script") + page.of("link") + page.of("img") + page.of("iframe")
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert all(not (attributes.get(at) or "#").strip("#").count(":") for at in ("href", "src"))
    assert not re.search(r"https?:|url\(|@import", page.source)


def test_every_table_has_a_caption_and_heads_with_a_scope(page: Page) -> None:
    assert len(page.of("caption")) == len(page.of("table")) > 10
    assert all(head.get("scope") in ("col", "row") for head in page.of("th"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels))
    anchors = {(link["href"] or "").removeprefix("#") for link in page.of("a")}
    assert anchors == {section["id"] for section in page.of("section")}


def test_the_same_artefacts_give_the_same_bytes_but_for_the_times(made: Made) -> None:
    first = published(made).source
    (made.folder / REPORT_FILE).unlink()
    assert write_report(made.home, made.folder).read_text(encoding="utf-8") == first
    assert [path.name for path in made.folder.iterdir() if path.is_file()] == [REPORT_FILE]
    made.publish()  # again, at another time
    again = write_report(made.home, made.folder).read_text(encoding="utf-8")
    timeless = re.compile("<!-- times: .* -->.*<!-- times: end -->", re.S)
    assert timeless.sub("", again) == timeless.sub("", first)
    assert len(timeless.findall(first)) == 1


# --- names from the log ----------------------------------------------------------------------

HOSTILE = {
    "markup": "</td><script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "template": "{{ 7 * 7 }}{% raw %}",
    "comment": "--><!--",
    "direction": "abc\u202edef\u2066ghi\u200f",
    "control": "a\x00b\x1b[31mc\x08",
}


@pytest.fixture
def templates(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where compiled templates are kept."""
    folder = tmp_path / "report"
    monkeypatch.setattr(_page, "__file__", str(folder / "_page.py"))
    environment.cache_clear()
    (folder / "__pycache__").mkdir(parents=True)
    shutil.copy(_text.__file__, folder / "_page.py")
    return folder / "__pycache__"


@pytest.mark.parametrize("rubbish", [b"", b"?", None])
def test_compiled_templates_may_be_damaged_or_nowhere(
    templates: Path, made: Made, rubbish: bytes | None
) -> None:
    page = published(made).source
    kept = list(templates.iterdir())
    assert len(kept) > 5
    environment.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jinja2.Environment, "compile", None)  # once is enough
        assert write_report(made.home, made.folder).read_text(encoding="utf-8") == page
    for path in kept:
        path.write_bytes(path.read_bytes()[:20] if rubbish is None else rubbish)
    environment.cache_clear()
    assert write_report(made.home, made.folder).read_text(encoding="utf-8") == page
    shutil.rmtree(templates)
    environment.cache_clear()
    assert write_report(made.home, made.folder).read_text(encoding="utf-8") == page


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_is_only_text(page: Page, tmp_path: Path, name: str) -> None:
    edition = Made(tmp_path, name=name, user=name)
    edition.plan(settings={"als": {"factors": name}})
    edition.model()
    edition.playlists()
    edition.refusal("playlist_gate", Check("not_heard", False, name, name, ({"user_id": name},)))
    source = Page(write_report(edition.home, edition.folder))
    assert {tag for tag, _ in source.elements} <= {tag for tag, _ in page.elements} | {"li", "ul"}
    assert source.open == []
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00-\x08\x1b]", source.source)
    assert {key for _, attributes in source.elements for key in attributes} <= {
        key for _, attributes in page.elements for key in attributes
    }
    if name.isprintable():
        assert " ".join(name.split()) in source.text


def test_an_endless_name_is_cut(made: Made) -> None:
    made.name = "x" * 100_000
    made.playlists()
    page = Page(write_report(made.home, made.folder))
    assert "x" * 199 + "…" in page.text
    assert "x" * 200 not in page.source


def test_joiners_of_emoji_and_scripts_stay(made: Made) -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
    made.name = family
    made.playlists()
    assert family in Page(write_report(made.home, made.folder)).text
