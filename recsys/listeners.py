"""What an edition knows of one listener."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from recsys._slices import FOLDER
from recsys.artefact import Artefact
from recsys.errors import ArtefactError
from recsys.plan import Plan
from recsys.playlists import NOTHING_LEFT

_REFUSED: Final = {NOTHING_LEFT: "no song is left that they have neither heard nor disliked"}


def why_no_playlist(edition: Path, user_id: str, active_days: int) -> str:
    """Say why a listener has no playlist in an edition, in a sentence; empty if home cannot tell.

    Args:
        edition: the edition's folder.
        user_id: the listener.
        active_days: a listener with a listen in so many days is eligible.
    """
    try:
        plan = Plan.load(edition / "plan")
        matrix, playlists = (Artefact.open(edition / name) for name in ("matrix", "playlists"))
        refused = _rows(playlists.file("refused.parquet"), user_id)
        users = "users.parquet" if matrix.parts("users.parquet") else FOLDER
        known = _rows(matrix.file(users), user_id)
    except ArtefactError:
        return ""
    if len(refused):
        return f"The playlist was refused: {_REFUSED[refused['reason'][0].as_py()]}."
    if not len(known):
        return "The log knows no such listener before the edition's cutoff."
    if known["eligible"][0].as_py():
        return ""
    last_heard = known["last_heard"][0].as_py()
    heard = f"last listened on {last_heard}" if last_heard else "never played a track"
    return (
        f"This listener {heard}; eligible are those with a listen in the {active_days} days "
        f"before {plan.cutoff}."
    )


def _rows(path: Path, user_id: str) -> pa.Table:
    return pq.read_table(path, filters=[("user_id", "=", user_id)])
