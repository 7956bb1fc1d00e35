"""LightGBM on the recommender's own inputs: the rival that predicted ratings are held against."""

import numpy as np
import pandas as pd

from models.catalogues import utc
from models.columns import Columns

VALIDATION_DAYS = 60
"""The last days of the training events choose the number of trees."""

MOST_TREES = 2_000
PATIENCE = 100
"""Trees without a better validation error after which no more are grown."""

PARAMETERS = {
    "objective": "l2",
    "learning_rate": 0.03,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
}
"""Slow learning, small leaves and random columns: what suits many weak features of noisy ratings."""


def predict(train_events: pd.DataFrame, test_events: pd.DataFrame, columns: Columns, seed: int) -> np.ndarray:
    """Predict the ratings of ``test_events`` [events], in the scale of ``train_events``.

    It sees every input of the recommender but ids, lists and counts, which trees cannot take; what the counts
    say is in the other features.

    Raises:
        ImportError: LightGBM, which only development needs, is not installed.
    """
    import lightgbm

    parameters = PARAMETERS | {"seed": seed}
    names = [*columns.user_numeric, *columns.rental_numeric]
    texts = [*columns.user_strings[1:], *columns.rental_strings[1:]]
    kinds = {name: pd.CategoricalDtype(sorted(train_events[name].dropna().unique())) for name in texts}

    def table(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[names].astype(np.float32).join(frame[texts].astype(kinds))

    inputs, ratings = table(train_events), train_events["rating"].to_numpy()
    times = utc(train_events["event_timestamp"])
    late = (times >= times.max() - pd.Timedelta(days=VALIDATION_DAYS)).to_numpy()
    early_data = lightgbm.Dataset(inputs[~late], ratings[~late])
    chosen = lightgbm.train(
        parameters,
        early_data,
        MOST_TREES,
        valid_sets=[lightgbm.Dataset(inputs[late], ratings[late], reference=early_data)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    fitted = lightgbm.train(parameters, lightgbm.Dataset(inputs, ratings), chosen.best_iteration)
    return np.asarray(fitted.predict(table(test_events)), np.float64)
