"""What clustered rows are worth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import effective_size

CLUSTERS = np.repeat(np.arange(500), 10)


def test_rows_all_alike_are_worth_their_clusters() -> None:
    assert effective_size.all_alike(np.arange(3)) == 3
    assert effective_size.all_alike(np.zeros(50, int)) == 1
    assert effective_size.all_alike(np.array([0, 0, 1, 1, 2])) == pytest.approx(25 / 9)
    assert effective_size.all_alike(np.array([], int)) == 0


@pytest.mark.parametrize("estimate", [effective_size.of_shares, effective_size.of_distribution])
def test_the_worth_lies_between_clusters_and_rows_by_how_alike_rows_are(estimate) -> None:
    rng = np.random.default_rng(1)
    own, of_cluster = rng.integers(0, 4, len(CLUSTERS)), rng.integers(0, 4, 500)[CLUSTERS]
    # With half of all rows as their cluster, a quarter of all pairs of one cluster is alike for that reason.
    half = np.where(rng.random(len(CLUSTERS)) < 0.5, own, of_cluster)
    assert estimate(own, CLUSTERS) == pytest.approx(5000, rel=0.15)
    assert estimate(half, CLUSTERS) == pytest.approx(5000 / (1 + 9 * 0.25), rel=0.2)
    assert estimate(of_cluster, CLUSTERS) == pytest.approx(500, rel=0.15)


def test_shares_agree_with_the_totals_of_clusters_written_out() -> None:
    rng = np.random.default_rng(2)
    clusters, bins = rng.integers(0, 40, 600), rng.integers(0, 3, 600)
    table = np.zeros((40, 3))
    np.add.at(table, (clusters, bins), 1)
    shares = table.sum(axis=0) / 600
    squares = ((table - table.sum(axis=1, keepdims=True) * shares) ** 2).sum(axis=0)
    # Rao and Scott: the mean of the shares' design effects, each weighing 1 - its share.
    effects = squares / (600 * shares * (1 - shares)) * 40 / 39
    mean = (effects * (1 - shares)).sum() / 2
    assert effective_size.of_shares(bins, clusters) == pytest.approx(min(600, 600 / mean))


def test_a_distribution_is_worth_what_it_is_where_rows_are_most_alike() -> None:
    rng = np.random.default_rng(3)
    # Whether a row is above the middle is its cluster's, on which side of it how far is its own.
    bins = 2 * rng.integers(0, 2, 500)[CLUSTERS] + rng.integers(0, 2, len(CLUSTERS))
    assert effective_size.of_distribution(bins, CLUSTERS) == pytest.approx(500, rel=0.15)


@pytest.mark.parametrize("estimate", [effective_size.of_shares, effective_size.of_distribution])
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), min_size=1, max_size=50))
def test_never_more_than_rows_nor_less_than_one(estimate, rows: list[tuple[int, int]]) -> None:
    bins, clusters = np.array(rows).T
    assert 0 < estimate(bins, clusters) <= len(rows)


@pytest.mark.parametrize("estimate", [effective_size.of_shares, effective_size.of_distribution])
def test_one_cluster_or_one_value_tells_nothing_and_counts_as_alike(estimate) -> None:
    assert estimate(np.array([0, 1, 0, 1]), np.zeros(4, int)) == 1
    assert estimate(np.zeros(4, int), np.array([0, 0, 1, 1])) == 2
