"""Both samples in the same bins."""

import numpy as np
import pandas as pd
import pytest

from monitoring.distribution import Bins, Kind, binned, shares


def bins(reference: list, current: list, kind: Kind) -> Bins:
    return binned(pd.DataFrame({"x": reference}), pd.DataFrame({"x": current}), "x", kind)


def test_numbers_fall_into_deciles_of_the_reference_and_beyond() -> None:
    counts = bins(np.arange(1000.0).tolist(), [-5.0, 0.0, 999.0, 2000.0, 3000.0], "numeric").counts
    assert counts["reference"].tolist() == [0] + [100] * 10 + [0]
    assert counts["current"].tolist() == [1, 1] + [0] * 8 + [1, 2]
    assert counts.index[0] == "< 0"
    assert counts.index[-1] == "> 999"


def test_few_values_are_bins_of_their_own() -> None:
    found = bins([1.0, 5.0, 5.0], [5.0, 6.0], "numeric")
    assert found.counts.index.tolist() == ["< 1", "1", "5", "> 5"]
    assert found.counts["reference"].tolist() == [0, 1, 2, 0]
    assert found.counts["current"].tolist() == [0, 0, 1, 1]
    assert found.unseen.tolist() == [True, False, False, True]


def test_deciles_of_many_rows_are_nearly_those_of_all_and_hold_their_ends() -> None:
    reference = np.random.default_rng(1).exponential(size=100_000)
    found = bins(reference.tolist(), [reference.min(), reference.max()], "numeric")
    assert found.counts["reference"].tolist()[1:-1] == pytest.approx([10_000] * 10, rel=0.1)
    assert found.counts["reference"].sum() == 100_000
    assert found.current.tolist() == [1, 10]


@pytest.mark.parametrize(
    ("kind", "one", "other"), [("numeric", 1.0, 2.0), ("categorical", "a", "b"), ("categorical", 1.0, "b")]
)
def test_each_row_has_its_bin_and_missing_ones_none(kind: Kind, one: object, other: object) -> None:
    found = bins([one, None, other, other], [None, other], kind)
    assert found.reference[0] != found.reference[2] == found.reference[3] == found.current[1]
    assert (found.reference[1], found.current[0]) == (-1, -1)
    assert found.counts.sum().tolist() == [3, 1]


def test_no_value_is_lost() -> None:
    rng = np.random.default_rng(1)
    reference, current = rng.normal(size=500).tolist(), rng.normal(3, 5, size=300).tolist()
    assert bins(reference, current, "numeric").counts.sum().tolist() == [500, 300]
    assert bins([None], current, "numeric").counts.sum().tolist() == [0, 300]
    assert bins(reference, [None], "numeric").counts.sum().tolist() == [500, 0]


def test_categories_of_both_sides_are_counted_the_most_frequent_first() -> None:
    counts = bins(["a", "b", "b"], ["c"], "categorical").counts
    assert counts.index.tolist() == ["b", "a", "c"]
    assert counts.loc["c"].tolist() == [0, 1]


def test_more_categories_than_fit_into_a_byte() -> None:
    many = [f"c{number}" for number in range(500)]
    found = bins(many, [*many[::-1], None], "categorical")
    assert (found.counts == 1).all(axis=None)
    assert found.current.tolist() == [*found.reference[::-1], -1]


def test_shares_sum_to_one_within_each_sample() -> None:
    long = shares(bins(["a", "b", "b"], ["c"], "categorical"), "x")
    assert long.groupby("sample")["share"].sum().tolist() == pytest.approx([1, 1])
    assert set(long["feature"]) == {"x"}
