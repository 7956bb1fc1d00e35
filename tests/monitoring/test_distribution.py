"""Both samples in the same bins."""

import numpy as np
import pandas as pd
import pytest

from monitoring.distribution import binned, shares


def test_numbers_fall_into_deciles_of_the_reference_and_beyond() -> None:
    reference = pd.Series(np.arange(1000.0))
    counts = binned(reference, pd.Series([-5.0, 0.0, 999.0, 2000.0, 3000.0]), "numeric")
    assert counts["reference"].tolist() == [0] + [100] * 10 + [0]
    assert counts["current"].tolist() == [1, 1] + [0] * 8 + [1, 2]
    assert counts.index[0] == "< 0"
    assert counts.index[-1] == "> 999"


def test_few_values_are_bins_of_their_own() -> None:
    counts = binned(pd.Series([1.0, 5.0, 5.0]), pd.Series([5.0, 6.0]), "numeric")
    assert counts.index.tolist() == ["< 1", "1", "5", "> 5"]
    assert counts["reference"].tolist() == [0, 1, 2, 0]
    assert counts["current"].tolist() == [0, 0, 1, 1]


def test_no_value_is_lost() -> None:
    rng = np.random.default_rng(1)
    reference, current = pd.Series(rng.normal(size=500)), pd.Series(rng.normal(3, 5, size=300))
    assert binned(reference, current, "numeric").sum().tolist() == [500, 300]
    nothing = pd.Series(dtype=float)
    assert binned(nothing, current, "numeric").sum().tolist() == [0, 300]
    assert binned(reference, nothing, "numeric").sum().tolist() == [500, 0]


def test_categories_of_both_sides_are_counted() -> None:
    counts = binned(pd.Series(["a", "b", "b"]), pd.Series(["c"]), "categorical")
    assert counts.index.tolist() == ["b", "a", "c"]
    assert counts.loc["c"].tolist() == [0, 1]


def test_shares_sum_to_one_within_each_sample() -> None:
    long = shares(binned(pd.Series(["a", "b", "b"]), pd.Series(["c"]), "categorical"), "x")
    assert long.groupby("sample")["share"].sum().tolist() == pytest.approx([1, 1])
    assert set(long["feature"]) == {"x"}
