"""Names from a log can neither steer what shows them nor fill it."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.cli import _print
from recsys.report._text import harmless as in_the_report
from recsys.untrusted import harmless, harmless_name

JOINERS = {"\u200c", "\u200d"}


@given(st.text(st.characters()))
def test_nothing_is_left_that_controls_or_turns_the_text(text: str) -> None:
    shown = harmless(text)
    assert len(shown) == len(text)
    for was, mark in zip(text, shown, strict=True):
        steers = unicodedata.category(was) in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
        assert mark == ("\N{REPLACEMENT CHARACTER}" if steers and was not in JOINERS else was)


@given(st.text(st.characters(), max_size=500))
def test_a_name_is_one_line_of_200_characters_in_the_terminal_and_the_report(text: str) -> None:
    shown = harmless_name(text)
    assert len(shown) <= 200
    assert len(shown.splitlines()) <= 1
    assert _print.name(text).plain == in_the_report(text) == shown


@pytest.mark.parametrize("name", ["می\u200cخواهم", "\U0001f469\u200d\U0001f4bb", "क\u094d\u200dष"])
def test_joiners_stay_in_words_and_emoji(name: str) -> None:
    assert _print.plain(name).plain == in_the_report(name) == name
