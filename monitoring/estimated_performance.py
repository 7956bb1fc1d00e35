"""The error of predictions which nobody has rated yet, from what the rated ones tell.

A regression learns the squared error from the features as served (direct loss estimation). Ratings are sorted
into strata by the error that it expects, each by a model that did not see the user (Hansen's prognostic
score, Biometrika 2008), and weighted by how much more often a stratum is shown in the new period than in that
of the ratings; what the strata do not even out, the regression does. So the estimate is of those who will
rate, if of each stratum as many do and err as much.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.distribution import binned
from monitoring.intervals import Figure, root_mean

PARAMETERS = {
    "objective": "regression",
    "learning_rate": 0.1,
    "num_leaves": 8,
    "min_data_in_leaf": 40,
    "lambda_l2": 1.0,
    "seed": 0,
    "deterministic": True,
    "force_col_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Small trees: squared errors are noisy, and a stratum needs their order only."""

ROUNDS = 40

FOLDS = 5
"""Parts of the users, each judged by a model of the others."""

STRATA = 10

MOST_OUTSIDE = 0.1
"""Share of the rentals which may have a feature beyond all that was shown while ratings came; past it nothing
is known of them, and nothing estimated."""

LEAST_WORTH = 0.15
"""Share of the ratings that weighted ones must be worth: with all rentals of one stratum it is a tenth, and
how far beyond the ratings they are cannot be told."""


class UnsupportedError(ValueError):
    """The rated rentals say nothing of those to estimate; the message tells why."""


@dataclass(frozen=True)
class Covariates:
    """What is known of shown rentals when they are served: numbers, and the codes of categories."""

    frame: pd.DataFrame

    @classmethod
    def of(cls, features: pd.DataFrame) -> "Covariates":
        """Take numeric columns as they are, and make categories of all others."""
        columns = {}
        for name, column in features.items():
            numbers = pd.to_numeric(column, errors="coerce").astype(float)
            is_numeric = numbers.notna().sum() == column.notna().sum()
            columns[name] = numbers if is_numeric else column.astype("category")
        return cls(pd.DataFrame(columns, index=features.index))


def estimated_rmse(
    covariates: Covariates, errors: np.ndarray, users: np.ndarray, history: np.ndarray, wanted: np.ndarray
) -> Figure:
    """Estimate the RMSE that ratings of the ``wanted`` rentals will show.

    The interval is that of the weighted ratings, over users; it does not know of a change in what makes an
    error, which no estimate without labels can see.

    Args:
        covariates: of all shown rentals.
        errors: squared error of each, NaN where it was not rated.
        users: the user of each, 0, 1, …
        history: which of them had the time to be rated; of these the rated ones are learnt from.
        wanted: which of them to estimate.

    Raises:
        UnsupportedError: the wanted rentals are unlike those that were rated.
    """
    rated = history & ~np.isnan(errors)
    _check_support(covariates.frame, rated, history, wanted)
    expected = _expected_errors(covariates, errors, users, rated)
    edges = np.unique(np.quantile(expected[rated], np.arange(1, STRATA) / STRATA))
    strata = np.searchsorted(edges, expected, side="right")
    shown, before = (np.bincount(strata[rows], minlength=len(edges) + 1) for rows in (wanted, history))
    weights = _ratio_of_shares(shown, before)[strata[rated]]
    if _worth(weights) < LEAST_WORTH:
        raise UnsupportedError("what was shown is what hardly anybody rated before: wait for ratings")
    # Within a stratum the shown rentals may be harder than the rated ones: by as much as is expected.
    habits = np.bincount(strata[rated], minlength=len(before)) / np.maximum(before, 1)
    harder = _mean(expected[wanted], habits[strata[wanted]]) - _mean(expected[rated], weights)
    least = -_mean(errors[rated], weights)
    return root_mean(errors[rated] + max(harder, least), users[rated], weights)


def _check_support(frame: pd.DataFrame, rated: np.ndarray, history: np.ndarray, wanted: np.ndarray) -> None:
    """Raise UnsupportedError where a covariate of the wanted rentals is beyond what ratings can tell of."""
    for name in frame:
        is_category = isinstance(frame[name].dtype, pd.CategoricalDtype)
        bins = binned(frame[history], frame[wanted], str(name), "categorical" if is_category else "numeric")
        places = bins.reference + 1, bins.current + 1
        before, after = (np.bincount(each, minlength=len(bins.counts) + 1) for each in places)
        outside = after[before == 0].sum() / after.sum()
        if outside > MOST_OUTSIDE:
            raise UnsupportedError(
                f"{outside:.0%} of what was shown has another {name} than all before: wait for ratings"
            )
        if _worth(_ratio_of_shares(after, before)[places[0][rated[history]]]) < LEAST_WORTH:
            raise UnsupportedError(f"few ratings have a {name} like what was shown: wait for more")


def _ratio_of_shares(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    return after / after.sum() / np.maximum(before / before.sum(), 1 / before.sum())


def _worth(weights: np.ndarray) -> float:
    """Return the share of rows that weighted ones are worth (Kish 1965)."""
    return float(weights.sum() ** 2 / (weights**2).sum() / len(weights)) if weights.any() else 0.0


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum())


def _expected_errors(
    covariates: Covariates, errors: np.ndarray, users: np.ndarray, rated: np.ndarray
) -> np.ndarray:
    """Return the squared error expected of each row by a model of other users' ratings."""
    import lightgbm

    folds = np.random.default_rng(0).integers(FOLDS, size=users.max() + 1)[users]
    expected = np.empty(len(errors))
    for fold in range(FOLDS):
        learnt, judged = rated & (folds != fold), folds == fold
        data = lightgbm.Dataset(covariates.frame[learnt], errors[learnt])
        if judged.any():
            expected[judged] = lightgbm.train(PARAMETERS, data, ROUNDS).predict(covariates.frame[judged])
    return expected
