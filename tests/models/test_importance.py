import json

import numpy as np
import pandas as pd
import pytest

from models.columns import Columns
from models.importance import _order, _permuted, _with_intervals, importances
from models.train import fit

GROUPS = {
    "noise": ("user_noise",),
    "constant": ("user_constant",),
    "segment": ("user_segment",),
    "category": ("rental_category", "rental_id"),
    "kindness": ("user_rating_mean_all",),
}


@pytest.fixture(scope="module")
def found(market, columns, hyperparameters):
    """Importances of a model that was given a column of noise and one that is always the same."""
    noise = np.random.default_rng(0)

    def wider(frame):
        return frame.assign(user_noise=noise.normal(size=len(frame)), user_constant=1.0)

    more = Columns(
        (*columns.user_numeric, "user_noise", "user_constant"),
        columns.user_categorical,
        columns.rental_numeric,
        columns.rental_categorical,
    )
    model = fit(wider(market.train), market.catalogues, more, hyperparameters)
    return {one.group: one for one in importances(model, wider(market.test), market.catalogues, GROUPS)}


def test_what_the_ranking_was_planted_in_matters(found):
    for name in ("segment", "category"):
        low, high = found[name].ndcg_at_10_interval
        assert 0 < low < found[name].ndcg_at_10 < high


def test_what_the_rating_was_planted_in_matters(found):
    low, high = found["kindness"].rmse_interval
    assert 0 < low < found["kindness"].rmse < high


def test_noise_matters_for_nothing(found):
    assert found["noise"].ndcg_at_10_interval[0] <= 0 <= found["noise"].ndcg_at_10_interval[1]
    assert found["noise"].rmse_interval[0] <= 0 <= found["noise"].rmse_interval[1]


def test_a_constant_costs_nothing(found):
    for value in (found["constant"].ndcg_at_10, found["constant"].rmse):
        assert value == pytest.approx(0, abs=1e-12)
    for ends in (found["constant"].ndcg_at_10_interval, found["constant"].rmse_interval):
        assert ends == pytest.approx((0, 0), abs=1e-12)


def test_the_most_important_comes_first(found):
    losses = [one.ndcg_at_10 for one in found.values()]
    assert losses == sorted(losses, reverse=True)


def test_the_models_own_inputs_are_grouped_by_subject(model, market):
    own = importances(model, market.test, market.catalogues, events=200, permutations=2)
    columns = sorted(name for one in own for name in one.columns)
    assert columns == sorted((*model.encoding.user.strings, *model.encoding.user.numeric,
                              *model.encoding.rental.strings, *model.encoding.rental.numeric))  # fmt: skip
    assert own == importances(model, market.test, market.catalogues, events=200, permutations=2)
    assert json.loads(json.dumps(own[0].to_dict()))["group"] == own[0].group


def test_an_order_exchanges_within_a_snapshot():
    blocks = np.repeat([0, 1], 50)
    order = _order(blocks, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    assert (order // 50 == blocks).all()
    assert (order != np.arange(100)).mean() > 0.9


@pytest.mark.parametrize("side", ["user", "rental"])
def test_permuting_what_was_encoded_is_encoding_what_was_permuted(model, market, side):
    encoding = getattr(model.encoding, side)
    order = np.random.default_rng(0).permutation(len(market.test))
    for columns in (encoding.inputs[::2], encoding.inputs[1::2], ()):
        exchanged = {name: market.test[name].array[order] for name in columns}
        found = _permuted(encoding.encode(market.test), encoding.origins, columns, order)
        for got, wanted in zip(found, encoding.encode(market.test.assign(**exchanged)), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_too_few_permutations_and_a_foreign_catalogue_are_refused(model, market):
    with pytest.raises(ValueError, match="at least 2"):
        importances(model, market.test, market.catalogues, permutations=1)
    with pytest.raises(ValueError, match="add catalogue snapshots"):
        importances(model, market.test.assign(rental_id="x"), market.catalogues)


def losses(base, values, users=None):
    """The figures of one group: base [events], values [permutations, events], for both figures."""
    base, values = np.stack([base, base]), np.stack([values, values], axis=1)[None]
    users = pd.Series(np.arange(base.shape[1]) if users is None else users).astype(str)
    every = np.ones(base.shape[1], bool)
    [one] = _with_intervals({"x": ("x",)}, base, values, every, users, np.random.default_rng(1))
    return one


def width(interval):
    return interval[1] - interval[0]


def test_differences_are_paired():
    draw = np.random.default_rng(0)
    base = draw.uniform(0, 100, size=500)
    one = losses(base, base - 0.1 + draw.normal(0, 0.01, size=(4, 500)))
    assert one.ndcg_at_10_interval[0] < 0.1 < one.ndcg_at_10_interval[1]
    assert width(one.ndcg_at_10_interval) < 0.01
    expected = np.sqrt(base.mean() - 0.1) - np.sqrt(base.mean())
    assert one.rmse == pytest.approx(expected, rel=0.01)
    assert width(one.rmse_interval) < 0.001


def test_users_are_the_units_and_permutations_count_too():
    draw = np.random.default_rng(0)
    base, own = np.full(600, 2.0), draw.normal(0, 0.2, size=30)
    clustered = losses(base, np.tile(base - np.repeat(own, 20), (3, 1)), np.repeat(np.arange(30), 20))
    single = losses(base, np.tile(base - np.repeat(own, 20), (3, 1)))
    assert width(clustered.ndcg_at_10_interval) > 3 * width(single.ndcg_at_10_interval)
    scattered = losses(base, base - np.array([[-0.1], [0.1], [0.0], [0.1], [-0.1]]))
    assert -0.1 < scattered.ndcg_at_10_interval[0] < -0.05
    assert 0.05 < scattered.ndcg_at_10_interval[1] < 0.1
