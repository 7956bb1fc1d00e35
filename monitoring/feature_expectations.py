"""Great Expectations suites for tables of features, judged before anything of them goes online.

Great Expectations' own Spark engine would read a table four times for such a suite, in eleven jobs. Here one
pass (``monitoring.table_profile``) computes the metrics that the expectations ask for, by their names in
Great Expectations, and the expectations themselves decide.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.expectations import great_expectations
from monitoring.table_profile import TableProfile

TIME = "event_timestamp"
"""Column of a feature table that says from when on a row holds."""

LEAST_EXPECTED = 100
"""Known values that a feature must be expected to have for a fall to be told: that half of them are missing
is then five standard deviations away from chance."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class FeatureQualityError(ValueError):
    """Features break their suite, so that nothing of them goes online; the message names the remedy."""


@dataclass(frozen=True)
class FeatureColumn:
    """The promise of one feature."""

    name: str
    required: bool = False
    """Every row has a value: a count is 0, not unknown, where nothing happened."""

    limits: tuple[float, float] | None = None
    """Smallest and largest possible number, both included."""


@dataclass(frozen=True)
class FeatureTable:
    """The promise of one table: a row for each entity and time, none of them in the future."""

    name: str
    key: str
    columns: tuple[FeatureColumn, ...]


@dataclass(frozen=True)
class Judgement:
    """What the suite said of a table.

    Attributes:
        table: its name.
        profile: what was judged.
        result: Great Expectations' ``ExpectationSuiteValidationResult``, as JSON.
        failures: each expectation that failed, in words with what was found.
    """

    table: str
    profile: TableProfile
    result: dict[str, Any]
    failures: tuple[str, ...]


def suite(
    table: FeatureTable,
    as_of: datetime,
    profile: TableProfile,
    known_before: Mapping[str, float],
    kept: float,
) -> Any:
    """Return the table's `great_expectations.ExpectationSuite`; descriptions are for people.

    Args:
        table: the contract.
        as_of: nothing in the table may be later.
        profile: a range is only asked of columns that have values.
        known_before: share of known values by column in the run before; empty for the first run.
        kept: part of that share which must still be known.
    """
    gx = great_expectations()
    expect = gx.expectations
    names = [table.key, TIME, *(column.name for column in table.columns)]
    found = [
        expect.ExpectTableColumnsToMatchSet(
            column_set=names, exact_match=False, description="every feature has its column"
        ),
        expect.ExpectTableRowCountToBeBetween(min_value=1, description="the table has rows"),
        expect.ExpectCompoundColumnsToBeUnique(
            column_list=[table.key, TIME],
            ignore_row_if="never",
            description=f"one row for each {table.key} and time",
        ),
    ]
    for column in (FeatureColumn(table.key, True), FeatureColumn(TIME, True), *table.columns):
        name = column.name
        if name not in profile.columns:
            continue
        least, says = 0.0, ""
        if column.required:
            least, says = 1.0, f"{name} is never missing"
        elif known_before.get(name, 0.0) * profile.rows_lately >= LEAST_EXPECTED:
            least = known_before[name] * kept
            says = f"{name} is known as often as before: {known_before[name]:.0%}, and at least {least:.0%}"
        if says:
            found.append(
                expect.ExpectColumnProportionOfNonNullValuesToBeBetween(
                    column=name, min_value=least, description=says
                )
            )
        if column.limits and profile.columns[name].known:
            low, high = column.limits
            found += [
                expect.ExpectColumnMinToBeBetween(
                    column=name, min_value=low, description=f"{name} is {low:g} or more"
                ),
                expect.ExpectColumnMaxToBeBetween(
                    column=name, max_value=high, description=f"{name} is {high:g} or less"
                ),
            ]
    found.append(
        expect.ExpectColumnMaxToBeBetween(
            column=TIME, max_value=as_of, description=f"no {TIME} is after {as_of:%Y-%m-%d %H:%M} UTC"
        )
    )
    return gx.ExpectationSuite(name=table.name, expectations=found)


def judge(
    table: FeatureTable,
    profile: TableProfile,
    as_of: datetime,
    known_before: Mapping[str, float],
    kept: float,
) -> Judgement:
    """Judge a profile by the table's ``suite``, whose arguments these are."""
    gx = great_expectations()
    expectations = suite(table, as_of, profile, known_before, kept)
    results = [_judged(expectation, profile) for expectation in expectations.expectations]
    failed = [result for result in results if not result.success]
    passed = len(results) - len(failed)
    whole = gx.core.ExpectationSuiteValidationResult(
        success=not failed,
        results=results,
        suite_name=table.name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(failed),
            "success_percent": 100.0 * passed / len(results),
        },
        meta={"run_id": {"run_name": table.name, "run_time": as_of.isoformat()}},
    )
    return Judgement(table.name, profile, whole.to_json_dict(), tuple(_words(one) for one in failed))


def _judged(expectation: Any, profile: TableProfile) -> Any:
    """Let the expectation decide on metrics that are computed already."""
    runtime = {"result_format": {"result_format": "BASIC"}}
    wanted = expectation.get_validation_dependencies(runtime_configuration=dict(runtime))
    metrics = {
        metric.id: _metric(name, metric.metric_domain_kwargs.get("column"), profile)
        for name, metric in wanted.metric_configurations.items()
    }
    return expectation.metrics_validate(metrics, runtime_configuration=dict(runtime))


def _metric(name: str, column: str | None, profile: TableProfile) -> Any:
    """The metric of Great Expectations by its name, from the profile."""
    if column:
        found = profile.columns[column]
        in_time = column == TIME
        return {
            "column.min": lambda: _moment(found.lowest) if in_time else found.lowest,
            "column.max": lambda: _moment(found.highest) if in_time else found.highest,
            "column.non_null_proportion": lambda: profile.share_known(column),
        }[name]()
    return {
        "table.columns": list(profile.columns),
        "table.row_count": profile.rows,
        "compound_columns.unique.unexpected_count": profile.repeated,
        "compound_columns.unique.filtered_row_count": profile.rows,
        "compound_columns.unique.unexpected_values": [],
    }[name]


def _moment(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else EPOCH + timedelta(microseconds=microseconds)


def _words(result: Any) -> str:
    found = result.result
    observed = found.get("observed_value", found.get("unexpected_count"))
    if observed is None:
        observed = "there is a value that is no number"
    elif isinstance(observed, float):
        observed = f"{observed:.4g}"
    elif isinstance(observed, list):
        observed = f"{len(observed)} columns, without {found['details']['mismatched']['missing']}"
    return f"'{result.expectation_config.description}' does not hold: {observed}"
