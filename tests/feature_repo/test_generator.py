"""The generated marketplace keeps its contracts and its promises."""

from dataclasses import replace

import pandas as pd
import pytest

from feature_repo.readers import Source, SourceError, generator
from feature_repo.schema import KEYS, TABLES, conform


@pytest.fixture(scope="module")
def source() -> Source:
    return generator.read()


def shares(source: Source, column: str, since: pd.Timestamp, until: pd.Timestamp) -> pd.Series:
    rows = source.ratings.merge(source.rentals, on="rental_id").merge(source.users, on="user_id")
    rows = rows[(rows["event_timestamp"] >= since) & (rows["event_timestamp"] < until)]
    return rows[column].value_counts(normalize=True)


def moved(source: Source, column: str) -> float:
    """Half the sum of share changes from before the drift to after."""
    before = shares(source, column, generator.START, generator.DRIFT_AT)
    after = shares(source, column, generator.DRIFT_AT, generator.END)
    return float(before.sub(after, fill_value=0).abs().sum() / 2)


def test_the_same_seed_gives_the_same_rows_and_another_does_not(source: Source) -> None:
    again = generator.read()
    for table in TABLES:
        pd.testing.assert_frame_equal(getattr(source, table), getattr(again, table))
    assert not generator.read(seed=8).ratings.equals(source.ratings)


def test_all_but_the_bad_rows_keep_the_contracts(source: Source) -> None:
    for table, key in KEYS.items():
        frame = getattr(source, table)
        if table == "ratings":
            frame = frame[frame["rating"].notna()]
        assert conform(frame, table).num_rows == len(frame)
        assert frame[key].is_unique


def test_a_small_share_of_rows_is_bad(source: Source) -> None:
    rating, age = source.ratings["rating"], source.users["age"]
    assert 0 < rating.isna().mean() < 0.01
    assert set(rating[~rating.between(1, 5)].dropna()) == {0.0, 11.0}
    assert 0 < (age > 110).mean() < 0.02


def test_a_few_ratings_arrive_hours_to_days_late_and_the_others_within_seconds(source: Source) -> None:
    delay = source.ratings["arrived_at"] - source.ratings["event_timestamp"]
    late = delay >= pd.Timedelta(hours=1)
    assert delay.min() > pd.Timedelta(0)
    assert delay[~late].max() < pd.Timedelta(minutes=1)
    assert pd.Timedelta(days=1) < delay.max() < pd.Timedelta(days=7)
    assert 0.015 < late.mean() < 0.025


@pytest.mark.parametrize(("column", "stream"), [("arrived_at", "_ARRIVAL_STREAM"), ("size", "_SIZE_STREAM")])
def test_arrivals_and_sizes_are_drawn_beside_all_else(
    source: Source, monkeypatch: pytest.MonkeyPatch, column: str, stream: str
) -> None:
    monkeypatch.setattr(generator, stream, 3)
    other = generator.read()
    assert not other.ratings[column].equals(source.ratings[column])
    pd.testing.assert_frame_equal(other.ratings.drop(columns=column), source.ratings.drop(columns=column))


def test_a_user_rents_near_a_usual_size_that_fits_the_rental(source: Source) -> None:
    rows = source.ratings.merge(source.rentals, on="rental_id").dropna(subset="size")
    assert len(rows) == pytest.approx(0.9 * len(source.ratings), rel=0.02)
    assert (rows["size"] % 1 == 0).all()
    assert rows["size"].ge(1).all()
    assert (rows["size"] <= rows["capacity"]).all()
    of_user = rows.groupby("user_id")["size"]
    assert of_user.std().mean() < 0.6 * rows["size"].std()
    assert (rows["size"] == of_user.transform("median")).mean() > 0.6


def test_what_arrives_late_comes_with_a_later_period(source: Source) -> None:
    border = generator.DRIFT_AT
    before, after = source.period(None, border), source.period(border, None)
    assert len(before.ratings) + len(after.ratings) == len(source.ratings)
    assert before.ratings["arrived_at"].max() < border <= after.ratings["arrived_at"].min()
    assert (after.ratings["event_timestamp"] < border).any()


def test_nobody_rates_before_joining_nor_what_is_not_listed(source: Source) -> None:
    rows = source.ratings.merge(source.rentals, on="rental_id").merge(source.users, on="user_id")
    assert len(rows) == len(source.ratings)
    assert (rows["event_timestamp"] >= rows["joined_at"]).all()
    assert (rows["event_timestamp"] >= rows["listed_at"]).all()
    assert rows["event_timestamp"].between(generator.START, generator.END, inclusive="left").all()


def test_purposes_and_categories_drift_and_ages_do_not(source: Source) -> None:
    assert moved(source, "purpose") > 0.25
    assert moved(source, "category") > 0.2
    before = shares(source, "purpose", generator.START, pd.Timestamp("2022-01-01", tz="UTC"))
    between = shares(source, "purpose", pd.Timestamp("2022-01-01", tz="UTC"), generator.DRIFT_AT)
    assert before.sub(between).abs().sum() / 2 < 0.05
    by_decade = replace(source, users=source.users.round({"age": -1}))
    assert moved(by_decade, "age") < 0.1


def test_ratings_can_be_learnt_beyond_the_mean_of_each_rental(source: Source) -> None:
    rows = source.period(None, generator.DRIFT_AT).ratings
    rows = rows[rows["rating"].between(1, 5)]
    rows = rows.merge(source.rentals, on="rental_id").merge(source.users, on="user_id")
    train = rows.sample(frac=0.8, random_state=1)
    test = rows.drop(train.index)

    residual = train["rating"] - train["rating"].mean()
    error = test["rating"] - train["rating"].mean()
    spread = [error.std()]
    # Each step explains a part of what the step before left over.
    for keys in (["rental_id"], ["user_id"], ["segment", "category"], ["segment", "area"]):
        group, same = train[keys].agg("|".join, axis=1), test[keys].agg("|".join, axis=1)
        known = residual.groupby(group).agg(["sum", "count"])
        effect = known["sum"] / (known["count"] + 5)
        residual, error = residual - group.map(effect), error - same.map(effect).fillna(0)
        spread.append(error.std())
    assert spread == sorted(spread, reverse=True)
    assert spread[-1] < 0.98 * spread[2]


def test_who_likes_what_changes_with_the_drift_and_not_before(source: Source) -> None:
    rows = source.ratings[source.ratings["rating"].between(1, 5)]
    rows = rows.merge(source.rentals, on="rental_id").merge(source.users, on="user_id")
    half = generator.START + (generator.DRIFT_AT - generator.START) / 2
    # Stars beyond those of the rental, for each segment in each area.
    rows["beyond"] = rows["rating"] - rows.groupby("rental_id")["rating"].transform("mean")
    liking = [
        rows[rows["event_timestamp"].between(since, until, inclusive="left")]
        .groupby(["segment", "area"])["beyond"]
        .mean()
        for since, until in (
            (generator.START, half),
            (half, generator.DRIFT_AT),
            (generator.DRIFT_AT, generator.END),
        )
    ]
    assert liking[0].corr(liking[1]) > 0.7
    assert liking[1].corr(liking[2]) < 0.3


def test_purpose_decides_what_is_rented(source: Source) -> None:
    rows = source.ratings.merge(source.rentals, on="rental_id")
    by_purpose = pd.crosstab(rows["purpose"], rows["category"], normalize="index")
    assert by_purpose.loc["family holiday", ["house", "villa", "cabin"]].sum() > 0.6
    assert by_purpose.loc["city break", ["house", "villa", "cabin"]].sum() < 0.3


def test_more_is_rented_in_summer(source: Source) -> None:
    months = source.ratings["event_timestamp"].dt.month.value_counts()
    assert months[7] > 1.3 * months[1]


@pytest.mark.parametrize("change", [{"users": 0}, {"events": -1}, {"drift_at": generator.END}])
def test_impossible_marketplaces_are_refused(change: dict) -> None:
    with pytest.raises(SourceError):
        generator.read(**change)


def test_the_smallest_marketplace_works() -> None:
    assert len(generator.read(users=1, rentals=1, events=1).ratings) == 1
