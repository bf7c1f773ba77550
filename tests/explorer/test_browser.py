"""The explorer in a real browser: readable, usable by keyboard and screen reader, light and dark.

Rules of accessibility are asked by axe-core (https://github.com/dequelabs/axe-core).
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.explorer.conftest import ODD

USER = "t0m01"
PAGES = {
    "editions": "/",
    "listeners": "/listeners?id=t0",
    "no-listener": "/listeners?id=%3Cb%3E",
    "listener": f"/listeners/{USER}",
    "odd-listener": f"/listeners/{quote(ODD, safe='')}?edition=2026-W46",
    "compare": f"/listeners/{USER}/compare?first=2026-W46&second=2026-W47",
    "edition": "/editions/2026-W47/1",
    "hindsight": "/hindsight",
    "missing": "/listeners/nobody",
}
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module", params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(color_scheme=request.param)
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_within_its_policy(page: Page, explorer: str, name: str) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(explorer + PAGES[name])
    assert [line for line in said if "404" not in line] == [], "the policy forbids nothing we use"
    assert "broken" not in page.title(), "a name from the log has run"
    for details in page.locator("details").all()[:1]:
        details.locator("summary").click()
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(browser: Browser, explorer: str, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 640})
    page = context.new_page()
    for name, path in PAGES.items():
        page.goto(explorer + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        small = page.evaluate(
            """[...document.querySelectorAll("button, input, select")]
                .filter(one => one.getBoundingClientRect().height < 24).length"""
        )
        assert small == 0, f"{name}: too small to be touched"
    context.close()


def test_light_and_dark_follow_the_reader(browser: Browser, explorer: str) -> None:
    brightness = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(explorer + "/")
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        brightness[scheme] = sum(int(part) for part in colour[4:-1].split(","))
        context.close()
    assert brightness["dark"] < 200 < 600 < brightness["light"]


def test_a_listener_is_found_and_compared_by_keyboard_alone(
    browser: Browser, explorer: str
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(explorer + "/")
    press(page, "Skip to the content")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "id"
    page.keyboard.type(ODD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/listeners/t0%2F*")
    assert ODD in page.locator("h1").inner_text()
    press(page, "← 2026-W46")
    page.wait_for_url("**edition=2026-W46")
    tab_to(page, "document.activeElement.localName == 'summary'")
    page.keyboard.press("Enter")
    assert page.locator("details[open] .parts li").count() > 0
    page.goto(page.url)
    press(page, "Compare")
    page.wait_for_url("**/compare?first=*&second=*")
    assert "are in both" in page.locator("[role=status]").inner_text()
    context.close()


def test_the_outline_that_a_screen_reader_walks(browser: Browser, explorer: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(explorer + PAGES["listener"])
    for role, name in [
        ("banner", None),
        ("main", None),
        ("navigation", "Explorer"),
        ("navigation", "Editions of this listener"),
        ("region", "What they got"),
        ("region", "What they listen to"),
        ("combobox", "Edition"),
        ("button", "Compare"),
    ]:
        found = page.get_by_role(role, name=name, exact=True) if name else page.get_by_role(role)  # type: ignore[arg-type]
        assert found.count() == 1, (role, name)
    assert page.get_by_role("heading", level=1).count() == 1
    assert page.locator("html").get_attribute("lang") == "en"
    context.close()


def tab_to(page: Page, condition: str) -> None:
    """Press Tab until a condition holds."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            outlined = "getComputedStyle(document.activeElement).outlineStyle"
            assert page.evaluate(outlined) == "solid", "where the focus is can be seen"
            return
    raise AssertionError(f"the keyboard does not reach {condition}")


def press(page: Page, text: str) -> None:
    """Reach a link or button by its text, and press it."""
    tab_to(page, f"document.activeElement.textContent.trim() == {text!r}")
    page.keyboard.press("Enter")
