"""The Gibbs sampler against exact posteriors; features; biases."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from models.collaborative.bayesian_factorization import (
    GibbsSettings,
    _Effects,
    _Events,
    _Side,
    _wishart,
    predict_ratings,
)
from models.collaborative.bias import predict_by_bias
from models.collaborative.features import feature_matrix, implicit_sets


def test_effects_have_the_posterior_of_a_bayesian_linear_regression() -> None:
    draw = np.random.default_rng(0)
    features = sp.csr_matrix(draw.standard_normal((25, 4)))
    outcome, precision, scale = draw.standard_normal((25, 2)), np.array([[2.0, 0.5], [0.5, 1.0]]), 3.0
    effects = _Effects(features, 2, np.random.default_rng(1))
    drawn = []
    for _ in range(8_000):
        effects.scale = scale
        effects.draw(outcome, precision)
        drawn.append(effects.effects)
    gram = (features.T @ features).toarray() + scale * np.eye(4)
    assert np.mean(drawn, axis=0) == pytest.approx(np.linalg.solve(gram, features.T @ outcome), abs=0.01)
    covariance = np.cov(np.reshape(drawn, (len(drawn), -1)).T)
    expected = np.kron(np.linalg.inv(gram), np.linalg.inv(precision))
    assert covariance == pytest.approx(expected, abs=0.03 * expected.max())


def test_biases_have_the_posterior_of_a_linear_model_without_factors(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both sides' biases, with fixed precisions and no expected value: a normal posterior in closed form.
    monkeypatch.setattr(_Side, "_draw_expected", lambda side: None)
    draw = np.random.default_rng(2)
    users, items = np.nonzero(draw.random((4, 3)) < 0.7)
    target, noise, prior = draw.standard_normal(len(users)), 2.0, 1.5
    sides = [_Side([sp.csr_matrix((count, 0))], 0, np.random.default_rng(3)) for count in (4, 3)]
    for side in sides:
        side._precision = prior * np.eye(1)
    events = [_Events(users, items, 4, 3), _Events(items, users, 3, 4)]
    drawn = []
    for step in range(12_000):
        sides[0].draw(events[0], sides[1], target, noise)
        sides[1].draw(events[1], sides[0], target, noise)
        if step >= 100:
            drawn.append(np.concatenate([sides[0].vectors[:, 0], sides[1].vectors[:, 0]]))
    design = np.column_stack([np.eye(4)[users], np.eye(3)[items]])
    posterior = noise * design.T @ design + prior * np.eye(7)
    assert np.mean(drawn, axis=0) == pytest.approx(
        noise * np.linalg.solve(posterior, design.T @ target), abs=0.03
    )
    assert np.cov(np.transpose(drawn)) == pytest.approx(np.linalg.inv(posterior), abs=0.05)


def test_a_users_vector_has_the_posterior_of_a_regression_on_the_items_vectors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_Side, "_draw_expected", lambda side: None)
    draw = np.random.default_rng(4)
    item_side = _Side([sp.csr_matrix((6, 0))], 2, draw)
    item_side.vectors = draw.standard_normal((6, 3))
    user_side = _Side([sp.csr_matrix((2, 0))], 2, np.random.default_rng(5))
    user_side._precision = np.diag([1.0, 2.0, 3.0])
    users, items = np.array([1, 1, 0, 1, 0]), np.array([5, 0, 2, 3, 1])
    target = draw.standard_normal(5)
    drawn = []
    for _ in range(8_000):
        user_side.draw(_Events(users, items, 2, 6), item_side, target, 1.7)
        drawn.append(user_side.vectors.copy())
    for user in (0, 1):
        own = users == user
        design = np.column_stack([np.ones(own.sum()), item_side.vectors[items[own], 1:]])
        residual = target[own] - item_side.vectors[items[own], 0]
        posterior = 1.7 * design.T @ design + user_side._precision
        expected = np.linalg.solve(posterior, 1.7 * design.T @ residual)
        assert np.mean(drawn, axis=0)[user] == pytest.approx(expected, abs=0.05)


def test_wishart_draws_have_the_right_mean() -> None:
    inverse_scale = np.array([[2.0, 0.3], [0.3, 1.0]])
    draw = np.random.default_rng(6)
    mean = np.mean([_wishart(inverse_scale, 7, draw) for _ in range(8_000)], axis=0)
    assert mean == pytest.approx(7 * np.linalg.inv(inverse_scale), rel=0.05, abs=0.1)


def rated(users: int = 80, items: int = 40, seed: int = 0):
    """Ratings of 1..5 from biases, one factor, and a user group that moves the bias."""
    draw = np.random.default_rng(seed)
    group = draw.integers(2, size=users)
    bias = 1.2 * group - 0.6 + 0.2 * draw.standard_normal(users)
    quality = 0.4 * draw.standard_normal(items)
    taste = np.outer(draw.standard_normal(users), draw.standard_normal(items))
    mean = 3 + bias[:, None] + quality + 0.5 * taste
    rows, columns = np.nonzero(draw.random((users, items)) < 0.4)
    ratings = np.clip(np.round(mean[rows, columns] + 0.4 * draw.standard_normal(len(rows))), 1, 5)
    test = draw.random(len(rows)) < 0.25
    new = rows >= users - 10  # users of whom only the features are known
    test |= new
    train = rows[~test], columns[~test], ratings[~test]
    return train, (rows[test], columns[test]), ratings[test], np.eye(2)[group], new[test]


def rmse(predicted: np.ndarray, actual: np.ndarray) -> float:
    return float(np.sqrt(np.mean((predicted - actual) ** 2)))


NONE = [sp.csr_matrix((80, 0))], [sp.csr_matrix((40, 0))]
SHORT = GibbsSettings(rank=3, samples=80, burn_in=20)


def test_factors_beat_biases_and_features_help_new_users() -> None:
    train, wanted, actual, group, new = rated()
    bias = predict_by_bias(train, wanted)
    plain = predict_ratings(train, wanted, *NONE, SHORT, 0)
    featured = predict_ratings(train, wanted, [sp.csr_matrix(group)], NONE[1], SHORT, 0)
    assert rmse(plain[~new], actual[~new]) < 0.9 * rmse(bias[~new], actual[~new])
    assert rmse(featured[new], actual[new]) < 0.95 * rmse(plain[new], actual[new])
    assert ((featured >= 1) & (featured <= 5)).all()


def test_the_same_seed_gives_the_same_ratings_and_another_does_not() -> None:
    train, wanted, *_ = rated()
    first, second, other = (predict_ratings(train, wanted, *NONE, SHORT, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_equal_ratings_are_predicted() -> None:
    train = np.array([0, 1]), np.array([1, 0]), np.array([4.0, 4.0])
    predicted = predict_ratings(train, (np.array([0, 79]), np.array([0, 39])), *NONE, SHORT, 0)
    assert predicted.tolist() == [4.0, 4.0]


def test_bias_is_mean_and_shrunk_residuals() -> None:
    train = np.array([0, 0, 1]), np.array([0, 1, 1]), np.array([5.0, 3.0, 1.0])
    item = np.array([2 / 11, -2 / 12])
    user = ((2 - item[0]) + (0 - item[1])) / 7
    predicted = predict_by_bias(train, (np.array([0, 2]), np.array([1, 2])))
    assert predicted == pytest.approx([3 + user + item[1], 3.0])


def test_features_of_every_kind() -> None:
    rows = 40
    table = pd.DataFrame(
        {
            "age": [str(20 + row) for row in range(rows)],
            "gender": ["M", "F"] * 20,
            "genres": ["Comedy|Drama", "Drama"] * 20,
            "released": [f"{1 + row % 28:02}-Jan-{1960 + row}" for row in range(rows)],
            "title": [f"film {row}" for row in range(rows)],
        }
    ).astype("string")
    assert feature_matrix(table[["age"]]).shape == (rows, 8)
    assert feature_matrix(table[["gender"]]).toarray()[:2].tolist() == [[0.0, 1.0], [1.0, 0.0]]
    half = 0.5**0.5
    assert feature_matrix(table[["genres"]]).toarray()[:2] == pytest.approx(
        np.array([[half, half], [0.0, 1.0]])
    )
    assert feature_matrix(table[["released"]]).shape == (rows, 8)
    assert feature_matrix(table[["title"]]).shape == (rows, 0)


def test_missing_rows_have_no_features() -> None:
    table = pd.DataFrame({"gender": ["M", None, "M", "M", ""]})
    assert feature_matrix(table).toarray().ravel().tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]


def test_implicit_sets_have_rows_of_length_one() -> None:
    matrix = sp.csr_matrix(np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))
    assert implicit_sets(matrix).toarray() == pytest.approx(np.array([[0.5**0.5, 0.5**0.5, 0.0], [0.0] * 3]))
