"""Tests and distances against known values."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitoring import two_sample


def counts(reference: list[int], current: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"reference": reference, "current": current})


def test_effective_size_lies_between_clusters_and_rows() -> None:
    assert two_sample.effective_size(pd.Series(["a", "b", "c"])) == 3
    assert two_sample.effective_size(pd.Series(["a"] * 50)) == 1
    assert two_sample.effective_size(pd.Series(["a"] * 2 + ["b"] * 2 + [None])) == pytest.approx(25 / 9)
    assert two_sample.effective_size(pd.Series([], dtype=object)) == 0


def test_kolmogorov_smirnov_agrees_with_scipy() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=900), rng.normal(0.1, size=700)
    expected = stats.ks_2samp(reference, current, method="asymp")
    ks = two_sample.kolmogorov_smirnov_distance(reference, current)
    assert ks == pytest.approx(expected.statistic)
    assert two_sample.kolmogorov_smirnov_p_value(ks, (900, 700)) == pytest.approx(expected.pvalue)


def test_chi_square_agrees_with_scipy_and_weakens_with_the_effective_size() -> None:
    table = counts([50, 30, 20], [30, 40, 30])
    expected = stats.chi2_contingency(table.T, correction=False).pvalue
    assert two_sample.chi_square_p_value(table, (100, 100)) == pytest.approx(expected)
    assert two_sample.chi_square_p_value(table, (20, 20)) > expected


def test_rare_categories_are_pooled_and_not_trusted_one_by_one() -> None:
    rare = counts([1000] + [1, 0] * 10, [1000] + [0, 1] * 10)
    assert two_sample.chi_square_p_value(rare, (1010, 1010)) == pytest.approx(1.0)
    assert two_sample.chi_square_p_value(counts([1, 1], [1, 1]), (2, 2)) == 1.0


def test_missing_shares_without_missing_values_do_not_differ() -> None:
    assert two_sample.missing_share_p_value((0.0, 0.0), (100, 100)) == 1.0
    assert two_sample.missing_share_p_value((1.0, 1.0), (100, 100)) == 1.0
    assert two_sample.missing_share_p_value((0.0, 0.5), (100, 100)) < 1e-10


def test_distances_are_nothing_for_equal_and_large_for_disjoint_samples() -> None:
    equal, disjoint = counts([500, 500], [500, 500]), counts([1000, 0], [0, 1000])
    assert two_sample.population_stability_index(equal) == pytest.approx(0)
    assert two_sample.jensen_shannon(equal) == pytest.approx(0)
    assert 5 < two_sample.population_stability_index(disjoint) < 50
    assert two_sample.jensen_shannon(disjoint) == pytest.approx(1)


def test_population_stability_index_is_the_textbook_sum() -> None:
    by_hand = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert two_sample.population_stability_index(counts([50_000, 50_000], [30_000, 70_000])) == pytest.approx(
        by_hand, rel=1e-3
    )


def test_wasserstein_counts_standard_deviations() -> None:
    values = np.random.default_rng(1).normal(0, 10, 1000)
    assert two_sample.wasserstein(values, values + 2 * values.std()) == pytest.approx(2)
    assert two_sample.wasserstein(np.ones(5), np.ones(5)) == 0
    assert two_sample.wasserstein(np.ones(5), np.zeros(5)) > 1


def test_benjamini_hochberg_example_of_its_authors() -> None:
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p_values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (two_sample.benjamini_hochberg(p_values) < 0.05).sum() == 4
    assert len(two_sample.benjamini_hochberg([])) == 0
