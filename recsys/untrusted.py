"""Text that nobody vouches for, such as names from a log, as people may be shown it."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Joiners are part of names in many scripts, and of emoji; every other format character is not.
_JOINERS: Final = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
#: Control, format, surrogate, unassigned, and what ends a line or a paragraph.
_REPLACED: Final = ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp")
_LONGEST: Final = 200


def harmless(text: str) -> str:
    """Text that cannot steer a terminal or a page: nothing that controls it, or turns it round.

    It is not escaped: whoever puts it into HTML or into markup does that.

    >>> harmless("a" + chr(0x202E) + "b" + chr(27) + "[31m" + chr(0xD800))
    'a�b�[31m�'
    >>> coder = chr(0x1F469) + chr(0x200D) + chr(0x1F4BB)
    >>> harmless(coder) == coder
    True
    """
    return "".join(
        mark if mark in _JOINERS or unicodedata.category(mark) not in _REPLACED else "�"
        for mark in text
    )


def harmless_name(text: str) -> str:
    """The same in one line of at most 200 characters.

    >>> harmless_name("a  name" + chr(10) + "in two lines")
    'a name in two lines'
    >>> len(harmless_name("x" * 1000))
    200
    """
    shown = harmless(" ".join(text[: 2 * _LONGEST].split()))
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"
