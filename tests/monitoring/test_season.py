"""Seasons are no drift, and do not hide one."""

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import compare
from monitoring.season import compare_in_season, same_season

COLUMNS = {"category": "categorical", "price": "numeric"}
START = pd.Timestamp("2020-01-01", tz="UTC")


def market(seed: int, years: float = 3.0, rows_a_day: int = 12, amplitude: float = 0.35) -> pd.DataFrame:
    """Rentals over years: coats in winter, at higher prices; nothing else changes."""
    random = np.random.default_rng(seed)
    days = np.sort(random.uniform(0, years * 365.25, int(rows_a_day * years * 365.25)))
    wave = np.cos(2 * np.pi * days / 365.25)
    coat = random.random(len(days)) < 0.4 + amplitude * wave
    return pd.DataFrame(
        {
            "time": START + pd.to_timedelta(days, unit="D"),
            "category": np.where(coat, "coat", np.where(random.random(len(days)) < 0.5, "gown", "suit")),
            "price": 50 + 20 * wave + random.normal(0, 15, len(days)),
        }
    )


def parted(rows: pd.DataFrame, begin: str, end: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows before ``begin``, and those from it to ``end``."""
    times = (pd.Timestamp(begin, tz="UTC"), pd.Timestamp(end, tz="UTC"))
    return rows[rows["time"] < times[0]], rows[(rows["time"] >= times[0]) & (rows["time"] < times[1])]


WINDOWS = [("2022-01-01", "2022-02-01"), ("2022-05-10", "2022-08-01"), ("2022-11-15", "2022-12-28")]


@pytest.mark.parametrize("window", WINDOWS)
def test_a_season_alone_raises_no_alarm_though_it_differs_from_the_rest_of_the_year(
    window: tuple[str, str],
) -> None:
    for seed in range(10):
        reference, current = parted(market(seed), *window)
        assert compare_in_season(reference, current, COLUMNS, "time").drifted == []
    assert compare(reference, current, COLUMNS).drifted


@pytest.mark.parametrize("window", WINDOWS)
def test_a_drift_that_the_season_would_hide_is_found(window: tuple[str, str]) -> None:
    """The new rows are as the whole year was before: beside it nothing has moved."""
    reference, _ = parted(market(1), *window)
    _, current = parted(market(2), *window)
    usual = reference.sample(len(current), random_state=3)
    hidden = current.assign(category=usual["category"].to_numpy(), price=usual["price"].to_numpy())
    assert compare(reference, hidden, COLUMNS).drifted == []
    assert compare_in_season(reference, hidden, COLUMNS, "time").drifted == ["category", "price"]


def test_what_was_so_in_the_window_before_is_known() -> None:
    """Since summer prices are higher: to be learnt once, not each month until the year is over."""
    rows = market(4)
    rows["price"] += np.where(rows["time"] >= pd.Timestamp("2022-04-01", tz="UTC"), 30.0, 0.0)
    first = compare_in_season(*parted(rows, "2022-04-01", "2022-06-01"), COLUMNS, "time")
    later = compare_in_season(*parted(rows, "2022-08-01", "2022-10-01"), COLUMNS, "time")
    assert first.drifted == ["price"]
    assert later.drifted == []
    assert "as in the window before" in next(one.explanation for one in later.features if one.name == "price")


def test_what_moves_further_than_in_the_window_before_is_new() -> None:
    rows = market(5)
    rows["price"] += np.where(rows["time"] >= pd.Timestamp("2022-06-01", tz="UTC"), 12.0, 0.0)
    rows["price"] += np.where(rows["time"] >= pd.Timestamp("2022-08-01", tz="UTC"), 30.0, 0.0)
    assert compare_in_season(*parted(rows, "2022-08-01", "2022-10-01"), COLUMNS, "time").drifted == ["price"]


@pytest.mark.parametrize(
    ("begin", "end"),
    [("2020-07-01", "2020-09-01"), ("2021-06-01", "2022-06-01"), ("2021-06-01", "2022-05-10")],
)
def test_without_earlier_years_or_with_a_whole_one_the_whole_reference_counts(begin: str, end: str) -> None:
    reference, current = parted(market(6), begin, end)
    assert same_season(reference, current["time"].min(), current["time"].max(), "time") is None
    found = compare_in_season(reference, current, COLUMNS, "time")
    assert found.reference_rows == len(reference)


def test_the_season_is_that_of_earlier_years_across_new_year() -> None:
    reference, _ = parted(market(7), "2022-12-20", "2023-01-10")
    begin, end = pd.Timestamp("2022-12-20", tz="UTC"), pd.Timestamp("2023-01-10", tz="UTC")
    season = same_season(reference, begin, end, "time")
    assert season is not None
    months = season["time"].dt.strftime("%Y-%m").unique()
    assert set(months) <= {"2020-01", "2020-12", "2021-01", "2021-12", "2022-01"}
    assert season["time"].max() < pd.Timestamp("2022-02-01", tz="UTC")
