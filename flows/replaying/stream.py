"""A source's years as a stream: what was known at any day, and what happened in the month after it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.benchmark_split import SplitError, catalogues_as_of, events_as_of, whole_history
from flows.settings import FlowSettings
from flows.training import TrainingSet

EVENTS, CATALOGUES = "events.parquet", "catalogues.parquet"
WEEK = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Stream:
    """Events with their features as of each, and the catalogue as of every week and of each month's begin.

    ``months`` holds the first day of each month and, last, the day on which the stream ends.
    """

    events: pd.DataFrame
    catalogues: pd.DataFrame
    months: pd.DatetimeIndex

    def known(self, until: pd.Timestamp) -> TrainingSet:
        """Return what a training on that month's begin would be given: nothing that arrived later."""
        flow = FlowSettings()
        at = self.catalogues["snapshot_at"]
        weekly = at.isin(self.weeks) & (at > until - flow.catalogue_weeks * WEEK) & (at < until)
        return TrainingSet(
            events=self.events[self.events["arrived_at"] < until].reset_index(drop=True),
            catalogues=self.catalogues[weekly | (at == until)].reset_index(drop=True),
            until=until,
            test_from=until - pd.Timedelta(days=flow.test_days),
            snapshot_hash=f"replay until {until:%Y-%m-%d}",
        )

    def month(self, begin: pd.Timestamp) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Return the events of the month that begins there, oldest first, and the catalogues of its days."""
        end = self.months[int(self.months.searchsorted(begin, side="right"))]
        when, at = self.events["event_timestamp"], self.catalogues["snapshot_at"]
        events = self.events[(when >= begin) & (when < end)]
        return (
            events.sort_values(["event_timestamp", "rating_id"], ignore_index=True),
            self.catalogues[(at >= begin) & (at < end)].reset_index(drop=True),
        )

    @property
    def weeks(self) -> pd.DatetimeIndex:
        """The days of the weekly catalogues, counted back from the last month's begin."""
        return weeks_of(self.months)


def weeks_of(months: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """Return every seventh day, from as long before the first month as a training looks back."""
    first = months[0] - FlowSettings().catalogue_weeks * WEEK
    return pd.date_range(end=months[-1], periods=(months[-1] - first) // WEEK, freq=WEEK)


def replay_settings() -> FeatureSettings:
    """Return the settings of the replay's own home, in which it has a lake of its own."""
    settings = FeatureSettings()
    return settings.model_copy(update={"home": settings.home / "bench" / "replay"})


def write_stream(settings: FeatureSettings, data: str, count: int) -> pd.DatetimeIndex:
    """Bring the source into the lake and write the stream of its last whole months.

    Args:
        settings: where the lake is, and the stream is written.
        data: path of a source's file; empty for the generator.
        count: how many months.

    Returns:
        The begin of each month, and the end of the last one.

    Raises:
        SourceError, LakeError: the source cannot be read.
        SplitError: there are no ratings before the first month.
    """
    ratings = whole_history(settings, data)
    when = ratings["event_timestamp"]
    last = lake.clock(settings.lake).normalize().replace(day=1)
    months = pd.date_range(end=last, periods=count + 1, freq="MS")
    if count < 1 or not (when < months[0]).any():
        raise SplitError(
            f"the ratings are of {when.min():%Y-%m-%d} to {when.max():%Y-%m-%d}, and the first version needs "
            f"some before {months[0]:%Y-%m-%d}: give fewer --months, and at least one"
        )
    events = events_as_of(settings, ratings[when < last])
    _write(events, settings.home / EVENTS)
    listed = lake.read(settings.lake, "rentals")["listed_at"].min()
    times = weeks_of(months).union(months)
    _write(catalogues_as_of(settings, times[times > listed]), settings.home / CATALOGUES)
    return months


def _write(frame: pd.DataFrame, path: Path) -> None:
    from models.files import replacing

    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)


def read_stream(settings: FeatureSettings, months: pd.DatetimeIndex) -> Stream:
    """Read what ``write_stream`` wrote."""
    from models.catalogues import utc

    events, catalogues = (pd.read_parquet(settings.home / name) for name in (EVENTS, CATALOGUES))
    times = {name: utc(events[name]) for name in ("event_timestamp", "arrived_at")}
    return Stream(
        events.assign(**times), catalogues.assign(snapshot_at=utc(catalogues["snapshot_at"])), months
    )
