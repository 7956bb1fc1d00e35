"""p-values of single features against scipy's, whatever the columns hold."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from monitoring.feature_comparison import Comparison, Sample, compare_feature
from monitoring.settings import MonitoringSettings

SETTINGS = MonitoringSettings(drift_minimum_rows=2)

NUMBERS = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0, 2.5, np.nan, np.inf, -np.inf]), st.floats()), min_size=1, max_size=50
)
LABELS = st.lists(st.sampled_from(["a", "b", "c", None, np.nan, 1, 1.5]), min_size=1, max_size=80)


def compared(reference: pd.Series, current: pd.Series, kind: str) -> Comparison:
    sides = [Sample(pd.DataFrame({"x": values}), None) for values in (reference, current)]
    return compare_feature("x", kind, *sides, SETTINGS)  # type: ignore[arg-type]


@given(NUMBERS, NUMBERS, st.sampled_from(["float64", "object", "Float64"]))
def test_numbers_have_the_p_value_of_scipys_test_of_those_present(
    reference: list[float], current: list[float], dtype: str
) -> None:
    found = compared(pd.Series(reference, dtype=dtype), pd.Series(current, dtype=dtype), "numeric")
    present = [[value for value in side if np.isfinite(value)] for side in (reference, current)]
    tests = {test.name: test.p_value for test in found.tests}
    if min(map(len, present)) >= 2:
        assert tests["kolmogorov-smirnov"] == stats.ks_2samp(*present, method="asymp").pvalue
    else:
        assert "kolmogorov-smirnov" not in tests
    assert found.effects["missing_current"] == pytest.approx(1 - len(present[1]) / len(current))


@given(LABELS, LABELS)
def test_categories_have_the_p_value_of_scipys_test_with_rare_ones_pooled(
    reference: list, current: list
) -> None:
    found = compared(pd.Series(reference, dtype=object), pd.Series(current, dtype=object), "categorical")
    present = [
        pd.Series([str(each) for each in side if pd.notna(each)], dtype=object)
        for side in (reference, current)
    ]
    if min(map(len, present)) < 2:
        assert [test.name for test in found.tests] in ([], ["missing values"])
        return
    table = pd.DataFrame([side.value_counts() for side in present]).fillna(0).to_numpy()
    rare = table.sum(axis=0) * min(map(len, present)) / sum(map(len, present)) < 5
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    table = table[:, table.sum(axis=0) > 0]
    expected = stats.chi2_contingency(table).pvalue if table.shape[1] > 1 else 1.0
    assert found.tests[0].p_value == pytest.approx(expected, rel=1e-9)


@given(st.integers(0, 60), st.integers(0, 60))
def test_missing_values_have_the_p_value_of_scipys_test_of_their_table(before: int, after: int) -> None:
    sides = [pd.Series([np.nan] * lost + [1.0] * (60 - lost)) for lost in (before, after)]
    tests = {test.name: test.p_value for test in compared(*sides, "numeric").tests}
    table = np.array([[60 - before, before], [60 - after, after]])
    constant = (table.sum(axis=0) == 0).any()
    expected = 1.0 if constant else stats.chi2_contingency(table).pvalue
    assert tests["missing values"] == pytest.approx(expected)


def test_dtypes_of_pandas_tell_the_same() -> None:
    texts = [pd.Series(["a", "b", None, "b"] * 30), pd.Series(["b", "c", "b", None] * 30)]
    plain = compared(*texts, "categorical")
    for dtype in ("category", "string", "string[pyarrow]"):
        other = compared(*(side.astype(dtype) for side in texts), "categorical")
        assert other.effects == plain.effects
        assert [test.p_value for test in other.tests] == [test.p_value for test in plain.tests]


def test_a_category_that_comes_as_a_number_and_as_its_text_is_one() -> None:
    found = compared(pd.Series([1, 2] * 50), pd.Series(["1", "2"] * 50), "categorical")
    assert found.effects["psi"] == pytest.approx(0)
    assert found.effects["unseen"] == 0


def test_values_the_reference_has_no_place_for_are_counted() -> None:
    numbers = compared(pd.Series(np.arange(100.0)), pd.Series([-1.0, 5.0, 100.0, 7.0]), "numeric")
    assert numbers.effects["unseen"] == 0.5
    labels = compared(pd.Series(["a"] * 9), pd.Series(["a", "b", "c", "a"]), "categorical")
    assert labels.effects["unseen"] == 0.5


def test_wasserstein_counts_standard_deviations_of_the_reference() -> None:
    values = pd.Series(np.random.default_rng(1).normal(0, 10, 5000))
    assert compared(values, values + 2 * values.std(), "numeric").effects["wasserstein"] == pytest.approx(
        2, 0.01
    )
    ones = pd.Series(np.ones(5))
    assert compared(ones, ones, "numeric").effects["wasserstein"] == 0
    assert compared(ones, 0 * ones, "numeric").effects["wasserstein"] > 1


def test_clusters_weaken_p_values_and_leave_effects() -> None:
    rng = np.random.default_rng(1)
    users = np.repeat(np.arange(200), 10)
    columns = {
        side: pd.DataFrame({"x": rng.normal(shift, 1, 200)[users], "y": rng.choice(list("abc"), 200)[users]})
        for side, shift in (("before", 0), ("after", 0.3))
    }
    for name, kind in (("x", "numeric"), ("y", "categorical")):
        apart, together = (
            compare_feature(
                name,
                kind,
                *(Sample(frame, clusters) for frame in columns.values()),
                SETTINGS,  # type: ignore[arg-type]
            )
            for clusters in (None, users)
        )
        assert apart.effects == together.effects
        assert apart.tests[0].p_value < together.tests[0].p_value
