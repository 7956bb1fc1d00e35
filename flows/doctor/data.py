"""Checks of what holds data: Spark, lake, feature store, registry, databases. Each leaves all as it was."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from feature_repo import history, lake, spark
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from flows.doctor.examination import Check
from models.settings import ModelSettings

if TYPE_CHECKING:
    import sqlalchemy as sa

CONNECT_SECONDS = 5
"""Longest wait for a server."""

NOT_YET = "not there yet: `make {target}` makes it"

PROBE = "rentals_doctor"
"""Name of what is written and at once taken away again."""


def checks() -> Iterator[Check]:
    """The checks of what the settings name."""
    features, models = FeatureSettings(), ModelSettings()
    yield Check("Spark", lambda: spark_master(features), "start it, or set RENTALS_SPARK_MASTER")
    if features.stream_url:
        yield Check("stream", lambda: reachable(features.stream_url), "start it, or set RENTALS_STREAM_URL")
    yield Check("lake", lambda: tables(features), "make clean, then make features")
    yield Check("feature registry", lambda: registry(features), "make features")
    yield Check("online store", lambda: online_store(features), "start it, or set RENTALS_ONLINE_STORE_URL")
    yield Check("MLflow", lambda: mlflow(models), "start it, or set RENTALS_MLFLOW_TRACKING_URI")
    yield Check(
        "recommendations",
        lambda: database(models.recommendations, "precompute"),
        "start it, let its user create tables, or set RENTALS_RECOMMENDATIONS_URL",
    )
    yield Check(
        "runs", datastore, "start it, grant its account read and write, or set METAFLOW_S3_ENDPOINT_URL"
    )


def spark_master(settings: FeatureSettings) -> str:
    """A master on this machine needs nothing; another one is to listen and its executors to come back."""
    spark.check_reachable(settings)
    if settings.spark_master.startswith("local"):
        return f"{settings.spark_master}, in each process"
    return reachable(settings.spark_master.removeprefix("k8s://"))


def reachable(address: str) -> str:
    """Somebody listens at ``scheme://HOST:PORT``."""
    place = urlsplit(address)
    port = place.port or {"http": 80, "https": 443}[place.scheme]
    with socket.create_connection((place.hostname or "", port), CONNECT_SECONDS):
        return f"{place.scheme}://{place.hostname}:{port} listens"


def tables(settings: FeatureSettings) -> str:
    """Every batch can be read, and the features are of what stands there."""
    import pyarrow.parquet as pq

    if not lake.dataset_of(settings.lake):
        return f"no data yet at {settings.lake}: `make features` brings some"
    rows = {
        table: sum(pq.read_metadata(file).num_rows for file in (settings.lake / table).glob("*.parquet"))
        for table in TABLES
    }
    counts = ", ".join(f"{count:,} {table}" for table, count in rows.items())
    return (
        f"{lake.dataset_of(settings.lake)}: {counts}; features until {history.as_of(settings):%Y-%m-%d %H:%M}"
    )


def registry(settings: FeatureSettings) -> str:
    """Feast reads what is registered."""
    if not (settings.home / "feast" / "registry.db").is_file():
        return NOT_YET.format(target="features")
    from feature_repo.store import open_store

    store = open_store(settings)
    return f"{len(store.list_feature_views())} views, {len(store.list_feature_services())} services"


def online_store(settings: FeatureSettings) -> str:
    """It takes and gives back a value."""
    url = settings.online_store_url
    if urlsplit(url).scheme in ("redis", "rediss", "unix"):
        return _redis(url)
    return database(url or f"sqlite:///{settings.home / 'feast' / 'online.db'}", "features")


def _redis(url: str) -> str:
    import redis

    client: Any = redis.Redis.from_url(
        url, socket_timeout=CONNECT_SECONDS, socket_connect_timeout=CONNECT_SECONDS, retry=None
    )
    # One script is one moment, so that nothing is left whatever happens meanwhile.
    script = "redis.call('HSET', KEYS[1], 'a', 'b'); return redis.call('DEL', KEYS[1])"
    with client:
        client.eval(script, 1, f"{PROBE}_{os.getpid()}")
        return f"Redis {client.info('server')['redis_version']}, reads and writes"


def database(url: str, target: str) -> str:
    """A table can be made, written and read; nothing of it stays.

    Args:
        url: address for SQLAlchemy, with or without a driver.
        target: what of make would create it, where it is a file that is not there.
    """
    import sqlalchemy as sa

    from models.recommendation_table import DRIVERS

    address = sa.make_url(url)
    address = address.set(drivername=DRIVERS.get(address.drivername, address.drivername))
    is_file = address.get_backend_name() == "sqlite"
    if is_file and not Path(address.database or "").is_file():
        return NOT_YET.format(target=target)
    wait = {"timeout" if is_file else "connect_timeout": CONNECT_SECONDS}
    engine = sa.create_engine(address, connect_args=wait)
    try:
        _write_and_forget(engine)
        version = ".".join(map(str, engine.dialect.server_version_info or ()))
    finally:
        engine.dispose()
    return f"{address.get_backend_name()} {version}, reads and writes"


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


def mlflow(settings: ModelSettings) -> str:
    """Versions can be read, and written where the store is a database."""
    from models.registry import CHAMPION, Registry

    found, is_server = "", settings.tracking_uri.startswith("http")
    if is_server:
        os.environ |= {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_SECONDS),
        }
    else:
        found = database(settings.tracking_uri, "train")
        if settings.tracking_uri.startswith("sqlite") and "reads" not in found:
            return found
    champion = Registry(settings).alias(CHAMPION)
    serves = f"version {champion.version} is the champion" if champion else "no champion yet"
    return f"{'answers' if is_server else found}; {serves}"


def datastore() -> str:
    """Metaflow's artifacts: an object can be written, read and deleted where S3 is set."""
    from metaflow import metaflow_config

    if not metaflow_config.DATASTORE_SYSROOT_S3:
        return "in files below RENTALS_HOME"
    import boto3
    from botocore.config import Config

    root = urlsplit(metaflow_config.DATASTORE_SYSROOT_S3)
    waits = Config(connect_timeout=CONNECT_SECONDS, read_timeout=CONNECT_SECONDS, retries={"max_attempts": 0})
    s3 = boto3.client("s3", endpoint_url=metaflow_config.S3_ENDPOINT_URL, config=waits)
    where = {"Bucket": root.netloc, "Key": f"{root.path.strip('/')}/{PROBE}_{os.getpid()}".lstrip("/")}
    s3.put_object(**where, Body=b"")
    try:
        s3.get_object(**where)
    finally:
        s3.delete_object(**where)
    return f"s3://{root.netloc}{root.path}, reads and writes"
