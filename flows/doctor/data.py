"""Checks of what holds data: Spark, lake, feature store, registry, databases. Each leaves all as it was."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from feature_repo import history, lake, spark
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from flows.doctor import servers
from flows.doctor.examination import Check
from models.settings import ModelSettings


def checks() -> Iterator[Check]:
    """The checks of what the settings name."""
    features, models = FeatureSettings(), ModelSettings()
    yield Check("Spark", lambda: spark_master(features), "start it, or set RENTALS_SPARK_MASTER")
    if features.stream_url:
        yield Check(
            "stream", lambda: servers.reachable(features.stream_url), "start it, or set RENTALS_STREAM_URL"
        )
    yield Check("lake", lambda: tables(features), "make clean, then make features")
    yield Check(
        "feature registry", lambda: registry(features), "make features, or set RENTALS_FEAST_REGISTRY_URL"
    )
    yield Check("online store", lambda: online_store(features), "start it, or set RENTALS_ONLINE_STORE_URL")
    yield Check("MLflow", lambda: mlflow(models), "start it, or set RENTALS_MLFLOW_TRACKING_URI")
    if models.mlflow_artifacts:
        yield Check(
            "artifacts",
            lambda: servers.bucket(models.mlflow_artifacts),
            servers.GRANT.format("AWS_ENDPOINT_URL_S3"),
        )
    yield Check(
        "recommendations",
        lambda: servers.database(models.recommendations, "precompute"),
        "start it, let its user create tables, or set RENTALS_RECOMMENDATIONS_URL",
    )
    yield Check("runs", datastore, servers.GRANT.format("METAFLOW_S3_ENDPOINT_URL"))


def spark_master(settings: FeatureSettings) -> str:
    """A master on this machine needs nothing; another one is to listen and its executors to come back."""
    spark.check_reachable(settings)
    if settings.spark_master.startswith("local"):
        return f"{settings.spark_master}, in each process"
    return servers.reachable(settings.spark_master.removeprefix("k8s://"))


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
    """Feast reads what is registered; it is kept from making its tables."""
    found, url = "", settings.feast_registry_url
    if url:
        found = f"{servers.database(url, 'features')}; "
        if not servers.has_table(url, "feature_views"):
            return f"{found}nothing is registered yet: `make features` does that"
    elif not (settings.home / "feast" / "registry.db").is_file():
        return servers.NOT_YET.format(target="features")
    from feature_repo.store import open_store

    store = open_store(settings)
    return f"{found}{len(store.list_feature_views())} views, {len(store.list_feature_services())} services"


def online_store(settings: FeatureSettings) -> str:
    """It takes and gives back a value."""
    url = settings.online_store_url
    if urlsplit(url).scheme in ("redis", "rediss", "unix"):
        return servers.redis_server(url)
    if urlsplit(url).scheme in ("redis+cluster", "rediss+cluster"):
        return servers.redis_cluster(url.replace("+cluster", "", 1))
    return servers.database(url or f"sqlite:///{settings.home / 'feast' / 'online.db'}", "features")


def mlflow(settings: ModelSettings) -> str:
    """Versions can be read, and written where the store is a database."""
    from models.registry import CHAMPION, Registry

    found, is_server = "", settings.tracking_uri.startswith("http")
    if is_server:
        os.environ |= {
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": str(servers.CONNECT_SECONDS),
        }
    else:
        found = servers.database(settings.tracking_uri, "train")
        if settings.tracking_uri.startswith("sqlite") and "reads" not in found:
            return found
        if not servers.has_table(settings.tracking_uri, "registered_models"):
            return f"{found}; nothing is registered yet: `make train` does that"
    champion = Registry(settings).alias(CHAMPION)
    serves = f"version {champion.version} is the champion" if champion else "no champion yet"
    return f"{'answers' if is_server else found}; {serves}"


def datastore() -> str:
    """Metaflow's artifacts, where they are on S3."""
    from metaflow import metaflow_config

    if not metaflow_config.DATASTORE_SYSROOT_S3:
        return "in files below RENTALS_HOME"
    return servers.bucket(metaflow_config.DATASTORE_SYSROOT_S3, metaflow_config.S3_ENDPOINT_URL)
