"""The list of features, and that what Feast registers is exactly this list."""

import subprocess
import sys

import pytest

from feature_repo import on_demand
from feature_repo.names import (
    FEATURE_SERVICE,
    MARKETPLACE_SERVICE,
    ON_DEMAND_VIEWS,
    OWNER,
    RECOMMENDER_RENTAL_FEATURES,
    RECOMMENDER_REQUEST_FEATURES,
    VIEWS,
)
from feature_repo.views import VIEW_DEFINITIONS

EVERY = {**VIEWS, **ON_DEMAND_VIEWS}
FEATURES = [feature for features in EVERY.values() for feature in features]


@pytest.fixture(scope="module")
def definitions():
    from feature_repo import definitions

    return definitions


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_every_feature_says_what_it_is(feature):
    for text in (feature.name, feature.description, feature.unit, feature.validity):
        assert text and text == text.strip()


def test_names_are_unique_over_all_views():
    names = [feature.name for feature in FEATURES]
    assert len(names) == len(set(names))
    assert not set(names) & {view.key for view in VIEW_DEFINITIONS}
    assert not set(VIEWS) & set(ON_DEMAND_VIEWS)


def test_every_stored_view_is_defined_once_and_its_features_carry_its_prefix():
    assert [view.name for view in VIEW_DEFINITIONS] == list(VIEWS)
    for view in VIEW_DEFINITIONS:
        assert all(feature.name.startswith(f"{view.prefix}_") for feature in VIEWS[view.name])


def test_exactly_these_features_are_registered_in_this_order(definitions):
    registered = {view.name: view for view in [*definitions.views, *definitions.on_demand_views]}
    assert list(registered) == list(EVERY)
    for name, features in EVERY.items():
        assert [field.name for field in registered[name].features] == [feature.name for feature in features]
        assert registered[name].owner == OWNER
        assert registered[name].description


def test_what_is_said_about_a_feature_is_registered_too(definitions):
    for view in definitions.views:
        for field, feature in zip(view.features, VIEWS[view.name], strict=True):
            assert field.description == feature.description
            assert (field.tags["unit"], field.tags["validity"]) == (feature.unit, feature.validity)
            assert field.tags.get("initial") == (None if feature.initial is None else f"{feature.initial:g}")
    for view in definitions.on_demand_views:
        for feature in ON_DEMAND_VIEWS[view.name]:
            for text in (feature.description, feature.unit, feature.validity):
                assert text in view.tags[feature.name]


def test_each_registered_type_holds_what_is_computed(definitions):
    from feast.type_map import pa_to_feast_value_type

    from feature_repo.transforms.activity import ARROW_TYPES
    from feature_repo.transforms.batch import SPARK_TYPES

    assert set(ARROW_TYPES) == set(SPARK_TYPES) == set(definitions.TYPES)
    for view in definitions.views:
        for field, feature in zip(view.features, VIEWS[view.name], strict=True):
            assert field.dtype.to_value_type() == pa_to_feast_value_type(str(ARROW_TYPES[feature.kind]))
    assert {feature.kind for features in ON_DEMAND_VIEWS.values() for feature in features} == {"numeric"}


def test_every_service_gives_what_its_name_promises(definitions):
    given = {
        service.name: {field.name for source in service.feature_view_projections for field in source.features}
        for service in definitions.services
    }
    recommender = {feature.name for feature in RECOMMENDER_REQUEST_FEATURES + RECOMMENDER_RENTAL_FEATURES}
    assert given == {
        FEATURE_SERVICE: recommender,
        MARKETPLACE_SERVICE: {feature.name for feature in FEATURES},
    }


class Recorder(dict):
    """Columns of one row with nothing in them, which know what was asked of them."""

    def __init__(self):
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return [None]


@pytest.mark.parametrize("name", ON_DEMAND_VIEWS)
def test_an_on_demand_view_has_exactly_the_inputs_that_its_function_reads(definitions, name):
    view = next(view for view in definitions.on_demand_views if view.name == name)
    stored = [f.name for source in view.source_feature_view_projections.values() for f in source.features]
    asked = [field.name for source in view.source_request_sources.values() for field in source.schema]
    columns = Recorder()
    answer = getattr(on_demand, name)(columns)
    assert columns.read == {*stored, *asked}
    assert list(answer) == [feature.name for feature in ON_DEMAND_VIEWS[name]]


@pytest.mark.parametrize("module", ["names", "views", "on_demand"])
def test_a_light_module_imports_neither_feast_nor_spark_nor_pandas(module):
    heavy = "{'feast', 'pyspark', 'pandas', 'pyarrow', 'torch'}"
    code = f"import sys, feature_repo.{module}; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
