"""Linear item-to-item models in closed form; of a large catalogue they know the most popular items only."""

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse as sp

from models.collaborative.interactions import Interactions

MOST_ITEMS = 10_000
"""Most items in a dense matrix: 400 MB, and a minute of one core to invert it."""

HALF_LIFE = 3.0
"""How many of a user's events later an event weighs half for the next one; 2 to 8 are alike on MovieLens."""

REACH = 15
"""Events after which one is forgotten: it weighs 3 % by then."""


@dataclass(frozen=True)
class ItemToItem:
    """Scores are a user's weighted history times a matrix of weights from item to item."""

    histories: sp.csr_matrix
    """float32 [users, known items]."""

    weights: np.ndarray
    """float32 [known items, known items]."""

    codes: np.ndarray
    """Code of each known item [known items]."""

    item_count: int
    """Items, unknown ones included; those score 0."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return scores of all items, float32 [users, items]."""
        scores = np.zeros((len(users), self.item_count), dtype=np.float32)
        scores[:, self.codes] = self.histories[users] @ self.weights
        return scores


def fit_ease(events: Interactions, regularisation: float) -> ItemToItem:
    """Fit each item by all others: Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data".

    Args:
        events: what is learnt from; their order does not matter.
        regularisation: λ, in events.
    """
    known, codes = _most_popular(events)
    inverse = _inverse(known.matrix.T @ known.matrix, regularisation)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return ItemToItem(known.matrix, weights, codes, events.item_count)


def fit_next_item(events: Interactions, regularisation: float) -> ItemToItem:
    """Fit each event's item by the user's events before it, the latest weighing most.

    It is the transition half of SLIST: Choi et al. 2021, "Session-aware Linear Item-Item Models for
    Session-based Recommendation".

    Args:
        events: with times.
        regularisation: λ, in events.
    """
    known, codes = _most_popular(events)
    known = known.in_order()
    number = np.arange(len(known))
    starts = np.append(True, known.users[1:] != known.users[:-1])[: len(known)]
    place = number - np.maximum.accumulate(np.where(starts, number, 0))
    later = [number[place >= distance] for distance in range(1, REACH + 1)]
    before = _matrix(
        np.concatenate(later),
        np.concatenate([known.items[late - distance] for distance, late in enumerate(later, start=1)]),
        np.repeat(_decay(np.arange(REACH)), [len(late) for late in later]),
        (len(known), known.item_count),
    )
    target = _matrix(number, known.items, np.ones(len(known)), before.shape)
    from_end = np.bincount(known.users, minlength=known.user_count)[known.users] - 1 - place
    recent = from_end < REACH
    histories = _matrix(
        known.users[recent],
        known.items[recent],
        _decay(from_end[recent]),
        (known.user_count, known.item_count),
    )
    weights = _inverse(before.T @ before, regularisation) @ (before.T @ target).toarray()
    return ItemToItem(histories, weights, codes, events.item_count)


def _decay(events: np.ndarray) -> np.ndarray:
    return 0.5 ** (events / HALF_LIFE)


def _matrix(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    return sp.csr_matrix((values.astype(np.float32), (rows, columns)), shape)


def _most_popular(events: Interactions) -> tuple[Interactions, np.ndarray]:
    # Events of the most popular items, with new codes, and the old code of each new one.
    codes = np.sort(np.argsort(-events.item_counts, kind="stable")[:MOST_ITEMS])
    new = np.full(events.item_count, -1)
    new[codes] = np.arange(len(codes))
    known = events.where(new[events.items] >= 0)
    return replace(known, items=new[known.items], item_count=len(codes)), codes


def _inverse(gram: sp.csr_matrix, regularisation: float) -> np.ndarray:
    dense = gram.toarray(order="F")
    dense[np.diag_indices_from(dense)] += regularisation
    factor, _ = scipy.linalg.lapack.spotrf(dense, lower=1, overwrite_a=1)
    inverse, failed = scipy.linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    if failed:
        raise ValueError(f"the items' matrix has no inverse with a regularisation of {regularisation}")
    return np.asarray(np.tril(inverse) + np.tril(inverse, -1).T)
