"""The registry of trained models: MLflow runs, versions with their lineage, and the aliases that serve."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.evaluation import Evaluation
from models.inference import MODEL_FILE
from models.settings import ModelSettings

# MLflow reads these when it is imported: nothing is reported to anybody.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CHAMPION = "champion"
"""Alias of the version that serves."""

CHALLENGER = "challenger"
"""Alias of the version that is on trial."""

EXPERIMENT = "rental-recommender"
"""MLflow experiment of the training runs."""

REQUIREMENTS = ["onnxruntime", "numpy"]
"""What the logged model needs; given, so that MLflow does not start a process to find out."""

RUN = "metaflow_run"
"""Key of the lineage that names the run of the flow which trained the version."""

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes for a model or version that is not there, and for an alias that is not."""


class RegistryError(LookupError):
    """The registry has no such version or alias, or does not answer; the message names the remedy."""


@dataclass(frozen=True)
class ModelVersion:
    """One registered model.

    Attributes:
        version: number in the registry, from 1.
        metrics: figures of the evaluation, and the parity if it was given.
        lineage: dataset hash, feature service, commit and so on, as they were given.
        aliases: such as ``champion``.
        settings: where the registry is.
    """

    version: int
    metrics: dict[str, float]
    lineage: dict[str, str]
    aliases: tuple[str, ...]
    settings: ModelSettings

    @cached_property
    def path(self) -> Path:
        """The ONNX file on this machine, fetched when it is first asked for."""
        return download(f"models:/{self.settings.registered_model}/{self.version}", self.settings)


def tracking_client(settings: ModelSettings) -> "MlflowClient":
    """Return a client of the MLflow store that the settings name."""
    from mlflow import MlflowClient

    if not settings.mlflow_tracking_uri:
        settings.mlflow.mkdir(parents=True, exist_ok=True)
    return MlflowClient(settings.tracking_uri, settings.tracking_uri)


def experiment(client: "MlflowClient", settings: ModelSettings, name: str) -> str:
    """Return the id of the MLflow experiment ``name``, which is made where there is none."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = not settings.mlflow_tracking_uri
    artifacts = (settings.mlflow / "artifacts").resolve().as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=artifacts))


class Registry:
    """Versions of one registered model in the MLflow store that the settings name."""

    def __init__(self, settings: ModelSettings | None = None) -> None:
        """None takes the settings of the environment; the store is opened at first use."""
        self.settings = settings or ModelSettings()

    def register(
        self,
        onnx_path: Path,
        evaluation: Evaluation | None,
        lineage: Mapping[str, Any],
        hyperparameters: Mapping[str, Any] | None = None,
        beside: Iterable[Path] = (),
    ) -> int:
        """Log the model in MLflow's ONNX flavour and make it a new version, without any alias.

        A run of a flow makes one version: where the lineage's ``metaflow_run`` already has one, as when the
        flow was killed after this and resumed, that version is returned and nothing is written.

        Args:
            onnx_path: file written by ``models.export.export``.
            evaluation: its figures, which become metrics and an artifact; None where nobody measured it.
            lineage: where it comes from; each becomes a parameter of the run and a tag of the version,
                numbers (such as ``onnx_max_abs_diff``) also a metric.
            hyperparameters: how it was trained; each becomes a parameter of the run.
            beside: files which go with the model into its folder, such as the graph of pairs.

        Returns:
            The version's number.
        """
        import mlflow
        import onnx

        client = self._client
        if RUN in lineage and (registered := self._of_run(str(lineage[RUN]))):
            return registered
        model = onnx.load(onnx_path)
        mlflow.set_tracking_uri(self.settings.tracking_uri)
        with mlflow.start_run(
            experiment_id=experiment(client, self.settings, EXPERIMENT), run_name=onnx_path.stem
        ) as run:
            mlflow.log_params({**lineage, **(hyperparameters or {})})
            mlflow.log_metrics(_numbers(lineage))
            if evaluation:
                mlflow.log_metrics(_metrics(evaluation))
                mlflow.log_dict(evaluation.to_dict(), "evaluation.json")
            # External data would split the weights from the graph; the file is to stay self-contained.
            logged = mlflow.onnx.log_model(
                model, name="model", pip_requirements=REQUIREMENTS, save_as_external_data=False
            )
        for file in beside:
            client.log_model_artifact(logged.model_id, str(file))
        self._ensure_model()
        version = client.create_model_version(
            self.settings.registered_model,
            logged.model_uri,
            run.info.run_id,
            tags={key: str(value) for key, value in lineage.items()},
            model_id=logged.model_id,
        )
        return int(version.version)

    def get(self, version: int) -> ModelVersion:
        """Return a version by number.

        Raises:
            RegistryError: there is none.
        """
        remedy = "train one by `make train`, which says its number"
        with _asking(self.settings, f"the registry has no version {version}; {remedy}"):
            found = self._client.get_model_version(self.settings.registered_model, str(version))
            return self._typed(found)

    def champion(self) -> ModelVersion:
        """Return the version that serves.

        Raises:
            RegistryError: no version was promoted yet.
        """
        remedy = "train one by `make train` and serve it by `python -m flows up --version N`"
        with _asking(self.settings, f"there is no {CHAMPION} model yet; {remedy}"):
            found = self._client.get_model_version_by_alias(self.settings.registered_model, CHAMPION)
            return self._typed(found)

    def set_alias(self, alias: str, version: int) -> None:
        """Point ``alias`` at ``version``; RegistryError where there is no such version."""
        self.get(version)
        self._client.set_registered_model_alias(self.settings.registered_model, alias, str(version))

    def remove_alias(self, alias: str) -> None:
        """Point ``alias`` at nothing, as after a rollback."""
        self._client.delete_registered_model_alias(self.settings.registered_model, alias)

    def promote(self, version: int) -> None:
        """Make ``version`` the champion; if it was the challenger, there is none afterwards."""
        self.set_alias(CHAMPION, version)
        if CHALLENGER in self.get(version).aliases:
            self.remove_alias(CHALLENGER)

    @cached_property
    def _client(self) -> "MlflowClient":
        return tracking_client(self.settings)

    def _ensure_model(self) -> None:
        name = self.settings.registered_model
        if not self._client.search_registered_models(f"name='{name}'"):
            self._client.create_registered_model(name)

    def _of_run(self, run: str) -> int | None:
        name = self.settings.registered_model
        found = self._client.search_model_versions(f"name='{name}' and tag.{RUN}='{run}'")
        return min((int(version.version) for version in found), default=None)

    def _typed(self, found: "MlflowVersion") -> ModelVersion:
        return ModelVersion(
            int(found.version),
            dict(self._client.get_run(str(found.run_id)).data.metrics),
            dict(found.tags),
            tuple(found.aliases),
            self.settings,
        )


@contextmanager
def _asking(settings: ModelSettings, missing: str) -> Iterator[None]:
    """Raise RegistryError: ``missing`` where MLflow has no such thing, else its address and what failed."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in MISSING:
            raise RegistryError(missing) from error
        address = re.sub("//[^/@]*@", "//", settings.tracking_uri)
        raise RegistryError(
            f"the registry at {address} does not answer: {error.message}; start its server, or correct "
            "RENTALS_MLFLOW_TRACKING_URI"
        ) from error


def download(uri: str, settings: ModelSettings | None = None) -> Path:
    """Return the ONNX file of a registry address such as ``models:/rental-recommender@champion``.

    Raises:
        RegistryError: the address names no model of the registry, or the registry does not answer.
    """
    import mlflow

    settings = settings or ModelSettings()
    mlflow.set_tracking_uri(settings.tracking_uri)
    with _asking(settings, f"the registry has no {uri}; train one by `make train`"):
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, tracking_uri=settings.tracking_uri)
    return Path(folder) / MODEL_FILE


def _metrics(evaluation: Evaluation) -> dict[str, float]:
    figures = evaluation.to_dict()
    flat = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
    for name, value in figures.items():
        if name.endswith("_interval"):
            flat |= {f"{name}_low": value[0], f"{name}_high": value[1]}
    return flat | evaluation.baselines


def _numbers(lineage: Mapping[str, Any]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in lineage.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
