"""What a table of features must be like before it goes online."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from monitoring.feature_expectations import TIME, FeatureColumn, FeatureTable, judge
from monitoring.table_profile import ColumnProfile, TableProfile

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
MICROSECONDS = int(AS_OF.timestamp() * 1e6)
LATE = MICROSECONDS + 1
TABLE = FeatureTable(
    "user_features",
    "user_id",
    (
        FeatureColumn("rentals", required=True, limits=(0.0, 1e9)),
        FeatureColumn("mean", limits=(1.0, 5.0)),
        FeatureColumn("segment"),
    ),
)
GOOD = TableProfile(
    rows=1000,
    rows_lately=1000,
    repeated=0,
    columns={
        "user_id": ColumnProfile(1000, 1000),
        TIME: ColumnProfile(1000, 1000, 1, MICROSECONDS),
        "rentals": ColumnProfile(1000, 1000, 0.0, 40.0),
        "mean": ColumnProfile(600, 600, 1.0, 5.0),
        "segment": ColumnProfile(900, 900),
    },
)


def failures(found: TableProfile, known_before: dict[str, float] | None = None) -> tuple[str, ...]:
    return judge(TABLE, found, AS_OF, known_before or {}, kept=0.5).failures


def with_column(name: str, column: ColumnProfile) -> TableProfile:
    return replace(GOOD, columns=GOOD.columns | {name: column})


def test_good_features_pass_and_every_expectation_is_in_the_result():
    judged = judge(TABLE, GOOD, AS_OF, {"mean": 0.6, "segment": 0.9}, kept=0.5)
    assert judged.failures == ()
    assert judged.result["success"]
    types = {one["expectation_config"]["type"] for one in judged.result["results"]}
    assert {"expect_column_min_to_be_between", "expect_compound_columns_to_be_unique"} <= types


NOT_A_NUMBER = "there is a value that is no number"
IN_TIME = "no event_timestamp is after 2024-01-01 00:00 UTC"


@pytest.mark.parametrize(
    ("column", "found", "expectation", "observed"),
    [
        ("rentals", ColumnProfile(1000, 1000, -1.0, 40.0), "rentals is 0 or more", "-1"),
        ("rentals", ColumnProfile(999, 999, 0.0, 40.0), "rentals is never missing", "0.999"),
        ("rentals", ColumnProfile(1000, 1000, 0.0, math.inf), "rentals is 1e+09 or less", "inf"),
        ("user_id", ColumnProfile(999, 999), "user_id is never missing", "0.999"),
        ("mean", ColumnProfile(600, 600, 0.99, 5.0), "mean is 1 or more", "0.99"),
        ("mean", ColumnProfile(600, 600, 1.0, 5.01), "mean is 5 or less", "5.01"),
        ("mean", ColumnProfile(600, 600, 1.0, math.nan), "mean is 5 or less", NOT_A_NUMBER),
        (TIME, ColumnProfile(1000, 1000, 1, LATE), IN_TIME, "2024-01-01 00:00:00.000001+00:00"),
    ],
)
def test_one_fault_fails_one_expectation_and_is_named(column, found, expectation, observed):
    assert failures(with_column(column, found)) == (f"{expectation!r} does not hold: {observed}",)


def test_a_row_that_is_there_twice_and_an_empty_table_fail():
    twice = replace(GOOD, repeated=2)
    assert failures(twice) == ("'one row for each user_id and time' does not hold: 2",)
    assert "'the table has rows' does not hold: 0" in failures(replace(GOOD, rows=0, rows_lately=0))


def test_a_feature_without_a_column_is_named():
    columns = {name: column for name, column in GOOD.columns.items() if name != "mean"}
    (failure,) = failures(replace(GOOD, columns=columns))
    assert failure == "'every feature has its column' does not hold: 4 columns, without ['mean']"


def test_a_feature_that_no_source_has_breaks_no_range():
    assert failures(with_column("mean", ColumnProfile(0, 0))) == ()


def test_values_that_vanish_are_told_against_the_run_before():
    found = with_column("mean", ColumnProfile(600, 100, 1.0, 5.0))
    (failure,) = failures(found, {"mean": 0.6})
    assert failure == "'mean is known as often as before: 60%, and at least 30%' does not hold: 0.1"
    assert failures(with_column("mean", ColumnProfile(600, 300, 1.0, 5.0)), {"mean": 0.6}) == ()


def test_few_rows_do_not_tell_that_values_vanish():
    few = replace(with_column("mean", ColumnProfile(600, 0, 1.0, 5.0)), rows_lately=100)
    few = replace(few, columns=few.columns | {"rentals": ColumnProfile(1000, 100, 0.0, 1.0)})
    few = replace(
        few, columns=few.columns | {key: ColumnProfile(1000, 100, 1, 2) for key in ("user_id", TIME)}
    )
    assert failures(few, {"mean": 0.6}) == ()
