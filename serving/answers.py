"""What a model is asked, and the check of what it answers before a user sees it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES
from feature_repo.schema import RATING_SCALE
from feature_repo.views import size_label
from serving.online_features import FeatureValues

Inputs = dict[str, float | str | Sequence[str]]
"""Values of a model's inputs by name; a list where an input takes several texts."""

OUTPUTS = ("rental_id", "score", "predicted_rating")
"""What a model answers for one user: three tensors of the shape [1, K], best rental first."""

REASONS = ("reason_subject", "reason", "reason_factor")
"""What it may answer beside them: subjects [1, some], and of the strongest reasons the subjects' places and
the factors, both [1, K, some]."""

SCALE_TOLERANCE = 1e-3
"""How far a predicted rating may lie off the scale by rounding."""


class ModelAnswerError(RuntimeError):
    """A predictor's answer cannot be shown to a user."""


@dataclass(frozen=True)
class Ranking:
    """A checked answer of a model: rentals, best first."""

    rental_ids: list[str]
    scores: list[float]
    predicted_ratings: list[float]
    reasons: list[list[tuple[str, float]]]
    """Subjects and factors of each rental's reasons, the strongest first."""


def model_inputs(user_id: str, purpose: str | None, size: float | None, features: FeatureValues) -> Inputs:
    """One value per input of the model: a missing number is NaN, missing text is empty.

    An unknown user gets what a known one had before the first rental, as the model has learned it.
    """
    inputs: Inputs = {
        "user_id": user_id,
        "purpose": purpose or "",
        "size": "" if size is None else size_label(size),
    }
    for feature in RECOMMENDER_REQUEST_FEATURES:
        value = features.get(feature.name)
        if feature.kind == "numeric":
            initial = math.nan if feature.initial is None else feature.initial
            inputs[feature.name] = initial if value is None else float(value)
        else:
            inputs[feature.name] = "" if value is None else str(value)
    return inputs


def check_answer(outputs: Mapping[str, np.ndarray], k: int) -> Ranking:
    """Return the ``k`` best of one user; places without an id, where filters left fewer, are dropped.

    Raises:
        ModelAnswerError: an output is missing, is not finite or is off the scale of ratings.
    """
    if missing := [name for name in OUTPUTS if name not in outputs]:
        raise ModelAnswerError(f"the answer lacks {', '.join(missing)}")
    try:
        return _ranking(outputs, k)
    # NumPy's words for texts where numbers should be, and for places that there are not.
    except (IndexError, TypeError, ValueError) as error:
        raise ModelAnswerError(f"the answer makes no sense: {error}") from error


def _ranking(outputs: Mapping[str, np.ndarray], k: int) -> Ranking:
    rental_ids, scores, ratings = (outputs[name].reshape(-1) for name in OUTPUTS)
    if not len(rental_ids) or len({len(rental_ids), len(scores), len(ratings)}) > 1:
        raise ModelAnswerError(f"{len(rental_ids)} rentals, {len(scores)} scores, {len(ratings)} ratings")
    there = np.flatnonzero(rental_ids != "")
    _check_values(scores[there], ratings[there])
    shown = there[:k]
    return Ranking(
        rental_ids[shown].tolist(),
        scores[shown].astype(float).tolist(),
        ratings[shown].astype(float).tolist(),
        _reasons(outputs, shown),
    )


def check_ratings(outputs: Mapping[str, np.ndarray], rental_ids: list[str]) -> Ranking:
    """Return the scores and ratings of one user's pairs with ``rental_ids``, in this order.

    Raises:
        ModelAnswerError: as for ``check_answer``.
    """
    try:
        scores, ratings = (outputs.get(name, np.empty(0)).reshape(-1).astype(float) for name in OUTPUTS[1:])
    except (TypeError, ValueError) as error:
        raise ModelAnswerError(f"the answer makes no sense: {error}") from error
    if {len(scores), len(ratings)} != {len(rental_ids)}:
        raise ModelAnswerError(f"{len(scores)} scores and {len(ratings)} ratings of {len(rental_ids)} pairs")
    _check_values(scores, ratings)
    return Ranking(rental_ids, scores.tolist(), ratings.tolist(), [[] for _ in rental_ids])


def _check_values(scores: np.ndarray, ratings: np.ndarray) -> None:
    if not (np.isfinite(scores).all() and np.isfinite(ratings).all()):
        raise ModelAnswerError("scores or predicted ratings are not finite")
    low, high = RATING_SCALE
    if len(ratings) and (ratings.min() < low - SCALE_TOLERANCE or ratings.max() > high + SCALE_TOLERANCE):
        raise ModelAnswerError(
            f"predicted ratings {ratings.min():g}..{ratings.max():g} are off the scale {low:g}..{high:g}"
        )


def _reasons(outputs: Mapping[str, np.ndarray], shown: np.ndarray) -> list[list[tuple[str, float]]]:
    if any(name not in outputs for name in REASONS):
        return [[] for _ in shown]
    subjects, places, factors = (outputs[name][0] for name in REASONS)
    if not np.isfinite(factors[shown]).all():
        raise ModelAnswerError("factors of reasons are not finite")
    return [
        [(subject, factor) for subject, factor in zip(*row, strict=True) if subject]
        for row in zip(subjects[places[shown]].tolist(), factors[shown].tolist(), strict=True)
    ]
