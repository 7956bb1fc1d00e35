"""A ranking score taken apart, exactly: what each input adds for everybody, and for this user beside others.

The score is <sum of user terms u, sum of rental terms v> + sum of bias terms, so with U and V the means over
other users and over the catalogue

    score(u, v) - mean score over the catalogue = <U, v - V> + bias - mean bias   (what everybody likes)
                                                + <u - U, v - V>                  (what this user likes more).

Both fall into pairs of one user term and one rental term. Only differences of scores mean something, and a
term's own mean is arbitrary (a constant may move between terms without changing a score), which is why both
sides are centred. The pairs are the Harsanyi dividends of the score, a bilinear function, against the mean
user and the mean rental; see Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions" (2017),
for the linear case.
"""

from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from models.data import tensors

if TYPE_CHECKING:
    from models.recommender import Recommender


class Terms(NamedTuple):
    """Addends of a side's ranking vectors by name: [terms, rows, d]."""

    names: tuple[str, ...]
    vectors: Tensor

    def mean(self) -> Tensor:
        """Return each term's mean over the rows [terms, 1, d]."""
        return self.vectors.mean(dim=1, keepdim=True)


class Contributions(NamedTuple):
    """Amounts of the score of the chosen rentals; their sum is the score less its mean over the catalogue."""

    everybody: dict[str, Tensor]
    """What everybody likes, by rental input: [chosen]."""

    personal: Tensor
    """What this user likes more than others: [chosen, user terms, rental terms]."""

    user_names: tuple[str, ...]
    rental_names: tuple[str, ...]


def contributions(
    user: Terms, others: Terms, rentals: Terms, biases: dict[str, Tensor], chosen: list[int]
) -> Contributions:
    """Take apart one user's scores of the ``chosen`` rentals.

    Args:
        user: terms of one row.
        others: the same terms of the users beside whom this one is seen.
        rentals: terms of the whole catalogue.
        biases: bias terms of the whole catalogue [rentals] by name.
        chosen: positions in the catalogue.
    """
    whole = common_amounts(others, rentals, biases)
    difference = rentals.vectors[:, chosen] - rentals.mean()
    personal = torch.einsum("ad,brd->rab", (user.vectors - others.mean()).squeeze(1), difference)
    everybody = {name: amounts[chosen] for name, amounts in whole.items()}
    return Contributions(everybody, personal, user.names, rentals.names)


def common_amounts(others: Terms, rentals: Terms, biases: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what everybody likes, by rental input: [rentals], each with a mean of zero."""
    common = others.mean().sum(dim=0).squeeze(0)
    amounts = dict(zip(rentals.names, (rentals.vectors - rentals.mean()) @ common, strict=True))
    for name, bias in biases.items():
        amounts[name] = amounts.get(name, 0.0) + bias - bias.mean()
    return amounts


def user_terms(model: "Recommender", frame: pd.DataFrame) -> Terms:
    """Return the ranking terms of the users in ``frame``."""
    terms = stack(model.user_side.ranking_terms(*tensors(model.encoding.user.encode(frame))))
    return terms._replace(vectors=terms.vectors.double())


def rental_terms(model: "Recommender", catalogue: pd.DataFrame) -> tuple[Terms, dict[str, Tensor]]:
    """Return the ranking terms of the rentals, and their bias terms [rentals] by name."""
    rows = tensors(model.encoding.rental.encode(catalogue))
    biases = {name: term.double() for name, term in model.rental_side.bias_terms(*rows).items()}
    terms = stack(model.rental_side.ranking_terms(*rows))
    return terms._replace(vectors=terms.vectors.double()), biases


def stack(terms: dict[str, Tensor]) -> Terms:
    """Stack terms [rows, d]; one of a list, [rows, n, d], becomes n terms ``name[0]``, ``name[1]``, …"""
    flat: dict[str, Tensor] = {}
    for name, term in terms.items():
        if term.dim() == 2:
            flat[name] = term
        else:
            flat |= {f"{name}[{n}]": part for n, part in enumerate(term.unbind(dim=1))}
    return Terms(tuple(flat), torch.stack(list(flat.values())))
