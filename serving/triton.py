"""Triton's model repository: one folder per predictor, its configuration generated from the ONNX graph."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from serving.settings import ServingSettings

if TYPE_CHECKING:
    import onnx

REMEDY = "export the model again"


class ModelFileError(ValueError):
    """A file is not an ONNX model which Triton can serve; the message names the file and the remedy."""


def predictor_name(version: int | str) -> str:
    """Name of the predictor which serves a version of the model: ``v3`` for 3."""
    return f"v{str(version).removeprefix('v')}"


def model_version(predictor: str) -> str:
    """Version of the model which a predictor serves: ``3`` for ``v3``."""
    return predictor.removeprefix("v")


def write_repository(onnx_path: Path, version: int | str, settings: ServingSettings) -> Path:
    """Write ``models/v<version>/<model name>/{config.pbtxt,1/model.onnx}`` and return ``models/v<version>``.

    It appears by one rename, so that no server ever sees half of it. The same version is written anew.

    Raises:
        ModelFileError: the file is missing, is not an ONNX model, or has inputs which Triton cannot batch.
    """
    configuration = render_config(onnx_path, settings)
    repository = settings.models / predictor_name(version)
    settings.models.mkdir(parents=True, exist_ok=True)
    temporary = settings.models / f".{repository.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    model = temporary / settings.model_name
    (model / "1").mkdir(parents=True)
    shutil.copyfile(onnx_path, model / "1" / "model.onnx")
    (model / "config.pbtxt").write_text(configuration)
    if repository.exists():
        retired = settings.models / f".{repository.name}.{os.getpid()}.retired"
        repository.rename(retired)
        temporary.rename(repository)
        shutil.rmtree(retired)
    else:
        temporary.rename(repository)
    return repository


def render_config(onnx_path: Path, settings: ServingSettings) -> str:
    """Return the ``config.pbtxt`` of an ONNX model whose tensors all have the batch as first dimension.

    Raises:
        ModelFileError: as for ``write_repository``.
    """
    graph = read_graph(onnx_path)
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [_tensor(value, onnx_path) for value in graph.input if value.name not in weights]
    outputs = [_tensor(value, onnx_path) for value in graph.output]
    return "\n".join(
        [
            f'name: "{settings.model_name}"',
            'backend: "onnxruntime"',
            'default_model_filename: "model.onnx"',
            f"max_batch_size: {settings.triton_max_batch_size}",
            f"input [\n{_listed(inputs)}\n]",
            f"output [\n{_listed(outputs)}\n]",
            "dynamic_batching { }",
            'parameters { key: "intra_op_thread_count" value: { string_value: "1" } }',
            "",
        ]
    )


def _listed(tensors: list[str]) -> str:
    return ",\n".join(f"  {tensor}" for tensor in tensors)


def read_graph(path: Path) -> "onnx.GraphProto":
    """Return the graph of an ONNX file.

    Raises:
        ModelFileError: the file is missing or is not an ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise ModelFileError(f"{path} does not exist: {REMEDY}, or correct the path")
    if not path.stat().st_size:
        raise ModelFileError(f"{path} is empty: {REMEDY}")
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError) as error:
        raise ModelFileError(f"{path} is not a valid ONNX model ({error}): {REMEDY}") from error
    return model.graph


def _tensor(value: "onnx.ValueInfoProto", path: Path) -> str:
    import onnx

    types: dict[int, str] = {
        onnx.TensorProto.STRING: "TYPE_STRING",
        onnx.TensorProto.FLOAT: "TYPE_FP32",
        onnx.TensorProto.DOUBLE: "TYPE_FP64",
        onnx.TensorProto.INT32: "TYPE_INT32",
        onnx.TensorProto.INT64: "TYPE_INT64",
        onnx.TensorProto.BOOL: "TYPE_BOOL",
    }
    tensor = value.type.tensor_type
    if tensor.elem_type not in types:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise ModelFileError(
            f"{path}: tensor {value.name!r} has type {kind}, not one of {', '.join(types.values())}"
        )
    batch, *sizes = tensor.shape.dim or [None]
    if batch is None or batch.HasField("dim_value") or not sizes:
        raise ModelFileError(
            f"{path}: tensor {value.name!r} must have the shape [batch, ...], batch dynamic: {REMEDY} so"
        )
    dims = ", ".join(str(size.dim_value) if size.HasField("dim_value") else "-1" for size in sizes)
    return f'{{ name: "{value.name}" data_type: {types[tensor.elem_type]} dims: [ {dims} ] }}'
