import numpy as np
import pytest

from models.metrics import hit_rate, interval, ndcg, ranks


def test_ties_share_the_middle_rank():
    scores = np.array([[3.0, 1.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    np.testing.assert_array_equal(ranks(scores, np.array([2, 0])), [2.0, 2.0])


def test_the_best_and_the_worst():
    scores = np.array([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]])
    np.testing.assert_array_equal(ranks(scores, np.array([0, 1])), [0.0, 2.0])


def test_nan_scores_are_refused_and_do_not_rank_first():
    with pytest.raises(ValueError, match="damaged"):
        ranks(np.array([[np.nan, 1.0]]), np.array([1]))


def test_gains_end_after_ten():
    rank = np.array([0.0, 1.0, 9.0, 10.0])
    np.testing.assert_allclose(ndcg(rank), [1.0, 1 / np.log2(3), 1 / np.log2(11), 0.0])
    np.testing.assert_array_equal(hit_rate(rank), [1, 1, 1, 0])


def test_intervals_widen_when_events_belong_to_few_users():
    values = np.repeat(np.random.default_rng(0).normal(size=20), 50)
    narrow = interval(values, np.arange(len(values)))
    wide = interval(values, np.repeat(np.arange(20), 50))
    assert wide[1] - wide[0] > 3 * (narrow[1] - narrow[0])
    assert wide == interval(values, np.repeat(np.arange(20), 50))
