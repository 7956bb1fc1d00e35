"""Two recommenders on the same events: figures by event, so that differences are paired."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from models.metrics import interval
from models.recommender import Recommender
from models.window_scores import Window, model_scores


@dataclass(frozen=True)
class EventFigures:
    """Figures of a model, event by event.

    Attributes:
        users: who rented [events].
        squared_error: of the predicted rating, cut to 1..5 [events].
        ndcg: NDCG@10 over the catalogue snapshot before the event, NaN where it lacks the rental [events].
    """

    users: np.ndarray
    squared_error: np.ndarray
    ndcg: np.ndarray

    @property
    def rmse(self) -> float:
        """Root of the mean squared error, in steps of the 1..5 scale."""
        return float(np.sqrt(self.squared_error.mean()))

    @property
    def ndcg_at_10(self) -> float:
        """Mean over the events that could be ranked."""
        return float(np.nanmean(self.ndcg))


@dataclass(frozen=True)
class Gain:
    """By how much the second model is better, in the figure's unit, with its 95 % interval.

    ``by_seed`` has a gain for each pair of models; a gain that another seed turns round is none.
    """

    first: float
    second: float
    gain: float
    interval: tuple[float, float]
    by_seed: tuple[float, ...]

    @property
    def proven(self) -> bool:
        """Whether the gain is outside noise: of the events, by the interval, and of the seed."""
        return self.interval[0] > 0 and min(self.by_seed) > 0


def event_figures(model: Recommender, events: pd.DataFrame, catalogues: pd.DataFrame) -> EventFigures:
    """Measure ``model`` on each of ``events``, over the latest snapshot before it.

    Raises:
        ColumnError: a frame lacks columns or rows.
        ValueError: no event's rental is in a snapshot, or the model answers NaN.
    """
    model.encoding.columns.check_events(events)
    window = Window(events, catalogues, model.encoding.columns)
    if not window.ranked.any():
        raise ValueError("no event's rental is in the catalogue before it; add catalogue snapshots")
    scores = model_scores("a trial", model, window)
    if np.isnan(scores.squared_error).any() or np.isnan(scores.ndcg[window.ranked]).any():
        raise ValueError("predictions hold NaN: the model is damaged; train it again")
    users = window.events["user_id"].astype(str).to_numpy()
    return EventFigures(users, scores.squared_error, np.where(window.ranked, scores.ndcg, np.nan))


def ranking_gain(first: Sequence[EventFigures], second: Sequence[EventFigures]) -> Gain:
    """Compare NDCG@10, more being better; a model per seed on each side, all on the same events."""
    ranked = ~np.isnan(first[0].ndcg)
    differences = np.array([b.ndcg[ranked] - a.ndcg[ranked] for a, b in zip(first, second, strict=True)])
    return Gain(
        float(np.mean([figures.ndcg_at_10 for figures in first])),
        float(np.mean([figures.ndcg_at_10 for figures in second])),
        float(differences.mean()),
        interval(differences.mean(axis=0), first[0].users[ranked]),
        tuple(differences.mean(axis=1).tolist()),
    )


def rating_gain(first: Sequence[EventFigures], second: Sequence[EventFigures]) -> Gain:
    """Compare RMSE, less being better; a model per seed on each side, all on the same events.

    The interval is that of the difference of squared errors, whose sign is the same, brought to the unit of
    the RMSE by a² - b² = (a - b)(a + b).
    """
    differences = np.array([a.squared_error - b.squared_error for a, b in zip(first, second, strict=True)])
    before, after = (
        float(np.sqrt(np.mean([figures.squared_error.mean() for figures in side])))
        for side in (first, second)
    )
    low, high = interval(differences.mean(axis=0), first[0].users)
    scale = before + after
    return Gain(
        before,
        after,
        before - after,
        (low / scale, high / scale),
        tuple((differences.mean(axis=1) / scale).tolist()),
    )
