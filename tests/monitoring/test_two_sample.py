"""Tests and distances against known values."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from monitoring import two_sample


def counts(reference: list[int], current: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"reference": reference, "current": current})


@pytest.mark.parametrize("rows", [29_999, 30_000, 500_000])
@pytest.mark.parametrize("deviation", [0.3, 1.0, 1.48, 1.49, 2.0, 3.0])
def test_a_gap_is_as_likely_as_scipy_says(rows: int, deviation: float) -> None:
    ks = deviation / np.sqrt(rows)
    found = two_sample.kolmogorov_smirnov_p_value(ks, (2 * rows, 2 * rows))
    assert found == pytest.approx(stats.kstwo.sf(ks, rows), rel=1e-6)


def test_the_largest_gap_of_very_many_rows_is_impossible_by_chance() -> None:
    assert two_sample.kolmogorov_smirnov_p_value(1.0, (1e6, 1e6)) == 0


def test_chi_square_agrees_with_scipy_and_weakens_with_the_effective_size() -> None:
    table = np.array([[50, 30, 20], [30, 40, 30]])
    expected = stats.chi2_contingency(table).pvalue
    assert two_sample.chi_square_p_value(table, (100, 100)) == pytest.approx(expected)
    assert two_sample.chi_square_p_value(table, (20, 20)) > expected


def test_a_single_bin_cannot_differ() -> None:
    assert two_sample.chi_square_p_value(np.array([[100, 0], [100, 0]]), (100, 100)) == 1.0
    assert two_sample.chi_square_p_value(np.array([[100, 0], [50, 50]]), (100, 100)) < 1e-10


def test_rare_bins_are_one_to_chi_square() -> None:
    rare = counts([1000, 1, 0, 900, 1], [1000, 0, 1, 900, 1])
    assert two_sample.common_bins(rare, (1902, 1902)).tolist() == [0, 2, 2, 1, 2]
    assert two_sample.common_bins(rare, (9, 9)).tolist() == [0] * 5


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


def test_benjamini_hochberg_example_of_its_authors() -> None:
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p_values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0]
    assert (two_sample.benjamini_hochberg(p_values) < 0.05).sum() == 4
    assert len(two_sample.benjamini_hochberg([])) == 0
