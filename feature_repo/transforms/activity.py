"""Activity of an entity as of a day: counts, means and recency over windows of strictly earlier days.

A feature row as of day ``d`` (midnight UTC) knows the events of days before ``d`` only: an event never sees
itself, nor its neighbours of the same day. Values change when an event enters a window (the day after it) and
when it leaves one, so these are the days which get a row.
"""

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from feature_repo.names import WINDOW_DAYS

SECONDS_PER_DAY = 86_400


def day_of(timestamp: str) -> Column:
    """Days since 1970-01-01 (UTC) of a timestamp column."""
    return F.unix_date(F.to_date(F.col(timestamp)))


def midnight_of(day: str) -> Column:
    """The timestamp at which a day begins."""
    return F.timestamp_seconds(F.col(day).cast("long") * SECONDS_PER_DAY)


def timeline(events: DataFrame, starts: DataFrame, key: str, until_day: int) -> DataFrame:
    """Return one row per entity and day on which something happens or a feature changes.

    Args:
        events: ``key``, ``day`` and ``rating``, ``price``, ``category``, ``purpose`` of each event.
        starts: ``key`` and ``day`` from which the entity exists.
        key: name of the entity's column.
        until_day: days after this one are not written: their events have not arrived.

    Returns:
        ``key``, ``day``, the day's sums, and ``is_change``: whether a feature row belongs there.
    """
    daily = events.groupBy(key, "day").agg(
        F.count("*").alias("events"),
        F.sum("rating").alias("rating_sum"),
        F.count("price").alias("prices"),
        F.sum("price").alias("price_sum"),
        F.collect_list("category").alias("categories"),
        F.collect_list("purpose").alias("purposes"),
    )
    later = F.array(*[F.lit(1 + window) for window in (0, *WINDOW_DAYS)])
    changes = events.select(key, "day").distinct().select(key, F.explode(later).alias("after"), "day")
    changes = changes.select(key, (F.col("day") + F.col("after")).alias("day")).unionByName(
        starts.select(key, "day")
    )
    changes = changes.where(F.col("day") <= until_day).distinct().withColumn("is_change", F.lit(True))
    return daily.join(changes, [key, "day"], "full").withColumn(
        "is_change", F.coalesce("is_change", F.lit(False))
    )


def earlier_days(key: str, days: int | None = None) -> WindowSpec:
    """The window of the ``days`` days before a row's day; all days before it without ``days``."""
    start = Window.unboundedPreceding if days is None else -days
    return Window.partitionBy(key).orderBy("day").rangeBetween(start, -1)


def with_activity(rows: DataFrame, key: str, prefix: str) -> DataFrame:
    """Add ``{prefix}_rentals_*``, ``{prefix}_rating_mean_*`` and ``{prefix}_recency_days`` to a timeline."""
    columns: dict[str, Column] = {}
    for name, days in [*((f"{days}d", days) for days in WINDOW_DAYS), ("all", None)]:
        window = earlier_days(key, days)
        count = F.coalesce(F.sum("events").over(window), F.lit(0))
        columns[f"{prefix}_rentals_{name}"] = count.cast("float")
        columns[f"{prefix}_rating_mean_{name}"] = (F.sum("rating_sum").over(window) / count).cast("float")
    last = F.max(F.when(F.col("events") > 0, F.col("day"))).over(earlier_days(key))
    columns[f"{prefix}_recency_days"] = (F.col("day") - last).cast("float")
    return rows.withColumns(columns)


def typed(name: str, kind: str) -> Column:
    """The column in the type in which Feast stores it."""
    return F.col(name).cast("float" if kind == "numeric" else "string").alias(name)
