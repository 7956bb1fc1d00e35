"""Bayesian matrix factorisation with side features, by Gibbs sampling.

A rating is normal around mean + user bias + item bias + user vector · item vector. Bias and vector of a user
are together normal around a linear function of the user's features, as in Macau (Simm et al. 2017, "Macau:
Scalable Bayesian Factorization with High-Dimensional Side Information"), which extends Salakhutdinov and Mnih
2008, "Bayesian Probabilistic Matrix Factorization"; the same for items. It is Rendle's 2012 Bayesian
factorisation machine of pairs of a user's and an item's inputs, but each row is drawn in one piece.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class GibbsSettings:
    """How the posterior is sampled."""

    rank: int = 10
    """Length of the vectors; 0 leaves mean and biases."""

    samples: int = 300
    """Draws of all parameters."""

    burn_in: int = 50
    """First draws, which are not averaged."""


def predict_ratings(
    train: tuple[np.ndarray, np.ndarray, np.ndarray],
    wanted: tuple[np.ndarray, np.ndarray],
    user_features: Sequence[sp.csr_matrix],
    item_features: Sequence[sp.csr_matrix],
    settings: GibbsSettings,
    seed: int,
) -> np.ndarray:
    """Return the posterior mean of ratings, cut to the range of the training ratings.

    Args:
        train: codes of users, codes of items and ratings [events].
        wanted: codes of the users and items whose ratings are predicted [pairs].
        user_features: groups of features [users, features]; each group has its own scale of effects.
        item_features: the same for items [items, features].
        settings: rank and number of draws.
        seed: of the draws.

    Returns:
        float64 [pairs].
    """
    users, items, ratings = train
    mean, deviation = ratings.mean(), max(ratings.std(), 1e-6)
    target = (ratings - mean) / deviation
    draw = np.random.default_rng(seed)
    user_side = _Side(user_features, settings.rank, draw)
    item_side = _Side(item_features, settings.rank, draw)
    user_events = _Events(users, items, len(user_side.vectors), len(item_side.vectors))
    item_events = _Events(items, users, len(item_side.vectors), len(user_side.vectors))
    precision = 1.0
    total = np.zeros(len(wanted[0]))
    for step in range(settings.samples):
        user_side.draw(user_events, item_side, target, precision)
        item_side.draw(item_events, user_side, target, precision)
        error = target - _pairs(user_side, item_side, users, items)
        precision = draw.gamma(0.5 * (len(target) + 1)) / (0.5 * (error @ error + 1.0))
        if step >= settings.burn_in:
            total += _pairs(user_side, item_side, *wanted)
    predicted = mean + deviation * total / (settings.samples - settings.burn_in)
    return np.clip(predicted, ratings.min(), ratings.max())


def _pairs(user_side: "_Side", item_side: "_Side", users: np.ndarray, items: np.ndarray) -> np.ndarray:
    own, other = user_side.vectors[users], item_side.vectors[items]
    return own[:, 0] + other[:, 0] + np.einsum("ed,ed->e", own[:, 1:], other[:, 1:])


class _Events:
    """The rated pairs by row, and the places of their values in the given order."""

    def __init__(self, rows: np.ndarray, columns: np.ndarray, row_count: int, column_count: int) -> None:
        order = np.lexsort((columns, rows))
        starts = np.append(0, np.cumsum(np.bincount(rows, minlength=row_count)))
        self.order, self.columns = order, columns[order]
        self._shape = (self.columns, starts), (row_count, column_count)
        self.present = self.matrix(np.ones(len(rows)))

    def matrix(self, values: np.ndarray) -> sp.csr_matrix:
        """Return the values, by row, as a matrix [rows, columns]."""
        places, shape = self._shape
        return sp.csr_matrix((values, *places), shape)


class _Side:
    """Biases and vectors of users or of items, [rows, 1 + rank], with what they are expected to be."""

    def __init__(self, features: Sequence[sp.csr_matrix], rank: int, draw: np.random.Generator) -> None:
        rows, size = features[0].shape[0], rank + 1
        self._draw = draw
        self.vectors = 0.1 * draw.standard_normal((rows, size))
        self._precision = 10.0 * np.eye(size)
        # The constant is a group as well: its effect is the rows' common mean.
        groups = [sp.csr_matrix(np.ones((rows, 1))), *features]
        self._groups = [_Effects(group, size, draw) for group in groups if group.shape[1]]

    def draw(self, events: _Events, other: "_Side", target: np.ndarray, precision: float) -> None:
        """Draw effects, precision and vectors, in this order, given the other side and the noise."""
        self._draw_expected()
        size = len(self._precision)
        inputs = other.vectors.copy()
        inputs[:, 0] = 1.0
        residual = target[events.order] - other.vectors[events.columns, 0]
        upper = np.triu_indices(size)
        products = events.present @ (inputs[:, upper[0]] * inputs[:, upper[1]])
        posterior = np.empty((len(self.vectors), size, size))
        posterior[:, upper[0], upper[1]] = precision * products
        posterior[:, upper[1], upper[0]] = precision * products
        posterior += self._precision
        right = self._expected() @ self._precision + precision * (events.matrix(residual) @ inputs)
        lower = np.linalg.cholesky(posterior)
        noise = self._draw.standard_normal((*right.shape, 1))
        half = np.linalg.solve(lower, right[..., None]) + noise
        self.vectors = np.linalg.solve(lower.transpose(0, 2, 1), half)[..., 0]

    def _expected(self) -> np.ndarray:
        return np.sum([group.expected for group in self._groups], axis=0)

    def _draw_expected(self) -> None:
        expected = self._expected()
        size = len(self._precision)
        scatter, degrees = np.eye(size), size + len(self.vectors)
        for group in self._groups:
            others = expected - group.expected
            group.draw(self.vectors - others, self._precision)
            expected = others + group.expected
            scatter += group.scale * group.effects.T @ group.effects
            degrees += len(group.effects)
        residual = self.vectors - expected
        self._precision = _wishart(scatter + residual.T @ residual, degrees, self._draw)


class _Effects:
    """Effects of a group of features, [features, 1 + rank], with precision scale · precision of the rows."""

    def __init__(self, features: sp.csr_matrix, size: int, draw: np.random.Generator) -> None:
        self._features, self._draw = features, draw
        gram = (features.T @ features).toarray()
        values, self._basis = np.linalg.eigh(gram)
        self._values = np.maximum(values, 0.0)
        self.effects = np.zeros((features.shape[1], size))
        self.expected = np.zeros((features.shape[0], size))
        self.scale = 1.0

    def draw(self, residual: np.ndarray, precision: np.ndarray) -> None:
        """Draw the effects from the ridge regression of the rows' residuals, then their scale."""
        spread = np.linalg.cholesky(np.linalg.inv(precision)).T
        noisy = residual + self._draw.standard_normal(residual.shape) @ spread
        prior = self._draw.standard_normal(self.effects.shape) @ spread
        right = self._features.T @ noisy + np.sqrt(self.scale) * prior
        shrunk = (self._basis.T @ right) / (self._values + self.scale)[:, None]
        self.effects = self._basis @ shrunk
        self.expected = self._features @ self.effects
        length = np.einsum("fi,ij,fj->", self.effects, precision, self.effects, optimize=True)
        self.scale = self._draw.gamma(0.5 * (self.effects.size + 1)) / (0.5 * (length + 1.0))


def _wishart(inverse_scale: np.ndarray, degrees: float, draw: np.random.Generator) -> np.ndarray:
    # Bartlett's decomposition.
    size = len(inverse_scale)
    lower = np.tril(draw.standard_normal((size, size)), -1)
    lower[np.diag_indices(size)] = np.sqrt(draw.chisquare(degrees - np.arange(size)))
    factor = np.linalg.cholesky(np.linalg.inv(inverse_scale)) @ lower
    return np.asarray(factor @ factor.T)
