"""Global importances: how much worse the recommender is without what a group of inputs says.

Permutation importance (Breiman, "Random Forests", 2001; Fisher, Rudin and Dominici, "All Models are Wrong,
but Many are Useful", 2019): the group's values are exchanged among the rows of a snapshot, so that they keep
their distribution and lose their meaning. Inputs that say the same thing stand in for each other, which is
why they are permuted together, by subject.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch

from models.catalogues import ABSENT, Catalogues
from models.data import tensors
from models.encoding import RentalRows, UserRows
from models.metrics import RESAMPLES, ndcg, ranks
from models.recommender import RATING_SCALE
from models.window_scores import CHUNK
from models.wording import subjects

if TYPE_CHECKING:
    from models.recommender import Recommender

EVENTS = 2_000
"""Test events that are drawn: enough to see a loss of a tenth, at a cost of seconds."""

PERMUTATIONS = 5
"""Permutations of each group: their scatter is part of the interval."""

Rows = TypeVar("Rows", UserRows, RentalRows)


@dataclass(frozen=True)
class Importance:
    """What permuting a group of inputs costs; intervals are 95 % bootstrap over users and permutations."""

    group: str
    columns: tuple[str, ...]
    ndcg_at_10: float
    """How much lower NDCG@10 is over the full catalogue."""

    ndcg_at_10_interval: tuple[float, float]
    rmse: float
    """How much higher the error of predicted ratings is, in stars."""

    rmse_interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, fit for JSON."""
        return asdict(self)


def importances(
    model: "Recommender",
    test_events: pd.DataFrame,
    catalogues: pd.DataFrame,
    groups: Mapping[str, tuple[str, ...]] | None = None,
    events: int = EVENTS,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> tuple[Importance, ...]:
    """Permute each group and measure what it costs, on the same events.

    Args:
        model: a fitted recommender.
        test_events: events after the training, with features as of the event.
        catalogues: snapshots of the catalogue; an event is ranked in the latest before it.
        groups: columns of one side each; None takes the model's inputs by subject.
        events: the most events that are used, drawn at random.
        permutations: of each group, at least 2.
        seed: of the draws.

    Returns:
        The groups, the one that costs most of NDCG@10 first.

    Raises:
        ColumnError: a frame lacks columns or rows.
        ValueError: no event's rental is in a snapshot, or too few permutations are asked for.
    """
    if permutations < 2:
        raise ValueError(f"{permutations} permutations have no scatter; ask for at least 2")
    model.encoding.columns.check_events(test_events)
    generator = np.random.default_rng(seed)
    drawn = test_events.sample(min(events, len(test_events)), random_state=generator, ignore_index=True)
    snapshots = Catalogues(catalogues, model.encoding.columns)
    numbers, positions = snapshots.locate(drawn)
    if (positions == ABSENT).all():
        raise ValueError("no test event's rental is in the catalogue before it; add catalogue snapshots")
    subjects_of_users, subjects_of_rentals = subjects(model.encoding)
    groups = subjects_of_users | subjects_of_rentals if groups is None else groups
    # Reading a catalogue's texts takes far longer than scoring it, so all is encoded once.
    user, rental = model.encoding.user, model.encoding.rental
    users, rented = user.encode(drawn), rental.encode(drawn)
    listed = [rental.encode(frame) for frame in snapshots.frames]

    def figures(columns: Sequence[str]) -> np.ndarray:
        """Return NDCG, 0 where there is none, and squared error with ``columns`` permuted: [2, events]."""
        order = _order(numbers, generator)
        asked = _permuted(users, user.origins, columns, order)
        taken = _permuted(rented, rental.origins, columns, order)
        offered = [
            _permuted(rows, rental.origins, columns, generator.permutation(len(rows.codes)))
            for rows in listed
        ]
        gains = _gains(model, asked, offered, numbers, positions)
        return np.stack([gains, _squared_errors(model, asked, taken, drawn["rating"].to_numpy(np.float64))])

    base = figures([])
    values = [[figures(columns) for _ in range(permutations)] for columns in groups.values()]
    return _with_intervals(
        dict(groups), base, np.array(values), positions != ABSENT, drawn["user_id"].astype(str), generator
    )


def _order(blocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a permutation which leaves each row in its block."""
    order = np.arange(len(blocks))
    for block in np.unique(blocks):
        rows = np.flatnonzero(blocks == block)
        order[rows] = generator.permutation(rows)
    return order


def _permuted(rows: Rows, origins: Rows, columns: Sequence[str], order: np.ndarray) -> Rows:
    """Bring what comes from ``columns``, together, into another order."""
    return type(rows)(
        *(
            np.where(np.isin(names, columns), values[order], values)
            for names, values in zip(origins, rows, strict=True)
        )
    )


def _part(rows: UserRows, chosen: np.ndarray) -> UserRows:
    return UserRows(*(values[chosen] for values in rows))


@torch.no_grad()
def _gains(
    model: "Recommender",
    users: UserRows,
    catalogues: Sequence[RentalRows],
    numbers: np.ndarray,
    positions: np.ndarray,
) -> np.ndarray:
    gains = np.zeros(len(numbers))
    ranked = np.flatnonzero(positions != ABSENT)
    for number in np.unique(numbers[ranked]):
        rentals = model.rental_side(*tensors(catalogues[number]))
        group = ranked[numbers[ranked] == number]
        for part in np.array_split(group, -(-len(group) // CHUNK)):
            scores = model.scores(model.user_side(*tensors(_part(users, part))), rentals)
            gains[part] = ndcg(ranks(scores.numpy(), positions[part]))
    return gains


@torch.no_grad()
def _squared_errors(
    model: "Recommender", users: UserRows, rentals: RentalRows, ratings: np.ndarray
) -> np.ndarray:
    pairs = model.paired_ratings(model.user_side(*tensors(users)), model.rental_side(*tensors(rentals)))
    return (np.clip(pairs.double().numpy(), *RATING_SCALE) - ratings) ** 2


def _with_intervals(
    groups: dict[str, tuple[str, ...]],
    base: np.ndarray,
    values: np.ndarray,
    ranked: np.ndarray,
    users: pd.Series,
    generator: np.random.Generator,
) -> tuple[Importance, ...]:
    """Bootstrap over users and permutations, drawn independently of each other.

    The same draws serve every group and the base, so the differences are paired. Both are resampled because
    the permutation of a catalogue is shared by all its events (Owen, "The pigeonhole bootstrap", 2007).

    Args:
        groups: columns by group.
        base: NDCG and squared error as they are [2, events].
        values: the same with each group permuted [groups, permutations, 2, events].
        ranked: which events count for NDCG.
        users: of the events, the independent units.
        generator: of the draws.
    """
    codes, known = pd.factorize(users)

    def sums(figures: np.ndarray) -> np.ndarray:
        """Sum figures [..., events] by user: [users, ...]."""
        flat = figures.reshape(-1, figures.shape[-1]).T
        return pd.DataFrame(flat).groupby(codes).sum().to_numpy().reshape(len(known), *figures.shape[:-1])

    drawn, repeats = _draws(len(known), generator), _draws(values.shape[1], generator)
    counts = drawn @ sums(np.stack([ranked, np.ones_like(ranked)]).astype(float))
    before = drawn @ sums(base) / counts
    after = np.einsum("du,ugpf,dp->dgf", drawn, sums(values), repeats, optimize=True)
    after /= counts[:, None] * values.shape[1]
    ndcg_loss = before[:, None, 0] - after[:, :, 0]
    rmse_loss = np.sqrt(after[:, :, 1]) - np.sqrt(before[:, None, 1])
    found = [
        Importance(group, columns, *_figure(ndcg_loss[:, number]), *_figure(rmse_loss[:, number]))
        for number, (group, columns) in enumerate(groups.items())
    ]
    return tuple(sorted(found, key=lambda importance: -importance.ndcg_at_10))


def _draws(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return how often each is drawn by each resample [1 + RESAMPLES, count]; the first draws all once."""
    resamples = generator.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    return np.vstack([np.ones(count), resamples])


def _figure(estimates: np.ndarray) -> tuple[float, tuple[float, float]]:
    low, high = np.quantile(estimates[1:], [0.025, 0.975])
    return float(estimates[0]), (float(low), float(high))
