"""ONNX Runtime sessions of exported models, and values in the shape that they take; only numpy beside it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnxruntime
    import pandas as pd

MODEL_FILE = "model.onnx"
"""The graph of the best rentals in a model's folder: the name that MLflow's ONNX flavour gives it."""

PAIRS_FILE = "pairs.onnx"
"""The graph of pairs of a user and rentals, beside it."""

STRING = "tensor(string)"
"""ONNX Runtime's name for the type of text inputs."""

COUNT = "k"
"""Input which says how many rentals to answer: one number for the whole batch, not one a row."""

ERRORS_ONLY = 3
"""ONNX Runtime's level of severity: it would warn of every input with a default, which is no fault here."""


class ModelFileError(ValueError):
    """The file is not a model that can be loaded."""


def open_session(model: Path | bytes, threads: int = 0) -> "onnxruntime.InferenceSession":
    """Open an ONNX model on the CPU.

    Args:
        model: a file written by ``models.export``, or what it holds.
        threads: of one inference; 0 takes a thread per core.

    Raises:
        ModelFileError: the file is missing or is not a readable ONNX model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = ERRORS_ONLY, threads
    try:
        source = str(model) if isinstance(model, Path) else model
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        # ONNX Runtime's exceptions share no base class of their own.
        name = model if isinstance(model, Path) else f"of {len(model)} bytes"
        raise ModelFileError(f"cannot load the model {name}: {error}; export it again") from error


def inputs_of(
    session: "onnxruntime.InferenceSession", rows: Iterable[Mapping[Any, Any]], strict: bool = False
) -> dict[str, np.ndarray]:
    """Return the tensors that the model takes; absent, None and NaN values count as missing.

    Inputs of one value a row become [rows, 1]. Those of several, such as ``exclude``, take a list or one text
    and become [rows, most]; optional ones are left out where no row names them.

    Args:
        session: the loaded model, which names its inputs, their types and widths.
        rows: values by input name.
        strict: refuse names that are not inputs.

    Raises:
        ValueError: a name is not an input (when ``strict``), a numeric feature is not a number, or a list is
            longer than its input.
    """
    rows = list(rows)
    named = {name for row in rows for name in row}
    wanted = [value for value in session.get_overridable_initializers() if value.name != COUNT]
    if strict and (unknown := named - {value.name for value in (*session.get_inputs(), *wanted)}):
        names = [value.name for value in (*session.get_inputs(), *wanted)]
        raise ValueError(f"{sorted(unknown)} are no inputs of the model; it takes {names}")
    inputs = [*session.get_inputs(), *(value for value in wanted if value.name in named)]
    return {value.name: _tensor(value, [row.get(value.name) for row in rows]) for value in inputs}


def frame_inputs(session: "onnxruntime.InferenceSession", frame: "pd.DataFrame") -> dict[str, np.ndarray]:
    """Return the same as ``inputs_of`` for the rows of a frame, a column at a time.

    Args:
        session: the loaded model.
        frame: a column per input; columns of inputs with several values hold lists. Optional inputs may be
            absent, and other columns are not looked at.

    Raises:
        ValueError: columns are missing, or a numeric one holds what is no number.
    """
    if missing := [value.name for value in session.get_inputs() if value.name not in frame]:
        raise ValueError(f"the frame lacks {missing}, which the model takes; join these features")
    optional = [value for value in session.get_overridable_initializers() if value.name in frame]
    tensors = {}
    for value in (*session.get_inputs(), *optional):
        column = frame[value.name]
        if value.shape[1] != 1:
            tensors[value.name] = _tensor(value, list(column))
        elif value.type == STRING:
            text = column.astype(object).where(column.notna(), "").astype(str)
            tensors[value.name] = text.to_numpy(object)[:, None]
        else:
            tensors[value.name] = column.astype("float64").to_numpy(np.float32)[:, None]
    return tensors


def _tensor(value: "onnxruntime.NodeArg", values: list[Any]) -> np.ndarray:
    if value.shape[1] != 1:
        return _lists(value, values)
    missing = [one is None or one != one for one in values]
    if value.type == STRING:
        column = ["" if gone else str(one) for gone, one in zip(missing, values, strict=True)]
        return np.array(column, dtype=object)[:, None]
    try:
        numbers = [np.nan if gone else float(one) for gone, one in zip(missing, values, strict=True)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"the feature {value.name!r} must be a number: {error}") from error
    return np.array(numbers, dtype=np.float32)[:, None]


def _lists(value: "onnxruntime.NodeArg", values: list[Any]) -> np.ndarray:
    """Text lists as one tensor, filled up with the empty text."""
    # Pandas fills what is absent with NaN; a list has no other way to be a number.
    present = [() if one is None or isinstance(one, float) else one for one in values]
    lists = [[one] if isinstance(one, str) else [str(each) for each in one] for one in present]
    most = max(map(len, lists), default=0)
    width = value.shape[1] if isinstance(value.shape[1], int) else max(most, 1)
    if most > width:
        raise ValueError(f"{value.name!r} takes at most {width} values, not {most}")
    table = np.full((len(lists), width), "", dtype=object)
    for row, one in enumerate(lists):
        table[row, : len(one)] = one
    return table
