"""The prediction log against its suites: `python -m flows data-docs`, which also says where the pages are."""

from datetime import timedelta
from pathlib import Path

import pandas as pd

from monitoring import data_docs, quarantine
from monitoring.expectations import Validation, validate
from monitoring.prediction_log import read_feedback, read_predictions
from monitoring.settings import MonitoringSettings

LOG_DAYS = 7
"""Of the log, this many days are read: what is older was read before, and its files never change."""

READERS = {"predictions": read_predictions, "feedback": read_feedback}


def check_log(settings: MonitoringSettings, now: pd.Timestamp) -> dict[str, Validation]:
    """Validate what was logged lately, copy bad rows with their reasons into quarantine, write the data docs.

    The log itself stays as it is, so no request waits for this and nothing is lost.
    """
    lake = settings.home / "lake"
    # A log of which most is bad is told by the pages; there is nothing behind it to stop.
    lenient = settings.model_copy(update={"mostly_bad_share": 1.0})
    checked = {}
    for table, read in READERS.items():
        rows = read(lake, (now - timedelta(days=LOG_DAYS)).to_pydatetime())
        checked[table] = validate(rows, table, lenient, now.to_pydatetime())
        quarantine.write(checked[table].bad, table, f"log-{now:%Y-%m-%d}", lake / "quarantine")
        describes = f"What was logged in {LOG_DAYS} days."
        data_docs.publish(settings.data_docs, checked[table].result, len(rows), describes)
    return checked


def run(settings: MonitoringSettings) -> Path:
    """Check the log, say what is bad in it, and return the list of all data docs."""
    for table, found in check_log(settings, pd.Timestamp.now("UTC")).items():
        print(
            f"{table}: {len(found.good) + len(found.bad):,} rows of {LOG_DAYS} days, {len(found.bad):,} bad"
        )
    return settings.data_docs / data_docs.INDEX
