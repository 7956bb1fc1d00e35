"""The figures of an evaluation; apart from their computation, so that who reads them needs no PyTorch."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Decile:
    """One tenth of the test events by predicted rating."""

    predicted: float
    observed: float
    events: int


@dataclass(frozen=True)
class Evaluation:
    """Figures on test events; intervals are 95 % bootstrap over users.

    Ratings are in steps of the 1..5 scale. Ranking is over the full catalogue and counts only the
    ``ranked_events`` whose rental is in the catalogue snapshot before the event. ``ndcg_gain`` is the paired
    difference to the popularity by purpose: an interval above zero is a proven gain.
    """

    events: int
    ranked_events: int
    rmse: float
    rmse_interval: tuple[float, float]
    ndcg_at_10: float
    ndcg_at_10_interval: tuple[float, float]
    hr_at_10: float
    hr_at_10_interval: tuple[float, float]
    ndcg_gain: float
    ndcg_gain_interval: tuple[float, float]
    baselines: dict[str, float]
    calibration: tuple[Decile, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values, fit for JSON."""
        return asdict(self)
