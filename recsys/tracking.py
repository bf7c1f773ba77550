"""MLflow tracking and registry. A server that is down never stops a run.

Each model that the gates let pass is a version of one registered model. The alias ``challenger`` is
on the newest of them, ``champion`` on the one whose playlists were published last.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from recsys.store._url import without_credentials

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT: Final = "weekly-playlists"
#: The experiment of searches for settings.
TUNING: Final = "weekly-playlists-tuning"
#: The registered model.
MODEL: Final = "weekly-playlists"
CHALLENGER: Final = "challenger"
CHAMPION: Final = "champion"
#: The tag that names a version's artefact.
ARTEFACT: Final = "artefact"

#: MLflow's own tag that names the run above.
_PARENT: Final = "mlflow.parentRunId"

# An unreachable server is given up on within seconds, not minutes.
_MLFLOW_ENVIRONMENT: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


def import_mlflow() -> None:
    """Import MLflow, which takes seconds, told beforehand to give an unreachable server up soon."""
    for key, value in _MLFLOW_ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    import mlflow  # noqa: F401 - for later


def open_tracking(uri: str) -> None:
    """Open a tracking store, whose database is made where there is none.

    What is wrong with it :func:`log_training` will say.
    """
    with contextlib.suppress(Exception):
        _client(uri)


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

        run = client.create_run(_experiment(client, uri, EXPERIMENT, local_files), run_name=name)
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


class SearchLog:
    """A search for settings in MLflow: one parent run, and under it a run for every trial.

    A search that goes on finds its runs again, and trials that could not be logged before are
    logged then. What fails is kept in ``failure``, and nothing more is tried.
    """

    def __init__(
        self, uri: str, *, name: str, search: str, tags: Mapping[str, str], local_files: Path
    ) -> None:
        """Find or begin the parent run.

        Args:
            uri: of the tracking store.
            name: of the parent run.
            search: what names the search for good; a tag of its runs.
            tags: what else is to be said of it.
            local_files: where files would go when the tracking store is a local database.
        """
        self.failure: str | None = None
        self._logged: set[str] = set()
        try:
            self._client = _client(uri)
            self._experiment = _experiment(self._client, uri, TUNING, local_files)
            runs = self._client.search_runs([self._experiment], f"tags.search = '{search}'")
            parents = [run for run in runs if _PARENT not in run.data.tags]
            parent = parents[0] if parents else self._client.create_run(
                self._experiment, run_name=name, tags={**tags, "search": search}
            )  # fmt: skip
            self._search, self._parent = search, parent.info.run_id
            if parents:
                self._client.update_run(self._parent, status="RUNNING")
            self._logged = {run.data.tags["trial"] for run in runs if _PARENT in run.data.tags}
        except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
            self.failure = _said(error)

    def trial(self, number: int, values: Mapping[str, float], scores: Sequence[float]) -> None:
        """Log a trial, unless it was.

        Args:
            number: of the trial.
            values: ``section.key`` -> value.
            scores: ndcg@30 on each rung that it reached.
        """
        if self.failure is not None or str(number) in self._logged:
            return
        try:
            from mlflow.entities import Metric, Param

            tags = {_PARENT: self._parent, "search": self._search, "trial": str(number)}
            run = self._client.create_run(self._experiment, run_name=f"trial {number}", tags=tags)
            now = run.info.start_time
            self._client.log_batch(
                run.info.run_id,
                metrics=[Metric("ndcg_at_30", one, now, step) for step, one in enumerate(scores)],
                params=[Param(key, str(value)) for key, value in values.items()],
            )
            self._client.set_terminated(run.info.run_id)
            self._logged.add(str(number))
        except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
            self.failure = _said(error)

    def close(self, metrics: Mapping[str, float]) -> None:
        """End the parent run, with what came out."""
        if self.failure is not None:
            return
        try:
            for key, value in metrics.items():
                self._client.log_metric(self._parent, key, value)
            self._client.set_terminated(self._parent)
        except Exception as error:  # noqa: BLE001 - whatever ails the tracking, the run goes on
            self.failure = _said(error)


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


def _experiment(client: MlflowClient, uri: str, name: str, local_files: Path) -> str:
    """The id of an experiment, which is made where there is none."""
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        return str(experiment.experiment_id)
    place = local_files.as_uri() if uri.startswith("sqlite:") else None
    return str(client.create_experiment(name, artifact_location=place))


def _client(uri: str) -> MlflowClient:
    import_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _said(error: Exception) -> str:
    return without_credentials(f"{type(error).__name__}: {error}".splitlines()[0])
