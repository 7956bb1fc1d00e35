"""Rows that look new."""

import numpy as np
import pandas as pd

from monitoring.drift import compare
from monitoring.drift_report import NewRow

COLUMNS = {"price": "numeric", "purpose": "categorical"}
REFERENCE = pd.DataFrame({"price": np.arange(100.0), "purpose": ["work", "party"] * 50})


def new(current: pd.DataFrame) -> tuple[NewRow, ...]:
    return compare(REFERENCE, current, COLUMNS).new_rows  # type: ignore[arg-type]


def test_rows_with_the_most_values_never_seen_come_first_and_say_which() -> None:
    current = REFERENCE.copy()
    current.index = [f"rating {number}" for number in range(100)]  # type: ignore[assignment]
    current.iloc[7] = [50.0, "wedding"]
    current.iloc[9] = [400.0, "wedding"]
    assert new(current) == (
        NewRow("rating 9", "never seen: price = 400, purpose = wedding"),
        NewRow("rating 7", "never seen: purpose = wedding"),
    )


def test_nothing_new_is_nothing_and_missing_values_are_not_new() -> None:
    current = REFERENCE.copy()
    current.iloc[3] = [np.nan, None]
    assert new(current) == ()


def test_rows_far_from_the_reference_are_shown_when_all_features_drifted() -> None:
    found = new(pd.DataFrame({"price": np.full(100, 99.0), "purpose": "party"}))
    assert found
    assert all(row.why == "far from the reference: price = 99, purpose = party" for row in found)
