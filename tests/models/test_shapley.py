from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.shapley import shapley


@given(st.integers(1, 5), st.integers(0, 10**6))
def test_it_is_the_mean_gain_over_all_orders_and_sums_to_the_whole(players, seed):
    worth = np.random.default_rng(seed).normal(size=(2**players, 3))
    expected = np.zeros((players, 3))
    orders = list(permutations(range(players)))
    for order in orders:
        coalition = 0
        for player in order:
            expected[player] += worth[coalition | 1 << player] - worth[coalition]
            coalition |= 1 << player
    found = shapley(worth)
    np.testing.assert_allclose(found, expected / len(orders), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=0), worth[-1] - worth[0], atol=1e-12)
