"""Python-based Triton backend which hosts ``model.onnx`` by the onnxruntime package.

It stands in for Triton's own ``onnxruntime`` backend where that is not installed: the same model
repository (``config.pbtxt`` with ``backend: "onnxruntime"`` and ``1/model.onnx``) runs on both.
It runs in Triton's environment and imports nothing of this project.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

DEFAULT_THREADS = "1"
"""Threads of one inference. Small models gain nothing from more, and predictors share the machine."""

ERRORS_ONLY = 3
"""ONNX Runtime's level of severity."""


def _session_options(parameters: dict[str, dict[str, str]]) -> onnxruntime.SessionOptions:
    """Options by the names that Triton's own backend reads from the model's ``parameters``."""
    options = onnxruntime.SessionOptions()
    # It would warn of every input with a default, which is no fault here.
    options.log_severity_level = ERRORS_ONLY
    for name, attribute in (
        ("intra_op_thread_count", "intra_op_num_threads"),
        ("inter_op_thread_count", "inter_op_num_threads"),
    ):
        threads = parameters.get(name, {}).get("string_value", DEFAULT_THREADS)
        setattr(options, attribute, int(threads))
    return options


def _decode(tensor: np.ndarray) -> np.ndarray:
    """Bytes, as Triton carries strings, to text, as onnxruntime takes them; numbers stay as they are."""
    if tensor.dtype != np.object_:
        return tensor
    text = [value.decode() for value in tensor.ravel()]
    return np.array(text, dtype=np.object_).reshape(tensor.shape)


def _encode(tensor: np.ndarray) -> np.ndarray:
    if tensor.dtype != np.object_:
        return tensor
    return np.array([value.encode() for value in tensor.ravel()], dtype=np.object_).reshape(tensor.shape)


class TritonPythonModel:
    """One loaded model; Triton calls the methods by these names."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the ONNX file which the model's configuration names."""
        config: dict[str, Any] = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / filename
        self._session = onnxruntime.InferenceSession(
            path, _session_options(config.get("parameters", {})), providers=["CPUExecutionProvider"]
        )
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        # Inputs with a default: a request may leave them out.
        self._optional = [tensor.name for tensor in self._session.get_overridable_initializers()]
        self._outputs = {tensor.name for tensor in self._session.get_outputs()}

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests of a batch by one inference, as Triton's own backend does.

        Where that fails each is answered by itself: what is wrong with one must not fail its neighbours.
        """
        if len(requests) > 1:
            try:
                return self._answer_together(requests)
            except Exception as error:
                pb_utils.Logger.log_verbose(f"a batch is taken apart: {type(error).__name__}: {error}")
        return [self._answer(request) for request in requests]

    def _answer_together(self, requests: list[Any]) -> list[Any]:
        """Run the requests' rows one below the other, and deal the outputs' rows out again."""
        fed = [self._feeds(request) for request in requests]
        rows = [len(feeds[self._inputs[0]]) for feeds in fed]
        together = {name: np.concatenate([feeds[name] for feeds in fed]) for name in self._inputs}
        results = self._run(sorted(self._outputs), together)
        if wrong := [name for name, result in results.items() if len(result) != sum(rows)]:
            raise ValueError(f"{', '.join(wrong)} have not {sum(rows)} rows")
        ends = np.cumsum(rows)
        return [
            self._response({name: results[name][end - count : end] for name in self._wanted(request)})
            for request, count, end in zip(requests, rows, ends, strict=True)
        ]

    def _answer(self, request: Any) -> Any:
        try:
            return self._response(self._run(self._wanted(request), self._feeds(request)))
        except Exception as error:
            return pb_utils.InferenceResponse(
                output_tensors=[], error=pb_utils.TritonError(f"{type(error).__name__}: {error}")
            )

    def _feeds(self, request: Any) -> dict[str, np.ndarray]:
        given = {tensor.name(): tensor for tensor in request.inputs()}
        names = [*self._inputs, *(name for name in self._optional if name in given)]
        return {name: _decode(given[name].as_numpy()) for name in names}

    def _run(self, outputs: list[str], feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(outputs, self._session.run(outputs, feeds), strict=True))

    def _wanted(self, request: Any) -> list[str]:
        return [name for name in request.requested_output_names() if name in self._outputs]

    def _response(self, results: dict[str, np.ndarray]) -> Any:
        tensors = [pb_utils.Tensor(name, _encode(result)) for name, result in results.items()]
        return pb_utils.InferenceResponse(output_tensors=tensors)
