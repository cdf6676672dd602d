"""MLflow: one run there per run directory; those of several seeds share a tag, ``group``.

MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME say what they always do; the usual experiment is
`metarl`, the usual place MLflow's own: `mlflow.db` in the working folder.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from mlflow import get_tracking_uri
from mlflow.entities import Metric, Param, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from metarl.runs.loggers import Known, Line

EXPERIMENT = "metarl"

RETRIES = "2"
"""How often a server that does not answer is asked again, for seconds: usually it is for minutes,
and the training would wait for it."""

AT_ONCE = 100
"""Parameters that MLflow takes at once."""

LONGEST = 500
"""Characters of a parameter."""


def check() -> None:
    """Check that runs can be kept where MLflow is told to keep them: the experiment is there then.

    Raises:
        MlflowException: They cannot.
    """
    _experiment(_client())


def begun(known: Known) -> MLflow:
    """Begin, or go on with, a run."""
    return MLflow(known)


class MLflow:
    """A run of MLflow."""

    def __init__(self, known: Known) -> None:
        self._client = _client()
        where = get_tracking_uri()
        self._id = _found(self._client, known) if known.identity.get("uri") == where else None
        self.done = 0
        if self._id is None:
            tags = {"run_dir": known.path.as_posix()}
            if known.group is not None:
                tags["group"] = known.group
            made = self._client.create_run(
                _experiment(self._client), run_name=known.path.as_posix(), tags=tags
            )
            self._id = made.info.run_id
        data = self._client.get_run(self._id).data
        self.done = int(data.metrics.get("iteration", 0))
        self.identity = {"id": self._id, "uri": where}
        # A parameter that was set once stays: of an extended run the first number of iterations.
        new = [
            Param(name, str(value)[:LONGEST])
            for name, value in known.hyper_parameters().items()
            if name not in data.params
        ]
        for first in range(0, len(new), AT_ONCE):
            self._client.log_batch(self._id, params=new[first : first + AT_ONCE])
        self._client.update_run(self._id, RunStatus.to_string(RunStatus.RUNNING))

    def write(self, line: Line) -> None:
        """Log a line over what was counted."""
        if line.iteration <= self.done:
            return
        now = int(1000 * time.time())
        values = {"iteration": line.iteration, **line.values}
        metrics = [Metric(name, float(v), now, line.count) for name, v in values.items()]
        self._client.log_batch(self._id, metrics=metrics)
        self.done = line.iteration

    def show(self, name: str, file: Path, line: Line) -> None:
        """Keep a picture or a film, by its name and what was counted."""
        self._client.log_artifact(self._id, str(file), f"{name}/{line.count}")

    def flush(self) -> None:
        """Do nothing: every line is kept at once."""

    def close(self, *, whole: bool) -> None:
        """End the run, or leave it for a resume."""
        status = RunStatus.FINISHED if whole else RunStatus.KILLED
        self._client.set_terminated(self._id, RunStatus.to_string(status))


def _client() -> MlflowClient:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    return MlflowClient()


def _experiment(client: MlflowClient) -> str:
    """The experiment that runs go into; made, if it is not there."""
    chosen = os.environ.get("MLFLOW_EXPERIMENT_ID")
    if chosen is not None:
        return str(client.get_experiment(chosen).experiment_id)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return str(client.create_experiment(name))
    except MlflowException:  # another process has just made it
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _found(client: MlflowClient, known: Known) -> str | None:
    """The run of an earlier process; None: it is gone."""
    try:
        run = client.get_run(known.identity["id"])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return str(run.info.run_id) if run.info.lifecycle_stage == "active" else None
