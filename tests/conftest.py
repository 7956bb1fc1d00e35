"""Fixtures shared by all rooms: one home below the tests' temporary folder, one Spark session."""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's RENTALS_HOME; nothing of a user's own .rentals is read or written."""
    folder = tmp_path_factory.mktemp("home")
    os.environ["RENTALS_HOME"] = str(folder)
    return folder


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
