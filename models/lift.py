"""How much more often a rental is chosen in a request's context than others are."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.vocabulary import UNKNOWN, Vocabulary

PRIOR_RENTALS = 5.0
"""Choices in the usual proportions that a rental is assumed to have had already: so many of its own weigh as
much, and a single wedding makes no wedding dress."""


@dataclass(frozen=True)
class Lift:
    """The log lift of each value of one context.

    It is the log of the value's share among a rental's choices over its share among all, the former drawn
    towards the latter.

    Attributes:
        context: the request's text.
        counts: the rental's feature with its choices by value, JSON text.
        vocabulary: the context's values.
        shares: share of each code among the training events [codes], 0 for ``UNKNOWN``.
    """

    context: str
    counts: str
    vocabulary: Vocabulary
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, context: str, counts: str, vocabulary: Vocabulary, values: pd.Series) -> "Lift":
        """Learn the shares from the context ``values`` of the training events."""
        times = np.bincount(vocabulary.encode(values), minlength=len(vocabulary)).astype(float)
        times[UNKNOWN] = 0.0
        return cls(context, counts, vocabulary, tuple(times / max(times.sum(), 1.0)))

    def encode(self, counts: pd.Series) -> np.ndarray:
        """Turn JSON counts, None where nothing was counted, into float32 log lifts [rows, codes]."""
        # A catalogue's snapshots repeat themselves, so each text is read once.
        places, texts = pd.factorize(counts.astype(object).where(counts.notna(), ""))
        codes = self.vocabulary.table
        times = np.zeros((len(texts), len(self.vocabulary)))
        for row, text in enumerate(texts):
            known: dict[str, Any] = json.loads(text) if text else {}
            for value, count in known.items():
                times[row, codes.get(value, UNKNOWN)] += count
        times[:, UNKNOWN] = 0.0
        shares = np.array(self.shares)
        total = times.sum(axis=1, keepdims=True) + PRIOR_RENTALS
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = np.log((times / shares + PRIOR_RENTALS) / total)
        lift[:, shares == 0] = 0.0
        return lift.astype(np.float32)[places]
