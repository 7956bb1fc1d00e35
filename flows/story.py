"""Where a dataset is cut for the demo: what the first model learns from, and what arrives after it."""

from dataclasses import dataclass

import pandas as pd

from feature_repo import readers
from feature_repo.readers import SourceError

LEAST_EVENTS = 1_000
"""Fewer ratings than this in a period train no model and fill no canary."""


@dataclass(frozen=True)
class Story:
    """Three periods: history until ``first``, the next one until ``second``, then the canary's traffic."""

    first: pd.Timestamp
    second: pd.Timestamp


def _story(first: str, second: str) -> Story:
    return Story(pd.Timestamp(first, tz="UTC"), pd.Timestamp(second, tz="UTC"))


STORIES = {
    readers.GENERATOR: _story("2023-01-01", "2023-07-01"),
    readers.RENT_THE_RUNWAY: _story("2016-01-01", "2017-01-01"),
}
"""By dataset: the generator's drift begins with its second period; Rent the Runway changed in 2016."""


def story_of(data: str) -> Story:
    """Return the periods of the dataset behind ``data``.

    A file of the same layout with other years is cut after half and after four fifths of its ratings, in the
    order in which they arrive.

    Raises:
        SourceError: the file cannot be read, or is too small to be cut in three.
    """
    times = readers.read(data).ratings["arrived_at"].dropna().sort_values()
    story = STORIES.get(readers.dataset_of(data))
    if story is None or _smallest(times, story) < LEAST_EVENTS:
        story = Story(*(times.iloc[int(share * len(times))].floor("D") for share in (0.5, 0.8)))
    if _smallest(times, story) < LEAST_EVENTS:
        raise SourceError(
            f"{data or 'the generator'} has {len(times)} dated ratings: the demo needs {LEAST_EVENTS} in "
            "each of three periods; run the flows one by one for less"
        )
    return story


def _smallest(times: pd.Series, story: Story) -> int:
    return min(
        (times < story.first).sum(),
        ((times >= story.first) & (times < story.second)).sum(),
        (times >= story.second).sum(),
    )
