"""The space of the search: which hyperparameters may vary, how far, and what they are judged by."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """A field of ``Hyperparameters`` that may vary from ``low`` to ``high``, both included."""

    name: str
    low: float
    high: float
    log: bool = False
    """Proportions matter rather than differences."""
    whole: bool = False
    """Only whole numbers are tried."""


@dataclass(frozen=True)
class Half:
    """A half of the recommender: the figure by which it is judged, and what of it may vary."""

    name: str
    figure: str
    higher_is_better: bool
    space: tuple[Setting, ...]

    def short(self, setting: str) -> str:
        """Return the setting's name without that of the half."""
        return setting.removeprefix(f"{self.name}_")

    def merit(self, figure: float) -> float:
        """Return the figure, turned so that more is better."""
        return figure if self.higher_is_better else -figure


HALVES = (
    Half(
        "ranking",
        "ndcg_at_10",
        True,
        (
            Setting("ranking_learning_rate", 0.002, 0.05, log=True),
            Setting("ranking_weight_decay", 0.02, 5.0, log=True),
            Setting("ranking_dropout", 0.0, 0.6),
            Setting("ranking_dimension", 16, 128, log=True, whole=True),
        ),
    ),
    Half(
        "rating",
        "rmse",
        False,
        (
            Setting("rating_learning_rate", 0.0002, 0.01, log=True),
            Setting("rating_weight_decay", 0.001, 1.0, log=True),
            Setting("rating_dropout", 0.0, 0.6),
            Setting("rating_dimension", 4, 32, log=True, whole=True),
            Setting("rating_hidden", 16, 128, log=True, whole=True),
        ),
    ),
)
"""The space of the search. What both halves share (epochs, batches, masking of ids) is not in it: a change
that helps one half could harm the other."""
