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

PAIRS = "-pairs"
"""End of the name under which Triton serves the graph of pairs of a user and rentals."""

PAIRS_FILE, HALF_FILE = "pairs.onnx", "model.fp16.onnx"
"""Files beside the model's own: the graph of pairs, and the model in half precision, for a GPU."""


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
    ``render_filtered_config`` says why a graph with inputs that may be left out is there twice. The graph of
    pairs is there where it lies beside the model, and for a GPU the model in half precision is taken.

    Raises:
        ModelFileError: the file is missing, is not an ONNX model, or has inputs which Triton cannot batch.
    """
    half, pairs = onnx_path.with_name(HALF_FILE), onnx_path.with_name(PAIRS_FILE)
    model = half if settings.triton_gpus and half.exists() else onnx_path
    files = {"": (model, render_config(model, settings))}
    if filtered := render_filtered_config(model, settings):
        files[FILTERED] = model, filtered
    if pairs.exists():
        files[PAIRS] = pairs, render_config(pairs, settings, PAIRS)
    repository = settings.models / predictor_name(version)
    settings.models.mkdir(parents=True, exist_ok=True)
    temporary = settings.models / f".{repository.name}.{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    for end, (file, configuration) in files.items():
        folder = temporary / f"{settings.model_name}{end}"
        (folder / "1").mkdir(parents=True)
        shutil.copyfile(file, folder / "1" / "model.onnx")
        (folder / "config.pbtxt").write_text(configuration)
    if repository.exists():
        retired = settings.models / f".{repository.name}.{os.getpid()}.retired"
        repository.rename(retired)
        temporary.rename(repository)
        shutil.rmtree(retired)
    else:
        temporary.rename(repository)
    return repository


def render_config(onnx_path: Path, settings: ServingSettings, end: str = "") -> str:
    """Return the ``config.pbtxt`` of an ONNX model whose tensors all have the batch as first dimension.

    Inputs that may be left out are not in it: their defaults hold.

    Args:
        onnx_path: the model.
        settings: batches, instances and threads.
        end: of the name under which it is served.

    Raises:
        ModelFileError: as for ``write_repository``.
    """
    graph = read_graph(onnx_path)
    required, _ = _inputs(graph)
    delay = f"max_queue_delay_microseconds: {settings.triton_batch_delay}"
    return _render(
        settings,
        end,
        [f"max_batch_size: {settings.triton_max_batch_size}", f"dynamic_batching {{ {delay} }}"],
        [_batched(value, onnx_path) for value in required],
        [_batched(value, onnx_path) for value in graph.output],
        _warmup(required),
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
        settings,
        FILTERED,
        ["max_batch_size: 0"],
        [
            *(_tensor(value, onnx_path) for value in required),
            *(_tensor(value, onnx_path, " optional: true") for value in optional),
        ],
        [_tensor(value, onnx_path) for value in graph.output],
        _warmup(required, "1, "),
    )


def _inputs(graph: "onnx.GraphProto") -> tuple[list["onnx.ValueInfoProto"], list["onnx.ValueInfoProto"]]:
    """The inputs that every request must have, and those with a default."""
    defaults = {tensor.name for tensor in graph.initializer}
    return (
        [value for value in graph.input if value.name not in defaults],
        [value for value in graph.input if value.name in defaults],
    )


def _render(
    settings: ServingSettings,
    end: str,
    batching: list[str],
    inputs: list[str],
    outputs: list[str],
    warmup: str,
) -> str:
    kind = "KIND_GPU" if settings.triton_gpus else "KIND_CPU"
    return "\n".join(
        [
            f'name: "{settings.model_name}{end}"',
            'backend: "onnxruntime"',
            'default_model_filename: "model.onnx"',
            "version_policy { latest { num_versions: 1 } }",
            *batching,
            f"instance_group [ {{ count: {settings.triton_instances} kind: {kind} }} ]",
            f"input [\n{_listed(inputs)}\n]",
            f"output [\n{_listed(outputs)}\n]",
            'parameters { key: "intra_op_thread_count" value: '
            f'{{ string_value: "{settings.triton_threads}" }} }}',
            f'model_warmup [\n  {{ name: "nobody" batch_size: 1\n{warmup}\n  }}\n]',
            "",
        ]
    )


def _warmup(required: "Iterable[onnx.ValueInfoProto]", batch: str = "") -> str:
    """A request of empty texts and zeros: the model is ready when its first inference has been done.

    Args:
        required: the inputs.
        batch: the batch's dimension, for a model that Triton does not batch.
    """
    import onnx

    text = onnx.TensorProto.STRING
    return "\n".join(
        f'    inputs {{ key: "{value.name}" value {{ '
        f"data_type: {'TYPE_STRING' if value.type.tensor_type.elem_type == text else 'TYPE_FP32'} "
        f"dims: [ {batch}1 ] zero_data: true }} }}"
        for value in required
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
