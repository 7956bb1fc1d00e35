"""What a version answers to a period's people, and where in it is what they really took."""

from dataclasses import dataclass

import numpy as np
import torch

from models.catalogues import ABSENT
from models.data import tensors
from models.metrics import CUT, ndcg, ranks
from models.recommender import RATING_SCALE, Recommender
from models.towers import RentalVectors
from models.window_scores import CHUNK, Window, model_scorer


@dataclass(frozen=True)
class ServedScores:
    """A version's answers to the people of a period, and where in them is what each really took.

    Attributes:
        predicted: predicted rating of the taken rental, cut to 1..5 [events].
        rank: its place in the served catalogue, 0 the best; infinite where the catalogue lacks it, NaN where
            the event does not count for the ranking [events].
        rental_ids: the best rentals, best first [events, 10].
        scores: theirs [events, 10].
        ratings: their predicted ratings [events, 10].
    """

    predicted: np.ndarray
    rank: np.ndarray
    rental_ids: np.ndarray
    scores: np.ndarray
    ratings: np.ndarray

    @property
    def ndcg(self) -> np.ndarray:
        """NDCG@10 of each event [events]; NaN where it does not count."""
        return np.where(np.isnan(self.rank), np.nan, ndcg(self.rank))


@torch.no_grad()
def served_scores(model: Recommender, window: Window) -> ServedScores:
    """Answer a period's events, in their order, each with the snapshot that the window gives it.

    That is ``window.frozen(at)`` for a version that was exported at ``at``, and the window itself for one
    whose catalogue is refreshed at each snapshot. Users' features are as of each event; rentals' are those of
    the snapshot, and missing for what was listed later: the version knows no more of it.

    Args:
        model: the version's network.
        window: the events, and at least ten rentals in each snapshot.
    """
    size, encoding, scorer = len(window.events), model.encoding, model_scorer(model, window)
    found = ServedScores(
        predicted=np.full(size, np.nan),
        rank=np.full(size, np.inf),
        rental_ids=np.full((size, CUT), None, dtype=object),
        scores=np.full((size, CUT), np.nan),
        ratings=np.full((size, CUT), np.nan),
    )
    for number in np.unique(window.numbers):
        catalogue, ids = window.snapshots.frames[number], window.snapshots.rental_ids[number]
        rentals: RentalVectors = model.rental_side(*tensors(encoding.rental.encode(catalogue)))
        group = np.flatnonzero(window.numbers == number)
        for start in range(0, len(group), CHUNK):
            part = group[start : start + CHUNK]
            events, positions = window.events.iloc[part], window.positions[part]
            user = model.user_side(*tensors(encoding.user.encode(events)))
            taken = catalogue.reindex(np.where(positions == ABSENT, len(catalogue), positions))
            taken = taken.assign(rental_id=events["rental_id"].to_numpy()).reset_index(drop=True)
            taken_rental = model.rental_side(*tensors(encoding.rental.encode(taken)))
            found.predicted[part] = _stars(model.paired_ratings(user, taken_rental))
            scores = scorer(int(number), part)
            best = torch.from_numpy(scores).topk(CUT)
            found.rental_ids[part], found.scores[part] = ids[best.indices.numpy()], best.values.numpy()
            found.ratings[part] = np.column_stack(
                [_stars(model.paired_ratings(user, _at(rentals, places))) for places in best.indices.T]
            )
            known = positions != ABSENT
            found.rank[part[known]] = ranks(scores[known], positions[known])
    found.rank[~window.ranked] = np.nan
    return found


def _at(rentals: RentalVectors, numbers: torch.Tensor) -> RentalVectors:
    return RentalVectors(*(each[numbers] for each in rentals))


def _stars(ratings: torch.Tensor) -> np.ndarray:
    return np.clip(ratings.numpy().astype(np.float64), *RATING_SCALE)
