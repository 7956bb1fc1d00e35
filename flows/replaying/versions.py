"""The versions that a replay may serve: one that is trained at each month's begin, whoever asks for it."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from flows.replaying.stream import Stream
from flows.training import feature_columns, split

if TYPE_CHECKING:
    from models.recommender import Recommender
    from models.served_scores import ServedScores


@dataclass(frozen=True)
class Version:
    """A trained version: what it knew, its network as bytes, and what it cost."""

    until: pd.Timestamp
    """Begin of the month at which it was trained; its catalogue is as of then."""

    checkpoint: bytes
    seconds: float

    @property
    def model(self) -> "Recommender":
        """Its network, in evaluation mode."""
        from models.checkpoint import restore

        return restore(self.checkpoint).model


def train(stream: Stream, until: pd.Timestamp) -> Version:
    """Train from scratch on what was known at ``until``, as the training flow does."""
    from models.checkpoint import Checkpoint
    from models.train import fit

    data = stream.known(until)
    learnt, _ = split(data)
    began = time.perf_counter()
    model = fit(learnt, data.catalogues, feature_columns())
    seconds = time.perf_counter() - began
    return Version(until, Checkpoint(model, data.latest).to_bytes(), seconds)


class Answers:
    """What each version answers in each month; computed once, for all policies."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._known: dict[tuple[pd.Timestamp, pd.Timestamp, bool], ServedScores] = {}

    def of(self, version: Version, month: pd.Timestamp, refreshed: bool = False) -> "ServedScores":
        """Return the answers of ``version`` to the events of the month that begins there.

        With the catalogue of its training, or ``refreshed`` with that of each week's begin.
        """
        from models.served_scores import served_scores
        from models.window_scores import Window

        key = version.until, month, refreshed
        if key not in self._known:
            events, catalogues = self._stream.month(month)
            if version.until < month:
                exported = self._stream.catalogues["snapshot_at"] == version.until
                catalogues = pd.concat([self._stream.catalogues[exported], catalogues], ignore_index=True)
            window = Window(events, catalogues, feature_columns())
            self._known[key] = served_scores(
                version.model, window if refreshed else window.frozen(version.until)
            )
        return self._known[key]


def mixed(one: "ServedScores", other: "ServedScores", others: np.ndarray) -> "ServedScores":
    """Return the answers of ``one``, and those of ``other`` where the mask ``others`` [events] says so."""
    from models.served_scores import ServedScores

    def choose(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.where(others.reshape(-1, *[1] * (first.ndim - 1)), second, first)

    pairs = ((getattr(one, name), getattr(other, name)) for name in vars(one))
    return ServedScores(*(choose(first, second) for first, second in pairs))
