"""Rooms do not import each other, so what two of them must agree on is held together here."""

import pytest

from feature_repo.schema import KEYS, RATING_SCALE, SIZE_SCALE, SOURCE_TEXT, TABLES
from monitoring import contracts


@pytest.mark.parametrize("table", TABLES)
def test_what_is_validated_is_what_the_lake_takes(table):
    validated = {column.name: column for column in contracts.TABLES[table]}
    assert list(validated) == TABLES[table].names
    for field in TABLES[table]:
        assert validated[field.name].required == (not field.nullable), field.name
    assert [name for name, column in validated.items() if column.unique] == [KEYS[table]]
    assert contracts.SOURCE_TEXT == SOURCE_TEXT


def test_a_size_of_the_stream_is_one_of_a_batch():
    assert SIZE_SCALE == contracts.PLAUSIBLE_SIZE


def test_all_rooms_have_the_same_scale_of_ratings():
    from models import recommender

    rating = next(column for column in contracts.TABLES["ratings"] if column.name == "rating")
    assert rating.limits == RATING_SCALE == tuple(recommender.RATING_SCALE)
