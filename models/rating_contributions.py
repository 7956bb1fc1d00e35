"""A predicted rating taken apart: the Shapley values of groups of inputs.

The rating half is not a sum, so a group's contribution is its mean gain over all orders in which the groups
may become known; what is not known is drawn from a background, user and rental apart (Lundberg and Lee, "A
Unified Approach to Interpreting Model Predictions", 2017; interventional, as Janzing, Minorics and Blöbaum,
"Feature relevance quantification in explainable AI", 2020, argue). The rating is bilinear in the two sides'
vectors, so its mean over all pairs of background rows is the rating of the mean vectors, exactly, and every
coalition is computed: nothing is sampled but the background itself.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from models.data import tensors
from models.shapley import shapley
from models.wording import Groups

if TYPE_CHECKING:
    from models.recommender import Recommender


class RatingContributions(NamedTuple):
    """``typical`` + the sum of ``amounts`` is the predicted rating before it is cut to 1..5."""

    typical: float
    """Mean prediction over the background."""

    amounts: dict[str, np.ndarray]
    """Stars by group: [rentals]."""


@torch.no_grad()
def rating_contributions(
    model: "Recommender",
    user: pd.DataFrame,
    rentals: pd.DataFrame,
    backgrounds: tuple[pd.DataFrame, pd.DataFrame],
    groups: tuple[Groups, Groups],
) -> RatingContributions:
    """Take apart the predicted ratings of one user for ``rentals``.

    Args:
        model: a fitted recommender.
        user: one row.
        rentals: the rows to be explained.
        backgrounds: rows of users and of rentals from which the unknown is drawn.
        groups: columns of users and of rentals by group; no name may be on both sides. All of 2 ** groups
            coalitions are computed.
    """

    def users(rows: pd.DataFrame) -> tuple[Tensor, Tensor]:
        vectors = model.user_side(*tensors(model.encoding.user.encode(rows)))
        return vectors.rating, vectors.rating_bias

    def listed(rows: pd.DataFrame) -> tuple[Tensor, Tensor]:
        vectors = model.rental_side(*tensors(model.encoding.rental.encode(rows)))
        return vectors.rating, vectors.rating_bias

    user_vectors, user_biases = _coalitions(user, backgrounds[0], groups[0], users)
    rental_vectors, rental_biases = _coalitions(rentals, backgrounds[1], groups[1], listed)
    products = np.einsum("aur,bkr->bak", user_vectors, rental_vectors)
    # The user's groups are the low bits of a coalition's number, the rental's the high ones.
    worth = products + user_biases[None] + rental_biases[:, None] + float(model.mean_rating)
    worth = worth.reshape(-1, len(rentals))
    return RatingContributions(
        float(worth[0].mean()), dict(zip((*groups[0], *groups[1]), shapley(worth), strict=True))
    )


def _coalitions(
    rows: pd.DataFrame,
    background: pd.DataFrame,
    groups: Groups,
    vectors: Callable[[pd.DataFrame], tuple[Tensor, Tensor]],
) -> tuple[np.ndarray, np.ndarray]:
    """Return each coalition's mean vectors [coalitions, rows, r] and terms [coalitions, rows]."""
    both = pd.concat([background, rows], ignore_index=True)
    coalitions, unknown, known = np.ogrid[: 2 ** len(groups), : len(background), : len(rows)]
    mixed: dict[str, Any] = {}
    for bit, columns in enumerate(groups.values()):
        taken = np.where(coalitions >> bit & 1, len(background) + known, unknown)
        mixed |= {column: both[column].array.take(taken.ravel()) for column in columns}
    found, biases = vectors(pd.DataFrame(mixed))
    shape = (coalitions.size, len(background), len(rows))
    return (
        found.double().numpy().reshape(*shape, -1).mean(axis=1),
        biases.double().numpy().reshape(shape).mean(axis=1),
    )
