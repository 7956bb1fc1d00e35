"""A damaged copy of a good model, to show that a canary catches it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from models.files import replacing


def corrupt(onnx_path: Path, out: Path) -> Path:
    """Write a copy of ``onnx_path`` whose weights are NaN, as a diverged training run leaves them.

    It passes ONNX's checker, loads and answers; its scores and predicted ratings are NaN.

    Args:
        onnx_path: a model written by ``models.export.export``.
        out: where the copy goes.
    """
    model = onnx.load(onnx_path)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            damaged = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(numpy_helper.from_array(damaged, tensor.name))
    onnx.checker.check_model(model)
    with replacing(out) as temporary:
        onnx.save(model, temporary)
    return out
