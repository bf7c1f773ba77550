"""Rendering the page and putting it in its place."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import uuid
from pathlib import Path
from typing import Any, Final

import jinja2
from jinja2.bccache import Bucket

from recsys.home import Home
from recsys.report import _text
from recsys.report._contents import contents

REPORT_FILE: Final = "report.html"


def write_report(home: Home, edition: Path) -> Path:
    """Write an edition's ``report.html`` from the stages that are there.

    The same artefacts give the same bytes, but for the section with the times.

    Args:
        home: the home it is in.
        edition: the edition's folder; there is at least its plan.

    Returns:
        The page's path.

    Raises:
        ArtefactError: there is no plan, or a stage's files are damaged.
        OSError: the page cannot be written.
    """
    path = edition / REPORT_FILE
    page = render(contents(home, edition))
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def render(shown: dict[str, Any]) -> str:
    """The page for what :func:`recsys.report._contents.contents` returned."""
    return environment().get_template("report.html").render(shown)


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Templates are compiled once, not by each run, and kept where compiled Python is.

    Jinja knows a template that has changed, but not other settings and filters: these are the files
    that say them.
    """

    def __init__(self) -> None:
        said = [Path(file).read_bytes() for file in (__file__, _text.__file__)]
        by = hashlib.sha256(b"".join([jinja2.__version__.encode(), *said])).hexdigest()[:12]
        super().__init__(str(Path(__file__).with_name("__pycache__")), f"__jinja2_{by}_%s.cache")

    def load_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(Exception):  # whatever a damaged file is taken for
            super().load_bytecode(bucket)

    def dump_bytecode(self, bucket: Bucket) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


@functools.cache
def environment(*packages: str) -> jinja2.Environment:
    """How pages are rendered: everything is escaped, and text that nobody vouches for is tamed.

    Args:
        packages: more packages with templates, which may use those of the report.
    """
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(package) for package in (*packages, __package__)]
        ),
        autoescape=True,
        finalize=_text.harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=_Compiled(),
    )
    made.filters |= {
        "count": _text.count,
        "count_of": _text.count_of,
        "share": _text.share,
        "number": _text.number,
        "fixed": _text.fixed,
        "signed": _text.signed,
        "kept_share": _text.kept_share,
        "words": _text.words,
    }
    made.globals["ratio"] = _text.ratio
    return made
