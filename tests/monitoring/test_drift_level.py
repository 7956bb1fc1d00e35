"""How often drift is found where nothing moved: at most as often as the level says."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.signal import lfilter

from monitoring.distribution import Kind
from monitoring.drift import compare, verdicts
from monitoring.feature_comparison import Sample, compare_feature
from monitoring.settings import MonitoringSettings

LEVEL = 0.05
# Any effect counts, so that p-values alone decide.
LOOSE = MonitoringSettings(
    drift_false_discovery_level=LEVEL, drift_ks=0, drift_psi=0, drift_missing_share=0, drift_energy=0
)
COLUMNS: dict[str, Kind] = {"taste": "numeric", "gaps": "numeric", "age": "numeric", "label": "categorical"}


def users(rng: np.random.Generator) -> pd.DataFrame:
    """Ratings of 45 users, of whom some rate often, and all have a taste and an age of their own."""
    of = np.repeat(np.arange(45), np.minimum(rng.geometric(1 / 6, 45), 15))
    taste = rng.normal(size=45)[of] + rng.normal(size=len(of))
    favourite, now = rng.choice(list("abcd"), 45)[of], rng.choice(list("abcd"), len(of))
    return pd.DataFrame(
        {
            "cluster": of,
            "taste": taste,
            "gaps": np.where((rng.random(45) < 0.3)[of], np.nan, taste),
            "age": rng.normal(size=45)[of],
            "label": np.where(rng.random(len(of)) < 0.6, favourite, now),
        }
    )


def weeks(rng: np.random.Generator) -> pd.DataFrame:
    """Ratings one after the other, each like the one before it; ten of them are a week."""
    state = lfilter([1], [1, -0.7], rng.normal(size=(500, 2)), axis=0)[50:]
    return pd.DataFrame(
        {
            "cluster": np.arange(450) // 10,
            "taste": state[:, 0],
            "gaps": np.where(state[:, 1] > 1, np.nan, state[:, 0]),
            "age": state[:, 1],
            "label": np.where(state[:, 0] > 0, "a", "b"),
        }
    )


def strangers(rng: np.random.Generator) -> pd.DataFrame:
    """Ratings each of another user."""
    return users(rng).drop_duplicates("cluster").assign(cluster=lambda frame: np.arange(len(frame)))


def surely_more(rate: float, replays: int) -> float:
    """By more than this the share of alarms exceeds its rate by chance in one of a hundred runs."""
    return 2.33 * np.sqrt(rate * (1 - rate) / replays)


def alarmed(period: Callable[[np.random.Generator], pd.DataFrame], cluster: bool, replays: int) -> float:
    """Share of replays with any feature found to have drifted between two periods of the same kind."""
    rng, alarms = np.random.default_rng(1), 0
    for _ in range(replays):
        samples = [
            Sample(frame, frame["cluster"].to_numpy() if cluster else None)
            for frame in (period(rng), period(rng))
        ]
        comparisons = [compare_feature(name, kind, *samples, LOOSE) for name, kind in COLUMNS.items()]
        alarms += any(verdict.drifted for verdict in verdicts(comparisons, LOOSE))
    return alarms / replays


def test_a_thousand_null_replays_alarm_at_most_as_often_as_the_level() -> None:
    assert alarmed(users, cluster=True, replays=1_000) <= LEVEL + surely_more(LEVEL, 1_000)


@pytest.mark.parametrize("period", [weeks, strangers])
def test_so_they_do_where_rows_depend_on_those_before_them_or_on_none(period) -> None:
    assert alarmed(period, cluster=True, replays=250) <= LEVEL + surely_more(LEVEL, 250)


@pytest.mark.parametrize("period", [users, weeks])
def test_rows_taken_for_independent_would_alarm_far_more_often(period) -> None:
    assert alarmed(period, cluster=False, replays=50) > 5 * LEVEL


def test_all_features_together_alarm_at_most_as_often_as_their_half_of_the_level() -> None:
    rng, replays = np.random.default_rng(2), 200
    reports = [compare(users(rng), users(rng), COLUMNS, LOOSE, cluster="cluster") for _ in range(replays)]
    alarms = sum(bool(report.joint and report.joint.drifted) for report in reports)
    assert alarms / replays <= LEVEL / 2 + surely_more(LEVEL / 2, replays)
