"""Distances without sorting, against scipy's with it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from monitoring.numeric_distance import distances

FINITE = st.floats(allow_nan=False, allow_infinity=False)
FEW = st.sampled_from([-1e9, -2.0, 0.0, 0.5, 1.0, 3.0, 1e9])


def samples(values: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(float, st.integers(1, 60), elements=values)


def scipy_ks(reference: np.ndarray, current: np.ndarray) -> float:
    return float(stats.ks_2samp(reference, current, method="asymp").statistic)


@given(st.one_of(st.tuples(samples(FINITE), samples(FINITE)), st.tuples(samples(FEW), samples(FEW))))
def test_the_largest_gap_is_scipys_to_the_last_bit(pair: tuple[np.ndarray, np.ndarray]) -> None:
    assert distances(*pair)[0] == scipy_ks(*pair)


def drawn(shape: str, rows: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return {
        "normal": lambda: rng.normal(size=rows),
        "prices": lambda: rng.lognormal(3, 3, rows),
        "outliers without end": lambda: rng.standard_cauchy(rows),
        "ratings": lambda: rng.integers(1, 6, rows).astype(float),
        "mostly zero": lambda: np.where(rng.random(rows) < 0.7, 0, rng.exponential(size=rows)),
        "far from zero": lambda: 1e9 + rng.normal(size=rows),
    }[shape]()


@pytest.mark.parametrize(
    "shape", ["normal", "prices", "outliers without end", "ratings", "mostly zero", "far from zero"]
)
@pytest.mark.parametrize("shift", [1.0, 1.05])
def test_many_values_of_any_shape(shape: str, shift: float) -> None:
    reference, current = drawn(shape, 70_000, 1), drawn(shape, 50_000, 2)
    current = np.where(current > np.median(current), current * shift, current)
    ks, wasserstein = distances(reference, current)
    assert ks == scipy_ks(reference, current)
    middle = np.quantile(np.concatenate([reference, current]), 0.998) - min(reference.min(), current.min())
    exact = stats.wasserstein_distance(reference, current)
    assert wasserstein == pytest.approx(exact, rel=0.01, abs=2e-4 * min(middle, reference.std()))


@given(samples(FEW), samples(FEW))
def test_the_area_is_scipys_but_for_the_width_of_a_cell(reference: np.ndarray, current: np.ndarray) -> None:
    both = np.concatenate([reference, current])
    width = (both.max() - both.min()) / max(len(reference), len(current))
    exact = stats.wasserstein_distance(reference, current)
    assert distances(reference, current)[1] == pytest.approx(exact, rel=1e-9, abs=width)


def test_equal_constants_do_not_differ_and_others_do() -> None:
    ones = np.ones(50)
    assert distances(ones, ones) == (0, 0)
    assert distances(ones, 3 * ones) == pytest.approx((1, 2), rel=0.05)
    assert distances(np.array([1.0]), np.array([1.0])) == (0, 0)
