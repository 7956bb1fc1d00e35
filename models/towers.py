"""The network: two halves, each with a tower per side, so that one matrix product scores a catalogue.

The ranking vectors are sums of what each input adds, so that a score can be taken apart exactly. The rating
half is an ensemble whose members learn side by side: the mean of their dot products is one dot product of
their vectors laid end to end, so that it costs a longer vector and nothing else.
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


def addends(
    side: UserEncoding | RentalEncoding,
    tables: nn.ModuleList,
    linear: nn.Linear,
    codes: Tensor,
    inputs: Tensor,
) -> dict[str, Tensor]:
    """Return what each column adds to the sum of the embeddings and the linear map: [rows, d] by column."""
    terms = {
        name: table(codes[:, n]) for n, (name, table) in enumerate(zip(side.strings, tables, strict=True))
    }
    parts = zip(side.numeric, linear.weight.split(WIDTH, dim=1), inputs.split(WIDTH, dim=1), strict=True)
    return terms | {name: values @ weight.T for name, weight, values in parts}


def widen(vectors: Tensor, before: int, after: int) -> Tensor:
    """Put zeros around the last dimension."""
    return nn.functional.pad(vectors, (before, after))


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
        return output[..., :-1].flatten(1) / self.members**0.5, output[..., -1].mean(dim=1)


class UserSide(nn.Module):
    """All that depends on the user and the request's context."""

    def __init__(
        self, encoding: UserEncoding, numbers: np.ndarray, lifted: Sequence[int], settings: Hyperparameters
    ) -> None:
        """``lifted`` are the places, among the text columns, of the contexts that have lifts."""
        super().__init__()
        sizes, dimension = encoding.sizes, settings.ranking_dimension
        self.encoding, self.dimension = encoding, dimension
        self.lifted, self.lift_sizes = tuple(lifted), tuple(sizes[place] for place in lifted)
        self.numeric = NumericEncoder(numbers)
        self.ranking = nn.ModuleList(embedding(size, dimension) for size in sizes)
        self.ranking_numbers = nn.Linear(len(encoding.numeric) * WIDTH, dimension, bias=False)
        nn.init.normal_(self.ranking_numbers.weight, std=INITIAL_DEVIATION)
        self.ranking_recent = embedding(len(encoding.rental_ids), dimension)
        self.dropout = nn.Dropout(settings.ranking_dropout)
        # Without lifts it is empty: processes that train together would wait for its gradient.
        self.popularity_lift = nn.Parameter(
            torch.full((len(self.lifted),), INITIAL_LIFT), requires_grad=bool(self.lifted)
        )
        self.rating = EnsembleTower(sizes, len(encoding.numeric), settings)

    def forward(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> UserVectors:
        """Map codes, raw numbers (NaN = missing) and recent rentals (0 = none) to the user's vectors."""
        return UserVectors(self.rank(codes, numbers, recent), *self.rating(codes, self.numeric(numbers)))

    def rank(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> Tensor:
        """Return the ranking vectors alone [users, d + lifts]: what was learnt, and weights of the lifts."""
        vectors = self.ranking_numbers(self.numeric(numbers)) + self._recent(recent).sum(dim=1)
        vectors = vectors + sum(table(codes[:, n]) for n, table in enumerate(self.ranking))
        return torch.cat([self.dropout(vectors), *self._contexts(codes)], dim=1)

    def ranking_terms(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> dict[str, Tensor]:
        """Return the addends, by input, of the ranking vectors in evaluation mode.

        Each is [rows, d + lifts]; that of the recent rentals is [rows, rentals, d + lifts].
        """
        terms = addends(self.encoding, self.ranking, self.ranking_numbers, codes, self.numeric(numbers))
        if self.encoding.recent_rentals:
            terms[self.encoding.recent_rentals] = self._recent(recent)
        terms = {name: widen(term, 0, sum(self.lift_sizes)) for name, term in terms.items()}
        begin = self.dimension
        for place, weights in zip(self.lifted, self._contexts(codes), strict=True):
            end = begin + weights.shape[1]
            width = self.dimension + sum(self.lift_sizes)
            name = self.encoding.strings[place]
            terms[name] = terms[name] + widen(weights, begin, width - end)
            begin = end
        return terms

    def rating_by_member(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return each member's rating vector and term [members, rows, dimension + 1]."""
        return self.rating.by_member(codes, self.numeric(numbers))

    def _recent(self, recent: Tensor) -> Tensor:
        """What each recent rental adds to their mean [rows, rentals, d]; nothing where it is unknown."""
        known = (recent != 0).unsqueeze(2).to(self.ranking_recent.weight.dtype)
        return self.ranking_recent(recent) * known / known.sum(dim=1, keepdim=True).clamp(min=1.0)

    def _contexts(self, codes: Tensor) -> list[Tensor]:
        """For each lifted context the weight of its lift, at the place of the request's value."""
        return [
            weight * (codes[:, place, None] == torch.arange(size, device=codes.device)).to(weight.dtype)
            for place, size, weight in zip(self.lifted, self.lift_sizes, self.popularity_lift, strict=True)
        ]


class RentalSide(nn.Module):
    """All that depends on the rental."""

    def __init__(self, encoding: RentalEncoding, numbers: np.ndarray, settings: Hyperparameters) -> None:
        super().__init__()
        sizes, numeric = encoding.sizes, len(encoding.numeric)
        self.encoding, self.dimension = encoding, settings.ranking_dimension
        self.numeric = NumericEncoder(numbers)
        self.ranking = nn.ModuleList(embedding(size, self.dimension) for size in sizes)
        self.ranking_bias = nn.ModuleList(embedding(size, 1) for size in sizes)
        self.popularity = nn.Linear(numeric * WIDTH, 1, bias=False)
        nn.init.zeros_(self.popularity.weight)
        self.rating = EnsembleTower(sizes, numeric, settings)

    def forward(self, codes: Tensor, numbers: Tensor, lifts: Tensor) -> RentalVectors:
        """Map codes, raw numbers (NaN = missing) and log lifts to the rental's vectors."""
        return RentalVectors(*self.rank(codes, numbers, lifts), *self.rating(codes, self.numeric(numbers)))

    def rank(self, codes: Tensor, numbers: Tensor, lifts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the ranking half alone: vectors [rentals, d + lifts] and bias [rentals].

        The numbers say how popular a rental is, and little of with whom: in the vectors they only add noise.
        """
        bias = self.popularity(self.numeric(numbers)).squeeze(1)
        bias = bias + sum(table(codes[:, n]).squeeze(1) for n, table in enumerate(self.ranking_bias))
        vectors = torch.stack([table(codes[:, n]) for n, table in enumerate(self.ranking)]).sum(dim=0)
        return torch.cat([vectors, lifts], dim=1), bias

    def ranking_terms(self, codes: Tensor, numbers: Tensor, lifts: Tensor) -> dict[str, Tensor]:
        """Return the addends [rows, d + lifts], by input, of the ranking vectors."""
        columns = zip(self.encoding.strings, self.ranking, strict=True)
        width = self.dimension + lifts.shape[1]
        terms = {
            name: widen(table(codes[:, n]), 0, lifts.shape[1]) for n, (name, table) in enumerate(columns)
        }
        begin = 0
        for lift in self.encoding.lifts:
            end = begin + len(lift.vocabulary)
            start = self.dimension + begin
            terms[lift.counts] = widen(lifts[:, begin:end], start, width - start - (end - begin))
            begin = end
        return terms

    def bias_terms(self, codes: Tensor, numbers: Tensor, lifts: Tensor) -> dict[str, Tensor]:
        """Return the addends [rows], by input, of the ranking bias."""
        inputs = self.numeric(numbers)
        terms = addends(self.encoding, self.ranking_bias, self.popularity, codes, inputs)
        return {name: term.squeeze(1) for name, term in terms.items()}

    def rating_by_member(self, codes: Tensor, numbers: Tensor) -> Tensor:
        """Return each member's rating vector and term [members, rows, dimension + 1]."""
        return self.rating.by_member(codes, self.numeric(numbers))
