"""What every ranking model offers: scores of all items for some users."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Ranker(Protocol):
    """A fitted model that ranks items."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return scores of all items for the users of these codes, float [users, items]; higher is better."""
        ...


@dataclass(frozen=True)
class Factors:
    """Scores by one dot product: a vector for each user and each item, and a bias for each item."""

    user: np.ndarray
    """float [users, dimension]."""

    item: np.ndarray
    """float [items, dimension]."""

    item_bias: np.ndarray | float = 0.0
    """float [items]."""

    def scores(self, users: np.ndarray) -> np.ndarray:
        """Return scores of all items, float [users, items]."""
        return self.user[users] @ self.item.T + self.item_bias
