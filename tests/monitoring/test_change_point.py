"""Since when."""

import numpy as np
import pandas as pd
import pytest

from monitoring.change_point import change_point, steps
from monitoring.distribution import Kind, binned
from monitoring.drift_report import Change

DAYS = pd.Series(pd.date_range("2020-01-01", periods=2000, freq="6h", tz="UTC"))
REFERENCE = 1000


def found(
    values: np.ndarray, kind: Kind, times: pd.Series = DAYS, reference: int = REFERENCE
) -> Change | None:
    frame = pd.DataFrame({"x": values})
    bins = binned(frame[:reference], frame[reference:], "x", kind)
    return change_point(bins, steps(times[:reference], times[reference:]))


def normal(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(DAYS))


@pytest.mark.parametrize("at", [400, 1000, 1500])
@pytest.mark.parametrize("what", ["mean", "spread", "missing", "found", "category"])
def test_a_change_is_dated_wherever_it_lies_and_whatever_it_is(at: int, what: str) -> None:
    later = np.arange(len(DAYS)) >= at
    values: np.ndarray = {
        "mean": normal() + later,
        "spread": normal() * np.where(later, 3, 1),
        "missing": np.where(later & (normal(2) > 0), np.nan, normal()),
        "found": np.where(~later & (normal(2) > 0), np.nan, normal()),
        "category": np.where(normal() > np.where(later, 0.5, -0.5), "a", "b").astype(object),
    }[what]
    change = found(values, "categorical" if what == "category" else "numeric")
    assert change is not None
    assert change.p_value < 0.01
    # Two steps of a hundred; a step is twenty rows, a quarter of a day each.
    assert abs(change.since - DAYS[at]) <= pd.Timedelta(days=10)


def test_without_a_change_no_moment_is_sure() -> None:
    p_values = [found(normal(seed), "numeric").p_value for seed in range(60)]  # type: ignore[union-attr]
    assert np.mean(np.array(p_values) <= 0.1) <= 0.2


def test_the_order_of_rows_does_not_matter_only_their_times() -> None:
    values = normal() + (np.arange(len(DAYS)) >= 1500)
    order = np.append(np.random.default_rng(1).permutation(1000), np.arange(1000, 2000)[::-1])
    shuffled = found(values[order], "numeric", DAYS[order].reset_index(drop=True))
    assert shuffled is not None
    assert abs(shuffled.since - DAYS[1500]) <= pd.Timedelta(days=10)


def test_rows_of_one_moment_stay_together() -> None:
    times = pd.Series(np.repeat(DAYS[:4], 500).to_numpy())
    change = found(normal() + (np.arange(2000) >= 1500), "numeric", times)
    assert change is not None
    assert change.since == times[1500]


def test_rows_without_a_time_are_left_out_and_one_moment_parts_nothing() -> None:
    times = DAYS.where(np.arange(len(DAYS)) % 3 > 0)
    change = found(normal() + (np.arange(len(DAYS)) >= 1500), "numeric", times)
    assert change is not None
    assert abs(change.since - DAYS[1500]) <= pd.Timedelta(days=10)
    assert found(normal(), "numeric", pd.Series([DAYS[0]] * len(DAYS))) is None
    assert found(normal(), "numeric", pd.Series([pd.NaT] * len(DAYS))) is None
