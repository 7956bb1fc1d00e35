"""Reasons of each recommendation, told by the exported graph itself: no PyTorch is there where it serves.

They are those of ``models.explain``, by subject: what an input of the user, or of the rental, adds to the
score beside the mean over the catalogue and over other users (see ``models.contributions``).
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from onnx import TensorProto
from torch import Tensor

from models.contributions import common_amounts, rental_terms, user_terms
from models.graph import TERMS, Graph
from models.inference import COUNT
from models.recommender import Recommender
from models.wording import RENTAL_RULES, USER_RULES, Rule, subject, subjects

SHOWN = 3
"""Reasons of a rental: more are not read."""


@torch.no_grad()
def add_reasons(graph: Graph, model: Recommender, catalogue: pd.DataFrame, others: pd.DataFrame) -> None:
    """Add the outputs of reasons, the strongest first.

    ``reason`` INT64 and ``reason_factor`` FLOAT [batch, k, ``SHOWN``]: the place of a subject, such as
    ``purpose``, in ``reason_subject`` STRING [batch, subjects], and how many times as often the rental is
    expected to be chosen because of it. The subject is the empty text where fewer speak for the rental.
    Places instead of texts, because a server takes longer to pass on hundreds of texts than to find them.

    Args:
        graph: of the best rentals, with the user's terms, ``ranking`` and the rentals' ``_position``.
        model: the recommender of the graph.
        catalogue: the rentals of ``ranking``, in their order.
        others: rows of other requests, beside which a user is seen.
    """
    (of_users, _), seen = subjects(model.encoding), user_terms(model, others)
    personal = _by_subject(dict(zip(seen.names, seen.mean().squeeze(1), strict=True)), USER_RULES)
    common = _by_subject(common_amounts(seen, *rental_terms(model, catalogue)), RENTAL_RULES)
    names = [*of_users, *common]
    graph.constant("_others", torch.stack([personal[name] for name in of_users]).float())
    graph.constant("_common_amounts", torch.stack(list(common.values()), dim=1).float())
    graph.constant("_subjects", np.array([*names, ""], dtype=object))
    graph.constant("_no_subject", np.array(len(names), np.int64))
    graph.constant("_subject_count", np.array([len(names) + 1], np.int64))
    graph.constant("_shown", np.array([min(SHOWN, len(names))], np.int64))
    graph.add(
        f"""
        _chosen_columns = Gather <axis = 1> (ranking, _position)
        _chosen = Cast <to = {TensorProto.FLOAT}> (_chosen_columns)
        _own_terms = Sub ({TERMS}, _others)
        _personal = Einsum <equation = "bgd,dbk->bkg"> (_own_terms, _chosen)
        _common = Gather <axis = 0> (_common_amounts, _position)
        _amounts = Concat <axis = 2> (_personal, _common)
        _amount, _strongest = TopK <axis = 2> (_amounts, _shown)
        reason_factor = Exp (_amount)
        _speaks_for = Greater (_amount, _zero)
        reason = Where (_speaks_for, _strongest, _no_subject)
        _rows = Shape <start = 0, end = 1> (score)
        _table = Concat <axis = 0> (_rows, _subject_count)
        reason_subject = Expand (_subjects, _table)
        """
    )
    graph.output("reason_subject", TensorProto.STRING, ["batch", len(names) + 1])
    for name, kind in (("reason", TensorProto.INT64), ("reason_factor", TensorProto.FLOAT)):
        graph.output(name, kind, ["batch", COUNT, min(SHOWN, len(names))])


def _by_subject(terms: dict[str, Tensor], rules: Iterable[Rule]) -> dict[str, Tensor]:
    """Sum terms of equal shapes by what their inputs are about."""
    sums: dict[str, Tensor] = {}
    for name, term in terms.items():
        key = subject(name, rules)
        sums[key] = sums[key] + term if key in sums else term
    return sums
