"""The exported graphs, put together: the user's side as PyTorch traces it, and around it nodes for texts,
filters and rentals, which are written in ONNX's own notation.
"""

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from models.encoding import RECENT_RENTALS, UserEncoding
from models.recommender import RATING_SCALE, Recommender
from models.vocabulary import UNKNOWN
from models.wording import subjects

OPSET = 20
"""ONNX operators: the first that split a text, known to ONNX Runtime since 1.17 (January 2024)."""

ML_OPSET = 3
"""Operators of ``ai.onnx.ml``, of which LabelEncoder turns strings into codes."""

IR_VERSION = 9
"""File format which goes with ``OPSET``."""

CODE = "{}_code"
"""Name inside the graph of a string input's code."""

RECENT = "_recent"
"""Name inside the graph of the codes of a user's recent rentals."""

USER = ("_user_ranking", "_user_rating", "_user_rating_bias")
"""Names inside the graph of the user's vectors. A name with a line in front is no input and no output."""

TERMS = "_user_terms"
"""Name inside the graph of what each subject of a user's inputs adds to the first of them."""


class _UserSide(nn.Module):
    def __init__(self, model: Recommender, with_terms: bool) -> None:
        super().__init__()
        self.side, self.strings = model.user_side, len(model.encoding.user.strings)
        self.groups = subjects(model.encoding)[0].values() if with_terms else ()

    def forward(self, recent: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        codes, numbers = torch.cat(inputs[: self.strings], 1), torch.cat(inputs[self.strings :], 1)
        vectors: tuple[Tensor, ...] = self.side(codes, numbers, recent)
        return (*vectors, self._terms(codes, numbers, recent)) if self.groups else vectors

    def _terms(self, codes: Tensor, numbers: Tensor, recent: Tensor) -> Tensor:
        """Addends of the ranking vectors by subject [rows, subjects, d + lifts]."""
        terms = self.side.ranking_terms(codes, numbers, recent)
        # The recent rentals' term has a row for each of them.
        whole = {name: term.sum(dim=1) if term.dim() == 3 else term for name, term in terms.items()}
        return torch.stack(
            [torch.stack([whole[name] for name in group]).sum(dim=0) for group in self.groups], dim=1
        )


@dataclass
class Graph:
    """A graph that grows: nodes in order, constants, inputs, optional inputs with their defaults, outputs."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Append nodes, one a line, in ONNX's notation: ``score = Add (product, bias)``."""
        lines = (line.strip() for line in text.splitlines())
        self.nodes += [onnx.parser.parse_node(line) for line in lines if line]

    def constant(self, name: str, values: Any) -> None:
        """Add a constant; texts are given as an array of objects."""
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))

    def input(self, name: str, kind: int, shape: Sequence[str | int], default: Any = None) -> None:
        """Add an input; one with a default may be left out.

        In ONNX a default is an initializer of the input's name. Its rows spread over the batch.
        """
        self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        if default is not None:
            self.constant(name, default)

    def output(self, name: str, kind: int, shape: Sequence[str | int]) -> None:
        """Add an output."""
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def encode(self, text: str, code: str, codes: dict[str, int], default: int) -> None:
        """Turn the strings ``text`` into int64 ``code``, ``default`` for all that ``codes`` lacks."""
        self.nodes.append(
            helper.make_node(
                "LabelEncoder",
                [text],
                [code],
                domain="ai.onnx.ml",
                keys_strings=list(codes),
                values_int64s=list(codes.values()),
                default_int64=default,
            )
        )

    def model(self) -> onnx.ModelProto:
        """Return the checked model.

        Raises:
            onnx.checker.ValidationError: the nodes do not fit together.
        """
        graph = helper.make_graph(self.nodes, "recommender", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def user_graph(model: Recommender, with_terms: bool = False) -> Graph:
    """Begin a graph with the user's inputs, each [batch, 1], and the user's vectors, named ``USER``.

    Args:
        model: gives the user's side.
        with_terms: add ``TERMS`` [batch, subjects, d + lifts], from which reasons are told.
    """
    side, graph = model.encoding.user, Graph()
    for name, vocabulary in zip(side.strings, side.vocabularies, strict=True):
        graph.input(name, TensorProto.STRING, ["batch", 1])
        # LabelEncoder refuses an empty table; "" is no value of any vocabulary and means unknown anyway.
        graph.encode(name, CODE.format(name), vocabulary.table or {"": UNKNOWN}, UNKNOWN)
    _add_recent(graph, side)
    for name in side.numeric:
        graph.input(name, TensorProto.FLOAT, ["batch", 1])
    traced = _trace(model, with_terms)
    graph.nodes += traced.node
    graph.constants += traced.initializer
    return graph


def _add_recent(graph: Graph, side: UserEncoding) -> None:
    """Read the JSON array of the latest rentals as ``UserEncoding.encode`` does, if the model takes one."""
    if not side.recent_rentals:
        graph.constant(RECENT, np.zeros((1, 0), np.int64))
        return
    graph.input(side.recent_rentals, TensorProto.STRING, ["batch", 1])
    for name, value in {"column": 1, "begin": 1, "end": 2 * RECENT_RENTALS, "second": 2}.items():
        graph.constant(f"_{name}", np.array([value], np.int64))
    graph.nodes.append(helper.make_node("Squeeze", [side.recent_rentals, "_column"], ["_recent_text"]))
    graph.nodes.append(
        helper.make_node("StringSplit", ["_recent_text"], ["_recent_pieces", "_recent_count"], delimiter='"')
    )
    graph.add("_recent_ids = Slice (_recent_pieces, _begin, _end, _column, _second)")
    graph.encode("_recent_ids", RECENT, side.rental_ids.table or {"": UNKNOWN}, UNKNOWN)


def add_ratings(graph: Graph, model: Recommender, rating: Tensor, rating_bias: Tensor) -> None:
    """Add ``predicted_rating`` [batch, n] of the rentals at the positions ``_place`` [batch, n].

    Args:
        graph: with the user's vectors and ``_place``.
        model: gives the mean rating.
        rating: vectors [rentals, r]; kept in their own precision.
        rating_bias: terms [rentals].
    """
    graph.constant("rating", rating)
    graph.constant("rating_bias", rating_bias)
    graph.constant("_mean_rating", np.float32(model.mean_rating.item()))
    graph.constant("_lowest", np.float32(RATING_SCALE[0]))
    graph.constant("_highest", np.float32(RATING_SCALE[1]))
    graph.constant("_one", np.array([1], np.int64))
    graph.add(
        f"""
        _rating_places = Gather <axis = 0> (rating, _place)
        _rating_vectors = Cast <to = {TensorProto.FLOAT}> (_rating_places)
        _rating_user = Unsqueeze ({USER[1]}, _one)
        _rating_products = Mul (_rating_vectors, _rating_user)
        _rating_product = ReduceSum <keepdims = 0> (_rating_products, _last)
        _rating_term = Gather <axis = 0> (rating_bias, _place)
        _rating_user_term = Unsqueeze ({USER[2]}, _one)
        _rating_mean = Add (_rating_user_term, _mean_rating)
        _rating_terms = Add (_rating_mean, _rating_term)
        _rating_uncut = Add (_rating_terms, _rating_product)
        predicted_rating = Clip (_rating_uncut, _lowest, _highest)
        """
    )
    graph.constant("_last", np.array([2], np.int64))


def _trace(model: Recommender, with_terms: bool) -> onnx.GraphProto:
    side, outputs = model.encoding.user, [*USER, *([TERMS] if with_terms else [])]
    names = [*(CODE.format(name) for name in side.strings), *side.numeric]
    # Two rows, because a batch of one would be taken as a constant.
    example = [torch.zeros(2, RECENT_RENTALS, dtype=torch.int64)]
    example += [torch.zeros(2, 1, dtype=torch.int64) for _ in side.strings]
    example += [torch.zeros(2, 1) for _ in side.numeric]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _UserSide(model, with_terms).eval(),
            tuple(example),
            str(Path(folder) / "user.onnx"),
            input_names=[RECENT, *names],
            output_names=outputs,
            dynamic_axes={RECENT: {0: "batch", 1: "recent"}}
            | {name: {0: "batch"} for name in (*names, *outputs)},
            opset_version=OPSET,
            dynamo=False,
        )
        return onnx.load(Path(folder) / "user.onnx").graph
