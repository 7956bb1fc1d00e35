"""What the features as served are good for."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class ServedFeatures:
    """The roles of features, by name; names that were not served are passed over.

    Attributes:
        segments: categorical ones whose values are segments.
        activity: counts what is known of a user: zero or missing is a cold start.
        compared: those that describe a user or a request; None for all. A feature that is the same for all
            requests of a day says nothing of who rates.
    """

    segments: Sequence[str] = ()
    activity: str | None = None
    compared: Sequence[str] | None = None

    def of_requests(self, served: pd.DataFrame) -> pd.DataFrame:
        """Return the columns that describe a user or a request."""
        return served[[name for name in served if self.compared is None or name in self.compared]]
