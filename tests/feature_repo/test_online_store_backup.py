"""Online features on a server: dumped by its own tools they come back, and from the lake in any case."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
import redis
from redis_server import RedisServer

from feature_repo.names import USER_VIEW
from feature_repo.settings import FeatureSettings
from feature_repo.store import OnlineFeatures, open_store, register, write_online

pytestmark = pytest.mark.slow

USERS = ["1", "ü", "none"]
AT = pd.Timestamp("2026-05-01", tz="UTC")


def fill(settings: FeatureSettings) -> list[Any]:
    """Register the features, bring those of two users online, and return what is read of three."""
    store = open_store(settings)
    register(store, settings.lake)
    view = store.get_feature_view(USER_VIEW)
    values = {
        field.name: pa.array(["[]", "[]"]) if "String" in str(field.dtype) else pa.array([1.5, 2.5])
        for field in view.schema
    }
    times = pa.array([AT, AT], pa.timestamp("us", "UTC"))
    write_online(store, view, pa.table(values | {"user_id": USERS[:2], "event_timestamp": times}))
    return answers(settings)


def answers(settings: FeatureSettings) -> list[Any]:
    online = OnlineFeatures(settings)
    return [online.user(user, at=AT) for user in USERS]


def test_redis_comes_back_from_a_dump_of_redis_cli(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    persistent = ("--appendonly", "yes")
    server = RedisServer(folder, *persistent)
    settings = FeatureSettings(home=tmp_path, online_store_url=server.url)
    try:
        before = fill(settings)
        cli = [str(Path(sys.executable).with_name("redis-cli")), "-u", server.url]
        subprocess.run([*cli, "--rdb", str(tmp_path / "dump.rdb")], check=True, capture_output=True)
        server.kill()
        for path in folder.iterdir():
            path.unlink()
        (tmp_path / "dump.rdb").rename(folder / "dump.rdb")
        # With its append-only file switched on, Redis reads no dump.
        server._options = ("--save", "", "--appendonly", "no")
        server.start()
        client = redis.Redis.from_url(server.url)
        client.config_set("appendonly", "yes")
        while client.info("persistence")["aof_rewrite_in_progress"]:
            pass
        client.close()
        server.kill()
        (folder / "dump.rdb").unlink()
        server._options = ("--save", "", *persistent)
        server.start()
        assert answers(settings) == before
        assert before[0]["user_rentals_all"] == 1.5 and before[2]["user_rentals_all"] is None
    finally:
        server.kill()


def test_postgresql_comes_back_from_a_dump_of_pg_dump(
    tmp_path: Path, new_database: Callable[[], str], postgres_tool: Callable[..., None]
) -> None:
    before = fill(FeatureSettings(home=tmp_path, online_store_url=(old := new_database())))
    postgres_tool("pg_dump", "--format=custom", f"--file={tmp_path / 'features.dump'}", f"--dbname={old}")
    new = FeatureSettings(home=tmp_path, online_store_url=new_database())
    postgres_tool(
        "pg_restore", "--exit-on-error", f"--dbname={new.online_store_url}", tmp_path / "features.dump"
    )
    assert answers(new) == before
