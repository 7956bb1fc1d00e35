"""Per-event figures of a model and of the baselines on one window, for paired comparisons."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import torch

from models import baselines
from models.catalogues import ABSENT, Catalogues
from models.columns import Columns
from models.data import tensors
from models.metrics import ndcg, ranks
from models.recommender import RATING_SCALE, Recommender
from models.towers import RentalVectors

CHUNK = 1024
"""Events scored at a time, to bound memory at events x rentals."""

Scorer = Callable[[int, np.ndarray], np.ndarray]
"""From a snapshot's number and the numbers of events to scores [events, rentals] over that snapshot."""


class Window:
    """Later events and the catalogue before each of them: the same for every model that is compared.

    Attributes:
        events: the events, numbered from 0.
        ranked: bool [events], whether the rental is in the latest catalogue snapshot before the event.
    """

    def __init__(self, events: pd.DataFrame, catalogues: pd.DataFrame, columns: Columns) -> None:
        """Place the events in the snapshots.

        Raises:
            ColumnError: the catalogue lacks columns or rows.
        """
        self.events = events.reset_index(drop=True)
        self.snapshots = Catalogues(catalogues, columns)
        self.numbers, self.positions = self.snapshots.locate(self.events)
        self.ranked = self.positions != ABSENT

    def ranks(self, scorer: Scorer) -> np.ndarray:
        """Return the place of each event's rental in its catalogue [events], 0 the best.

        It is NaN where the event is not ranked, or scored with NaN. What is not in the catalogue cannot be
        recommended: its place is infinite.
        """
        found = np.full(len(self.events), np.nan)
        for number in np.unique(self.numbers[self.ranked]):
            group = np.flatnonzero(self.ranked & (self.numbers == number))
            for start in range(0, len(group), CHUNK):
                part = group[start : start + CHUNK]
                scores = scorer(int(number), part)
                sound = ~np.isnan(scores).any(axis=1)
                places = self.positions[part[sound]]
                found[part[sound]] = np.where(places == ABSENT, np.inf, ranks(scores[sound], places))
        return found

    def ndcg(self, scorer: Scorer) -> np.ndarray:
        """Return each event's NDCG@10 over its catalogue [events]; NaN where its rank is."""
        rank = self.ranks(scorer)
        return np.where(np.isnan(rank), np.nan, ndcg(rank))

    def frozen(self, at: pd.Timestamp) -> "Window":
        """The same events over the latest snapshot at or before ``at``: the one that a version serves since.

        The events that count stay the same; one whose rental was listed later is missed. Where every snapshot
        is later, the first one is taken.
        """
        number = max(int(self.snapshots.times.searchsorted(at, side="right")) - 1, 0)
        window = copy(self)
        window.numbers = np.full(len(self.events), number)
        ids = pd.Index(self.snapshots.rental_ids[number])
        window.positions = ids.get_indexer(pd.Index(self.events["rental_id"].astype(str)))
        return window


@dataclass(frozen=True)
class WindowScores:
    """One model on the events of a window.

    Attributes:
        name: what people call it, such as "version 3".
        squared_error: of the predicted rating, cut to 1..5 [events].
        ndcg: NDCG@10 over the full catalogue before the event [events]; read only where it is ranked.
    """

    name: str
    squared_error: np.ndarray
    ndcg: np.ndarray


@torch.no_grad()
def predict_ratings(model: Recommender, events: pd.DataFrame) -> np.ndarray:
    """Predict the rating of each event [events], cut to 1..5."""
    user = model.user_side(*tensors(model.encoding.user.encode(events)))
    rented = model.rental_side(*tensors(model.encoding.rental.encode(events)))
    return np.clip(model.paired_ratings(user, rented).numpy().astype(np.float64), *RATING_SCALE)


def model_scorer(model: Recommender, window: Window) -> Scorer:
    """Score with the features as of each event and the snapshot before it."""
    encoding = model.encoding

    @cache
    def catalogue(number: int) -> RentalVectors:
        vectors: RentalVectors = model.rental_side(
            *tensors(encoding.rental.encode(window.snapshots.frames[number]))
        )
        return vectors

    @torch.no_grad()
    def score(number: int, part: np.ndarray) -> np.ndarray:
        user = model.user_side(*tensors(encoding.user.encode(window.events.iloc[part])))
        return model.scores(user, catalogue(number)).numpy()

    return score


def purpose_scorer(window: Window, train_events: pd.DataFrame) -> Scorer:
    """Score by the popularity by purpose among the events before the snapshot, those of the window too."""
    history = pd.concat([train_events, window.events], ignore_index=True)
    codes, purposes = pd.factorize(window.events["purpose"], use_na_sentinel=False)

    @cache
    def table(number: int) -> np.ndarray:
        at, rentals = window.snapshots.times[number], window.snapshots.rental_ids[number]
        return baselines.popularity_by_purpose(history, at, rentals, pd.Series(purposes))

    return lambda number, part: table(number)[codes[part]]


def model_scores(name: str, model: Recommender, window: Window) -> WindowScores:
    """Score a recommender, with the features as of each event and the snapshot before it."""
    predicted = predict_ratings(model, window.events)
    ndcg_at_10 = window.ndcg(model_scorer(model, window))
    return WindowScores(name, _squared_error(predicted, window.events), ndcg_at_10)


def baseline_scores(name: str, window: Window, train_events: pd.DataFrame) -> WindowScores:
    """Score the best simple rivals: popularity by purpose for the ranking, shrunk biases for the ratings.

    Both go on learning from the window's events: the first from those before the snapshot, the second from
    those of earlier days.
    """
    predicted = baselines.earlier_bias(train_events, window.events)
    ndcg_at_10 = window.ndcg(purpose_scorer(window, train_events))
    return WindowScores(name, _squared_error(predicted, window.events), ndcg_at_10)


def _squared_error(predicted: np.ndarray, events: pd.DataFrame) -> np.ndarray:
    return (predicted - events["rating"].to_numpy(np.float64)) ** 2
