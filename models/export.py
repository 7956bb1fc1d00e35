"""Export to one self-contained ONNX graph: raw strings and numbers in, the best rentals out."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.columns import ColumnError
from models.data import tensors
from models.encoding import UNKNOWN, Encoding
from models.files import replacing
from models.load import inputs_of
from models.recommender import RATING_SCALE, Recommender
from models.towers import RentalVectors

OPSET = 17
"""ONNX operators; old enough for every Triton and ONNX Runtime of the last years."""

ML_OPSET = 3
"""Operators of ``ai.onnx.ml``, of which LabelEncoder turns strings into codes."""

IR_VERSION = 8
"""File format which goes with ``OPSET``."""

CODE = "{}_code"
"""Name inside the graph of a string input's code."""


class CatalogueScorer(nn.Module):
    """The user's side and the scoring of one catalogue, whose rental vectors are constants."""

    ranking: Tensor
    ranking_bias: Tensor
    rating: Tensor
    rating_bias: Tensor

    def __init__(self, model: Recommender, rentals: RentalVectors, count: int) -> None:
        super().__init__()
        self.model, self.count = model, count
        self.strings = len(model.encoding.columns.user_strings)
        self.register_buffer("ranking", rentals.ranking.T.contiguous())
        self.register_buffer("ranking_bias", rentals.ranking_bias)
        self.register_buffer("rating", rentals.rating)
        self.register_buffer("rating_bias", rentals.rating_bias)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map codes and numbers, each [batch, 1], to positions, scores and ratings, each [batch, count]."""
        codes, numbers = torch.cat(inputs[: self.strings], 1), torch.cat(inputs[self.strings :], 1)
        user = self.model.user_side(codes, numbers)
        score, position = torch.topk(user.ranking @ self.ranking + self.ranking_bias, self.count, dim=1)
        rating = (self.rating[position] * user.rating.unsqueeze(1)).sum(dim=2)
        rating = self.model.mean_rating + user.rating_bias.unsqueeze(1) + self.rating_bias[position] + rating
        return position, score, torch.clamp(rating, *RATING_SCALE)


def export(model: Recommender, catalogue: pd.DataFrame, path: Path, k: int = 100) -> Path:
    """Write the recommender for one catalogue as an ONNX file.

    Inputs, each [batch, 1]: ``user_id``, ``purpose`` and categorical user features as STRING ("" = missing),
    numeric user features as FLOAT (NaN = missing). Outputs, best first, each [batch, K] with
    K = min(k, rentals): ``rental_id`` STRING, ``score`` FLOAT, ``predicted_rating`` FLOAT in 1..5.

    Args:
        model: a fitted recommender.
        catalogue: one snapshot, a row per rental.
        path: the file to write; it appears whole or not at all.
        k: the most rentals that an answer holds.

    Raises:
        ValueError: ``k`` is below 1.
        ColumnError: the catalogue lacks columns, or holds more than one snapshot or a rental twice.
    """
    if k < 1:
        raise ValueError(f"k is {k}; an answer needs at least one rental")
    rental_ids = _check(model, catalogue)
    scorer = CatalogueScorer(model, rental_vectors(model, catalogue), min(k, len(catalogue))).eval()
    columns = model.encoding.columns
    names = [*(CODE.format(name) for name in columns.user_strings), *columns.user_numeric]
    # Two rows, because a batch of one would be taken as a constant.
    example = [torch.zeros(2, 1, dtype=torch.int64) for _ in columns.user_strings]
    example += [torch.zeros(2, 1) for _ in columns.user_numeric]
    outputs = ["position", "score", "predicted_rating"]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            scorer,
            tuple(example),
            str(Path(folder) / "inner.onnx"),
            input_names=names,
            output_names=outputs,
            dynamic_axes={name: {0: "batch"} for name in (*names, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
        graph = onnx.load(Path(folder) / "inner.onnx")
    _attach_strings(graph, model.encoding, rental_ids)
    onnx.checker.check_model(graph, full_check=True)
    with replacing(path) as temporary:
        onnx.save(graph, temporary)
    return path


def parity(model: Recommender, catalogue: pd.DataFrame, onnx_path: Path, rows: pd.DataFrame) -> float:
    """Return the largest absolute difference between PyTorch and ONNX Runtime; NaN where one answers NaN.

    The reference is the trained model itself, its scores less each user's mean over the catalogue. Scores
    and ratings are compared rental by rental, so that the order of ties does not matter; the K-th best scores
    are compared too, so that a wrong choice of rentals shows.

    Args:
        model: the recommender that was exported.
        catalogue: the catalogue that was exported with it.
        onnx_path: the exported file.
        rows: real requests: user ids, purposes and user features.
    """
    session = onnxruntime.InferenceSession(str(onnx_path), providers=["CPUExecutionProvider"])
    names = ["rental_id", "score", "predicted_rating"]
    requests = rows.astype(object).where(rows.notna(), None)
    ids, score, rating = session.run(names, inputs_of(session, requests.to_dict("records")))
    with torch.no_grad():
        user = model.user_side(*tensors(model.encoding.user.encode(rows)))
        rentals = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
        scores = model.scores(user, rentals).numpy().astype(np.float64)
        ratings = model.ratings(user, rentals).numpy()
    scores -= scores.mean(axis=1, keepdims=True)
    position = pd.Index(_check(model, catalogue)).get_indexer(ids.ravel()).reshape(ids.shape)
    best = -np.sort(-scores, axis=1)[:, : ids.shape[1]]
    differences = [
        score - np.take_along_axis(scores, position, 1),
        score - best,
        rating - np.take_along_axis(ratings, position, 1),
    ]
    # Not Python's max, which forgets a NaN.
    return float(np.max(np.abs(differences)))


@torch.no_grad()
def rental_vectors(model: Recommender, catalogue: pd.DataFrame) -> RentalVectors:
    """Return the vectors of every rental of ``catalogue``, in its order, for serving.

    The ranking half is shifted so that every user's scores have a mean of zero over the catalogue: only
    differences mean something, and small numbers keep float32 exact.
    """
    vectors: RentalVectors = model.rental_side(*tensors(model.encoding.rental.encode(catalogue)))
    return vectors._replace(
        ranking=vectors.ranking - vectors.ranking.mean(dim=0),
        ranking_bias=vectors.ranking_bias - vectors.ranking_bias.mean(),
    )


def _check(model: Recommender, catalogue: pd.DataFrame) -> list[str]:
    model.encoding.columns.check_catalogue(catalogue)
    ids = catalogue["rental_id"].astype(str)
    if catalogue["snapshot_at"].nunique() > 1 or ids.duplicated().any():
        raise ColumnError(
            "the catalogue to serve must be one snapshot with one row per rental; take the latest"
        )
    return list(ids)


def _attach_strings(graph: onnx.ModelProto, encoding: Encoding, rental_ids: list[str]) -> None:
    inner = graph.graph
    encoders = []
    for name, vocabulary in zip(encoding.user.strings, encoding.user.vocabularies, strict=True):
        # LabelEncoder refuses an empty table; "" is no value of any vocabulary and means unknown anyway.
        keys = vocabulary.values or ("",)
        codes = range(1, len(keys) + 1) if vocabulary.values else [UNKNOWN]
        encoders.append(
            helper.make_node(
                "LabelEncoder",
                [name],
                [CODE.format(name)],
                domain="ai.onnx.ml",
                keys_strings=list(keys),
                values_int64s=list(codes),
                default_int64=UNKNOWN,
            )
        )
    strings = [
        helper.make_tensor_value_info(name, TensorProto.STRING, ["batch", 1])
        for name in encoding.user.strings
    ]
    numeric = [value for value in inner.input if value.name in encoding.user.numeric]
    _replace(inner.input, [*strings, *numeric])
    nodes = [
        *encoders,
        *inner.node,
        helper.make_node("Gather", ["rental_ids", "position"], ["rental_id"], axis=0),
    ]
    _replace(inner.node, nodes)
    inner.initializer.append(numpy_helper.from_array(np.array(rental_ids, dtype=object), "rental_ids"))
    count = inner.output[1].type.tensor_type.shape.dim[1].dim_value
    ids = helper.make_tensor_value_info("rental_id", TensorProto.STRING, ["batch", count])
    _replace(inner.output, [ids, *list(inner.output)[1:]])
    graph.opset_import.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    graph.ir_version = IR_VERSION


def _replace(field: Any, values: list[Any]) -> None:
    del field[:]
    field.extend(values)
