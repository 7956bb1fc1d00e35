"""Do the exported graphs answer as the trained model does: values, choice of rentals, and masks."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from models.data import tensors
from models.export import checked_ids
from models.filters import EXCLUDE
from models.inference import PAIRS_FILE, frame_inputs, open_session
from models.recommender import Recommender

TIE = 1e-5
"""Scores closer than this may stand in either order: single precision does not tell them apart."""

MASKED = 3
"""Each request is asked again without its best rentals, as many as this, so that masks are compared too."""

TOP = 10
"""Length of the list that people see, for the share that two lists have in common."""

CHUNK = 1_024
"""Requests at once: their scores over a catalogue of 10,000 rentals take 40 MB."""


@dataclass(frozen=True)
class Agreement:
    """How the graphs' answers differ from PyTorch's: largest absolute differences, NaN where one is NaN.

    Attributes:
        requests: number of requests compared.
        score: of the scores of the best rentals, rank by rank and rental by rental, with and without masks.
        rating: of their predicted ratings, in stars.
        pair_score: of the scores of the pairs of each request and its best rentals.
        pair_rating: of the predicted ratings of these pairs, in stars.
        identical: share of answers whose rentals are those of PyTorch, up to ties within ``TIE``.
        overlap: share of PyTorch's ``TOP`` best rentals which are among the graph's.
    """

    requests: int
    score: float
    rating: float
    pair_score: float
    pair_rating: float
    identical: float
    overlap: float

    @property
    def largest(self) -> float:
        """The largest difference in value; infinite where other rentals were chosen, NaN where one is NaN."""
        # Not Python's max, which forgets a NaN.
        value = float(np.max([self.score, self.rating, self.pair_score, self.pair_rating]))
        return value if self.identical == 1 or np.isnan(value) else np.inf

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


def parity(model: Recommender, catalogue: pd.DataFrame, onnx_path: Path, rows: pd.DataFrame) -> float:
    """Return ``Agreement.largest``: below 1e-5 both graphs answer as PyTorch does.

    Args:
        model: the recommender that was exported.
        catalogue: the catalogue that was exported with it.
        onnx_path: the graph of the best rentals; that of the pairs lies beside it.
        rows: real requests: user ids, purposes and user features.
    """
    return agreement(model, catalogue, onnx_path, rows).largest


def agreement(model: Recommender, catalogue: pd.DataFrame, onnx_path: Path, rows: pd.DataFrame) -> Agreement:
    """Compare both graphs with the trained model itself, its scores less each user's mean over the catalogue.

    Args:
        model: as for ``parity``.
        catalogue: as for ``parity``.
        onnx_path: as for ``parity``.
        rows: as for ``parity``.

    Raises:
        ModelFileError: one of the two files is missing or is not a readable ONNX model.
    """
    best, pairs = open_session(onnx_path), open_session(onnx_path.with_name(PAIRS_FILE))
    ids = pd.Index(checked_ids(model, catalogue))
    names = ["rental_id", "score", "predicted_rating"]
    found: list[np.ndarray] = []
    for scores, ratings, chunk in _reference(model, catalogue, rows):
        inputs = frame_inputs(best, chunk)
        answers = best.run(names, inputs)
        overlap = _overlap(answers[0], scores, ids)
        choice = _compare(answers, scores, ratings, ids)
        favourites = np.argsort(-scores, axis=1, kind="stable")[:, :MASKED]
        masked = scores.copy()
        np.put_along_axis(masked, favourites, -np.inf, 1)
        inputs |= {EXCLUDE: ids.to_numpy(object)[favourites]}
        without = _compare(best.run(names, inputs), masked, ratings, ids)
        # The best by PyTorch, in case the graph's own are not to be trusted.
        asked = frame_inputs(pairs, chunk.assign(rental_id=list(ids.to_numpy(object)[favourites])))
        pair_rating, pair_score = pairs.run(["predicted_rating", "score"], asked)
        pair = (
            np.abs(pair_score - np.take_along_axis(scores, favourites, 1)).max(axis=1),
            np.abs(pair_rating - np.take_along_axis(ratings, favourites, 1)).max(axis=1),
        )
        found.append(np.stack([*np.maximum(choice, without)[:2], *pair, choice[2] + without[2], overlap]))
    score, rating, pair_score, pair_rating, wrong, shared = np.concatenate(found, axis=1)
    return Agreement(
        requests=len(rows),
        score=float(score.max()),
        rating=float(rating.max()),
        pair_score=float(pair_score.max()),
        pair_rating=float(pair_rating.max()),
        identical=float((wrong == 0).mean()),
        overlap=float(shared.mean()),
    )


@torch.no_grad()
def _reference(
    model: Recommender, catalogue: pd.DataFrame, rows: pd.DataFrame
) -> Iterator[tuple[np.ndarray, np.ndarray, pd.DataFrame]]:
    """PyTorch's scores and ratings, both [requests, rentals], of some requests at a time."""
    rentals = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
    for start in range(0, len(rows), CHUNK):
        chunk = rows.iloc[start : start + CHUNK]
        user = model.user_side(*tensors(model.encoding.user.encode(chunk)))
        scores = model.scores(user, rentals).numpy().astype(np.float64)
        yield scores - scores.mean(axis=1, keepdims=True), model.ratings(user, rentals).numpy(), chunk


def _compare(answers: list[np.ndarray], scores: np.ndarray, ratings: np.ndarray, ids: pd.Index) -> np.ndarray:
    """Largest difference of the scores and the ratings of each request, and 1 where other rentals came."""
    rental_id, score, rating = answers
    count = rental_id.shape[1]
    best = -np.sort(-scores, axis=1)[:, :count]
    there = ids.get_indexer(pd.Index(rental_id.ravel())).reshape(rental_id.shape)
    left, known = np.isfinite(best), there >= 0
    place = np.maximum(there, 0)
    # Behind the last rental that is left none must be told, and before it no gap.
    gap = np.where(np.where(left, known, rental_id == ""), 0.0, np.inf)
    of_rental = np.take_along_axis(scores, place, 1)
    both = left & known
    with np.errstate(
        invalid="ignore"
    ):  # Of masked rentals minus infinity is taken from itself, and not used.
        value = np.where(both, np.maximum(abs(score - of_rental), abs(score - best)), gap)
        star = np.where(both, abs(rating - np.take_along_axis(ratings, place, 1)), gap)
        off = np.where(both, ~(abs(of_rental - best) <= TIE), gap > 0).any(axis=1)
    ordered = np.sort(np.where(known, there, -1 - np.arange(count)), axis=1)
    twice = (np.diff(ordered, axis=1) == 0).any(axis=1)
    return np.stack([value.max(axis=1), star.max(axis=1), off | twice])


def _overlap(rental_id: np.ndarray, scores: np.ndarray, ids: pd.Index) -> np.ndarray:
    top = min(TOP, rental_id.shape[1])
    wanted = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    there = ids.get_indexer(pd.Index(rental_id[:, :top].ravel())).reshape(-1, top)
    return (there[:, :, None] == wanted[:, None, :]).any(axis=2).mean(axis=1)
