"""Implicit alternating least squares with exact solutions (iALS).

Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets", with the frequency-scaled
regularisation of Rendle et al. 2022, "Revisiting the Performance of iALS on Item Recommendation Benchmarks".
"""

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from models.collaborative.ranker import Factors

UNOBSERVED_WEIGHT = 0.3
"""Weight of every pair's squared score, against 1 for an observed pair's squared distance to 1."""

ITERATIONS = 8
"""Sweeps over users and items; more do not help on MovieLens."""

BLOCK_NUMBERS = 4_000_000
"""Most numbers of gathered vectors at a time, which bounds the memory: 16 MB a copy."""


def fit_implicit_als(
    matrix: sp.csr_matrix, dimension: int, regularisation: float, seed: int, iterations: int = ITERATIONS
) -> Factors:
    """Minimise squared errors over all pairs; the same matrix and seed give the same factors on a CPU.

    The loss is the sum of (score - 1)² over observed pairs, of ``UNOBSERVED_WEIGHT`` · score² over all pairs,
    and of λ · (n + ``UNOBSERVED_WEIGHT`` · N) · |vector|² over users and items: n is the vector's number of
    observed pairs, N that of the opposite side's vectors.

    Args:
        matrix: 1 at observed pairs [users, items].
        dimension: length of the vectors.
        regularisation: λ.
        seed: of the first item vectors.
        iterations: sweeps.
    """
    transposed = matrix.T.tocsr()
    generator = torch.Generator().manual_seed(seed)
    items = torch.randn((matrix.shape[1], dimension), generator=generator) * 0.1 / dimension**0.5
    for _ in range(iterations):
        users = solve(matrix, items, regularisation)
        items = solve(transposed, users, regularisation)
    return Factors(users.numpy(), items.numpy())


def solve(matrix: sp.csr_matrix, opposite: Tensor, regularisation: float) -> Tensor:
    """Return the best vector of each row for fixed vectors of the opposite side.

    In the eigenbasis of the opposite side's Gram matrix all that is common to the rows is diagonal, so a row
    of n pairs costs a solution of n equations when n < dimension (the Woodbury identity), else of dimension.

    Args:
        matrix: 1 at observed pairs [rows, columns].
        opposite: vectors of the columns, float32 [columns, dimension].
        regularisation: λ.

    Returns:
        float32 [rows, dimension].
    """
    dimension = opposite.shape[1]
    values, basis = torch.linalg.eigh((opposite.T.double() @ opposite.double()) * UNOBSERVED_WEIGHT)
    rotated = torch.cat([(opposite.double() @ basis).float(), torch.zeros(1, dimension)])
    counts = np.diff(matrix.indptr)
    solved = torch.zeros(matrix.shape[0], dimension)
    for rows in _blocks(counts, dimension):
        own = torch.from_numpy(counts[rows])
        neighbours, present = _padded(matrix, rows, counts)
        gathered = rotated[neighbours]
        scale = regularisation * (own + UNOBSERVED_WEIGHT * matrix.shape[1])
        diagonal = values.clamp(min=0.0).float() + scale.float()[:, None]
        if gathered.shape[1] < dimension:
            weighted = gathered / diagonal[:, None, :]
            small = weighted @ gathered.mT
            small.diagonal(dim1=1, dim2=2).add_(1.0)
            share = _positive_solve(small, present)
            solved[rows] = (share[:, None, :] @ weighted)[:, 0]
        else:
            large = gathered.mT @ gathered
            large.diagonal(dim1=1, dim2=2).add_(diagonal)
            solved[rows] = _positive_solve(large, gathered.sum(dim=1))
    return solved @ basis.float().T


def _positive_solve(matrices: Tensor, right: Tensor) -> Tensor:
    return torch.cholesky_solve(right[..., None], torch.linalg.cholesky(matrices))[..., 0]


def _blocks(counts: np.ndarray, dimension: int) -> list[np.ndarray]:
    # Rows of about the same number of pairs, so that padding adds little; rows without pairs stay zero.
    order = np.argsort(counts, kind="stable")
    order = order[counts[order] > 0]
    blocks = []
    while len(order):
        longest = max(int(counts[order[-1]]), dimension // 4, 1)
        size = max(1, BLOCK_NUMBERS // (longest * dimension))
        blocks.append(order[-size:])
        order = order[:-size]
    return blocks


def _padded(matrix: sp.csr_matrix, rows: np.ndarray, counts: np.ndarray) -> tuple[Tensor, Tensor]:
    # Columns of each row, filled up with the position behind the last column, and 1 where not filled up.
    places = np.arange(counts[rows].max())
    present = places < counts[rows][:, None]
    positions = np.where(present, matrix.indptr[rows][:, None] + places, 0)
    columns = np.where(present, matrix.indices[positions], matrix.shape[1])
    return torch.from_numpy(columns.astype(np.int64)), torch.from_numpy(present.astype(np.float32))
