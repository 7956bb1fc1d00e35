"""From one recommendation back to the model, its run, the features and the data that it comes from."""

import json
from pathlib import Path
from typing import Any

from flows.control.errors import NothingThereError
from models.registry import Registry
from models.registry_errors import RegistryError
from monitoring import traffic


def lineage(lake: Path, request_id: str) -> dict[str, Any]:
    """Return what is known of an answer.

    Args:
        lake: where the prediction log is.
        request_id: of the answer.

    Returns:
        ``answer``: its entry in the prediction log, with the features as the model got them; ``model``: the
        version, its aliases, its run in MLflow, its figures, and under ``lineage`` what it was made from;
        or ``fault``: why the registry does not know it.

    Raises:
        NothingThereError: the log has no such answer.
        LogFileError: a file of the log is damaged.
    """
    answer = traffic.find(lake, request_id)
    if answer is None:
        raise NothingThereError(
            f"the prediction log has no answer {request_id!r}: take the request_id of a recommendation, "
            "which is there a moment after it"
        )
    answer["features"] = json.loads(answer["features"])
    return {"answer": answer, "model": _model(answer["model_version"])}


def _model(version: str) -> dict[str, Any]:
    try:
        found = Registry().get(int(version))
    except (RegistryError, ValueError) as error:
        return {"version": version, "fault": str(error)}
    return {
        "version": version,
        "aliases": found.aliases,
        "mlflow_run": found.run_id,
        "metrics": found.metrics,
        "lineage": found.lineage,
    }
