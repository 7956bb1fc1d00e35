"""How long labels take, told by those that have come."""

import numpy as np
import pandas as pd
import pytest

from monitoring.label_delay import label_delay

DAY = 86400.0
MONTH = pd.Timedelta(days=30)


def came(mean_days: float, seed: int = 0, size: int = 20_000):
    """Delays and ages of the labels that have come by now, of answers evenly over sixty days."""
    rng = np.random.default_rng(seed)
    ages, delays = rng.uniform(0, 60 * DAY, size), rng.exponential(mean_days * DAY, size)
    there = delays <= ages
    return delays[there], ages[there]


@pytest.mark.parametrize("mean_days", [0.5, 5.0, 15.0])
def test_slow_labels_of_young_answers_are_not_forgotten(mean_days: float) -> None:
    delays, ages = came(mean_days)
    days = np.array([1.0, 5.0, 10.0, 20.0])
    longest = label_delay(delays, ages).seconds[-1] / DAY
    true = (1 - np.exp(-days / mean_days)) / (1 - np.exp(-longest / mean_days))
    assert label_delay(delays, ages).share(days * DAY) == pytest.approx(true, abs=0.03)
    naive = (delays <= 5 * DAY).mean()
    if mean_days == 15:
        assert naive > true[1] + 0.05


def test_the_horizon_holds_nearly_all_labels() -> None:
    assert label_delay(*came(0.1)).horizon(MONTH) == pd.Timedelta(days=1)
    assert label_delay(*came(1.5)).horizon(MONTH) == pd.Timedelta(days=7)
    assert label_delay(*came(8.0)).horizon(MONTH) == MONTH
    assert label_delay(*came(0.1)).horizon(pd.Timedelta(hours=2)) == pd.Timedelta(hours=2)


def test_a_handful_of_labels_tells_nothing() -> None:
    few = label_delay(np.ones(19), np.full(19, DAY))
    assert few.horizon(MONTH) == MONTH
    assert few.share(np.array([DAY])) == 0


def test_clocks_that_differ_make_no_negative_delay() -> None:
    found = label_delay(np.full(50, -0.2), np.full(50, DAY))
    assert found.share(np.array([0.0])) == 1
