"""The models that a benchmark compares: the own one first, then the baselines."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from models.benchmark.dataset import Dataset
from models.collaborative.interactions import Interactions
from models.collaborative.ranker import Factors, Ranker

GIBBS_EVENTS = 100_000_000
"""Events times samples that a rating model may draw: some minutes of a core."""

ROW_EVENTS = 3
"""Events that take as long as drawing the vector of one user or item."""

HELD_OUT_SHARE = 0.1
"""Share of the ratings that chooses the rank."""

RANKS = ((0, 10), (1_000_000, 20), (10_000_000, 32))
"""Rank from how many training ratings on: more data tells more factors apart."""


IMPLICIT_REGULARISATIONS = (0.01, 5.0, 20.0)
"""What is tried for the implicit library; the first is its default."""


@dataclass(frozen=True)
class Fitted:
    """A ranker or predicted ratings, with what is worth knowing of the fit."""

    result: Any
    """``Ranker`` for rankings; for ratings float64 [test events]."""

    details: Mapping[str, Any] = field(default_factory=dict)


Contender = Callable[[Dataset, int, int], Fitted]
"""Fits on blind data with a seed and a number of threads."""


def blend(data: Dataset, seed: int, threads: int) -> Fitted:
    """Fit the own ranking model."""
    from models.collaborative.search import fit_best

    ranker, choice = fit_best(data.train, data.protocol, seed, data.user_features, data.item_features)
    return Fitted(ranker, asdict(choice))


def popularity(data: Dataset, seed: int, threads: int) -> Fitted:
    """Rank by the number of users."""
    from models.collaborative.popularity import fit_popularity

    return Fitted(fit_popularity(data.train))


def implicit_library(data: Dataset, seed: int, threads: int) -> Fitted:
    """Fit the ``implicit`` library's alternating least squares.

    Its regularisation is found as the own model's settings are: the library's default is far too small.

    Raises:
        ModuleNotFoundError: the library is not installed.
    """
    from models.collaborative.blend import MOST_USERS, HeldOut, best_setting

    try:
        from implicit.cpu.als import AlternatingLeastSquares
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("the implicit library is missing: pip install implicit") from error

    def fit(events: Interactions, regularisation: float) -> Ranker:
        model = AlternatingLeastSquares(regularization=regularisation, random_state=seed, num_threads=threads)
        model.fit(events.matrix, show_progress=False)
        return Factors(model.user_factors, model.item_factors)

    rest, taken = data.train.hold_out(MOST_USERS, data.protocol.last, seed)
    best = IMPLICIT_REGULARISATIONS[0]
    if len(taken):
        fits = {value: partial(fit, regularisation=value) for value in IMPLICIT_REGULARISATIONS}
        best, _, _ = best_setting(fits, rest, HeldOut(rest, taken, data.protocol.negatives))
    return Fitted(_with_popularity(data, fit(data.train, best)), {"regularisation": best})


def spark_als(data: Dataset, seed: int, threads: int) -> Fitted:
    """Fit Spark's alternating least squares, on ratings or implicit."""
    from models.benchmark import spark_als as spark

    if data.train_ratings is None:
        factors = spark.fit_ranking(data.train, seed, threads)
        return Fitted(_with_popularity(data, factors))
    predicted = spark.predict_ratings(_rated(data), _wanted(data), seed, threads)
    return Fitted(np.where(np.isnan(predicted), bias(data, seed, threads).result, predicted))


def bayesian_factorization(data: Dataset, seed: int, threads: int) -> Fitted:
    """Predict ratings by the own model, from ratings, both implicit sets and side features.

    Where users have few ratings, biases alone predict better than vectors: held-out ratings decide.
    """
    from models.collaborative.bayesian_factorization import GibbsSettings, predict_ratings
    from models.collaborative.features import implicit_sets

    users, items, ratings = _rated(data)
    events = len(ratings)
    work = events + ROW_EVENTS * (data.train.user_count + data.train.item_count)
    samples = int(np.clip(GIBBS_EVENTS // work, 100, 300))

    def predict(
        kept: np.ndarray, wanted: tuple[np.ndarray, np.ndarray], settings: GibbsSettings
    ) -> np.ndarray:
        matrix = data.train.where(kept).matrix
        user_side = [implicit_sets(matrix), *([] if data.user_features is None else [data.user_features])]
        item_side = [
            implicit_sets(matrix.T.tocsr()),
            *([] if data.item_features is None else [data.item_features]),
        ]
        rated = users[kept], items[kept], ratings[kept]
        return predict_ratings(rated, wanted, user_side, item_side, settings, seed)

    shuffled = np.random.default_rng(seed).permutation(events)
    held_out, kept = np.split(shuffled, [max(1, int(HELD_OUT_SHARE * events))])
    errors = {}
    for rank in (0, max(rank for least, rank in RANKS if events >= least)):
        predicted = predict(kept, (users[held_out], items[held_out]), GibbsSettings(rank, 80, 30))
        errors[rank] = float(np.sqrt(np.mean((predicted - ratings[held_out]) ** 2)))
    settings = GibbsSettings(min(errors, key=lambda rank: errors[rank]), samples)
    predicted = predict(np.arange(events), _wanted(data), settings)
    return Fitted(predicted, {**asdict(settings), "held_out_rmse_of_rank": errors})


def bias(data: Dataset, seed: int, threads: int) -> Fitted:
    """Predict ratings by mean and shrunk biases."""
    from models.collaborative.bias import predict_by_bias

    return Fitted(predict_by_bias(_rated(data), _wanted(data)))


OWN: Mapping[str, Mapping[str, Contender]] = {
    "ranking": {"blend": blend},
    "rating": {"bayesian_factorization": bayesian_factorization},
}
"""The own model of each task."""

BASELINES: Mapping[str, Mapping[str, Contender]] = {
    "ranking": {"popularity": popularity, "spark_als": spark_als, "implicit_library": implicit_library},
    "rating": {"bias": bias, "spark_als": spark_als},
}
"""The baselines of each task."""


@dataclass(frozen=True)
class _KnownUsers:
    # A baseline cannot rank for users without events: those get the popular items.
    ranker: Ranker
    popular: Ranker
    known: np.ndarray

    def scores(self, users: np.ndarray) -> np.ndarray:
        scores = np.array(self.ranker.scores(users), dtype=np.float32)
        unknown = ~self.known[users]
        scores[unknown] = self.popular.scores(users[unknown])
        return scores


def _with_popularity(data: Dataset, ranker: Ranker) -> Ranker:
    popular = popularity(data, 0, 1).result
    return _KnownUsers(ranker, popular, np.diff(data.train.matrix.indptr) > 0)


def _rated(data: Dataset) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if data.train_ratings is None:
        raise ValueError("this model needs ratings")
    return data.train.users, data.train.items, data.train_ratings


def _wanted(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    return data.test_users, data.test_items
