"""A batch beside the ones before: the fields of its source, its size, and how old it is."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.settings import MonitoringSettings

DAY = timedelta(days=1)

MOST_FIELDS = 20
"""Fields that are named one by one; more of them is another source."""


class VolumeError(ValueError):
    """A batch is of another order of magnitude than those before; nothing of it should be used."""


@dataclass(frozen=True)
class BatchFigures:
    """What is remembered of a batch."""

    batch: str
    fields: Mapping[str, str]
    """The source's own fields, and the kind of most of their values."""

    rows: Mapping[str, int]
    """Rows that arrived, by table."""

    bad: Mapping[str, int]
    """Of these, how many broke a contract."""

    first: datetime | None = None
    """Earliest arrival of a rating; None where none arrived."""

    newest: datetime | None = None
    """Latest arrival."""

    @property
    def ratings_a_day(self) -> float:
        """Ratings a day between the first and the newest, at least over one day; 0 where none arrived."""
        if self.first is None or self.newest is None:
            return 0.0
        return self.rows["ratings"] / max((self.newest - self.first) / DAY, 1.0)


def findings(
    batch: BatchFigures,
    past: Sequence[BatchFigures],
    end: datetime,
    settings: MonitoringSettings | None = None,
) -> list[str]:
    """Say what a person should know of a batch; nothing where it is as the others.

    Args:
        batch: the one that arrived.
        past: the ones before, oldest first; the same batch among them is left out.
        end: when the batch ends, or now.
        settings: the thresholds.

    Raises:
        VolumeError: it is larger or smaller by more than ``volume_stop_factor``.
    """
    settings = settings or MonitoringSettings()
    before = [one for one in past if one.batch != batch.batch]
    found = schema_drift(before[-1].fields, batch.fields) if before else []
    return found + _volume(batch, before, settings) + _freshness(batch, end, settings)


def schema_drift(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the fields that a source has lost, gained or filled with another kind of values."""
    found = [
        *(f"schema: field {name!r} is gone" for name in before if name not in now),
        *(f"schema: field {name!r} ({kind}) is new" for name, kind in now.items() if name not in before),
        *(
            f"schema: field {name!r} was {before[name]} and is {kind}"
            for name, kind in now.items()
            if name in before and before[name] != kind
        ),
    ]
    more = len(found) - MOST_FIELDS
    return found[:MOST_FIELDS] + ([f"schema: {more:,} more fields differ"] if more > 0 else [])


def _volume(batch: BatchFigures, before: list[BatchFigures], settings: MonitoringSettings) -> list[str]:
    if not batch.ratings_a_day:
        return ["volume: no rating arrived"]
    usual = statistics.median([one.ratings_a_day for one in before if one.ratings_a_day] or [0.0])
    if not usual:
        return []
    factor = batch.ratings_a_day / usual
    says = f"{batch.ratings_a_day:,.1f} ratings a day, {usual:,.1f} before"
    if max(factor, 1 / factor) > settings.volume_stop_factor:
        raise VolumeError(
            f"volume: {says}: the batch was stopped, and nothing of it is in the lake. See whether the "
            "source is whole and comes once; to take it on purpose raise RENTALS_VOLUME_STOP_FACTOR."
        )
    return [f"volume: {says}"] if max(factor, 1 / factor) > settings.volume_warning_factor else []


def _freshness(batch: BatchFigures, end: datetime, settings: MonitoringSettings) -> list[str]:
    if batch.newest is None:
        return []
    age = (end - batch.newest) / DAY
    if age <= settings.stale_days:
        return []
    return [f"freshness: the newest rating arrived {age:,.0f} days before {end:%Y-%m-%d}"]
