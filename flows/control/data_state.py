"""How fresh data and features are, and what is in quarantine."""

from dataclasses import dataclass
from datetime import datetime

import pyarrow.parquet as pq

from feature_repo import history, lake
from feature_repo.lake import LakeError
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings
from monitoring import quarantine

MOST_REASONS = 5
"""Reasons of a table that a person reads; the rest is in the export."""


@dataclass(frozen=True)
class Quarantined:
    """One table's rows that broke their contract."""

    table: str
    rows: int
    share: float
    """Of all rows of the table that came, the good ones in the lake among them."""

    reasons: dict[str, int]
    """Rows by reason, the most frequent ones."""


@dataclass(frozen=True)
class DataState:
    """The lake of a home; what is not there is None or empty."""

    dataset: str
    rows: dict[str, int]
    """Of each table of the lake."""

    data_until: datetime | None
    """First midnight after the last rating arrived."""

    features_until: datetime | None
    """Ratings that were known before this time are in the features."""

    missed: int
    """Ratings that were known by then and are not in them: they landed late."""

    faults: list[str]
    """Why something above is not known, each with its remedy."""

    quarantined: list[Quarantined]


def data_state(settings: FeatureSettings) -> DataState:
    """Look at the lake of a home."""
    faults = []
    data_until = features_until = None
    rows = {table: _rows(settings, table) for table in TABLES}
    try:
        data_until = lake.clock(settings.lake)
        features_until = history.as_of(settings)
    except LakeError as error:
        faults.append(str(error))
    return DataState(
        dataset=lake.dataset_of(settings.lake),
        rows=rows,
        data_until=data_until,
        features_until=features_until,
        missed=history.missed(settings) if features_until is not None else 0,
        faults=faults,
        quarantined=[
            _quarantined(table, reasons, rows.get(table, 0))
            for table, reasons in quarantine.reasons(settings.lake / "quarantine").items()
        ],
    )


def _quarantined(table: str, reasons: dict[str, int], good: int) -> Quarantined:
    bad = sum(reasons.values())
    return Quarantined(table, bad, bad / (bad + good), dict(list(reasons.items())[:MOST_REASONS]))


def _rows(settings: FeatureSettings, table: str) -> int:
    return sum(pq.read_metadata(path).num_rows for path in (settings.lake / table).glob("*.parquet"))
