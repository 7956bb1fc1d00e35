"""Masks inside the graph, against a plain loop over the same scores."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.columns import ColumnError
from models.export import export
from models.filters import attribute_filters
from models.inference import inputs_of, open_session
from models.load import load

CATEGORIES = ["gown", "suit", "coat", "dress", "skirt", "wrap"]
USERS = [{"user_id": "u1", "purpose": "party"}, {"user_segment": "tall"}, {"user_id": "u3", "user_age": 40.0}]


@pytest.fixture(scope="module")
def catalogue(market) -> pd.DataFrame:
    """Every seventh rental is of no known category, every fifth of no known price."""
    frame = market.latest.copy()
    frame.loc[::7, "rental_category"] = None
    frame.loc[::5, "rental_price"] = None
    return frame


@pytest.fixture(scope="module")
def session(model, catalogue, tmp_path_factory):
    return open_session(export(model, catalogue, tmp_path_factory.mktemp("filters") / "model.onnx", k=12))


@pytest.fixture(scope="module")
def unmasked(session, catalogue):
    """Ids, scores and ratings of the whole catalogue for each of the users."""
    return session.run(None, {**inputs_of(session, USERS), "k": np.array([len(catalogue)])})


def oracle(unmasked, row, catalogue, exclude, only, category, price_from, price_to, k):
    """The best ``k`` of one user by a plain loop."""
    category_of = dict(zip(catalogue["rental_id"], catalogue["rental_category"], strict=True))
    price_of = dict(zip(catalogue["rental_id"], catalogue["rental_price"], strict=True))
    exclude, only, category = ({value for value in values if value} for values in (exclude, only, category))
    return [
        (rental, score, rating)
        for rental, score, rating in zip(*(output[row] for output in unmasked), strict=True)
        if rental not in exclude
        and (not only or rental in only)
        and (not category or category_of[rental] in category)
        and (price_from is None or price_of[rental] >= np.float32(price_from))
        and (price_to is None or price_of[rental] <= np.float32(price_to))
    ][:k]


rental = st.one_of(st.integers(0, 79).map(lambda n: f"r{n}"), st.sampled_from(["", "r80", "été ☀", "R1"]))
filters = st.fixed_dictionaries(
    {},
    optional={
        "exclude": st.lists(rental, max_size=90),
        "only": st.lists(rental, max_size=30),
        "category": st.lists(st.sampled_from([*CATEGORIES, "", "hat"]), max_size=4),
        "price_from": st.one_of(st.none(), st.floats(0, 200, width=32)),
        "price_to": st.one_of(st.none(), st.floats(0, 200, width=32)),
    },
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(filters, min_size=3, max_size=3), k=st.integers(1, 100))
def test_the_best_of_what_is_left_comes_back_in_order(session, unmasked, catalogue, rows, k):
    requests = [{**user, **chosen} for user, chosen in zip(USERS, rows, strict=True)]
    answers = session.run(None, {**inputs_of(session, requests), "k": np.array([k])})
    for row, chosen in enumerate(rows):
        lists = (chosen.get(name, ()) for name in ("exclude", "only", "category"))
        limits = (chosen.get(name) for name in ("price_from", "price_to"))
        expected = oracle(unmasked, row, catalogue, *lists, *limits, k)
        ids, scores, ratings = (output[row] for output in answers)
        left = len(expected)
        assert len(ids) == min(k, 80)
        assert list(ids[:left]) == [rental for rental, _, _ in expected]
        np.testing.assert_allclose(scores[:left], [score for _, score, _ in expected], atol=1e-6)
        np.testing.assert_allclose(ratings[:left], [rating for _, _, rating in expected], atol=1e-6)
        assert set(ids[left:]) <= {""}
        assert (scores[left:] == -np.inf).all() and np.isnan(ratings[left:]).all()


def test_one_list_for_all_counts_for_every_row(session):
    inputs = inputs_of(session, USERS)
    shared = session.run(None, inputs | {"exclude": np.array([["r1", "r2", "r3"]], dtype=object)})
    own = session.run(None, inputs | {"exclude": np.array([["r1", "r2", "r3"]] * 3, dtype=object)})
    for one, other in zip(shared, own, strict=True):
        np.testing.assert_array_equal(one, other)


def test_masked_rentals_do_not_come_back_even_where_few_are_left(model, market, tmp_path):
    embedded = load(export(model, market.latest.head(4), tmp_path / "small.onnx"))
    everything = [one.rental_id for one in embedded.recommend("u1")]
    assert len(everything) == 4
    assert [one.rental_id for one in embedded.recommend("u1", exclude=everything[:3])] == everything[3:]
    assert embedded.recommend("u1", exclude=everything) == []
    assert embedded.recommend("u1", only="nowhere") == embedded.recommend("u1", category="hat") == []


def test_a_filter_that_is_called_like_a_feature_of_the_user_is_refused(columns):
    double = dataclasses.replace(columns, rental_categorical=("rental_user_segment", "rental_category"))
    with pytest.raises(ColumnError, match=r"user_segment.*otherwise"):
        attribute_filters(double)
