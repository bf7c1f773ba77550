"""``recsys serve``: playlists over HTTP."""

from __future__ import annotations

import argparse

from recsys.errors import SettingsError
from recsys.settings import load_settings


def serve(options: argparse.Namespace) -> int:
    """Serve until a signal says to stop."""
    settings = load_settings()
    try:
        from recsys.serve._server import run
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn", "prometheus_client"):
            raise
        raise SettingsError(
            f"recsys serve needs the package {error.name}, which is not installed: "
            "pip install 'recsys-weekly[serve]'."
        ) from None
    return run(settings, options.host, options.port)
