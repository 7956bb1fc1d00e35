"""The feature store: register, join as of a time, materialize, and read online; all of it by Feast's SDK."""

import importlib
import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from feature_repo import on_demand
from feature_repo.names import (
    FEATURE_SERVICE,
    ON_DEMAND_VIEWS,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_REQUEST_FEATURES,
    USER_VIEW,
    VIEWS,
    Feature,
)
from feature_repo.settings import CHECKOUT, FeatureSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore, FeatureView

BEGINNING = pd.Timestamp("1971-01-01", tz="UTC")
"""Before every event: materialization takes the latest value since then."""


VIEW_OF = {f.name: view for views in (VIEWS, ON_DEMAND_VIEWS) for view, fs in views.items() for f in fs}
"""The view of each feature, which no other view has."""


class StoreError(RuntimeError):
    """The feature store cannot answer; the message names the remedy."""


def open_store(settings: FeatureSettings) -> "FeatureStore":
    """Open the store of ``feature_store.yaml`` under ``settings.home``, with the settings' databases.

    Raises:
        StoreError: the settings name an online store that is not known, or a registry that does not answer.
    """
    from feast import FeatureStore, RepoConfig

    file = CHECKOUT / "feature_repo" / "feature_store.yaml"
    config = yaml.safe_load(Template(file.read_text()).substitute(RENTALS_HOME=settings.home))
    if settings.online_store_url:
        config["online_store"] = _online_store(settings.online_store_url)
    if settings.feast_registry_url:
        config["registry"] |= _sql_registry(settings.feast_registry_url)
    # Feast doubts that a registry in a file knows this setting; it does.
    logging.getLogger("feast.repo_config").addFilter(_not_about_serving)
    (settings.home / "feast").mkdir(parents=True, exist_ok=True)
    opened = FeatureStore(config=RepoConfig(**config, repo_path=file.parent))
    # Feast says with every call that its Spark store is young. Its import sets a filter, so ours comes after.
    importlib.import_module("feast.infra.offline_stores.contrib.spark_offline_store.spark")
    warnings.filterwarnings("ignore", "On demand feature view is an experimental", RuntimeWarning)
    warnings.filterwarnings("ignore", "The spark (data source|offline store)", RuntimeWarning)
    if settings.feast_registry_url:
        _connect(opened)
    return opened


def _not_about_serving(record: logging.LogRecord) -> bool:
    return "serve_features_while_materializing" not in record.getMessage()


def _online_store(url: str) -> dict[str, str]:
    scheme, separator, _ = url.partition("://")
    if scheme in ("redis", "rediss", "unix"):
        return {"type": "feature_repo.packed.redis.PackedRedisOnlineStore", "url": url}
    if scheme in ("redis+cluster", "rediss+cluster"):
        return {"type": "feature_repo.packed.redis_cluster.PackedRedisClusterOnlineStore", "url": url}
    if scheme in ("postgresql", "postgres"):
        return {"type": "feature_repo.packed.postgres.PackedPostgresOnlineStore", "url": url}
    # Text that is no address may hold a password.
    begins = f"begins with {scheme!r}" if separator else "is no address"
    raise StoreError(
        f"RENTALS_ONLINE_STORE_URL {begins}: give redis://HOST:PORT, "
        "redis+cluster://HOST:PORT, postgresql://USER@HOST/DATABASE, or nothing for SQLite"
    )


def _sql_registry(url: str) -> dict[str, Any]:
    scheme, _, place = url.partition("://")
    # The connections of a process that lives long outlive their server.
    kind = {"registry_type": "sql", "sqlalchemy_config_kwargs": {"pool_pre_ping": True}}
    return kind | {"path": url if scheme == "sqlite" else f"postgresql+psycopg://{place}"}


def _connect(opened: "FeatureStore") -> None:
    from sqlalchemy.exc import DBAPIError

    try:
        opened.list_projects()
    except DBAPIError as error:
        said = " ".join(str(error.orig).split())
        raise StoreError(
            f"what is registered with Feast cannot be read ({said}): start its database, let its user create "
            "tables, or correct RENTALS_FEAST_REGISTRY_URL"
        ) from error


def register(store: "FeatureStore", lake: Path) -> None:
    """Put the definitions, whose views read the histories in ``lake``, into Feast's registry."""
    from feature_repo import definitions

    definitions.read_from(lake)
    store.apply(
        [
            *definitions.entities,
            *definitions.views,
            *definitions.on_demand_views,
            *definitions.services,
        ]
    )


def as_of_events(store: "FeatureStore", events: pd.DataFrame, service: str = FEATURE_SERVICE) -> pd.DataFrame:
    """Point-in-time join: each event with the features as of ``event_timestamp``, its own rating not in them.

    Args:
        store: where the definitions are registered.
        events: one row per event, with ``rating_id``, ``event_timestamp`` (UTC), the keys of the service's
            entities and whatever else.
        service: which features. ``MARKETPLACE_SERVICE`` asks for ``user_id``, ``rental_id``, ``category`` and
            ``purpose``.

    Returns:
        The same rows in order of time, with the features of the service.
    """
    joined = as_of(store, events, service)
    if len(joined) != len(events):
        raise StoreError(
            f"the point-in-time join made {len(joined)} rows of {len(events)}: event ids are not unique"
        )
    return joined.sort_values(["event_timestamp", "rating_id"], ignore_index=True)


def features_as_of(store: "FeatureStore", requests: pd.DataFrame) -> pd.DataFrame:
    """Recompute the features of requests, by the same point-in-time join that makes training sets.

    Args:
        requests: one row per request and time: ``request_id``, ``user_id``, ``purpose`` ("" where none was
            named), ``event_timestamp`` (UTC), and ``requested_at`` (seconds since 1970) where the request was
            made at another time.

    Returns:
        The same rows in any order, with ``RECOMMENDER_REQUEST_FEATURES`` as of ``event_timestamp``: those of
        the latest rows of the history at or before it, missing for a user or purpose not known then.

    Raises:
        StoreError: the features are not registered.
    """
    joined = as_of(store, requests, references(RECOMMENDER_REQUEST_FEATURES))
    if len(joined) != len(requests):
        raise StoreError(f"the point-in-time join made {len(joined)} rows of {len(requests)} requests")
    return joined


def materialized_until(store: "FeatureStore") -> list[pd.Timestamp]:
    """The times up to which user features have been brought online so far, latest first, each once.

    Raises:
        StoreError: the features are not registered.
    """
    from feast.errors import FeatureViewNotFoundException

    try:
        view = store.get_feature_view(USER_VIEW)
    except FeatureViewNotFoundException as error:
        raise StoreError(f"the features are not registered ({error}): run `make features`") from error
    ends = {pd.Timestamp(end).tz_convert("UTC") for _, end in view.materialization_intervals}
    return sorted(ends, reverse=True)


def catalogue_as_of(store: "FeatureStore", rentals: pd.DataFrame, times: list[pd.Timestamp]) -> pd.DataFrame:
    """The whole catalogue as of each time: ``snapshot_at``, ``rental_id``, the recommender's rental features.

    A rental belongs to a snapshot if it was listed before that time.
    """
    frames = [
        pd.DataFrame({"rental_id": listed, "event_timestamp": time})
        for time in times
        if len(listed := rentals.loc[rentals["listed_at"] < time, "rental_id"])
    ]
    if not frames:
        raise StoreError("no rental was listed before any of the catalogue's times: check the period")
    joined = as_of(store, pd.concat(frames, ignore_index=True), references(RECOMMENDER_RENTAL_FEATURES))
    joined = joined.rename(columns={"event_timestamp": "snapshot_at"})
    return joined.sort_values(["snapshot_at", "rental_id"], ignore_index=True)


def references(features: tuple[Feature, ...]) -> list[str]:
    """Feast's names of features: ``view:feature``."""
    return [f"{VIEW_OF[feature.name]}:{feature.name}" for feature in features]


def as_of(store: "FeatureStore", events: pd.DataFrame, features: str | list[str]) -> pd.DataFrame:
    """Feast's historical features of ``events``, the request's inputs filled in from the event.

    Args:
        store: where the definitions are registered.
        events: the keys, ``event_timestamp`` (UTC) and whatever else.
        features: name of a service, or ``references``.

    Raises:
        StoreError: the features are not registered.
    """
    from feast.errors import FeatureServiceNotFoundException, FeatureViewNotFoundException

    # Spark's conversion takes no pandas extension types and no nanoseconds.
    times = events["event_timestamp"].astype("datetime64[us, UTC]")
    entities = events.assign(event_timestamp=times)
    if "requested_at" not in events:
        entities["requested_at"] = times.astype("int64") / 1e6
    if "purpose" in events:
        entities["requested_purpose"] = events["purpose"]
    try:
        wanted = store.get_feature_service(features) if isinstance(features, str) else features
        joined = store.get_historical_features(entity_df=entities, features=wanted).to_df()
    except (FeatureServiceNotFoundException, FeatureViewNotFoundException) as error:
        raise StoreError(f"the features are not registered ({error}): run `make features`") from error
    joined["event_timestamp"] = pd.to_datetime(joined["event_timestamp"], utc=True)
    return joined.drop(columns=["requested_at", "requested_purpose"], errors="ignore")


def materialize(store: "FeatureStore", until: pd.Timestamp) -> None:
    """Write the latest features before or at ``until`` (UTC) into the online store."""
    store.materialize(start_date=BEGINNING.to_pydatetime(), end_date=until.to_pydatetime())


def write_online(store: "FeatureStore", view: "str | FeatureView", table: "pa.Table") -> None:
    """Write rows of a view online, each readable at once; an older one never replaces a newer one.

    Args:
        store: an open store with one of the ``packed`` online stores.
        view: a registered feature view, or its name.
        table: columns are the join key, ``event_timestamp`` (UTC) and every feature of the view.

    Raises:
        StoreError: the store's online store is not a packed one.
        ValueError: a column is missing or does not fit, a key or time is null, a time is in the future.
        OnlineStoreError: the online store does not answer.
    """
    from feature_repo.packed.store import PackedOnlineStore

    online = store._get_provider().online_store
    if not isinstance(online, PackedOnlineStore):
        raise StoreError(f"{type(online).__name__} takes no Arrow table: name a packed online store")
    registered = store.get_feature_view(view) if isinstance(view, str) else view
    online.online_write_table(store.config, registered, table)


def publish(settings: FeatureSettings, until: pd.Timestamp) -> None:
    """Register the definitions and bring the latest features before or at ``until`` online."""
    from feature_repo.spark import session

    session(settings)
    store = open_store(settings)
    register(store, settings.lake)
    materialize(store, until)


def empty(settings: FeatureSettings) -> None:
    """Forget everything that is registered and online, in whichever databases the settings name."""
    if not settings.feast_registry_url and not (settings.home / "feast" / "registry.db").exists():
        return
    store = open_store(settings)
    # Feast's own teardown takes along all other projects, and leaves versions behind in a database.
    store.apply(
        [],
        objects_to_delete=[
            *store.list_feature_services(),
            *store.list_on_demand_feature_views(),
            *store.list_feature_views(),
            *store.list_data_sources(),
            *store.list_entities(),
        ],
        partial=False,
    )


class OnlineFeatures:
    """Reads what the recommender takes from the online store."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._store = open_store(settings)

    def user(
        self, user_id: str, purpose: str | None = None, at: pd.Timestamp | None = None
    ) -> dict[str, float | str | None]:
        """The features of a request by name, None where unknown.

        Args:
            user_id: who asks.
            purpose: what for; None where that is not said.
            at: the time of the request (UTC), now if None.
        """
        keys = {"user_id": [user_id], "purpose": [purpose or ""]}
        (found,) = self._read(
            RECOMMENDER_REQUEST_FEATURES, on_demand.user_recency, "user_last_rental_at", keys, at
        )
        return found

    def rentals(
        self, rental_ids: list[str], at: pd.Timestamp | None = None
    ) -> list[dict[str, float | str | None]]:
        """The recommender's features of rentals by name, in order, None where unknown; one read for all."""
        keys = {"rental_id": rental_ids}
        return self._read(
            RECOMMENDER_RENTAL_FEATURES, on_demand.rental_recency, "rental_last_rental_at", keys, at
        )

    def _read(
        self,
        features: tuple[Feature, ...],
        recency: Callable[[on_demand.Columns], on_demand.Columns],
        last_rental_at: str,
        entities: dict[str, list[str]],
        at: pd.Timestamp | None,
    ) -> list[dict[str, float | str | None]]:
        rows = len(next(iter(entities.values())))
        if not rows:
            return []
        stored = [reference for reference in references(features) if reference.partition(":")[0] in VIEWS]
        answer: dict[str, list[Any]] = self._store.get_online_features(
            features=[*stored, f"{VIEW_OF[last_rental_at]}:{last_rental_at}"], entity_rows=entities
        ).to_dict()
        # Feast would call the same function, but takes ten times as long for the whole answer.
        requested_at = (at or pd.Timestamp.now("UTC")).timestamp()
        answer |= recency({**answer, "requested_at": [requested_at] * rows})
        names = [feature.name for feature in features]
        columns = [[_plain(value) for value in answer[name]] for name in names]
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(value: Any) -> float | str | None:
    return None if isinstance(value, float) and math.isnan(value) else value
