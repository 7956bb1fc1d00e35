"""Real servers for online stores: one of each a session, on free ports or sockets in temporary folders."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from redis_server import RedisServer
from small_marketplace import END, everything, home, marketplace

from feature_repo import history
from feature_repo.views import VIEW_DEFINITIONS


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def online_config(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], dict[str, object]]:
    """Configuration of an empty packed store by its kind."""

    def configure(kind: str) -> dict[str, object]:
        where = {
            "sqlite": lambda: {"path": str(tmp_path / "online.db")},
            "redis": lambda: {"url": request.getfixturevalue("redis_server").url},
            "redis_cluster": lambda: {"url": request.getfixturevalue("redis_cluster").url},
            "postgres": lambda: {"url": request.getfixturevalue("new_database")()},
        }
        name = kind.title().replace("_", "")
        return {"type": f"feature_repo.packed.{kind}.Packed{name}OnlineStore", **where[kind]()}

    return configure


@pytest.fixture(scope="session")
def whole(spark: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The marketplace's features, computed at once."""
    settings = home(tmp_path_factory.mktemp("whole"), marketplace())
    rows = history.compute(settings, END)
    found = everything(settings)
    assert rows == {view.name: found[view.name].num_rows for view in VIEW_DEFINITIONS}
    assert all(table.num_rows for table in found.values())
    return found
