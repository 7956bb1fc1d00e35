"""Our point-in-time join beside Feast's own, on the real Spark."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.slow

START = pd.Timestamp("2020-01-01", tz="UTC")
KINDS = {"own": "spark", "ours": "feature_repo.point_in_time.PointInTimeOfflineStore"}


def minutes(numbers):
    return (START + pd.to_timedelta(numbers, unit="min")).astype("datetime64[us, UTC]")


@pytest.fixture(scope="module")
def join(spark, tmp_path_factory):
    """Joins the same events by either store: ties, twins, a time to live, a field mapping, missing keys."""
    from feast import Entity, FeatureStore, FeatureView, Field, RepoConfig, ValueType
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource
    from feast.types import Float32, String

    folder = tmp_path_factory.mktemp("join")
    draw = np.random.default_rng(0)
    rows = pd.DataFrame({"driver": draw.choice(["1", "11", "ü"], 80), "value": draw.random(80)})
    rows["label"] = [None if number % 7 == 0 else f"row {number}" for number in range(80)]
    rows["at"], rows["made"] = minutes(5 * draw.integers(0, 40, 80)), minutes(draw.permutation(80))
    rows.astype({"value": "float32"}).to_parquet(folder / "rows.parquet")
    drivers = np.array(["1", "11", "ü", "nobody", None], object)
    events = pd.DataFrame({"driver": draw.choice(drivers, 200), "number": range(200)})
    events["event_timestamp"] = minutes(draw.integers(-5, 260, 200))
    source = SparkSource(
        name="rows",
        path=str(folder / "rows.parquet"),
        file_format="parquet",
        timestamp_field="at",
        created_timestamp_column="made",
        field_mapping={"value": "speed"},
    )
    driver = Entity(name="driver", join_keys=["driver"], value_type=ValueType.STRING)
    fields = [("driver", String), ("speed", Float32), ("label", String)]

    def joined(kind, features, full_feature_names):
        config = RepoConfig(
            project=kind,
            registry=str(folder / f"{kind}.db"),
            provider="local",
            offline_store={"type": KINDS[kind]},
            entity_key_serialization_version=3,
        )
        store = FeatureStore(config=config)
        views = [
            FeatureView(
                name=name,
                entities=[driver],
                ttl=timedelta(minutes=ttl),
                schema=[Field(name=field, dtype=kind) for field, kind in fields],
                source=source,
            )
            for name, ttl in (("ever", 0), ("lately", 10))
        ]
        store.apply([driver, *views])
        found = store.get_historical_features(events, features, full_feature_names).to_df()
        return found.sort_values("number", ignore_index=True)

    return joined


@pytest.mark.parametrize(
    ("features", "full_feature_names"),
    [
        (["ever:speed", "ever:label"], False),
        (["ever:speed", "lately:speed", "lately:label"], True),
    ],
)
def test_it_gives_what_feasts_own_join_gives(join, features, full_feature_names):
    ours, own = (join(kind, features, full_feature_names) for kind in KINDS)
    assert set(ours) == set(own)
    assert ours["number"].tolist() == list(range(200))
    for name in own:
        pd.testing.assert_series_equal(ours[name], own[name], check_dtype=False)
    values = [name for name in own if name.endswith(("speed", "label"))]
    assert (ours[values].notna().sum() > 20).all()
    assert (ours[values].isna().sum() > 20).all()
