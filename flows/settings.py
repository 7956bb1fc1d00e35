"""Settings of the flows, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]

ROOMS = ("feature_repo", "models", "serving", "monitoring", "flows")
"""The packages of this project."""

Cron = Annotated[str, StringConstraints(pattern=r"^(\S+( \S+){4})?$")]
"""Minute, hour, day of the month, month and day of the week; empty for never."""


class Home(BaseSettings):
    """Where the flows write: all that must be known before Metaflow is imported."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""


class FlowSettings(Home):
    """How the flows cut time and what they ask of a model."""

    test_days: int = 60
    """The last days before the training's end are the test: long enough for a stable figure, short enough to
    be like the days that follow."""

    catalogue_weeks: int = 104
    """Weekly catalogue snapshots that the ranking loss and the tests see: two years of seasons, and a
    popularity that is at most a week old."""

    retrain_cooldown_days: int = Field(60, ge=0)
    """Days of new ratings that a training by an alarm must have seen more than the one before it: as many as
    its tests keep from it, or it would have learnt from none of what the alarm is about. Each training in a
    row that brought no version doubles them: what did not help will not help soon."""

    retrain_daily_budget: int = Field(3, ge=1)
    """Trainings that alarms may start within 24 hours."""

    retrain_patience: int = Field(3, ge=1)
    """Trainings in a row without a new version after which a person is called and nothing trains any more."""

    control_port: int = Field(0, ge=0, le=65535)
    """Port of the control API; 0 takes a free one."""

    control_room_port: int = Field(0, ge=0, le=65535)
    """Port of the control room's page; 0 takes a free one."""

    alert_url: str = ""
    """Webhook that is told when a person is needed (JSON with the key ``text``); else standard error."""

    git_commit: str = ""
    """Commit of the code, where a folder without Git holds it; it is kept with every version."""


class ClusterSettings(BaseSettings):
    """How the steps of flows run on Kubernetes, and when Argo starts the flows."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_CLUSTER_")

    image: str = "rentals-flows"
    """Image of every step: Python 3.11 with this project installed. The code comes along with a run."""

    service_account: str = ""
    """Kubernetes service account of every step; empty for that of the namespace."""

    rollout_account: str = ""
    """Service account of the step that rolls out, which patches the deployment; empty: that of the others."""

    secrets: list[str] = []
    """Kubernetes secrets whose keys become environment variables of every step, as JSON: ``["rentals"]``."""

    variables: dict[str, str] = {}
    """Further variables of every step, as JSON. Whoever may read a workflow reads them: nothing secret."""

    home_claim: str = "rentals"
    """Persistent volume claim that every step mounts; many nodes write to it (``ReadWriteMany``)."""

    home: Path = Path("/rentals")
    """Where it is mounted: the ``RENTALS_HOME`` of every step."""

    cpu: float = Field(1, gt=0)
    """CPUs that every step requests at least; a step's ``@resources`` may be more."""

    memory: int = Field(4096, ge=1)
    """The same for memory, in MB."""

    node_selector: dict[str, str] = {}
    """Labels of the nodes on which steps run, as JSON."""

    tolerations: list[dict[str, str]] = []
    """Taints that steps tolerate, as JSON."""

    gpus: int = Field(1, ge=0)
    """GPUs of the step that trains; 0 where the cluster has none."""

    gpu_node_selector: dict[str, str] = {}
    """Further labels of the nodes on which that step runs, as JSON."""

    gpu_tolerations: list[dict[str, str]] = [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]
    """Further taints that it tolerates, as JSON; by default the usual one of nodes with GPUs."""

    retries: int = Field(2, ge=0)
    """Further attempts of a step that can be repeated: a node may go at any time."""

    train_on: Literal["features", "drift"] = "features"
    """What starts this deployment of the training flow; ``make deploy-flows`` makes one of each."""

    roll_out_after: Literal["train", "refresh"] = "train"
    """What starts this deployment of the rollout flow; ``make deploy-flows`` makes one of each."""

    features_cron: Cron = "0 2 * * *"
    """When the features are computed (UTC); the training and the rollout follow."""

    refresh_cron: Cron = "0 3 * * 1"
    """When the champion's catalogue is refreshed (UTC); the rollout follows."""

    precompute_cron: Cron = "0 4 * * *"
    """When every user's recommendations are precomputed (UTC)."""

    monitor_cron: Cron = "0 6 * * *"
    """When the champion is compared with new ratings (UTC); drift starts a training."""

    search_cron: Cron = ""
    """When hyperparameters are searched (UTC)."""
