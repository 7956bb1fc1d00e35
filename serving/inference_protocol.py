"""The v2 inference protocol with its binary tensor extension.

JSON has no NaN, which is how a missing number travels; binary tensors carry it.
Source: the Open Inference Protocol and Triton's ``binary_tensor_data`` extension.
"""

import functools
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
MOST_DESCRIPTIONS = 4096
"""Kept descriptions of tensors: some thirty inputs, most of them of one size or few."""

_LENGTH = struct.Struct("<I")
_DATATYPES: dict[str, np.dtype] = {
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}


class InferenceFormatError(ValueError):
    """An answer is not one of the v2 protocol."""


def encode_request(tensors: Mapping[str, float | str | Sequence[str]]) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request.

    Args:
        tensors: a value by the name of the input. A scalar becomes a tensor of the shape [1, 1], text as
            BYTES and numbers, NaN among them, as FP32; a list of texts one of the shape [1, its length].
    """
    inputs, payloads = [], []
    for name, value in tensors.items():
        if isinstance(value, float | int):
            datatype, count, payload = "FP32", 1, struct.pack("<f", value)
        else:
            texts = [text.encode() for text in ([value] if isinstance(value, str) else value)]
            datatype, count = "BYTES", len(texts)
            payload = b"".join([_LENGTH.pack(len(text)) + text for text in texts])
        inputs.append(_described(name, datatype, count, len(payload)))
        payloads.append(payload)
    header = f'{{"inputs":[{",".join(inputs)}],"parameters":{{"binary_data_output":true}}}}'.encode()
    return b"".join([header, *payloads]), {
        "Content-Type": "application/octet-stream",
        JSON_LENGTH_HEADER: str(len(header)),
    }


@functools.lru_cache(maxsize=MOST_DESCRIPTIONS)
def _described(name: str, datatype: str, count: int, size: int) -> str:
    """The description of a tensor in JSON: to write them anew takes longest of all that a request takes."""
    parameters = {"binary_data_size": size}
    return json.dumps({"name": name, "shape": [1, count], "datatype": datatype, "parameters": parameters})


def decode_response(body: bytes, headers: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Return the outputs of an answer by name; text comes as an array of ``str``.

    Raises:
        InferenceFormatError: the body is not what the protocol says.
    """
    try:
        length = int(headers.get(JSON_LENGTH_HEADER, len(body)))
        document = json.loads(body[:length])
        outputs, offset = {}, length
        for output in document["outputs"]:
            size = output.get("parameters", {}).get("binary_data_size")
            if size is None:
                outputs[output["name"]] = np.array(output["data"]).reshape(output["shape"])
                continue
            outputs[output["name"]] = _decode_tensor(output, body[offset : offset + size])
            offset += size
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise InferenceFormatError(f"the answer is not one of the v2 protocol: {error}") from error
    return outputs


def _decode_tensor(output: Mapping[str, Any], payload: bytes) -> np.ndarray:
    if output["datatype"] != "BYTES":
        return np.frombuffer(payload, dtype=_DATATYPES[output["datatype"]]).reshape(output["shape"])
    values, offset = [], 0
    while offset < len(payload):
        (size,) = _LENGTH.unpack_from(payload, offset)
        offset += _LENGTH.size
        values.append(payload[offset : offset + size].decode())
        offset += size
    return np.array(values, dtype=np.object_).reshape(output["shape"])
