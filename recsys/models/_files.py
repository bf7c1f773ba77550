"""A model on disk: npy, Parquet and JSON; never pickle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from recsys import columns as c
from recsys.errors import ArtefactError
from recsys.models._als import ALSModel, strings
from recsys.settings import AlsSettings

_FORMAT: Final = 2
#: What format 1 did not name: it weighed the unobserved as 1, and regularized all rows alike.
_FORMAT_1: Final[dict[str, Any]] = {"unobserved_weight": 1.0, "regularization_exponent": 0.0}
#: The files that hold nothing of any user.
ITEM_FILES: Final = ("item_factors.npy", "songs.parquet", "model.json")


def save(model: ALSModel, folder: Path) -> None:
    """Write ``model`` into ``folder``, which exists."""
    np.save(folder / "item_factors.npy", model.item_factors)
    np.save(folder / "user_factors.npy", model.user_factors)
    pq.write_table(pa.table({c.SONG_KEY: model.song_keys}), folder / "songs.parquet")
    pq.write_table(pa.table({c.USER_ID: model.user_ids}), folder / "users.parquet")
    about = {
        "format": _FORMAT,
        "settings": dataclasses.asdict(model.settings),
        "seed": model.seed,
        "warm": model.warm,
        "loss": model.loss,
    }
    (folder / "model.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> ALSModel:
    """Read what :func:`save` wrote.

    Raises:
        ArtefactError: a file is missing, of another format, or does not fit the others.
    """
    try:
        about = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if about["format"] not in (1, _FORMAT):
            raise ArtefactError(
                f"{folder / 'model.json'} is of format {about['format']}, and this version reads "
                f"formats 1 and {_FORMAT}. Use the version that wrote it, or a newer one."
            )
        before = _FORMAT_1 if about["format"] == 1 else {}
        model = ALSModel(
            item_factors=_matrix(folder / "item_factors.npy"),
            user_factors=_matrix(folder / "user_factors.npy"),
            song_keys=strings(pq.read_table(folder / "songs.parquet"), c.SONG_KEY),
            user_ids=strings(pq.read_table(folder / "users.parquet"), c.USER_ID),
            settings=AlsSettings(**before, **about["settings"]),
            seed=about["seed"],
            warm=about["warm"],
            loss=tuple(about["loss"]),
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise ArtefactError(
            f"The model in {folder} cannot be read ({error}). Remove the folder and run the week "
            "again."
        ) from error
    for name, factors, ids in (
        ("item_factors", model.item_factors, model.song_keys),
        ("user_factors", model.user_factors, model.user_ids),
    ):
        if factors.shape != (len(ids), model.settings.factors):
            raise ArtefactError(
                f"{folder / name}.npy has the shape {factors.shape}, expected "
                f"{(len(ids), model.settings.factors)}. Remove the folder and run the week again."
            )
    return model


def _matrix(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, allow_pickle=False)
    return array
