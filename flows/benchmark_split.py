"""A source's history cut at one day, for the benchmark of the recommender: point-in-time correct frames."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows.settings import FlowSettings
from flows.training import with_size_labels


class SplitError(ValueError):
    """The history cannot be cut there; the message names the remedy."""


@dataclass(frozen=True)
class Split:
    """Events before and after ``at``, and the whole catalogues: weekly before it, daily from it on."""

    at: pd.Timestamp
    train: pd.DataFrame
    test: pd.DataFrame
    catalogues: pd.DataFrame

    @property
    def known_catalogues(self) -> pd.DataFrame:
        """The catalogues with the rentals that somebody had taken by the split."""
        return self.catalogues[self.catalogues["rental_id"].isin(set(self.train["rental_id"]))]

    @property
    def weekly_catalogues(self) -> pd.DataFrame:
        """The catalogues of every seventh day, before and after the split."""
        return self.catalogues[(self.catalogues["snapshot_at"] - self.at).dt.days % 7 == 0]


def split_frames(settings: FeatureSettings, data: str, split: pd.Timestamp) -> Split:
    """Bring the source into a lake of its own and cut its history at ``split``.

    Args:
        settings: where the lake is.
        data: path of a source's file; empty for the generator.
        split: events before it are learnt from, the others tested.

    Raises:
        SourceError, LakeError: the source cannot be read.
        SplitError: no rating lies before the split, or none after it.
    """
    ratings = _landed_ratings(settings, data)
    first, last = ratings["event_timestamp"].min(), ratings["event_timestamp"].max()
    if not first < split <= last:
        raise SplitError(f"the ratings are of {first:%Y-%m-%d} to {last:%Y-%m-%d}: give a --split between")
    _compute_features(settings)
    events = events_as_of(settings, ratings)
    train = events[events["event_timestamp"] < split].reset_index(drop=True)
    weeks = pd.date_range(end=split, periods=FlowSettings().catalogue_weeks + 1, freq="7D")[:-1]
    days = pd.date_range(split, lake.clock(settings.lake), freq="D", inclusive="left")
    test = events[events["event_timestamp"] >= split].reset_index(drop=True)
    return Split(split, train, test, catalogues_as_of(settings, weeks.union(days)))


def whole_history(settings: FeatureSettings, data: str) -> pd.DataFrame:
    """Bring all of a source into the lake and compute its features; return its ratings.

    Raises:
        SourceError, LakeError: the source cannot be read.
    """
    ratings = _landed_ratings(settings, data)
    _compute_features(settings)
    return ratings


def _landed_ratings(settings: FeatureSettings, data: str) -> pd.DataFrame:
    from flows.ingest import ingest

    print(ingest(data, None, None, settings))
    return lake.read(settings.lake, "ratings")


def _compute_features(settings: FeatureSettings) -> None:
    from feature_repo import history, spark, store

    print(history.compute(settings, lake.clock(settings.lake)))
    spark.session(settings)
    store.register(store.open_store(settings), settings.lake)


def events_as_of(settings: FeatureSettings, ratings: pd.DataFrame) -> pd.DataFrame:
    """Return the ratings with their features as of each event, through Feast."""
    from feature_repo import store

    return with_size_labels(store.as_of_events(store.open_store(settings), ratings))


def catalogues_as_of(settings: FeatureSettings, times: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the whole catalogue with its features as of each time, through Feast."""
    from feature_repo import store

    opened, rentals = store.open_store(settings), lake.read(settings.lake, "rentals")
    # A month at a time: a catalogue a day is more than the driver should hold at once.
    parts = np.array_split(times, -(-len(times) // 30))
    catalogues = [store.catalogue_as_of(opened, rentals, list(pd.DatetimeIndex(part))) for part in parts]
    return pd.concat(catalogues, ignore_index=True)
