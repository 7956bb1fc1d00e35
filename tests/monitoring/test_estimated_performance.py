"""The error of what nobody has rated, held against the true one."""

import numpy as np
import pandas as pd
import pytest

from monitoring.estimated_performance import Covariates, UnsupportedError, estimated_rmse
from monitoring.intervals import Figure

SHOWN = 3000


def world(seed: int, hard_share: float, shown: int = SHOWN) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rentals shown to users: some are hard to predict, and fewer of these are rated.

    Returns:
        Features, squared errors (also of those that nobody rates), and whether each is rated.
    """
    rng = np.random.default_rng(seed)
    hard, age = rng.random(shown) < hard_share, rng.normal(40, 8, shown)
    spread = np.where(hard, 1.5, 0.6) * np.exp((age - 40) / 40)
    noise = {f"noise_{n}": rng.normal(size=shown) for n in range(4)}
    features = pd.DataFrame({"kind": np.where(hard, "hard", "easy"), "age": age, **noise})
    return features, rng.normal(0, spread) ** 2, rng.random(shown) < np.where(hard, 0.15, 0.3)


def estimate(seed: int, hard_share: float) -> Figure:
    before, errors, rated = world(seed, 0.2)
    after, _, _ = world(1000 + seed, hard_share)
    features = pd.concat([before, after], ignore_index=True)
    squared = np.concatenate([np.where(rated, errors, np.nan), np.full(SHOWN, np.nan)])
    history = np.arange(2 * SHOWN) < SHOWN
    users = np.random.default_rng(seed).integers(1500, size=2 * SHOWN)
    return estimated_rmse(Covariates.of(features), squared, users, history, ~history)


def truth(hard_share: float) -> float:
    """The RMSE of those who will rate."""
    _, errors, rated = world(99, hard_share, 300_000)
    return float(errors[rated].mean() ** 0.5)


@pytest.mark.parametrize("hard_share", [0.2, 0.6])
def test_the_true_error_is_within_the_interval(hard_share: float) -> None:
    true, figures = truth(hard_share), [estimate(seed, hard_share) for seed in range(12)]
    assert np.mean([figure.value for figure in figures]) == pytest.approx(true, rel=0.05)
    assert np.mean([figure.lower <= true <= figure.upper for figure in figures]) >= 0.75


def test_a_harder_period_is_seen_before_its_ratings_come() -> None:
    calm, hard = estimate(0, 0.2), estimate(0, 0.6)
    assert hard.lower > calm.upper
    assert truth(0.6) > 1.3 * truth(0.2)


@pytest.mark.parametrize("change", [{"age": 90.0}, {"kind": "never seen"}])
def test_nothing_is_estimated_beyond_what_was_rated(change: dict[str, object]) -> None:
    before, errors, rated = world(0, 0.2)
    features = pd.concat([before, before.iloc[:500].assign(**change)], ignore_index=True)
    squared = np.concatenate([np.where(rated, errors, np.nan), np.full(500, np.nan)])
    history = np.arange(len(features)) < SHOWN
    with pytest.raises(
        UnsupportedError, match=r"100% of what was shown has another (age|kind) than all before"
    ):
        estimated_rmse(Covariates.of(features), squared, np.arange(len(features)), history, ~history)


def test_nor_where_a_handful_of_ratings_would_decide() -> None:
    before, errors, rated = world(0, 0.01)
    rated &= (before["kind"] == "easy") | (np.arange(SHOWN) % 2 == 0)
    after, _, _ = world(1, 1.0)
    features = pd.concat([before, after], ignore_index=True)
    grim = np.where(before["kind"] == "hard", 30.0, 0.1 + 0 * errors)
    squared = np.concatenate([np.where(rated, grim, np.nan), np.full(SHOWN, np.nan)])
    history = np.arange(2 * SHOWN) < SHOWN
    with pytest.raises(UnsupportedError, match="few ratings have a kind like"):
        estimated_rmse(Covariates.of(features), squared, np.arange(2 * SHOWN), history, ~history)


def test_missing_values_are_like_those_that_were_missing_before() -> None:
    before, errors, rated = world(0, 0.2)
    after, _, _ = world(1, 0.2)
    features = pd.concat([before, after], ignore_index=True)
    gaps = features.assign(age=features["age"].where(np.arange(2 * SHOWN) % 3 > 0))
    squared = np.concatenate([np.where(rated, errors, np.nan), np.full(SHOWN, np.nan)])
    history, users = np.arange(2 * SHOWN) < SHOWN, np.arange(2 * SHOWN)
    assert estimated_rmse(Covariates.of(gaps), squared, users, history, ~history).value > 0
    lost = features.assign(age=features["age"].where(history))
    with pytest.raises(UnsupportedError, match="100% of what was shown has another age than"):
        estimated_rmse(Covariates.of(lost), squared, users, history, ~history)
