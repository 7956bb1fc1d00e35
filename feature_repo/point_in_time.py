"""The point-in-time join in time that grows with rows: Feast's Spark offline store with another plan for it.

Feast joins each event with every earlier row of its key and then drops all but the latest. Of a category with
a row for each of thousands of days that is thousands of rows an event. Here the events are put among the rows
of their key, in order of time, and each takes the last row before it: one sort and one pass.
"""

from typing import Any, Literal

import pandas as pd
from feast import FeatureView, RepoConfig
from feast.infra.offline_stores import offline_utils
from feast.infra.offline_stores.contrib.spark_offline_store.spark import (
    SparkOfflineStore,
    SparkOfflineStoreConfig,
    SparkRetrievalJob,
    get_spark_session_or_start_new_with_repoconfig,
)
from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

EVENT = "__event"
"""Number of an event; no column of a caller or a source is called so."""


class PointInTimeOfflineStoreConfig(SparkOfflineStoreConfig):
    """As Feast's Spark offline store."""

    type: Literal["feature_repo.point_in_time.PointInTimeOfflineStore"] = (
        "feature_repo.point_in_time.PointInTimeOfflineStore"
    )
    """Class of the store."""


class PointInTimeOfflineStore(SparkOfflineStore):
    """Feast's Spark offline store; training sets of a pandas frame are joined by a sort."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: Any,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """Feast's join; what is not asked for by a pandas frame, or with options, takes Feast's own way."""
        plain = all(isinstance(view.batch_source, SparkSource) for view in feature_views)
        options = filter_by_created_timestamp or any(kwargs.values())
        if not isinstance(entity_df, pd.DataFrame) or not plain or options:
            return SparkOfflineStore.get_historical_features(
                config,
                feature_views,
                feature_refs,
                entity_df,
                registry,
                project,
                full_feature_names,
                filter_by_created_timestamp,
                **kwargs,
            )
        schema = dict(zip(entity_df.columns, entity_df.dtypes, strict=True))
        timestamp = offline_utils.infer_event_timestamp_from_entity_df(schema)
        offline_utils.assert_expected_columns_in_entity_df(
            schema, offline_utils.get_expected_join_keys(project, feature_views, registry), timestamp
        )
        times = pd.to_datetime(entity_df[timestamp], utc=True)
        spark = get_spark_session_or_start_new_with_repoconfig(config.offline_store)
        numbered = entity_df.copy()
        numbered[timestamp], numbered[EVENT] = times, range(len(entity_df))
        events = spark.createDataFrame(numbered)
        contexts = offline_utils.get_feature_view_query_context(
            feature_refs, feature_views, registry, project, (times.min(), times.max())
        )
        joined = events
        for context in contexts:
            found = _latest(spark, events, timestamp, context, full_feature_names)
            joined = joined.join(found, EVENT, "left")
        name = offline_utils.get_temp_entity_table_name()
        joined.drop(EVENT).createOrReplaceTempView(name)
        return SparkRetrievalJob(
            spark_session=spark,
            query=f"SELECT * FROM {name}",  # noqa: S608
            full_feature_names=full_feature_names,
            config=config,
            on_demand_feature_views=OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry),
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in schema if column != timestamp],
                min_event_timestamp=times.min(),
                max_event_timestamp=times.max(),
            ),
        )


def _latest(
    spark: SparkSession,
    events: DataFrame,
    timestamp: str,
    context: offline_utils.FeatureViewQueryContext,
    full_feature_names: bool,
) -> DataFrame:
    """The number of each event that has features, and the view's features as of it."""
    created = context.created_timestamp_column
    features = {feature: context.field_mapping.get(feature, feature) for feature in context.features}
    prefix = f"{context.name}__" if full_feature_names else ""
    known = " AND ".join(f"`{key}` IS NOT NULL" for key in context.entities) or "TRUE"
    columns = [
        *context.entity_selections,
        f"`{context.timestamp_field}` AS __at",
        f"{f'`{created}`' if created else 'CAST(NULL AS TIMESTAMP)'} AS __created",
        f"CAST(NULL AS BIGINT) AS {EVENT}",
        f"struct({', '.join(f'`{feature}` AS `{name}`' for feature, name in features.items())}) AS __row",
    ]
    rows = spark.sql(f"SELECT {', '.join(columns)} FROM {context.table_subquery}").where(known)  # noqa: S608
    asked = events.where(known).select(
        *context.entities, F.col(timestamp).alias("__at"), F.lit(None).alias("__created"), EVENT
    )
    # A row of the event's own time is known as of it, so it comes first; of twins the last created counts.
    order = [F.col("__at"), F.col(EVENT).isNotNull(), F.col("__created")]
    window = Window.partitionBy(*context.entities).orderBy(*order).rowsBetween(Window.unboundedPreceding, 0)
    latest = F.last(F.when(F.col(EVENT).isNull(), F.struct("__at", "__row")), ignorenulls=True).over(window)
    found = (
        rows.unionByName(asked, allowMissingColumns=True)
        .withColumn("__found", latest)
        .where(F.col(EVENT).isNotNull() & F.col("__found").isNotNull())
    )
    if context.ttl:
        age = F.unix_micros("__at") - F.unix_micros("__found.__at")
        found = found.where(age <= context.ttl * 1_000_000)
    return found.select(
        EVENT, *[F.col(f"__found.__row.`{n}`").alias(f"{prefix}{n}") for n in features.values()]
    )
