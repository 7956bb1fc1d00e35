"""Which groups an event belongs to: those in which a model is judged, and those whom it must treat alike."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models.metrics import interval

if TYPE_CHECKING:
    import pandas as pd

    from models.window_scores import WindowScores

NOT_GIVEN = "not given"
"""Group of the events whose value is missing."""

AGE_EDGES = (0.0, 25.0, 35.0, 45.0, 55.0, float("inf"))
"""Decades around the ages at which most people rent."""

AGE_GROUPS = ("24 or younger", "25 to 34", "35 to 44", "45 to 54", "55 or older")

USER, RENTAL, PURPOSE, AGE_GROUP, BODY_TYPE = "user", "rental", "purpose", "age group", "body type"

FAIRNESS = (AGE_GROUP, BODY_TYPE)
"""The groups by what a person is, not by what was rented."""


def segments(
    events: "pd.DataFrame", train_events: "pd.DataFrame", age: str, body_type: str
) -> "pd.DataFrame":
    """Name each event's group in every partition.

    Args:
        events: the events to part, with ids and purpose.
        train_events: what the model learnt from; who is in it is known.
        age: the column of the user's age in years; where the events lack it, there is no such partition.
        body_type: the column of the user's body type, likewise.

    Returns:
        Text [events, partitions], with ``NOT_GIVEN`` for missing values.
    """
    import pandas as pd

    found = pd.DataFrame(index=events.index)
    for name, column in ((USER, "user_id"), (RENTAL, "rental_id")):
        known = events[column].astype(str).isin(set(train_events[column].astype(str)))
        found[name] = known.map({True: f"known {name}", False: f"new {name}"})
    found[PURPOSE] = events["purpose"]
    if age in events:
        years = events[age].astype("float64")
        found[AGE_GROUP] = pd.cut(years, list(AGE_EDGES), right=False, labels=list(AGE_GROUPS)).astype(object)
    if body_type in events:
        found[BODY_TYPE] = events[body_type]
    return found.astype(object).where(found.notna(), NOT_GIVEN).astype(str)


@dataclass(frozen=True)
class GroupFigures:
    """One model in one group; intervals are 95 % bootstrap over users, and None where nothing was ranked."""

    partition: str
    group: str
    events: int
    rmse: float
    rmse_interval: tuple[float, float]
    ndcg_at_10: float | None
    ndcg_at_10_interval: tuple[float, float] | None


def group_figures(
    scores: "WindowScores", ranked: np.ndarray, users: np.ndarray, groups: "pd.DataFrame"
) -> tuple[GroupFigures, ...]:
    """Measure a model in every group of every partition.

    Args:
        scores: its finite figures on the events.
        ranked: bool [events], whether the event counts for the ranking.
        users: ids [events].
        groups: text [events, partitions], from ``segments``.
    """
    found = []
    for partition in groups:
        for group in sorted(groups[partition].unique()):
            inside = (groups[partition] == group).to_numpy()
            low, high = interval(scores.squared_error[inside], users[inside])
            listed = inside & ranked
            found.append(
                GroupFigures(
                    partition=str(partition),
                    group=group,
                    events=int(inside.sum()),
                    rmse=float(np.sqrt(scores.squared_error[inside].mean())),
                    rmse_interval=(float(np.sqrt(low)), float(np.sqrt(high))),
                    ndcg_at_10=float(scores.ndcg[listed].mean()) if listed.any() else None,
                    ndcg_at_10_interval=interval(scores.ndcg[listed], users[listed])
                    if listed.any()
                    else None,
                )
            )
    return tuple(found)
