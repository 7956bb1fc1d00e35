import numpy as np
import pandas as pd
import pytest

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.monitoring_period import NothingToCompareError, drift, periods

BORDER = pd.Timestamp("2020-07-01", tz="UTC")
END = pd.Timestamp("2021-01-01", tz="UTC")
DAY = pd.Timedelta(days=1)


@pytest.fixture
def settings(tmp_path):
    """A lake whose second half is rented for another purpose; no rental has a price."""
    settings = FeatureSettings(home=tmp_path)
    rng = np.random.default_rng(0)
    size, start = 2000, pd.Timestamp("2020-01-01", tz="UTC")
    days = start + pd.to_timedelta(rng.integers(0, 366, size), unit="D")
    users = pd.DataFrame({"user_id": [str(n) for n in range(size)], "joined_at": start, "age": 30.0})
    users = users.assign(age=rng.normal(40, 9, size), height_cm=170.0, weight_kg=60.0, segment="a")
    rentals = pd.DataFrame({"rental_id": ["r"], "category": "x", "area": None, "price": np.nan})
    rentals = rentals.assign(capacity=np.nan, listed_at=start)
    ratings = pd.DataFrame({"rating_id": users["user_id"], "user_id": users["user_id"], "rental_id": "r"})
    ratings = ratings.assign(rating=rng.choice([3.0, 4.0, 5.0], size), source_rating=1.0)
    ratings["purpose"] = np.where(days < BORDER, "work", "party")
    ratings["event_timestamp"] = ratings["arrived_at"] = days
    for table, frame in (("users", users), ("rentals", rentals), ("ratings", ratings)):
        lake.append(settings.lake, table, "batch", frame)
    return settings


def test_the_periods_part_at_the_champions_training(settings):
    compared = periods(settings, BORDER, END)
    assert compared.reference["event_timestamp"].max() < BORDER <= compared.current["event_timestamp"].min()
    assert len(compared.reference) + len(compared.current) == 2000
    assert "before 2020-07-01" in str(compared)


def test_a_rating_that_became_known_after_the_training_is_new(settings):
    late = lake.read(settings.lake, "ratings").iloc[:1].assign(rating_id="late", event_timestamp=BORDER - DAY)
    lake.append(settings.lake, "ratings", "late", late.assign(arrived_at=BORDER + DAY))
    compared = periods(settings, BORDER, END)
    assert "late" in set(compared.current["rating_id"]) - set(compared.reference["rating_id"])
    assert "late" not in set(periods(settings, BORDER, BORDER + DAY).current["rating_id"])


def test_nothing_new_is_told_apart_from_another_lake(settings):
    with pytest.raises(NothingToCompareError, match="no rating has arrived since 2021-02-01"):
        periods(settings, END + 31 * DAY, END + 40 * DAY)
    with pytest.raises(lake.LakeError, match="set RENTALS_HOME") as other:
        periods(settings, BORDER - 400 * DAY, END)
    assert not isinstance(other.value, NothingToCompareError)


def test_ratings_after_the_clock_have_not_arrived(settings):
    until = BORDER + pd.Timedelta(days=30)
    assert periods(settings, BORDER, until).current["event_timestamp"].max() < until


def test_what_moved_is_named_and_what_nobody_knows_is_left_out(settings):
    report = drift(periods(settings, BORDER, END))
    assert report.drifted == ["purpose"]
    assert not {"price", "capacity", "area"} & {feature.name for feature in report.features}


def test_what_moved_is_dated_and_what_is_new_is_named_by_its_rating(settings):
    compared = periods(settings, BORDER, END)
    report = drift(compared)
    purpose = next(feature for feature in report.features if feature.drifted)
    assert abs(purpose.change.since - BORDER) < 7 * DAY
    assert report.new_rows
    assert {row.label for row in report.new_rows} <= set(compared.current["rating_id"])
