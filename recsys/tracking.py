"""MLflow tracking and registry. A server that is down never stops a run.

Each model that the gates let pass is a version of one registered model. The alias ``challenger`` is
on the newest of them, ``champion`` on the one whose playlists were published last.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT: Final = "weekly-playlists"
#: The registered model.
MODEL: Final = "weekly-playlists"
CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
#: The tag that names a version's artefact.
ARTEFACT: Final = "artefact"

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
    """Log a training to MLflow as one run, and register its model as the challenger.

    Args:
        uri: of the tracking store.
        name: of the run.
        settings: by section; logged as ``section.key``.
        tags: what identifies the run and the model's version; ``artefact`` is the model's digest.
        metrics: one value each.
        losses: of each iteration.
        documents: JSON values to keep with the run, by file name.
        files: to keep with the run, under ``model``.
        local_files: where the files go when the tracking store is a local database.

    Returns:
        None, or why it could not be logged.
    """
    try:
        client = _client(uri)
        from mlflow.entities import Metric, Param, RunTag

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
        _register(client, run_id, f"{run.info.artifact_uri}/model", tags)
    except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
        return _said(error)
    return None


def make_champion(uri: str, artefact: str) -> str | None:
    """Move the alias ``champion`` to the version of a model whose playlists are served.

    Args:
        uri: of the tracking store.
        artefact: digest of the model's artefact.

    Returns:
        None, or why it could not be moved.
    """
    try:
        client = _client(uri)
        found = client.search_model_versions(f"name = '{MODEL}' AND tags.{ARTEFACT} = '{artefact}'")
        if not found:
            return "the model was not registered when it was trained"
        newest = max(found, key=lambda one: int(one.version))
        client.set_registered_model_alias(MODEL, CHAMPION, newest.version)
    except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
        return _said(error)
    return None


def _register(client: MlflowClient, run_id: str, source: str, tags: Mapping[str, str]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        client.create_registered_model(MODEL)
    version = client.create_model_version(MODEL, source, run_id, tags=dict(tags))
    client.set_registered_model_alias(MODEL, CHALLENGER, version.version)


def _client(uri: str) -> MlflowClient:
    for key, value in _MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
