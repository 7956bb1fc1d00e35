"""Reasons from the served graph: what each subject adds to the score of each recommended rental."""

import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import onnx
import pandas as pd
import torch
from torch import Tensor, nn

from models.contributions import Terms, common_amounts, rental_terms, stack, user_terms
from models.export import CODE, OPSET
from models.files import replacing
from models.wording import RENTAL_RULES, USER_RULES, Rule, subject

if TYPE_CHECKING:
    from models.recommender import Recommender

CONTRIBUTION = "contribution"
"""Output of the graph: [batch, K, subjects]; a row sums to its rental's score."""

SUBJECTS = "contribution_subjects"
"""Entry of the file's metadata: the subjects in the output's order, as JSON."""


class ScoreReasons(nn.Module):
    """The user's ranking terms and, as constants, the rest of ``models.contributions`` for one catalogue."""

    means: Tensor
    difference: Tensor
    everybody: Tensor

    def __init__(self, model: "Recommender", catalogue: pd.DataFrame, others: pd.DataFrame) -> None:
        """Compute the constants; the place behind the last rental, which is no rental, has NaN."""
        super().__init__()
        self.side, self.strings = model.user_side, len(model.encoding.user.strings)
        users, (rentals, biases) = user_terms(model, others), rental_terms(model, catalogue)
        amounts = common_amounts(users, rentals, biases)
        common = stack({name: amount.unsqueeze(1) for name, amount in amounts.items()})
        common_subjects, everybody = _summed(common, RENTAL_RULES)
        own_subjects, means = _summed(users._replace(vectors=users.mean()), USER_RULES)
        self.subjects = (*common_subjects, *own_subjects)
        difference = (rentals.vectors - rentals.mean()).sum(dim=0)
        self.register_buffer("means", means.float().transpose(0, 1))
        self.register_buffer("difference", _with_nowhere(difference))
        self.register_buffer("everybody", _with_nowhere(everybody.squeeze(2).T))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map codes and numbers, each [batch, 1], and places [batch, K] to amounts [batch, K, subjects]."""
        *columns, place = inputs
        codes, numbers = torch.cat(columns[: self.strings], 1), torch.cat(columns[self.strings :], 1)
        _, terms = _summed(stack(self.side.ranking_terms(codes, numbers)), USER_RULES)
        own = terms.transpose(0, 1) - self.means
        return torch.cat([self.everybody[place], self.difference[place] @ own.transpose(1, 2)], dim=2)


@torch.no_grad()
def add_reasons(
    path: Path,
    model: "Recommender",
    catalogue: pd.DataFrame,
    others: pd.DataFrame,
    place: str = "position",
) -> Path:
    """Give an exported graph the output ``contribution`` FLOAT [batch, K, subjects].

    The amounts of a rental sum to its score, which the export shifts to a mean of zero over the catalogue.
    The subjects are in the file's metadata under ``SUBJECTS``.

    Args:
        path: a file that ``models.export.export`` wrote; it is replaced whole or not at all.
        model: the recommender that was exported.
        catalogue: the catalogue that was exported with it.
        others: rows of other requests, such as the latest events, beside which a user is seen.
        place: name inside the graph of the recommended rentals' positions [batch, K].
    """
    reasons, side = ScoreReasons(model, catalogue, others).eval(), model.encoding.user
    names = [*(CODE.format(name) for name in side.strings), *side.numeric, place]
    # Two rows, because a batch of one would be taken as a constant.
    example = [torch.zeros(2, 1, dtype=torch.int64) for _ in side.strings]
    example += [torch.zeros(2, 1) for _ in side.numeric] + [torch.zeros(2, 2, dtype=torch.int64)]
    axes = {name: {0: "batch"} for name in names}
    axes |= {name: {0: "batch", 1: "K"} for name in (place, CONTRIBUTION)}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            reasons,
            tuple(example),
            str(Path(folder) / "reasons.onnx"),
            input_names=names,
            output_names=[CONTRIBUTION],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )
        traced = onnx.load(Path(folder) / "reasons.onnx")
    inner = onnx.compose.add_prefix(traced, "reasons/", rename_inputs=False, rename_outputs=False).graph
    whole = onnx.load(path)
    whole.graph.node.extend(inner.node)
    whole.graph.initializer.extend(inner.initializer)
    whole.graph.output.extend(inner.output)
    whole.metadata_props.append(onnx.StringStringEntryProto(key=SUBJECTS, value=json.dumps(reasons.subjects)))
    onnx.checker.check_model(whole, full_check=True)
    with replacing(path) as temporary:
        onnx.save(whole, temporary)
    return path


def _summed(terms: Terms, rules: tuple[Rule, ...]) -> tuple[tuple[str, ...], Tensor]:
    """Sum the terms of each subject: the subjects, and [subjects, rows, d]."""
    of = [subject(name, rules) for name in terms.names]
    found = tuple(dict.fromkeys(of))
    members = [[n for n, name in enumerate(of) if name == one] for one in found]
    return found, torch.stack([terms.vectors[numbers].sum(dim=0) for numbers in members])


def _with_nowhere(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.full_like(rows[:1], torch.nan)]).float()
