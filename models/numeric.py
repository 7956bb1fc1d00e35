"""Raw numbers to network inputs, inside the graph, so that a served model takes raw values."""

import numpy as np
import torch
from torch import Tensor, nn

BINS = 8
"""Quantile bins per column: enough for a bent curve, few enough to learn from thousands of rows."""

LIMIT = 6.0
"""Standard deviations at which the logarithm is cut, so that no outlier drowns the other inputs."""

WIDTH = BINS + 2
"""Inputs which a column becomes: its bins, the standardised logarithm, and the missing indicator."""


class NumericEncoder(nn.Module):
    """Piecewise-linear encoding over quantile bins, a standardised signed logarithm, and a missing flag.

    The bins follow Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning" (2022).
    A missing value gives zeros and the flag.
    """

    lower: Tensor
    width: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, numbers: np.ndarray) -> None:
        """Learn edges and moments from raw ``numbers`` [rows, columns]."""
        super().__init__()
        lower, width, mean, deviation = [], [], [], []
        for column in numbers.T:
            known = column[np.isfinite(column)].astype(np.float64)
            known = known if known.size else np.zeros(1)
            edges = np.quantile(known, np.linspace(0, 1, BINS + 1))
            logarithm = np.sign(known) * np.log1p(np.abs(known))
            lower.append(edges[:-1])
            # An empty bin (many equal values) becomes a step: width 1 keeps the division finite.
            width.append(np.where(np.diff(edges) > 0, np.diff(edges), 1.0))
            mean.append(logarithm.mean())
            deviation.append(logarithm.std() or 1.0)
        shape = (numbers.shape[1], BINS)
        self.register_buffer("lower", torch.tensor(np.reshape(lower, shape), dtype=torch.float32))
        self.register_buffer("width", torch.tensor(np.reshape(width, shape), dtype=torch.float32))
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("deviation", torch.tensor(deviation, dtype=torch.float32))

    def forward(self, numbers: Tensor) -> Tensor:
        """Map raw numbers [rows, columns], NaN = missing, to [rows, columns * WIDTH]."""
        missing = torch.isnan(numbers)
        logarithm = torch.sign(numbers) * torch.log1p(torch.abs(numbers))
        standardised = torch.clamp((logarithm - self.mean) / self.deviation, -LIMIT, LIMIT)
        bins = torch.clamp((numbers.unsqueeze(-1) - self.lower) / self.width, 0.0, 1.0)
        both = torch.cat([bins, standardised.unsqueeze(-1)], dim=-1)
        both = torch.where(missing.unsqueeze(-1), torch.zeros_like(both), both)
        return torch.cat([both, missing.unsqueeze(-1).to(both.dtype)], dim=-1).flatten(1)
