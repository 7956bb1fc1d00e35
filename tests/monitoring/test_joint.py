"""All features together."""

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import compare
from monitoring.drift_report import TOGETHER, JointDrift

COLUMNS = {"x": "numeric", "y": "numeric", "z": "categorical"}


def frame(seed: int, rows: int = 2000, together: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=rows)
    y = together * x + np.sqrt(1 - together**2) * rng.normal(size=rows)
    return pd.DataFrame({"x": x, "y": y + shift, "z": rng.choice(list("abc"), rows)})


def joint(before: pd.DataFrame, after: pd.DataFrame, **how: str) -> JointDrift:
    found = compare(before, after, COLUMNS, **how).joint  # type: ignore[arg-type]
    assert found is not None
    return found


def test_features_that_come_to_go_together_drift_though_none_of_them_does() -> None:
    report = compare(frame(1), frame(2, together=0.95), COLUMNS)  # type: ignore[arg-type]
    assert not any(feature.drifted for feature in report.features)
    assert report.drifted == [TOGETHER]


def test_where_a_feature_drifts_it_is_named_alone() -> None:
    report = compare(frame(1), frame(2, shift=2), COLUMNS)  # type: ignore[arg-type]
    assert report.joint is not None
    assert report.joint.drifted
    assert report.drifted == ["y"]


def test_nothing_moved() -> None:
    found = joint(frame(1), frame(2))
    assert not found.drifted
    assert found.effect == pytest.approx(0, abs=0.01)
    same = frame(1)
    assert joint(same, same).adjusted_p_value > 0.5


def test_a_category_that_goes_with_a_number_is_seen() -> None:
    after = frame(2).sort_values("x").assign(z=np.repeat(list("abc"), [667, 667, 666]))
    assert joint(frame(1), after).drifted


def test_missing_values_and_constants_are_points_too() -> None:
    before, after = frame(1).assign(x=1.0), frame(2).assign(x=1.0)
    assert not joint(before, after).drifted
    after.loc[::2, "y"] = np.nan
    assert joint(before, after).drifted
    assert joint(before.assign(y=np.nan), frame(2).assign(x=1.0, y=np.nan)).drifted is False


def test_an_outlier_is_no_more_than_the_largest_value() -> None:
    after = frame(2)
    after.loc[0, "x"] = 1e300
    assert not joint(frame(1), after).drifted


def test_rows_of_one_user_are_not_evidence_many_times_over() -> None:
    def period(seed: int) -> pd.DataFrame:
        users = np.repeat(np.arange(40), 50)
        return frame(seed, rows=40).iloc[users].assign(user=users).reset_index(drop=True)

    assert joint(period(1), period(2)).drifted
    assert not joint(period(1), period(2), cluster="user").drifted


def test_too_few_users_are_not_judged() -> None:
    few = frame(1).assign(user=np.arange(2000) % 5)
    assert compare(few, few, COLUMNS, cluster="user").joint is None  # type: ignore[arg-type]


def test_the_rows_least_like_the_reference_are_those_that_moved() -> None:
    after = pd.concat([frame(2, rows=1800), frame(3, rows=200, shift=6)], ignore_index=True)
    assert min(joint(frame(1), after).least_like) >= 1800
