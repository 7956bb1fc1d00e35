"""The embedded model: recommendations in a Python process, with numpy and ONNX Runtime alone."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

REGISTRY_SCHEME = "models:/"

STRING = "tensor(string)"
"""ONNX Runtime's name for the type of text inputs."""


class ModelFileError(ValueError):
    """The file is not a model that can be loaded."""


@dataclass(frozen=True)
class Recommendation:
    """One rental of an answer."""

    rental_id: str
    score: float
    predicted_rating: float


class EmbeddedModel:
    """An exported recommender, loaded into this process."""

    def __init__(self, path: Path) -> None:
        """Load the ONNX file at ``path``.

        Raises:
            ModelFileError: the file is missing or is not a readable ONNX model.
        """
        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:
            # ONNX Runtime's exceptions share no base class of their own.
            raise ModelFileError(f"cannot load the model {path}: {error}; export it again") from error

    def recommend(self, user_features: Mapping[str, Any], k: int = 10) -> list[Recommendation]:
        """Return the best ``k`` rentals, best first; all that the model holds where ``k`` is larger.

        Args:
            user_features: values by input name (``user_id``, ``purpose``, features);
                absent ones count as missing.
            k: number of rentals, at least 1.

        Raises:
            ValueError: ``k`` is below 1, a name is not an input, or a numeric feature is not a number.
        """
        if k < 1:
            raise ValueError(f"k is {k}; ask for at least one rental")
        outputs = self.session.run(
            ["rental_id", "score", "predicted_rating"], inputs_of(self.session, [user_features], strict=True)
        )
        return [
            Recommendation(str(rental_id), float(score), float(rating))
            for rental_id, score, rating in zip(*(output[0, :k] for output in outputs), strict=True)
        ]


def load(path_or_uri: str | Path) -> EmbeddedModel:
    """Load a model from an ONNX file or a registry address: ``models:/NAME@ALIAS`` or ``…/VERSION``."""
    if str(path_or_uri).startswith(REGISTRY_SCHEME):
        from models.registry import download

        return EmbeddedModel(download(str(path_or_uri)))
    return EmbeddedModel(Path(path_or_uri))


def inputs_of(
    session: onnxruntime.InferenceSession, rows: Iterable[Mapping[Any, Any]], strict: bool = False
) -> dict[str, np.ndarray]:
    """Return the tensors [rows, 1] that the model takes; absent, None and NaN values count as missing.

    Args:
        session: the loaded model, which names its inputs and their types.
        rows: values by input name.
        strict: refuse names that are not inputs.

    Raises:
        ValueError: a name is not an input (when ``strict``), or a numeric feature is not a number.
    """
    rows = list(rows)
    expected = [(value.name, value.type) for value in session.get_inputs()]
    unknown = {name for row in rows for name in row} - {name for name, _ in expected}
    if strict and unknown:
        raise ValueError(
            f"{sorted(unknown)} are no inputs of the model; it takes {[name for name, _ in expected]}"
        )
    tensors: dict[str, np.ndarray] = {}
    for name, kind in expected:
        values = [row.get(name) for row in rows]
        missing = [value is None or value != value for value in values]
        if kind == STRING:
            column = ["" if gone else str(value) for gone, value in zip(missing, values, strict=True)]
            tensors[name] = np.array(column, dtype=object)[:, None]
            continue
        try:
            numbers = [np.nan if gone else float(value) for gone, value in zip(missing, values, strict=True)]  # type: ignore[arg-type]
        except (TypeError, ValueError) as error:
            raise ValueError(f"the feature {name!r} must be a number: {error}") from error
        tensors[name] = np.array(numbers, dtype=np.float32)[:, None]
    return tensors
