"""Great Expectations suites for the tables of the lake, and rows sorted by them into good and bad."""

import math
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from monitoring.contracts import LONGEST_TEXT, SOURCE_TEXT, TABLES, Column
from monitoring.parsing import parse
from monitoring.settings import MonitoringSettings

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
"""Before it a time stamp is a default or an overflow, not a rental."""

CLOCK_TOLERANCE = timedelta(days=1)
"""How far ahead of this clock a time may lie: a source may write local days as UTC."""

CONTROL_CHARACTERS = r"[\x00-\x1f\x7f-\x9f\u2028\u2029]"
"""Line ends, NUL and the like: in an identifier a sign of a broken export, and some stores refuse them."""

REASONS_SHOWN = 3
"""Reasons named in an error; the rest is in the report."""

KINDS_SAY = {
    "number": "a number",
    "timestamp": "a timestamp with a time zone",
    "flag": "true or false",
    "identifiers": "a list of texts",
    "numbers": "a list of finite numbers",
}
"""Kinds in words; all others are text."""

_GIVEN = " as given"
_UNREADABLE = " unreadable"
_LENGTH, _LOWEST, _HIGHEST = " length", " lowest", " highest"

KEPT_OF_RESULTS = (
    "element_count",
    "unexpected_count",
    "unexpected_percent",
    "missing_count",
    "observed_value",
)
"""What is kept of Great Expectations' results: no values, which may be a person's, and no row numbers."""


class MissingColumnsError(ValueError):
    """The frame lacks columns of its table, or has them under other names."""


class MostlyBadError(ValueError):
    """A batch has more bad rows than good sense allows; nothing of it should be used.

    Attributes:
        table: name of the table.
        share: bad rows over all rows.
        validation: the full result, so that the bad rows can still be quarantined.
    """

    def __init__(self, table: str, share: float, validation: "Validation") -> None:
        self.table, self.share, self.validation = table, share, validation
        causes = [
            (name, count) for name, count in validation.report.items() if name not in validation.blanked
        ]
        worst = sorted(causes, key=lambda cause: -cause[1])[:REASONS_SHOWN]
        reasons = ", ".join(f"not '{name}' ({count} rows)" for name, count in worst if count)
        rows = len(validation.bad) + len(validation.good)
        super().__init__(
            f"{share:.0%} of {rows} rows for {table!r} are bad: {reasons}. "
            "Check that the source and its reader fit each other; to accept such a batch on purpose raise "
            "RENTALS_MOSTLY_BAD_SHARE."
        )


@dataclass(frozen=True)
class Validation:
    """A batch, sorted.

    Attributes:
        good: rows that keep every promise, typed as the contract says, implausible optional values null.
        bad: the other rows exactly as they arrived, with a column ``reason`` naming each failed expectation.
        report: expectation -> count of values that failed it; every expectation of the suite is there.
        blanked: the part of the report whose values were set to null without loss of the row.
        result: Great Expectations' ``ExpectationSuiteValidationResult``, as JSON, for the data docs.
    """

    good: pd.DataFrame
    bad: pd.DataFrame
    report: dict[str, int]
    blanked: dict[str, int]
    result: dict[str, Any]


def suite(table: str, now: datetime) -> Any:
    """Return the table's `great_expectations.ExpectationSuite`; each expectation's meta says what it means.

    Raises:
        ValueError: the table is unknown.
    """
    gx = great_expectations()
    found = [expectation for column in _columns(table) for expectation in _expectations(gx, column, now)]
    for expectation in found:
        expectation.description = expectation.meta["name"]
    return gx.ExpectationSuite(name=table, expectations=found)


def validate(
    frame: pd.DataFrame,
    table: str,
    settings: MonitoringSettings | None = None,
    now: datetime | None = None,
) -> Validation:
    """Sort the rows of ``frame`` into good and bad; an empty frame gives an empty validation.

    Of rows with the same key the first otherwise good one stays. Optional columns may be absent, and are null
    then, unless the frame has columns that the table does not know: they may be the absent ones, misnamed.

    Raises:
        ValueError: the table is unknown.
        MissingColumnsError: columns of the table are missing.
        MostlyBadError: the share of bad rows exceeds ``settings.mostly_bad_share``.
    """
    settings = settings or MonitoringSettings()
    columns = _columns(table)
    missing = {column.name: column for column in columns if column.name not in frame}
    unknown = set(frame.columns) - {SOURCE_TEXT} - {column.name for column in columns}
    if missing and (unknown or any(column.required for column in missing.values())):
        raise MissingColumnsError(
            f"table {table!r} lacks the columns {list(missing)}; it has {list(frame.columns)}. "
            "Rename them in the reader, or add optional ones as nulls."
        )
    arrived = frame.reset_index(drop=True)
    typed, view = _read(arrived.assign(**dict.fromkeys(missing)), columns)
    failures, result = _failures(view, suite(table, now or datetime.now(UTC)))
    report, blanked, reasons = {}, {}, pd.Series("", index=arrived.index)
    # Uniqueness comes last: only then is it known which of the twins is good.
    for meta, rows in sorted(failures, key=lambda failure: failure[0]["unique"]):
        name, column = meta["name"], meta["column"]
        if meta["unique"]:
            rows = _later_twins(view.loc[rows, column], reasons)
        if meta["fatal"]:
            reasons.loc[rows] = (
                reasons.loc[rows].where(reasons.loc[rows] == "", reasons.loc[rows] + "; ") + name
            )
        else:
            typed.loc[rows, column] = None
            blanked[name] = len(rows)
        report[name] = len(rows)
    is_bad = reasons != ""
    bad = arrived[is_bad].assign(reason=reasons[is_bad]).reset_index(drop=True)
    validation = Validation(typed[~is_bad].reset_index(drop=True), bad, report, blanked, result)
    share = len(bad) / max(len(arrived), 1)
    if share > settings.mostly_bad_share:
        raise MostlyBadError(table, share, validation)
    return validation


def _columns(table: str) -> tuple[Column, ...]:
    if table not in TABLES:
        raise ValueError(f"there is no table {table!r}; known tables: {', '.join(TABLES)}")
    return TABLES[table]


def great_expectations() -> Any:
    """Import the library, with its usage reports off."""
    # Set before the import: nothing about a person's data may leave the machine.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def _expectations(gx: Any, column: Column, now: datetime) -> list[Any]:
    expect = gx.expectations
    name = column.name

    def meta(says: str, unique: bool = False) -> dict[str, Any]:
        return {
            "name": f"{name} is {says}",
            "column": name,
            "fatal": column.fatal,
            "unique": unique,
        }

    says = KINDS_SAY.get(column.kind, "text")
    found = [expect.ExpectColumnValuesToBeNull(column=name + _UNREADABLE, meta=meta(says))]
    if column.required:
        found.append(expect.ExpectColumnValuesToNotBeNull(column=name + _GIVEN, meta=meta("present")))
    if column.kind == "identifier":
        found += [
            expect.ExpectColumnValuesToMatchRegex(column=name, regex=r"\S", meta=meta("not blank")),
            expect.ExpectColumnValuesToNotMatchRegex(
                column=name, regex=CONTROL_CHARACTERS, meta=meta("free of control characters")
            ),
        ]
    if column.kind in ("identifier", "text"):
        found.append(
            expect.ExpectColumnValueLengthsToBeBetween(
                column=name, max_value=LONGEST_TEXT, meta=meta(f"at most {LONGEST_TEXT} characters")
            )
        )
    if column.kind == "timestamp":
        latest = now + CLOCK_TOLERANCE
        found.append(
            expect.ExpectColumnValuesToBeBetween(
                column=name,
                min_value=EARLIEST,
                max_value=latest,
                meta=meta(f"within {EARLIEST:%Y-%m-%d}..tomorrow"),
            )
        )
    if column.not_before:
        found.append(
            expect.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=name,
                column_B=column.not_before,
                or_equal=True,
                ignore_row_if="either_value_is_missing",
                meta=meta(f"not before {column.not_before}"),
            )
        )
    if column.as_long_as:
        found.append(
            expect.ExpectColumnPairValuesToBeEqual(
                column_A=name + _LENGTH,
                column_B=column.as_long_as + _LENGTH,
                ignore_row_if="either_value_is_missing",
                meta=meta(f"as long as {column.as_long_as}"),
            )
        )
    if column.limits:
        low, high = column.limits
        if column.kind == "numbers":
            found += [
                expect.ExpectColumnValuesToBeBetween(
                    column=name + _LOWEST, min_value=low, meta=meta(f"of {low:g} and more only")
                ),
                expect.ExpectColumnValuesToBeBetween(
                    column=name + _HIGHEST, max_value=high, meta=meta(f"of {high:g} and less only")
                ),
            ]
        else:
            found.append(
                expect.ExpectColumnValuesToBeBetween(
                    column=name, min_value=low, max_value=high, meta=meta(f"within {low:g}..{high:g}")
                )
            )
    if column.unique:
        found.append(expect.ExpectColumnValuesToBeUnique(column=name, meta=meta("unique", unique=True)))
    return found


def _read(arrived: pd.DataFrame, columns: tuple[Column, ...]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the typed rows, and beside them what the suite also needs to see of the untyped ones."""
    typed = arrived.copy()
    beside: dict[str, pd.Series] = {}
    for column in columns:
        given = arrived[column.name]
        typed[column.name], unreadable = parse(given, column.kind)
        beside[column.name + _UNREADABLE] = (
            given.where(unreadable).astype(object).map(repr, na_action="ignore")
        )
        beside[column.name + _GIVEN] = given.notna().map({True: "given", False: None})
        if column.kind in ("identifiers", "numbers"):
            lists = typed[column.name]
            beside[column.name + _LENGTH] = lists.map(len, na_action="ignore").astype(float)
            if column.limits:
                beside[column.name + _LOWEST] = lists.map(_lowest, na_action="ignore").astype(float)
                beside[column.name + _HIGHEST] = lists.map(_highest, na_action="ignore").astype(float)
    return typed, pd.concat([typed[[column.name for column in columns]], pd.DataFrame(beside)], axis=1)


def _lowest(numbers: list[float]) -> float:
    return min(numbers, default=math.nan)


def _highest(numbers: list[float]) -> float:
    return max(numbers, default=math.nan)


def _failures(
    view: pd.DataFrame, expected: Any
) -> tuple[list[tuple[dict[str, Any], np.ndarray]], dict[str, Any]]:
    """Run the suite; return each expectation's meta and the positions of the rows which fail it; and all."""
    gx = great_expectations()
    context = gx.get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(batch_parameters={"dataframe": view})
    outcome = batch.validate(
        expected, result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True}
    )
    failures = []
    for result in outcome.results:
        meta = result.expectation_config.meta
        if result.exception_info.get("raised_exception", True):
            raise RuntimeError(f"expectation {meta['name']!r} could not be checked: {result.exception_info}")
        failures.append((meta, np.asarray(result.result["unexpected_index_list"], dtype=np.int64)))
        result.result = {name: found for name, found in result.result.items() if name in KEPT_OF_RESULTS}
    documented = outcome.to_json_dict()
    # Great Expectations adds where the rows came from, by a name that is made up with every run.
    documented["meta"] = {"run_id": {"run_name": expected.name, "run_time": datetime.now(UTC).isoformat()}}
    return failures, documented


def _later_twins(keys: pd.Series, reasons: pd.Series) -> np.ndarray:
    """Return the positions of all rows with a key that an earlier good row has."""
    good_first = keys.index[np.argsort((reasons.loc[keys.index] != "").to_numpy(), kind="stable")]
    ordered = keys.loc[good_first]
    return np.sort(ordered.index[ordered.duplicated()].to_numpy())
