"""Triton's model repository: one folder per predictor, its configuration generated from the ONNX graph."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.settings import ServingSettings

if TYPE_CHECKING:
    import onnx

REMEDY = "export the model again"

FILTERED = "-filtered"
"""End of the name under which Triton serves the same graph with the inputs that may be left out."""


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
    ``render_filtered_config`` says why a graph with inputs that may be left out is there twice.

    Raises:
        ModelFileError: the file is missing, is not an ONNX model, or has inputs which Triton cannot batch.
    """
    configurations = {
        settings.model_name: render_config(onnx_path, settings),
        settings.model_name + FILTERED: render_filtered_config(onnx_path, settings),
    }
    repository = settings.models / predictor_name(version)
    settings.models.mkdir(parents=True, exist_ok=True)
    temporary = settings.models / f".{repository.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    for name, configuration in configurations.items():
        if configuration:
            model = temporary / name
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

    Inputs that may be left out are not in it: their defaults hold.

    Raises:
        ModelFileError: as for ``write_repository``.
    """
    graph = read_graph(onnx_path)
    required, _ = _inputs(graph)
    return _render(
        settings.model_name,
        [f"max_batch_size: {settings.triton_max_batch_size}", "dynamic_batching { }"],
        [_batched(value, onnx_path) for value in required],
        [_batched(value, onnx_path) for value in graph.output],
    )


def render_filtered_config(onnx_path: Path, settings: ServingSettings) -> str | None:
    """Return the ``config.pbtxt`` of the same model with its optional inputs; None where it has none.

    Triton's own ONNX Runtime backend refuses optional inputs in a model that it batches. Lists of any length
    could not be batched anyway.

    Raises:
        ModelFileError: as for ``write_repository``.
    """
    graph = read_graph(onnx_path)
    required, optional = _inputs(graph)
    if not optional:
        return None
    return _render(
        settings.model_name + FILTERED,
        ["max_batch_size: 0"],
        [
            *(_tensor(value, onnx_path) for value in required),
            *(_tensor(value, onnx_path, " optional: true") for value in optional),
        ],
        [_tensor(value, onnx_path) for value in graph.output],
    )


def _inputs(graph: "onnx.GraphProto") -> tuple[list["onnx.ValueInfoProto"], list["onnx.ValueInfoProto"]]:
    """The inputs that every request must have, and those with a default."""
    defaults = {tensor.name for tensor in graph.initializer}
    return (
        [value for value in graph.input if value.name not in defaults],
        [value for value in graph.input if value.name in defaults],
    )


def _render(name: str, batching: list[str], inputs: list[str], outputs: list[str]) -> str:
    return "\n".join(
        [
            f'name: "{name}"',
            'backend: "onnxruntime"',
            'default_model_filename: "model.onnx"',
            *batching,
            f"input [\n{_listed(inputs)}\n]",
            f"output [\n{_listed(outputs)}\n]",
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


def _batched(value: "onnx.ValueInfoProto", path: Path) -> str:
    batch, *sizes = value.type.tensor_type.shape.dim or [None]
    if batch is None or batch.HasField("dim_value") or not sizes:
        raise ModelFileError(
            f"{path}: tensor {value.name!r} must have the shape [batch, ...], batch dynamic: {REMEDY} so"
        )
    return _declared(value, sizes, path)


def _tensor(value: "onnx.ValueInfoProto", path: Path, options: str = "") -> str:
    return _declared(value, value.type.tensor_type.shape.dim, path, options)


def _declared(
    value: "onnx.ValueInfoProto",
    sizes: "Iterable[onnx.TensorShapeProto.Dimension]",
    path: Path,
    options: str = "",
) -> str:
    import onnx

    types: dict[int, str] = {
        onnx.TensorProto.STRING: "TYPE_STRING",
        onnx.TensorProto.FLOAT: "TYPE_FP32",
        onnx.TensorProto.DOUBLE: "TYPE_FP64",
        onnx.TensorProto.INT32: "TYPE_INT32",
        onnx.TensorProto.INT64: "TYPE_INT64",
        onnx.TensorProto.BOOL: "TYPE_BOOL",
    }
    kind = value.type.tensor_type.elem_type
    if kind not in types:
        raise ModelFileError(
            f"{path}: tensor {value.name!r} has type {onnx.TensorProto.DataType.Name(kind)}, "
            f"not one of {', '.join(types.values())}"
        )
    dims = ", ".join(str(size.dim_value) if size.HasField("dim_value") else "-1" for size in sizes)
    return f'{{ name: "{value.name}" data_type: {types[kind]} dims: [ {dims} ]{options} }}'
