"""Why a rental is recommended: the reasons for its score and its predicted rating, which sum to both."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from models.catalogues import ABSENT
from models.columns import ColumnError
from models.contributions import contributions, rental_terms, user_terms
from models.data import tensors
from models.encoding import RentalEncoding, UserEncoding, recent_ids
from models.rating_contributions import rating_contributions
from models.wording import ELEMENT, RENTAL_RULES, USER_RULES, context, subject, subjects

if TYPE_CHECKING:
    from models.recommender import Recommender

TOLERANCE = 1e-4
"""How far the reasons may be from the score, relative to the largest score: more is no rounding."""

BACKGROUND_ROWS = 32
"""Rows of each side from which an unknown input of the rating is drawn: all pairs make a thousand ratings."""

SHOWN = 3
"""Reasons that a text names: more are not read."""


class IncompleteExplanationError(RuntimeError):
    """The reasons do not sum to the score, so they explain another model."""


@dataclass(frozen=True)
class Part:
    """What one pair of inputs adds to a score; without a user's input it counts for everybody."""

    user_input: str | None
    rental_input: str
    amount: float


@dataclass(frozen=True)
class Reason:
    """What one subject adds to a score, in logarithms of odds."""

    subject: str
    context: str
    """Words for the strongest input, to follow "chosen more often"."""

    amount: float
    parts: tuple[Part, ...]
    """The pairs of inputs behind it, the strongest first; they sum to ``amount``."""

    @property
    def factor(self) -> float:
        """How many times as often the model expects the rental to be chosen because of it.

        The ranking half is a softmax over the catalogue, so an amount multiplies a rental's odds.
        """
        return exp(self.amount)


@dataclass(frozen=True)
class Explanation:
    """Why one rental has its score and its predicted rating."""

    rental_id: str
    score: float
    mean_score: float
    """The user's mean score over the catalogue; only the difference to it means something."""

    reasons: tuple[Reason, ...]
    """The strongest first, for or against; they sum to ``score - mean_score``."""

    predicted_rating: float
    """Before it is cut to 1..5."""

    typical_rating: float
    """Mean prediction for other users and rentals."""

    rating_amounts: dict[str, float]
    """Stars by subject; they sum to ``predicted_rating - typical_rating``."""

    def to_text(self) -> str:
        """Return the strongest reasons for the rental as one sentence."""
        named = [
            f"{reason.factor:.1f} times as often {reason.context}"
            for reason in self.reasons
            if reason.amount > 0
        ][:SHOWN]
        return f"Chosen {' and '.join(filter(None, [', '.join(named[:-1]), *named[-1:]]))}." if named else ""


@torch.no_grad()
def explain(
    model: "Recommender",
    user: Mapping[str, Any],
    catalogue: pd.DataFrame,
    rental_ids: Sequence[str],
    others: pd.DataFrame,
) -> list[Explanation]:
    """Explain recommendations: why these rentals, rather than the mean of the catalogue, for this user.

    Args:
        model: a fitted recommender.
        user: values by input name; absent ones count as missing.
        catalogue: one snapshot, a row per rental.
        rental_ids: the rentals to explain.
        others: rows of other requests, such as the latest events, beside which this user is seen.

    Returns:
        An explanation per rental, in the order of ``rental_ids``.

    Raises:
        ColumnError: a rental is not in the catalogue, or ``others`` is empty.
        IncompleteExplanationError: the towers' terms do not sum to what they score.
    """
    places = pd.Index(catalogue["rental_id"].astype(str)).get_indexer(pd.Index(rental_ids).astype(str))
    unknown = [rental_id for rental_id, place in zip(rental_ids, places, strict=True) if place == ABSENT]
    if unknown or others.empty:
        raise ColumnError(
            f"cannot explain: rentals {unknown} are not in the catalogue of {len(catalogue)}, and there are "
            f"{len(others)} other users; give rentals of the catalogue, and events of others"
        )
    chosen = places.tolist()
    frame = pd.DataFrame([dict(user)]).reindex(columns=list(model.encoding.user.inputs))
    listed = catalogue.iloc[chosen]
    seen = model.user_side(*tensors(model.encoding.user.encode(frame)))
    scored = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
    scores = model.scores(seen, scored)[0].double().numpy()
    reasons = _reasons(model, frame, catalogue, chosen, others)
    difference = np.array([sum(reason.amount for reason in found) for found in reasons])
    expected = scores[chosen] - scores.mean()
    if not np.allclose(difference, expected, rtol=0, atol=TOLERANCE * (1 + np.abs(scores).max())):
        raise IncompleteExplanationError(
            f"the reasons differ from the scores by up to {np.abs(difference - expected).max():.1e}: make "
            "`ranking_terms` and `bias_terms` of models/towers.py name all that `forward` adds"
        )
    groups = subjects(model.encoding)
    backgrounds = _spread(others), _spread(catalogue)
    rating = rating_contributions(model, frame, listed, backgrounds, groups)
    amounts = pd.DataFrame(rating.amounts)
    return [
        Explanation(
            rental_id=str(rental_id),
            score=float(scores[position]),
            mean_score=float(scores.mean()),
            reasons=found,
            predicted_rating=rating.typical + float(own.sum()),
            typical_rating=rating.typical,
            rating_amounts={str(name): float(amount) for name, amount in own.items()},
        )
        for rental_id, position, found, (_, own) in zip(
            rental_ids, chosen, reasons, amounts.iterrows(), strict=True
        )
    ]


def _reasons(
    model: "Recommender",
    user: pd.DataFrame,
    catalogue: pd.DataFrame,
    chosen: list[int],
    others: pd.DataFrame,
) -> list[tuple[Reason, ...]]:
    found = contributions(
        user_terms(model, user), user_terms(model, others), *rental_terms(model, catalogue), chosen
    )
    known_user = _known(model.encoding.user, user.iloc[0])
    answers = []
    for row, position in enumerate(chosen):
        by: dict[str, list[Part]] = defaultdict(list)
        for name, amounts in found.everybody.items():
            by[subject(name, RENTAL_RULES)].append(Part(None, name, float(amounts[row])))
        for term, name in enumerate(found.user_names):
            own = found.personal[row, term].tolist()
            parts = [Part(name, *pair) for pair in zip(found.rental_names, own, strict=True)]
            by[subject(name, USER_RULES)] += parts
        rental = _known(model.encoding.rental, catalogue.iloc[position])
        reasons = [_reason(key, parts, known_user, rental) for key, parts in by.items()]
        answers.append(tuple(sorted(reasons, key=lambda reason: -abs(reason.amount))))
    return answers


def _reason(key: str, parts: list[Part], user: dict[str, Any], rental: dict[str, Any]) -> Reason:
    amount = sum(part.amount for part in parts)
    totals: dict[tuple[bool, str], float] = defaultdict(float)
    for part in parts:
        totals[part.user_input is not None, part.user_input or part.rental_input] += part.amount
    personal, name = max(totals, key=lambda key: totals[key] * np.sign(amount))
    words = (
        context(name, _value(user, name), USER_RULES)
        if personal
        else context(name, _value(rental, name), RENTAL_RULES)
    )
    return Reason(key, words, amount, tuple(sorted(parts, key=lambda part: -abs(part.amount))))


def _known(side: UserEncoding | RentalEncoding, row: pd.Series) -> dict[str, Any]:
    """Return the values by name, None for a text that the model has not learnt."""
    vocabularies = dict(zip(side.strings, side.vocabularies, strict=True))
    known = {
        str(name): None
        if name in vocabularies and str(value) not in vocabularies[str(name)].values
        else value
        for name, value in row.items()
    }
    if isinstance(side, UserEncoding) and side.recent_rentals:
        known[side.recent_rentals] = recent_ids(row[side.recent_rentals])
    return known


def _value(row: dict[str, Any], name: str) -> Any:
    """Return the input's value, or that of one element of a list; None where the row lacks it."""
    element = ELEMENT.fullmatch(name)
    if not element:
        return row.get(name)
    values, position = row.get(element["name"]), int(element["position"])
    return values[position] if isinstance(values, list | tuple) and position < len(values) else None


def _spread(rows: pd.DataFrame) -> pd.DataFrame:
    """Return ``BACKGROUND_ROWS`` rows at equal distances, so that the same call explains the same way."""
    places = np.linspace(0, len(rows) - 1, min(BACKGROUND_ROWS, len(rows))).astype(int)
    return rows.iloc[places].reset_index(drop=True)
