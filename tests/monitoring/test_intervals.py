"""Intervals hold the true figure as often as they say, also where a few users say much."""

from collections.abc import Callable

import numpy as np
import pytest

from monitoring import intervals
from monitoring.intervals import Figure

REPLAYS = 400


def coverage(draw: Callable[[np.random.Generator], Figure], true: float) -> float:
    rng = np.random.default_rng(0)
    return float(
        np.mean([figure.lower <= true <= figure.upper for figure in (draw(rng) for _ in range(REPLAYS))])
    )


def users(rng: np.random.Generator) -> np.ndarray:
    return np.repeat(np.arange(80), np.minimum(rng.geometric(1 / 4, 80), 15))


def test_a_mean_of_ratings_that_are_alike_within_users() -> None:
    def draw(rng: np.random.Generator) -> Figure:
        of = users(rng)
        return intervals.mean(rng.normal(size=80)[of] + rng.normal(size=len(of)), of)

    assert coverage(draw, 0.0) == pytest.approx(0.95, abs=0.03)


def test_rows_taken_for_independent_would_promise_too_much() -> None:
    def draw(rng: np.random.Generator) -> Figure:
        of = users(rng)
        return intervals.mean(rng.normal(size=80)[of] + rng.normal(size=len(of)), np.arange(len(of)))

    assert coverage(draw, 0.0) < 0.85


def test_a_root_mean_square() -> None:
    def draw(rng: np.random.Generator) -> Figure:
        of = users(rng)
        return intervals.root_mean((rng.normal(0, 0.5, 80)[of] + rng.normal(size=len(of))) ** 2, of)

    assert coverage(draw, 1.25**0.5) == pytest.approx(0.95, abs=0.04)


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_a_share_also_near_zero(share: float) -> None:
    def draw(rng: np.random.Generator) -> Figure:
        of = np.repeat(np.arange(150), 3)
        own = rng.beta(4 * share, 4 * (1 - share), 150)[of]
        return intervals.share((rng.random(len(of)) < own).astype(float), of)

    assert coverage(draw, share) >= 0.91


def test_a_slope() -> None:
    def draw(rng: np.random.Generator) -> Figure:
        of = users(rng)
        x = rng.normal(size=80)[of] + rng.normal(size=len(of))
        return intervals.slope(x, 0.7 * x + rng.normal(size=80)[of] + rng.normal(size=len(of)), of)

    assert coverage(draw, 0.7) == pytest.approx(0.95, abs=0.04)


def test_no_hit_is_no_certainty() -> None:
    none = intervals.share(np.zeros(50), np.arange(50))
    assert (none.value, none.lower) == (0, 0)
    assert 0.05 < none.upper < 0.1


def test_one_user_has_no_interval() -> None:
    figure = intervals.root_mean(np.array([1.0, 4.0]), np.zeros(2, int))
    assert figure.value == pytest.approx(2.5**0.5)
    assert np.isnan([figure.lower, figure.upper]).all()


def test_equal_predictions_have_no_slope() -> None:
    assert np.isnan(intervals.slope(np.full(9, 3.3), np.arange(9.0), np.arange(9)).value)
