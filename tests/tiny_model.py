"""An ONNX model with the signature of the recommender, which needs no training."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from feature_repo.names import RECOMMENDER_REQUEST_FEATURES

CATALOGUE = 20
KNOWN_USERS = {"u0": 0.1, "u1": 0.2}
"""Users for whom the tiny model's score differs."""


def write_tiny_model(path: Path, rating_offset: float = 1.0) -> Path:
    """An ONNX model with the signature of the recommender, which needs no training.

    It predicts 4 * sigmoid(score) + ``rating_offset``: 1..5 as it should be for 1, NaN for NaN.
    A missing age counts as zero.
    """

    def tensor(name: str, kind: int, width: int = 1) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["batch", width])

    inputs = [tensor(name, TensorProto.STRING) for name in ("user_id", "purpose", "size")]
    for feature in RECOMMENDER_REQUEST_FEATURES:
        kind = TensorProto.FLOAT if feature.kind == "numeric" else TensorProto.STRING
        inputs.append(tensor(feature.name, kind))
    base = np.random.default_rng(0).normal(size=CATALOGUE).astype(np.float32)
    names = [f"r{index}".encode() for index in range(CATALOGUE)]
    constants = [
        helper.make_tensor("names", TensorProto.STRING, [CATALOGUE], names),
        helper.make_tensor("base", TensorProto.FLOAT, [1, CATALOGUE], base),
        helper.make_tensor("k", TensorProto.INT64, [1], [CATALOGUE]),
        helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0]),
        helper.make_tensor("four", TensorProto.FLOAT, [1], [4.0]),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [rating_offset]),
    ]
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["user_id"],
            ["taste"],
            domain="ai.onnx.ml",
            keys_strings=list(KNOWN_USERS),
            values_floats=list(KNOWN_USERS.values()),
            default_float=0.3,
        ),
        helper.make_node("IsNaN", ["user_age"], ["age_is_missing"]),
        helper.make_node("Where", ["age_is_missing", "zero", "user_age"], ["age"]),
        helper.make_node("Add", ["taste", "age"], ["level"]),
        helper.make_node("Add", ["level", "base"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["score", "position"], axis=1),
        helper.make_node("Gather", ["names", "position"], ["rental_id"]),
        helper.make_node("Sigmoid", ["score"], ["share"]),
        helper.make_node("Mul", ["share", "four"], ["stretched"]),
        helper.make_node("Add", ["stretched", "offset"], ["predicted_rating"]),
    ]
    outputs = [
        tensor("rental_id", TensorProto.STRING, CATALOGUE),
        tensor("score", TensorProto.FLOAT, CATALOGUE),
        tensor("predicted_rating", TensorProto.FLOAT, CATALOGUE),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "tiny", inputs, outputs, constants),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
