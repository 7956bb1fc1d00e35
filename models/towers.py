"""The network: two halves, each with a tower per side, so that one matrix product scores a catalogue."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.encoding import SideEncoding
from models.numeric import WIDTH, NumericEncoder

INITIAL_DEVIATION = 0.02
"""Deviation of initial embeddings: small, so that training starts near popularity alone."""


class RentalVectors(NamedTuple):
    """What scores a rental: ranking [rentals, d] and [rentals], rating [rentals, r] and [rentals]."""

    ranking: Tensor
    ranking_bias: Tensor
    rating: Tensor
    rating_bias: Tensor


class UserVectors(NamedTuple):
    """What a user brings to it: ranking [users, d], rating [users, r] and [users]."""

    ranking: Tensor
    rating: Tensor
    rating_bias: Tensor


def embedding(size: int, dimension: int) -> nn.Embedding:
    """Return an embedding with small initial values."""
    table = nn.Embedding(size, dimension)
    nn.init.normal_(table.weight, std=INITIAL_DEVIATION)
    return table


def addends(
    side: SideEncoding, tables: nn.ModuleList, linear: nn.Linear, codes: Tensor, inputs: Tensor
) -> dict[str, Tensor]:
    """Return what each column adds to the sum of the embeddings and the linear map: [rows, d] by column."""
    terms = {
        name: table(codes[:, n]) for n, (name, table) in enumerate(zip(side.strings, tables, strict=True))
    }
    parts = zip(side.numeric, linear.weight.split(WIDTH, dim=1), inputs.split(WIDTH, dim=1), strict=True)
    return terms | {name: values @ weight.T for name, weight, values in parts}


class SumTower(nn.Module):
    """Sum of the embeddings of all text columns and a linear map of the encoded numbers."""

    def __init__(self, side: SideEncoding, dimension: int) -> None:
        super().__init__()
        self.side = side
        self.embeddings = nn.ModuleList(embedding(size, dimension) for size in side.sizes)
        self.linear = nn.Linear(len(side.numeric) * WIDTH, dimension, bias=False)
        nn.init.normal_(self.linear.weight, std=INITIAL_DEVIATION)

    def forward(self, codes: Tensor, inputs: Tensor) -> Tensor:
        """Map codes [rows, text columns] and encoded numbers to [rows, dimension]."""
        total = self.linear(inputs)
        for column, table in enumerate(self.embeddings):
            total = total + table(codes[:, column])
        return total

    def terms(self, codes: Tensor, inputs: Tensor) -> dict[str, Tensor]:
        """Return the addends of ``forward`` [rows, dimension] by column."""
        return addends(self.side, self.embeddings, self.linear, codes, inputs)


class DeepTower(nn.Module):
    """Concatenated embeddings and encoded numbers through one hidden layer."""

    def __init__(self, side: SideEncoding, dimension: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(embedding(size, dimension) for size in side.sizes)
        width = len(side.strings) * dimension + len(side.numeric) * WIDTH
        self.layers = nn.Sequential(
            nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dimension + 1)
        )

    def forward(self, codes: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Map codes and encoded numbers to a vector [rows, dimension] and a term [rows]."""
        embedded = [table(codes[:, column]) for column, table in enumerate(self.embeddings)]
        output = self.layers(torch.cat([*embedded, inputs], dim=1))
        return output[:, :-1], output[:, -1]


class UserSide(nn.Module):
    """All that depends on the user and the purpose."""

    def __init__(
        self,
        side: SideEncoding,
        numbers: np.ndarray,
        ranking: tuple[int, float],
        rating: tuple[int, int, float],
    ) -> None:
        """``ranking`` is (dimension, dropout), ``rating`` is (dimension, hidden width, dropout)."""
        super().__init__()
        self.numeric = NumericEncoder(numbers)
        self.ranking = SumTower(side, ranking[0])
        self.dropout = nn.Dropout(ranking[1])
        self.rating = DeepTower(side, *rating)

    def forward(self, codes: Tensor, numbers: Tensor) -> UserVectors:
        """Map codes and raw numbers, NaN = missing, to the user's vectors."""
        inputs = self.numeric(numbers)
        return UserVectors(self.dropout(self.ranking(codes, inputs)), *self.rating(codes, inputs))

    def ranking_terms(self, codes: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        """Return the addends [rows, d], by input, of the ranking vector in evaluation mode."""
        return self.ranking.terms(codes, self.numeric(numbers))


class RentalSide(nn.Module):
    """All that depends on the rental."""

    def __init__(
        self, side: SideEncoding, numbers: np.ndarray, ranking_dimension: int, rating: tuple[int, int, float]
    ) -> None:
        """``rating`` is (dimension, hidden width, dropout)."""
        super().__init__()
        self.side = side
        self.numeric = NumericEncoder(numbers)
        self.ranking = SumTower(side, ranking_dimension)
        self.ranking_bias = nn.ModuleList(embedding(size, 1) for size in side.sizes)
        self.popularity = nn.Linear(len(side.numeric) * WIDTH, 1, bias=False)
        nn.init.zeros_(self.popularity.weight)
        self.rating = DeepTower(side, *rating)

    def forward(self, codes: Tensor, numbers: Tensor) -> RentalVectors:
        """Map codes and raw numbers, NaN = missing, to the rental's vectors."""
        inputs = self.numeric(numbers)
        bias = self.popularity(inputs).squeeze(1)
        for column, table in enumerate(self.ranking_bias):
            bias = bias + table(codes[:, column]).squeeze(1)
        return RentalVectors(self.ranking(codes, inputs), bias, *self.rating(codes, inputs))

    def ranking_terms(self, codes: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        """Return the addends [rows, d], by input, of the ranking vector."""
        return self.ranking.terms(codes, self.numeric(numbers))

    def bias_terms(self, codes: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        """Return the addends [rows], by input, of the ranking bias."""
        inputs = self.numeric(numbers)
        terms = addends(self.side, self.ranking_bias, self.popularity, codes, inputs)
        return {name: term.squeeze(1) for name, term in terms.items()}
