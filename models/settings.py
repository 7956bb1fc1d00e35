"""Settings of training and of the registry, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class ModelSettings(BaseSettings):
    """Where trained models and their records live."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    mlflow_tracking_uri: str = ""
    """Runs and versions: an MLflow server (``https://…``), or a database of its kind (``postgresql://…``);
    empty for SQLite under ``home``."""

    mlflow_artifacts: str = Field("", pattern="^(s3://.+[^/])?$")
    """Where runs keep models, cards and files: ``s3://BUCKET/FOLDER``; empty for a folder under ``home``.

    It holds for experiments that are made from now on; an MLflow server decides by itself. Endpoint and
    account are those of AWS's own variables (``AWS_ENDPOINT_URL_S3``, ``AWS_ACCESS_KEY_ID``, …).
    """

    registered_model: str = "rental-recommender"
    """Name of the model in the MLflow registry."""

    recommendations_url: str = ""
    """Database of the precomputed recommendations: ``postgresql://…`` or ``mysql://…``; empty for SQLite."""

    recommendations_per_user: int = Field(20, ge=1)
    """Rentals of each user in it."""

    recommendations_block: int = Field(4096, ge=1)
    """Users of one transaction: so many are computed anew where a precomputation was killed."""

    @property
    def mlflow(self) -> Path:
        """Folder of MLflow's database and artifacts."""
        return self.home / "mlflow"

    @property
    def tracking_uri(self) -> str:
        """Address of the tracking store and the registry."""
        return self.mlflow_tracking_uri or f"sqlite:///{self.mlflow.resolve() / 'mlflow.db'}"

    @property
    def artifacts(self) -> str | None:
        """Address of the artifacts of experiments that are made from now on; None where a server decides."""
        if self.tracking_uri.startswith("http"):
            return None
        return self.mlflow_artifacts or (self.mlflow / "artifacts").resolve().as_uri()

    @property
    def recommendations(self) -> str:
        """Address of the database of recommendations."""
        return self.recommendations_url or f"sqlite:///{self.home / 'recommendations.db'}"


class Hyperparameters(BaseSettings):
    """How the recommender is trained.

    The defaults were chosen on Rent the Runway, on the last 60 days before 2016-01 and before 2017-01, so the
    figures for these days may be slightly too good. On the 60 days before 2015-07 no other value that was
    tried for rates, decays, dropouts, sizes or epochs is better by more than another seed makes.
    """

    model_config = SettingsConfigDict(env_prefix="RENTALS_", frozen=True)

    seed: int = 7
    """Seed of initial weights, batch order, dropout and id masking."""

    epochs: int = Field(4, ge=1)
    """Passes over the training events."""

    batch_size: int = Field(512, ge=1)
    """Most events, all of one catalogue snapshot, in a step."""

    ranking_dimension: int = Field(64, ge=1)
    """Length of the vectors whose dot product ranks."""

    ranking_learning_rate: float = Field(0.012, gt=0)
    """Peak step of AdamW for the ranking half; low rates underfit badly."""

    ranking_weight_decay: float = Field(1.0, ge=0)
    """Weight decay of the ranking vectors; scalar popularity weights have none."""

    ranking_dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout on the user's ranking vector."""

    rating_members: int = Field(8, ge=1)
    """Networks whose mean predicts the rating; they share their embeddings."""

    rating_embedding: int = Field(12, ge=1)
    """Length of the embeddings of the rating half."""

    rating_dimension: int = Field(8, ge=1)
    """Length of each member's vectors, whose dot product enters the rating."""

    rating_hidden: int = Field(64, ge=1)
    """Width of each member's hidden layer."""

    rating_learning_rate: float = Field(0.001, gt=0)
    """Peak step of AdamW for the rating half."""

    rating_weight_decay: float = Field(0.01, ge=0)
    """Weight decay of the rating half."""

    rating_dropout: float = Field(0.3, ge=0, lt=1)
    """Dropout in the hidden layers of the rating half."""

    id_masking: float = Field(0.5, ge=0, le=1)
    """Share of user and rental ids hidden in training, so that unseen ids fall back on features."""

    minimum_user_events: int = Field(5, ge=1)
    """Users with fewer training events get no embedding of their own: they could only be memorised."""

    warm_epochs: int = Field(1, ge=1)
    """Passes over the events of a training that goes on from the champion."""

    warm_days: int = Field(365, ge=1)
    """How far back such a training looks: a year, or it forgets what people want in the season that comes."""

    warm_rate: float = Field(0.3, gt=0)
    """Share of the peak steps that such a training takes: it starts near the goal."""

    def warm(self) -> "Hyperparameters":
        """Return these settings as a training that goes on from the champion takes them."""
        return self.model_copy(
            update={
                "epochs": self.warm_epochs,
                "ranking_learning_rate": self.ranking_learning_rate * self.warm_rate,
                "rating_learning_rate": self.rating_learning_rate * self.warm_rate,
            }
        )


class TrainerSettings(BaseSettings):
    """Where a training runs; the names and values are those of Lightning's Trainer."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_TRAINER_", frozen=True)

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """``auto`` takes a GPU where there is one; only on a CPU does a seed give the same weights twice."""

    devices: int = Field(1, ge=1)
    """GPUs, or processes on a CPU, of each machine; each takes a part of the batches."""

    nodes: int = Field(1, ge=1)
    """Machines that train together."""

    strategy: str = "auto"
    """How several work together, such as ``ddp`` or ``ddp_spawn``."""

    precision: Literal["bf16-mixed", "16-mixed", "32-true"] = "bf16-mixed"
    """Of the arithmetic on a GPU; a CPU always takes ``32-true``."""


class GateSettings(BaseSettings):
    """What a trained model must show before it is registered. Each limit names its reason."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_GATE_", frozen=True)

    ranking_margin: float = Field(0.15, ge=0)
    """Share of the rival's NDCG@10 that a model which is better in ratings may at worst lose in ranking; the
    end of the interval counts. Half the width of the interval is a tenth of the NDCG where the window has a
    thousand events: with a margin below that, an equal ranking could not be told from a worse one."""

    rating_margin: float = Field(0.02, ge=0)
    """The same for the mean squared error of ratings: 1 % of the RMSE, which nobody notices."""

    segment_ranking_margin: float = Field(0.2, ge=0)
    """Share of the rival's NDCG@10 in a large segment; a loss beyond it that is outside noise refuses."""

    segment_rating_margin: float = Field(0.05, ge=0)
    """The same for the mean squared error in a large segment."""

    large_segment_events: int = Field(300, ge=2)
    """Events from which on a segment is judged: with fewer, no loss of these margins is outside noise."""

    least_events: int = Field(200, ge=2)
    """Events that the window must have: fewer can prove nothing."""

    parity_rows: int = Field(10_000, ge=1)
    """Real requests, the latest ones, on which the exported graphs are held against PyTorch."""

    parity_limit: float = Field(1e-5, gt=0)
    """Largest difference of a score or a predicted rating that single precision explains."""
