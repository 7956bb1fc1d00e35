"""The network: two halves, each with a tower per side, so that one matrix product scores a catalogue.

Each half is an ensemble whose members learn side by side. The mean of their dot products is one dot product
of their vectors laid end to end: an ensemble costs a longer vector and nothing else.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from models.encoding import RentalEncoding, UserEncoding
from models.numeric import WIDTH, NumericEncoder
from models.settings import Hyperparameters

INITIAL_DEVIATION = 0.02
"""Deviation of initial embeddings: small, so that training starts near popularity alone."""

INITIAL_LIFT = 0.5
"""Initial weight of a log lift: between no trust in it and taking it at its word."""


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


def end_to_end(vectors: Tensor) -> Tensor:
    """Lay [rows, members, d] end to end, so that a dot product of two is the mean of the members'."""
    return vectors.flatten(1) / vectors.shape[1] ** 0.5


class SumTower(nn.Module):
    """Sum of the embeddings of all text columns and a linear map of the encoded numbers."""

    def __init__(self, sizes: Sequence[int], numeric: int, dimension: int) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(embedding(size, dimension) for size in sizes)
        self.linear = nn.Linear(numeric * WIDTH, dimension, bias=False)
        nn.init.normal_(self.linear.weight, std=INITIAL_DEVIATION)

    def forward(self, codes: Tensor, inputs: Tensor) -> Tensor:
        """Map codes [rows, text columns] and encoded numbers to [rows, dimension]."""
        total = self.linear(inputs)
        for column, table in enumerate(self.embeddings):
            total = total + table(codes[:, column])
        return total


class MemberLinear(nn.Module):
    """A linear layer of each member of an ensemble: [members, rows, inputs] to [members, rows, outputs]."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        layers = [nn.Linear(inputs, outputs) for _ in range(members)]
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]).unsqueeze(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply each member's layer to its own inputs."""
        return torch.baddbmm(self.bias, inputs, self.weight)


class EnsembleTower(nn.Module):
    """Concatenated embeddings and encoded numbers through one hidden layer of each member of an ensemble.

    The members share the embeddings and differ in their layers, after Gorishniy et al., "TabM: Advancing
    Tabular Deep Learning with Parameter-Efficient Ensembling" (2025).
    """

    def __init__(self, sizes: Sequence[int], numeric: int, settings: Hyperparameters) -> None:
        super().__init__()
        self.members, hidden = settings.rating_members, settings.rating_hidden
        self.embeddings = nn.ModuleList(embedding(size, settings.rating_embedding) for size in sizes)
        width = len(sizes) * settings.rating_embedding + numeric * WIDTH
        self.layers = nn.Sequential(
            MemberLinear(self.members, width, hidden),
            nn.ReLU(),
            nn.Dropout(settings.rating_dropout),
            MemberLinear(self.members, hidden, settings.rating_dimension + 1),
        )

    def by_member(self, codes: Tensor, inputs: Tensor) -> Tensor:
        """Map codes and encoded numbers to each member's vector and term [members, rows, dimension + 1]."""
        embedded = [table(codes[:, column]) for column, table in enumerate(self.embeddings)]
        row = torch.cat([*embedded, inputs], dim=1)
        output: Tensor = self.layers(row.unsqueeze(0).expand(self.members, -1, -1))
        return output

    def forward(self, codes: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Map codes and encoded numbers to a vector [rows, members * dimension] and a term [rows]."""
        output = self.by_member(codes, inputs).transpose(0, 1)
        return end_to_end(output[..., :-1]), output[..., -1].mean(dim=1)


class UserSide(nn.Module):
    """All that depends on the user and the request's context."""

    def __init__(
        self, encoding: UserEncoding, numbers: np.ndarray, lifted: Sequence[int], settings: Hyperparameters
    ) -> None:
        """``lifted`` are the places, among the text columns, of the contexts that have lifts."""
        super().__init__()
        sizes, numeric = encoding.sizes, len(encoding.numeric)
        width = settings.ranking_members * settings.ranking_dimension
        self.members = settings.ranking_members
        self.lifted, self.lift_sizes = tuple(lifted), tuple(sizes[place] for place in lifted)
        self.numeric = NumericEncoder(numbers)
        self.ranking = SumTower(sizes, numeric, width)
        self.ranking_recent = embedding(len(encoding.rental_ids), width)
        self.dropout = nn.Dropout(settings.ranking_dropout)
        self.popularity_lift = nn.Parameter(torch.full((len(self.lifted),), INITIAL_LIFT))
        self.rating = EnsembleTower(sizes, numeric, settings)

    def forward(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> UserVectors:
        """Map codes, raw numbers (NaN = missing) and recent rentals (0 = none) to the user's vectors."""
        vectors, contexts = self.rank(codes, numbers, recent)
        ranking = torch.cat([end_to_end(vectors), contexts], dim=1)
        return UserVectors(ranking, *self.rating(codes, self.numeric(numbers)))

    def rank(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ranking vectors [users, members, d] and the weights of the lifts [users, lifts]."""
        vectors = self.dropout(self.ranking(codes, self.numeric(numbers)) + self._mean_recent(recent))
        return vectors.unflatten(1, (self.members, -1)), self._contexts(codes)

    def rating_by_member(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return each member's rating vector and term [members, rows, dimension + 1]."""
        return self.rating.by_member(codes, self.numeric(numbers))

    def _mean_recent(self, recent: Tensor) -> Tensor:
        known = (recent != 0).unsqueeze(2).to(self.ranking_recent.weight.dtype)
        return (self.ranking_recent(recent) * known).sum(dim=1) / known.sum(dim=1).clamp(min=1.0)

    def _contexts(self, codes: Tensor) -> Tensor:
        """For each lifted context the weight of its lift, at the place of the request's value."""
        chosen = [
            weight * (codes[:, place, None] == torch.arange(size, device=codes.device)).to(weight.dtype)
            for place, size, weight in zip(self.lifted, self.lift_sizes, self.popularity_lift, strict=True)
        ]
        return torch.cat([self.popularity_lift.new_zeros(len(codes), 0), *chosen], dim=1)


class RentalSide(nn.Module):
    """All that depends on the rental."""

    def __init__(self, encoding: RentalEncoding, numbers: np.ndarray, settings: Hyperparameters) -> None:
        super().__init__()
        sizes, numeric = encoding.sizes, len(encoding.numeric)
        self.numeric = NumericEncoder(numbers)
        self.members = settings.ranking_members
        self.ranking = nn.ModuleList(
            embedding(size, settings.ranking_members * settings.ranking_dimension) for size in sizes
        )
        self.ranking_bias = nn.ModuleList(embedding(size, 1) for size in sizes)
        self.popularity = nn.Linear(numeric * WIDTH, 1, bias=False)
        nn.init.zeros_(self.popularity.weight)
        self.rating = EnsembleTower(sizes, numeric, settings)

    def forward(self, codes: Tensor, numbers: Tensor, lifts: Tensor) -> RentalVectors:
        """Map codes, raw numbers (NaN = missing) and log lifts to the rental's vectors."""
        vectors, bias = self.rank(codes, numbers)
        ranking = torch.cat([end_to_end(vectors), lifts], dim=1)
        return RentalVectors(ranking, bias, *self.rating(codes, self.numeric(numbers)))

    def rank(self, codes: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ranking vectors [rentals, members, d] and the bias [rentals].

        The numbers say how popular a rental is, and not with whom: in the vectors they only cost precision.
        """
        bias = self.popularity(self.numeric(numbers)).squeeze(1)
        bias = bias + sum(table(codes[:, n]).squeeze(1) for n, table in enumerate(self.ranking_bias))
        vectors = torch.stack([table(codes[:, n]) for n, table in enumerate(self.ranking)]).sum(dim=0)
        return vectors.unflatten(1, (self.members, -1)), bias

    def rating_by_member(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return each member's rating vector and term [members, rows, dimension + 1]."""
        return self.rating.by_member(codes, self.numeric(numbers))
