"""The registry of trained models: MLflow runs, versions with their lineage, and the aliases that serve."""

import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import card as model_card
from models.card import Approval, ModelCard
from models.evaluation import Evaluation
from models.inference import MODEL_FILE
from models.registry_errors import NotRegisteredError, RegistryError, asking, keeping
from models.settings import ModelSettings

# MLflow reads these when it is imported: nothing is reported to anybody, and no bar is drawn into logs.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

if TYPE_CHECKING:
    from mlflow import ActiveRun, MlflowClient
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


@dataclass(frozen=True)
class ModelVersion:
    """One registered model.

    Attributes:
        version: number in the registry, from 1.
        metrics: figures of the evaluation, and the parity if it was given.
        lineage: dataset hash, feature service, commit and so on, as they were given.
        aliases: such as ``champion``.
        settings: where the registry is.
        run_id: its run in MLflow, which holds its artifacts.
    """

    version: int
    metrics: dict[str, float]
    lineage: dict[str, str]
    aliases: tuple[str, ...]
    settings: ModelSettings
    run_id: str

    @cached_property
    def path(self) -> Path:
        """The ONNX file on this machine, fetched when it is first asked for."""
        return download(f"models:/{self.settings.registered_model}/{self.version}", self.settings)

    def artifact(self, name: str) -> Path:
        """Return a file that was kept with the version, fetched to this machine.

        Raises:
            RegistryError: the version has none of this name.
        """
        import mlflow

        missing = f"version {self.version} has no {name}; train a version again by `make train`"
        with asking(self.settings, missing), keeping(self.settings):
            try:
                found = mlflow.artifacts.download_artifacts(
                    run_id=self.run_id, artifact_path=name, tracking_uri=self.settings.tracking_uri
                )
            except OSError as error:
                raise NotRegisteredError(missing) from error
        return Path(found)


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
    return str(client.create_experiment(name, artifact_location=settings.artifacts))


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
        card: ModelCard | None = None,
        files: Mapping[str, bytes] | None = None,
        beside: Iterable[Path] = (),
    ) -> int:
        """Log the model in MLflow's ONNX flavour and make it a new version, without any alias.

        A run of a flow makes one version: where the lineage's ``metaflow_run`` already has one, as when the
        flow was killed after this and resumed, that version is returned, with the card if it had none yet.

        Args:
            onnx_path: file written by ``models.export.export``.
            evaluation: its figures, which become metrics and an artifact; None where nobody measured it.
            lineage: where it comes from; each becomes a parameter of the run and a tag of the version,
                numbers (such as ``onnx_max_abs_diff``) also a metric.
            hyperparameters: how it was trained; each becomes a parameter of the run.
            card: its model card, which gets the version's number; without one it can never be promoted.
            files: contents of what else is kept with it, by name.
            beside: files which go with the model into its folder, such as the graph of pairs.

        Returns:
            The version's number.

        Raises:
            RegistryError: S3 does not take what is to be kept there; there is no version then.
        """
        version = self._of_run(str(lineage[RUN])) if RUN in lineage else None
        with keeping(self.settings):
            if version is None:
                new = hyperparameters or {}, files or {}, beside
                version = self._create(onnx_path, evaluation, lineage, *new)
            if card and self._missing(self.get(version)):
                self._keep(self.get(version), replace(card, version=version))
        return version

    def refuse(
        self,
        evaluation: Evaluation,
        lineage: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> None:
        """Log the run of a model that is to be no version: its figures and ``files``, not the model."""
        if RUN in lineage and self._client.search_runs(
            [experiment(self._client, self.settings, EXPERIMENT)],
            f"params.{RUN} = '{lineage[RUN]}'",
            max_results=1,
        ):
            return
        with keeping(self.settings), self._run("refused", evaluation, lineage, hyperparameters, files):
            pass

    def _create(
        self,
        onnx_path: Path,
        evaluation: Evaluation | None,
        lineage: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        files: Mapping[str, bytes],
        beside: Iterable[Path],
    ) -> int:
        import mlflow
        import onnx

        model = onnx.load(onnx_path)
        with self._run(onnx_path.stem, evaluation, lineage, hyperparameters, files) as run:
            # External data would split the weights from the graph; the file is to stay self-contained.
            logged = mlflow.onnx.log_model(
                model, name="model", pip_requirements=REQUIREMENTS, save_as_external_data=False
            )
        for file in beside:
            self._client.log_model_artifact(logged.model_id, str(file))
        self._ensure_model()
        version = self._client.create_model_version(
            self.settings.registered_model,
            logged.model_uri,
            run.info.run_id,
            tags={key: str(value) for key, value in lineage.items()},
            model_id=logged.model_id,
        )
        return int(version.version)

    @contextmanager
    def _run(
        self,
        name: str,
        evaluation: Evaluation | None,
        lineage: Mapping[str, Any],
        hyperparameters: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> Iterator["ActiveRun"]:
        import mlflow

        client = self._client
        mlflow.set_tracking_uri(self.settings.tracking_uri)
        with mlflow.start_run(
            experiment_id=experiment(client, self.settings, EXPERIMENT), run_name=name
        ) as run:
            mlflow.log_params({**lineage, **hyperparameters})
            mlflow.log_metrics(_numbers(lineage))
            if evaluation:
                mlflow.log_metrics(_metrics(evaluation))
                mlflow.log_dict(evaluation.to_dict(), "evaluation.json")
            with tempfile.TemporaryDirectory() as folder:
                for file, content in files.items():
                    (Path(folder) / file).write_bytes(content)
                    client.log_artifact(run.info.run_id, str(Path(folder) / file))
            yield run

    def get(self, version: int) -> ModelVersion:
        """Return a version by number.

        Raises:
            RegistryError: there is none.
        """
        remedy = "train one by `make train`, which says its number"
        with asking(self.settings, f"the registry has no version {version}; {remedy}"):
            found = self._client.get_model_version(self.settings.registered_model, str(version))
            return self._typed(found)

    def champion(self) -> ModelVersion:
        """Return the version that serves.

        Raises:
            RegistryError: no version was promoted yet.
        """
        found = self.alias(CHAMPION)
        if found is None:
            raise NotRegisteredError(
                f"there is no {CHAMPION} model yet; train one by `make train` and serve it by "
                "`python -m flows up --version N`"
            )
        return found

    def alias(self, alias: str) -> ModelVersion | None:
        """Return the version that ``alias`` points at; None where it points at nothing.

        Raises:
            RegistryError: the registry does not answer.
        """
        try:
            with asking(self.settings, f"{alias} points at no version"):
                found = self._client.get_model_version_by_alias(self.settings.registered_model, alias)
                return self._typed(found)
        except NotRegisteredError:
            return None

    def set_alias(self, alias: str, version: int) -> None:
        """Point ``alias`` at ``version``; RegistryError where there is no such version."""
        self.get(version)
        self._client.set_registered_model_alias(self.settings.registered_model, alias, str(version))

    def remove_alias(self, alias: str) -> None:
        """Point ``alias`` at nothing, as after a rollback."""
        self._client.delete_registered_model_alias(self.settings.registered_model, alias)

    def card(self, version: int) -> ModelCard:
        """Return the model card of a version, without which it may not be promoted.

        Raises:
            RegistryError: it has none, or not all of it.
        """
        found = self.get(version)
        if missing := self._missing(found):
            raise RegistryError(
                f"version {version} has no complete model card ({', '.join(missing)} missing), so it cannot "
                "be promoted; train a version by `make train`, which writes the card when its gate is passed"
            )
        return ModelCard.from_json(found.artifact(f"{model_card.FOLDER}/{model_card.DATA}").read_text())

    def promote(self, version: int, approved: Approval) -> None:
        """Make ``version`` the champion; if it was the challenger, there is none afterwards.

        Args:
            version: one with a complete model card.
            approved: who or what promotes it and why; it is added to the card.

        Raises:
            RegistryError: there is no such version, or it has no card.
        """
        card, found = self.card(version), self.get(version)
        if CHAMPION not in found.aliases:
            self._keep(found, card.approved(approved))
        self.set_alias(CHAMPION, version)
        if CHALLENGER in found.aliases:
            self.remove_alias(CHALLENGER)

    def _keep(self, found: ModelVersion, card: ModelCard) -> None:
        from models.bill_of_materials import bill_of_materials

        for name, text in card.files().items():
            self._client.log_text(found.run_id, text, f"{model_card.FOLDER}/{name}")
        # Of the environment that trained it, not of the one that promotes it.
        if model_card.MATERIALS in self._missing(found):
            self._client.log_text(
                found.run_id, bill_of_materials(), f"{model_card.FOLDER}/{model_card.MATERIALS}"
            )

    def _missing(self, found: ModelVersion) -> list[str]:
        kept = self._client.list_artifacts(found.run_id, model_card.FOLDER)
        return sorted(set(model_card.FILES) - {Path(file.path).name for file in kept})

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
            str(found.run_id),
        )


def download(uri: str, settings: ModelSettings | None = None) -> Path:
    """Return the ONNX file of a registry address such as ``models:/rental-recommender@champion``.

    Raises:
        RegistryError: the address names no model of the registry, or the registry does not answer.
    """
    import mlflow

    settings = settings or ModelSettings()
    mlflow.set_tracking_uri(settings.tracking_uri)
    with asking(settings, f"the registry has no {uri}; train one by `make train`"), keeping(settings):
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
