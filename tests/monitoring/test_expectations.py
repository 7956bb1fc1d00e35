"""Rows sorted into good and bad by Great Expectations."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from monitoring.expectations import CLOCK_TOLERANCE, MissingColumnsError, MostlyBadError, suite, validate
from monitoring.settings import MonitoringSettings

NOW = datetime(2021, 1, 1, tzinfo=UTC)


def spoil(frame: pd.DataFrame, column: str, row: int, value: object) -> pd.DataFrame:
    """Put a value of any type into one cell."""
    values = frame[column].astype(object).tolist()
    values[row] = value
    return frame.assign(**{column: pd.Series(values, dtype=object)})


def test_good_rows_pass_and_every_expectation_is_reported(ratings: pd.DataFrame) -> None:
    checked = validate(ratings, "ratings", now=NOW)
    assert len(checked.good) == 10
    assert checked.bad.empty
    assert set(checked.report.values()) == {0}
    assert {"rating is within 1..5", "rating_id is unique", "user_id is present"} <= set(checked.report)


def test_the_suite_is_one_of_great_expectations() -> None:
    import great_expectations as gx

    assert isinstance(suite("ratings", NOW), gx.ExpectationSuite)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("rating", None, "rating is present"),
        ("rating", 5.5, "rating is within 1..5"),
        ("rating", 0.99, "rating is within 1..5"),
        ("rating", "five", "rating is a number"),
        ("rating", True, "rating is a number"),
        ("rating", [4], "rating is a number"),
        ("rating", float("inf"), "rating is a number"),
        ("user_id", "", "user_id is not blank"),
        ("user_id", "  ", "user_id is not blank"),
        ("user_id", None, "user_id is present"),
        ("user_id", 4.0, "user_id is text"),
        ("user_id", "\ud800", "user_id is text"),
        ("rental_id", "x" * 129, "rental_id is at most 128 characters"),
        ("event_timestamp", None, "event_timestamp is present"),
        *(
            ("event_timestamp", value, "event_timestamp is a timestamp with a time zone")
            for value in (
                "yesterday",
                1_577_836_800,
                20200101,
                "9999-01-01T00:00:00Z",
                "2020-01-01",
                "2020-01-01T00:00:00",
                "2020-01-01 00:00-bad",
                datetime(2020, 1, 1),
            )
        ),
        ("event_timestamp", "1969-12-31T23:59:59Z", "event_timestamp is within 1970-01-01..tomorrow"),
        ("arrived_at", "2021-01-03T00:00:00Z", "arrived_at is within 1970-01-01..tomorrow"),
        ("arrived_at", None, "arrived_at is present"),
        ("arrived_at", "2020-01-04T23:59:59.999999Z", "arrived_at is not before event_timestamp"),
        ("rating", 10**400, "rating is a number"),
        ("rating", float("nan"), "rating is present"),
        ("rating", "NaN", "rating is a number"),
        ("rating", "-Infinity", "rating is a number"),
        ("user_id", "u\x00", "user_id is free of control characters"),
        ("rental_id", "r\n1", "rental_id is free of control characters"),
        ("user_id", "\u2028u", "user_id is free of control characters"),
    ],
)
def test_a_bad_required_value_costs_its_row_only(
    ratings: pd.DataFrame, column: str, value: object, reason: str
) -> None:
    checked = validate(spoil(ratings, column, 4, value), "ratings", now=NOW)
    assert checked.bad["reason"].tolist() == [reason]
    assert checked.bad["rating_id"].tolist() == ["g4"]
    assert len(checked.good) == 9
    assert checked.report[reason] == 1


def test_a_rating_may_arrive_when_it_happens_and_not_in_the_future(ratings: pd.DataFrame) -> None:
    at_once = ratings.assign(arrived_at=ratings["event_timestamp"])
    assert validate(at_once, "ratings", now=NOW).bad.empty
    tomorrow = pd.Timestamp(NOW) + CLOCK_TOLERANCE
    ahead = spoil(spoil(ratings, "event_timestamp", 0, tomorrow), "arrived_at", 0, tomorrow)
    assert validate(ahead, "ratings", now=NOW).bad.empty
    later = tomorrow + pd.Timedelta("1us")
    ahead = spoil(spoil(ratings, "event_timestamp", 0, later), "arrived_at", 0, later)
    assert validate(ahead, "ratings", now=NOW).bad["reason"].tolist() == [
        "event_timestamp is within 1970-01-01..tomorrow; arrived_at is within 1970-01-01..tomorrow"
    ]


def test_identifiers_may_hold_colons_and_any_script(ratings: pd.DataFrame) -> None:
    odd = spoil(spoil(ratings, "user_id", 0, "1:11"), "user_id", 1, "ü v 李")
    assert validate(odd, "ratings", now=NOW).good["user_id"].tolist()[:2] == ["1:11", "ü v 李"]


@pytest.mark.parametrize(
    "value", ["2020-05-01T00:00Z", "2020-05-01T10:00:00+02:00", "2020-05-01 10:00:00.5-0230", NOW]
)
def test_times_are_read_as_microseconds_in_utc(ratings: pd.DataFrame, value: object) -> None:
    late = ratings.assign(arrived_at=pd.Timestamp(NOW))
    checked = validate(spoil(late, "event_timestamp", 0, value), "ratings", now=NOW)
    assert checked.bad.empty
    assert str(checked.good["event_timestamp"].dtype) == "datetime64[us, UTC]"
    assert checked.good["event_timestamp"][0] == pd.Timestamp(value)


def test_a_column_of_times_without_a_zone_stops(ratings: pd.DataFrame) -> None:
    with pytest.raises(
        MostlyBadError, match=r"not 'event_timestamp is a timestamp with a time zone' \(10 rows"
    ):
        validate(
            ratings.assign(event_timestamp=ratings["event_timestamp"].dt.tz_localize(None)),
            "ratings",
            now=NOW,
        )


def test_bare_numbers_are_no_times(ratings: pd.DataFrame) -> None:
    with pytest.raises(MostlyBadError, match="event_timestamp is a timestamp"):
        validate(ratings.assign(event_timestamp=20200101 + np.arange(10)), "ratings", now=NOW)


def test_whole_numbers_serve_as_identifiers(ratings: pd.DataFrame) -> None:
    checked = validate(ratings.assign(user_id=np.arange(10)), "ratings", now=NOW)
    assert checked.good["user_id"].tolist() == [str(i) for i in range(10)]


def test_every_failed_expectation_of_a_row_is_named(ratings: pd.DataFrame) -> None:
    spoilt = spoil(spoil(ratings, "rating", 2, 9.0), "user_id", 2, "")
    assert (
        validate(spoilt, "ratings", now=NOW).bad["reason"][0] == "user_id is not blank; rating is within 1..5"
    )


def test_of_twins_the_first_stays(ratings: pd.DataFrame) -> None:
    checked = validate(ratings.assign(rating_id=["g0", "g0", *ratings["rating_id"][2:]]), "ratings", now=NOW)
    assert checked.bad["reason"].tolist() == ["rating_id is unique"]
    assert checked.good["rating"][0] == 1.0


def test_a_bad_row_does_not_displace_its_good_twin(ratings: pd.DataFrame) -> None:
    twins = ratings.assign(rating_id=["g0", "g0", *ratings["rating_id"][2:]])
    checked = validate(spoil(twins, "rating", 0, None), "ratings", now=NOW)
    assert len(checked.bad) == 1
    assert checked.good["rating"][0] == 2.0


def test_bad_rows_keep_their_values_as_they_came(ratings: pd.DataFrame) -> None:
    checked = validate(spoil(ratings, "rating", 1, {"stars": 3}), "ratings", now=NOW)
    assert checked.bad["rating"][0] == {"stars": 3}


@pytest.mark.parametrize("age", [116.0, -1.0, 3.0, "unknown", float("inf"), "-inf", 10**400, ("28",), [28]])
def test_an_implausible_age_is_blanked_and_the_user_stays(users: pd.DataFrame, age: object) -> None:
    checked = validate(spoil(users, "age", 0, age), "users", now=NOW)
    assert checked.bad.empty
    assert checked.good["age"].isna().tolist() == [True, True, False, False]
    assert sum(checked.blanked.values()) == 1


def test_extra_columns_and_any_index_are_kept_out_of_the_way(ratings: pd.DataFrame) -> None:
    odd = spoil(ratings, "rating", 3, None).assign(source_text="line").set_index(pd.Index([7] * 10))
    checked = validate(odd, "ratings", now=NOW)
    assert checked.bad["rating_id"].tolist() == ["g3"]
    assert (checked.good["source_text"] == "line").all()


def test_an_empty_batch_is_valid(ratings: pd.DataFrame) -> None:
    checked = validate(ratings.iloc[:0], "ratings", now=NOW)
    assert len(checked.good) == len(checked.bad) == 0
    assert "reason" in checked.bad


def test_a_mostly_bad_batch_stops_and_can_still_be_quarantined(ratings: pd.DataFrame) -> None:
    with pytest.raises(
        MostlyBadError, match=r"60% of 10 rows for 'ratings'.*rating is within.*MOSTLY_BAD"
    ) as caught:
        validate(ratings.assign(rating=[9.0] * 6 + [3.0] * 4), "ratings", now=NOW)
    assert caught.value.share == 0.6
    assert len(caught.value.validation.bad) == 6


def test_what_mostly_means_is_a_setting(ratings: pd.DataFrame) -> None:
    settings = MonitoringSettings(mostly_bad_share=0.7)
    assert len(validate(ratings.assign(rating=[9.0] * 6 + [3.0] * 4), "ratings", settings, NOW).bad) == 6


def test_missing_columns_are_all_named(ratings: pd.DataFrame) -> None:
    with pytest.raises(MissingColumnsError, match=r"\['rating', 'purpose'\]"):
        validate(ratings.drop(columns=["rating", "purpose"]), "ratings")


def test_optional_columns_may_be_absent_and_are_null(ratings: pd.DataFrame) -> None:
    old = spoil(ratings, "rating", 3, None).drop(columns=["purpose", "size"]).assign(source_text="line")
    checked = validate(old, "ratings", now=NOW)
    assert checked.good[["purpose", "size"]].isna().all(axis=None)
    assert checked.bad["rating_id"].tolist() == ["g3"]
    assert checked.bad.columns.tolist() == [*old.columns, "reason"]
    assert not any(checked.blanked.values())


def test_an_absent_column_is_a_fault_beside_one_that_nobody_knows(ratings: pd.DataFrame) -> None:
    with pytest.raises(MissingColumnsError, match=r"lacks the columns \['size'\]; it has .*'Size'"):
        validate(ratings.rename(columns={"size": "Size"}), "ratings")


@pytest.mark.parametrize(
    "size",
    [float("inf"), "-inf", "NaN", -1.0, -5e-324, 10_000.5, 1e300, 10**400, "small", True, [14], ("14XL",)],
)
def test_an_implausible_size_is_blanked_and_the_rating_stays(ratings: pd.DataFrame, size: object) -> None:
    checked = validate(spoil(ratings, "size", 1, size), "ratings", now=NOW)
    assert checked.bad.empty
    assert checked.good["size"].isna().tolist() == [False, True, False, False, True] + [False] * 4 + [True]
    assert sum(checked.blanked.values()) == 1


def test_an_unknown_table_is_refused(ratings: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="known tables: users, rentals, ratings"):
        validate(ratings, "reviews")


@pytest.mark.parametrize("column", ["price", "capacity"])
@pytest.mark.parametrize("value", [float("inf"), -float("inf"), "NaN", -1.0])
def test_impossible_attributes_of_rentals_are_blanked_and_counted(column: str, value: object) -> None:
    rentals = pd.DataFrame(
        {"rental_id": ["a", "b"], "category": "x", "area": None, "price": 9.0, "capacity": 2.0}
    )
    rentals["listed_at"] = pd.Timestamp(NOW)
    checked = validate(spoil(rentals, column, 0, value), "rentals", now=NOW)
    assert checked.bad.empty
    assert checked.good[column].isna().tolist() == [True, False]
    assert sum(checked.blanked.values()) == 1
