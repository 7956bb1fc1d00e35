"""The feature store: register, join as of a time, materialize, and read online; all of it by Feast's SDK."""

import importlib
import logging
import math
import os
import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from feature_repo.names import FEATURE_SERVICE, RENTAL_FEATURES, RENTAL_VIEW, USER_FEATURES, USER_VIEW
from feature_repo.settings import CHECKOUT, FeatureSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from feast import FeatureStore

BEGINNING = pd.Timestamp("1971-01-01", tz="UTC")
"""Before every event: materialization takes the latest value since then."""


class StoreError(RuntimeError):
    """The feature store cannot answer; the message names the remedy."""


def open_store(settings: FeatureSettings) -> "FeatureStore":
    """Open the store of ``feature_store.yaml`` under ``settings.home``, with the settings' online store.

    Raises:
        StoreError: the settings name an online store that is not known.
    """
    os.environ["RENTALS_HOME"] = str(settings.home)
    from feast import FeatureStore, RepoConfig

    file = CHECKOUT / "feature_repo" / "feature_store.yaml"
    config = yaml.safe_load(os.path.expandvars(file.read_text()))
    if settings.online_store_url:
        config["online_store"] = _online_store(settings.online_store_url)
    # Feast doubts that a registry in a file knows this setting; it does.
    logging.getLogger("feast.repo_config").addFilter(_not_about_serving)
    (settings.home / "feast").mkdir(parents=True, exist_ok=True)
    opened = FeatureStore(config=RepoConfig(**config, repo_path=file.parent))
    # Feast says with every call that its Spark store is young. Its import sets a filter, so ours comes after.
    importlib.import_module("feast.infra.offline_stores.contrib.spark_offline_store.spark")
    warnings.filterwarnings("ignore", "The spark (data source|offline store)", RuntimeWarning)
    return opened


def _not_about_serving(record: logging.LogRecord) -> bool:
    return "serve_features_while_materializing" not in record.getMessage()


def _online_store(url: str) -> dict[str, str]:
    scheme = url.partition("://")[0]
    if scheme in ("redis", "rediss", "unix"):
        return {"type": "feature_repo.packed.redis.PackedRedisOnlineStore", "url": url}
    if scheme in ("postgresql", "postgres"):
        return {"type": "feature_repo.packed.postgres.PackedPostgresOnlineStore", "url": url}
    raise StoreError(
        f"RENTALS_ONLINE_STORE_URL begins with {scheme!r}: give redis://HOST:PORT, "
        "postgresql://USER@HOST/DATABASE, or nothing for SQLite"
    )


def register(store: "FeatureStore") -> None:
    """Put the entities, views and the service of ``definitions`` into Feast's registry."""
    from feature_repo import definitions

    store.apply(
        [
            definitions.user,
            definitions.rental,
            definitions.user_view,
            definitions.rental_view,
            definitions.recommender_service,
        ]
    )


def as_of_events(store: "FeatureStore", events: pd.DataFrame) -> pd.DataFrame:
    """Point-in-time join: each event with the features of its user and rental as of ``event_timestamp``.

    Args:
        events: one row per event, with ``rating_id``, ``user_id``, ``rental_id``, ``event_timestamp`` (UTC)
            and whatever else.

    Returns:
        The same rows in order of time, with the features of the service.
    """
    joined = store.get_historical_features(
        entity_df=_plain(events), features=store.get_feature_service(FEATURE_SERVICE)
    ).to_df()
    if len(joined) != len(events):
        raise StoreError(
            f"the point-in-time join made {len(joined)} rows of {len(events)}: event ids are not unique"
        )
    joined["event_timestamp"] = pd.to_datetime(joined["event_timestamp"], utc=True)
    return joined.sort_values(["event_timestamp", "rating_id"], ignore_index=True)


def catalogue_as_of(store: "FeatureStore", rentals: pd.DataFrame, times: list[pd.Timestamp]) -> pd.DataFrame:
    """The whole catalogue as of each time: ``snapshot_at``, ``rental_id`` and the rental features.

    A rental belongs to a snapshot if it was listed before that time.
    """
    frames = [
        pd.DataFrame({"rental_id": listed, "event_timestamp": time})
        for time in times
        if len(listed := rentals.loc[rentals["listed_at"] < time, "rental_id"])
    ]
    if not frames:
        raise StoreError("no rental was listed before any of the catalogue's times: check the period")
    joined = store.get_historical_features(
        entity_df=_plain(pd.concat(frames, ignore_index=True)),
        features=[f"{RENTAL_VIEW}:{feature.name}" for feature in RENTAL_FEATURES],
    ).to_df()
    joined["snapshot_at"] = pd.to_datetime(joined.pop("event_timestamp"), utc=True)
    return joined.sort_values(["snapshot_at", "rental_id"], ignore_index=True)


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Spark's conversion takes no pandas extension types and no nanoseconds."""
    plain = frame.copy()
    plain["event_timestamp"] = plain["event_timestamp"].astype("datetime64[us, UTC]")
    return plain


def materialize(store: "FeatureStore", until: pd.Timestamp) -> None:
    """Write the latest features before or at ``until`` (UTC) into the online store."""
    store.materialize(start_date=BEGINNING.to_pydatetime(), end_date=until.to_pydatetime())


def write_online(store: "FeatureStore", view: str, table: "pa.Table") -> None:
    """Write rows of a view online, each readable at once; an older one never replaces a newer one.

    Args:
        store: an open store with one of the ``packed`` online stores.
        view: name of a registered feature view.
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
    online.online_write_table(store.config, store.get_feature_view(view), table)


def publish(settings: FeatureSettings, until: pd.Timestamp) -> None:
    """Register the definitions and bring the latest features before or at ``until`` online."""
    from feature_repo.spark import session

    session(settings)
    store = open_store(settings)
    register(store)
    materialize(store, until)


def empty(settings: FeatureSettings) -> None:
    """Forget everything that is registered and online, in whichever online store the settings name."""
    if (settings.home / "feast" / "registry.db").exists():
        open_store(settings).teardown()


class OnlineFeatures:
    """Reads the features of one user or rental from the online store."""

    def __init__(self, settings: FeatureSettings) -> None:
        self._store = open_store(settings)

    def user(self, user_id: str) -> dict[str, float | str | None]:
        """Features of a user by name; every value is None for a user whom the store does not know."""
        return self._read(USER_VIEW, [feature.name for feature in USER_FEATURES], "user_id", [user_id])[0]

    def rental(self, rental_id: str) -> dict[str, float | str | None]:
        """Features of a rental by name; every value is None for a rental which the store does not know."""
        return self.rentals([rental_id])[0]

    def rentals(self, rental_ids: list[str]) -> list[dict[str, float | str | None]]:
        """Features of rentals by name, in order and in one read; None as for one."""
        return self._read(RENTAL_VIEW, [feature.name for feature in RENTAL_FEATURES], "rental_id", rental_ids)

    def _read(
        self, view: str, names: list[str], join_key: str, values: list[str]
    ) -> list[dict[str, float | str | None]]:
        if not values:
            return []
        answer: dict[str, list[Any]] = self._store.get_online_features(
            features=[f"{view}:{name}" for name in names], entity_rows=[{join_key: value} for value in values]
        ).to_dict()
        rows = zip(*(answer[name] for name in names), strict=True)
        return [
            {
                name: None if isinstance(v, float) and math.isnan(v) else v
                for name, v in zip(names, row, strict=True)
            }
            for row in rows
        ]
