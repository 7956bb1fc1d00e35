"""The fit of the training flow: from scratch, or on from the champion (a warm start)."""

from typing import TYPE_CHECKING

from flows.gating import champion
from flows.parameters import SCRATCH
from flows.training import TrainingSet, feature_columns, split

if TYPE_CHECKING:
    from models.recommender import Recommender


class WarmStartError(RuntimeError):
    """The champion cannot be gone on from; the message names the remedy."""


def fit_recommender(data: TrainingSet, begin: str) -> tuple["Recommender", str]:
    """Fit on the events before the test days.

    Args:
        data: what it is trained on, test days included.
        begin: ``SCRATCH``, or ``CHAMPION`` to go on from its weights.

    Returns:
        The recommender, and what it began from, in words.

    Raises:
        WarmStartError: there is no champion, it has learnt from the test days, or has other inputs or sizes.
        RivalError: its network cannot be read by this code.
    """
    from models.recommender import ShapeError
    from models.settings import GateSettings
    from models.train import fit

    train, _ = split(data)
    if begin == SCRATCH:
        return fit(train, data.catalogues, feature_columns()), SCRATCH
    known = champion(data, GateSettings())
    if known is None:
        raise WarmStartError(f"there is no champion to go on from: train with --begin {SCRATCH}")
    if known.fitted_until > data.test_from:
        raise WarmStartError(
            f"version {known.version} has learnt until {known.fitted_until:%Y-%m-%d} and the tests begin on "
            f"{data.test_from:%Y-%m-%d}, so it knows some of them: train with --begin {SCRATCH}"
        )
    try:
        model = fit(train, data.catalogues, feature_columns(), champion=known.model)
    except ShapeError as error:
        raise WarmStartError(f"version {known.version}: {error} (--begin {SCRATCH})") from error
    return model, f"version {known.version}"
