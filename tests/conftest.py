"""Fixtures shared by all rooms: one home below the tests' temporary folder, one Spark session."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


# Some settings are read when a module is imported, so this comes before any test is collected.
HOME = Path(tempfile.mkdtemp(prefix="rentals-home-"))
os.environ["RENTALS_HOME"] = str(HOME)


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
