"""MLflow tracking. A tracking server that is down never stops a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

EXPERIMENT: Final = "weekly-playlists"

# An unreachable server is given up on within seconds, not minutes.
_MLFLOW_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


def log_training(
    uri: str,
    *,
    name: str,
    settings: Mapping[str, Mapping[str, Any]],
    tags: Mapping[str, str],
    metrics: Mapping[str, float],
    losses: Sequence[float],
    documents: Mapping[str, Any],
    files: Sequence[Path],
    local_files: Path,
) -> str | None:
    """Log a training to MLflow as one run.

    Args:
        uri: of the tracking store.
        name: of the run.
        settings: by section; logged as ``section.key``.
        tags: what identifies the run.
        metrics: one value each.
        losses: of each iteration.
        documents: JSON values to keep with the run, by file name.
        files: to keep with the run, under ``model``.
        local_files: where the files go when the tracking store is a local database.

    Returns:
        None, or why it could not be logged.
    """
    for key, value in _MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param, RunTag

        client = MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        experiment_id = (
            experiment.experiment_id
            if experiment is not None
            else client.create_experiment(
                EXPERIMENT,
                artifact_location=local_files.as_uri() if uri.startswith("sqlite:") else None,
            )
        )
        run = client.create_run(experiment_id, run_name=name)
        run_id = run.info.run_id
        now = run.info.start_time
        client.log_batch(
            run_id,
            metrics=[
                *(Metric(key, value, now, 0) for key, value in metrics.items()),
                *(Metric("loss", loss, now, step) for step, loss in enumerate(losses, start=1)),
            ],
            params=[
                Param(f"{section}.{key}", str(value)[:500])
                for section, values in settings.items()
                for key, value in values.items()
            ],
            tags=[RunTag(key, value) for key, value in tags.items()],
        )
        for file_name, document in documents.items():
            client.log_dict(run_id, document, file_name)
        for path in files:
            client.log_artifact(run_id, str(path), "model")
        client.set_terminated(run_id)
    except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
        return f"{type(error).__name__}: {error}".splitlines()[0]
    return None
