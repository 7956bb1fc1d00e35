"""Servers of each kind: whether one answers, in which version, and can be written; nothing stays there."""

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flows.doctor.examination import Ailment

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_SECONDS = 5
"""Longest wait for a server."""

NOT_YET = "not there yet: `make {target}` makes it"

GRANT = "start it, make the bucket, let its account write, read and delete there, or set its endpoint ({})"
"""What to do about an S3 bucket."""

PROBE = "rentals_doctor"
"""Name of what is written and at once taken away again."""

WRITE_AND_FORGET = "redis.call('HSET', KEYS[1], 'a', 'b'); return redis.call('DEL', KEYS[1])"
"""One script is one moment, so that nothing is left whatever happens meanwhile."""


def reachable(address: str) -> str:
    """Somebody listens at ``scheme://HOST:PORT``."""
    place = urlsplit(address)
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    with socket.create_connection((place.hostname or "", port), CONNECT_SECONDS):
        return f"{place.scheme}://{place.hostname}:{port} listens"


def redis_server(url: str) -> str:
    """A value can be written and read in a Redis of one server."""
    import redis

    client: Any = redis.Redis.from_url(
        url, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS, retry=None
    )
    with client:
        with suppress(redis.exceptions.MovedError):
            client.eval(WRITE_AND_FORGET, 1, f"{PROBE}_{os.getpid()}")
        told = client.info("server")
        if told["redis_mode"] == "cluster":
            raise Ailment("this is a Redis Cluster: begin its address with redis+cluster://")
        return f"Redis {told['redis_version']}, reads and writes"


def redis_cluster(url: str) -> str:
    """Every server with slots takes and gives back a value."""
    from redis.cluster import RedisCluster

    client: Any = RedisCluster.from_url(
        url, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS
    )
    with client:
        if (state := client.cluster_info()["cluster_state"]) != "ok":
            raise Ailment(f"the cluster's state is {state}: some of its slots have no server")
        versions, names = set(), (f"{PROBE}_{os.getpid()}_{number}" for number in itertools.count())
        for server in client.get_primaries():
            client.eval(WRITE_AND_FORGET, 1, next(n for n in names if client.get_node_from_key(n) == server))
            versions.add(client.info("server", target_nodes=server)["redis_version"])
        count = len(client.get_primaries())
        return f"Redis Cluster {', '.join(sorted(versions))}, {count} servers with slots, reads and writes"


def database(url: str, target: str) -> str:
    """A table can be made, written and read; nothing of it stays.

    Args:
        url: address for SQLAlchemy, with or without a driver.
        target: what of make would create it, where it is a file that is not there.
    """
    with _engine(url) as engine:
        if engine.dialect.name == "sqlite" and not Path(engine.url.database or "").is_file():
            return NOT_YET.format(target=target)
        _write_and_forget(engine)
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
        return f"{engine.dialect.name} {version}, reads and writes"


@contextmanager
def _engine(url: str) -> Iterator["sa.Engine"]:
    import sqlalchemy as sa

    from models.recommendation_table import DRIVERS

    address = sa.make_url(url)
    address = address.set(drivername=DRIVERS.get(address.drivername, address.drivername))
    wait = "timeout" if address.get_backend_name() == "sqlite" else "connect_timeout"
    engine = sa.create_engine(address, connect_args={wait: CONNECT_SECONDS})
    try:
        yield engine
    finally:
        engine.dispose()


def has_table(url: str, name: str) -> bool:
    """Whether a database has a table, for programs that would make it when they look."""
    import sqlalchemy as sa

    with _engine(url) as engine:
        return sa.inspect(engine).has_table(name)


def _write_and_forget(engine: "sa.Engine") -> None:
    import sqlalchemy as sa

    table = sa.Table(f"{PROBE}_{os.getpid()}", sa.MetaData(), sa.Column("value", sa.Integer))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver would begin only after the table is made.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        table.create(connection)
        try:
            connection.execute(sa.insert(table), {"value": 1})
            connection.execute(sa.select(table)).one()
        finally:
            # MySQL keeps a table as soon as it is made; elsewhere the rollback is enough, after a fault too.
            if engine.dialect.name in ("mysql", "mariadb"):
                table.drop(connection)
            connection.rollback()


def bucket(uri: str, endpoint: str | None = None) -> str:
    """An object can be written, read and deleted below an address.

    Args:
        uri: ``s3://BUCKET/FOLDER``.
        endpoint: of the server; None for what AWS's own variables say.
    """
    import boto3
    from botocore.config import Config

    root = urlsplit(uri)
    waits = Config(connect_timeout=CONNECT_SECONDS, read_timeout=CONNECT_SECONDS, retries={"max_attempts": 0})
    s3 = boto3.client("s3", endpoint_url=endpoint, config=waits)
    where = {"Bucket": root.netloc, "Key": f"{root.path.strip('/')}/{PROBE}_{os.getpid()}".lstrip("/")}
    s3.put_object(**where, Body=b"")
    try:
        s3.get_object(**where)
    finally:
        s3.delete_object(**where)
    return f"s3://{root.netloc}{root.path}, reads and writes"
