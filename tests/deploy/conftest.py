import copy
from typing import Any

import pytest

from deploy.rendering import KUBERNETES, render

Documents = list[dict[str, Any]]


@pytest.fixture(scope="session", params=["cpu", "gpu"])
def overlay(request: pytest.FixtureRequest) -> tuple[str, Documents]:
    """An overlay's name and its objects, with version 3 as champion."""
    return request.param, render(KUBERNETES / "overlays" / request.param, 3, "registry.test/r", "1.2.3")


@pytest.fixture(scope="session")
def _rendered() -> Documents:
    return render(KUBERNETES / "overlays" / "cpu", 3, "registry.test/r", "1.2.3")


@pytest.fixture
def documents(_rendered: Documents) -> Documents:
    """The objects of the overlay for CPUs, to be changed by a test."""
    return copy.deepcopy(_rendered)
