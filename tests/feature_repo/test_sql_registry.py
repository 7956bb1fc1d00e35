"""What is registered with Feast in a database: other processes read it, and other projects keep theirs."""

import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pytest
from feast import FeatureStore, Project, RepoConfig

from feature_repo import store
from feature_repo.settings import CHECKOUT, FeatureSettings
from feature_repo.views import VIEW_DEFINITIONS

pytestmark = pytest.mark.slow

READ = """
from feature_repo.settings import FeatureSettings
from feature_repo.store import OnlineFeatures
print(OnlineFeatures(FeatureSettings()).rentals(["r1"])[0]["rental_category"])
"""


@pytest.fixture(params=["postgresql", "sqlite"])
def settings(request, tmp_path) -> FeatureSettings:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    else:
        url = request.getfixturevalue("new_database")()
    return FeatureSettings(home=tmp_path / "home", feast_registry_url=url)


def write_a_rental(opened: FeatureStore, category: str) -> None:
    view = opened.get_feature_view("rental_features")
    row = {field.name: None for field in view.features}
    row |= {"rental_id": "r1", "rental_category": category}
    kinds = {str: pa.string(), float: pa.float64()}
    columns = {
        field.name: pa.array([row[field.name]], kinds[str if "String" in str(field.dtype) else float])
        for field in view.features
    }
    times = pa.array([pd.Timestamp("2024-01-01", tz="UTC")], pa.timestamp("us", "UTC"))
    store.write_online(opened, view, pa.table(columns | {"rental_id": ["r1"], "event_timestamp": times}))


def test_another_process_reads_features_by_what_was_registered_here(settings, monkeypatch):
    opened = store.open_store(settings)
    store.register(opened, settings.lake)
    write_a_rental(opened, "gown")
    assert not (settings.home / "feast" / "registry.db").exists()

    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(CHECKOUT),
        "RENTALS_HOME": str(settings.home),
        "RENTALS_FEAST_REGISTRY_URL": settings.feast_registry_url,
    }
    done = subprocess.run(
        [sys.executable, "-c", READ], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["gown"], done.stderr

    # Registered again by somebody else, it is the same.
    store.register(store.open_store(settings), settings.lake)
    opened.refresh_registry()
    assert {view.name for view in opened.list_feature_views()} == {view.name for view in VIEW_DEFINITIONS}
    assert len(opened.list_feature_services()) == 2


def test_when_it_is_emptied_another_projects_definitions_stay(settings):
    opened = store.open_store(settings)
    store.register(opened, settings.lake)
    write_a_rental(opened, "gown")
    registry = opened.config.registry.model_dump() | {"registry_type": "sql"}
    own = {"offline_store": {"type": "dask"}, "online_store": {"path": str(settings.home / "other.db")}}
    other = FeatureStore(config=RepoConfig(project="other", provider="local", registry=registry, **own))
    other.apply([Project(name="other"), *opened.list_entities()])

    theirs = other.registry.list_entities("other")

    store.empty(settings)

    assert store.open_store(settings).list_feature_views() == []
    assert theirs and other.registry.list_entities("other") == theirs
    store.empty(settings)
    store.register(store.open_store(settings), settings.lake)
    assert store.OnlineFeatures(settings).rentals(["r1"])[0]["rental_category"] is None


def test_a_registry_that_is_away_is_an_error_and_tells_no_password(tmp_path):
    settings = FeatureSettings(home=tmp_path, feast_registry_url="postgresql://me:s3cret@127.0.0.1:9/rentals")
    with pytest.raises(store.StoreError, match=r"127\.0\.0\.1.*RENTALS_FEAST_REGISTRY_URL") as told:
        store.OnlineFeatures(settings)._store.list_feature_views()
    assert "s3cret" not in str(told.value)
