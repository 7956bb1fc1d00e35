import json
import math
import struct

import numpy as np
import pytest

from serving.inference_protocol import (
    JSON_LENGTH_HEADER,
    InferenceFormatError,
    decode_response,
    encode_request,
)


def test_missing_numbers_and_any_text_travel_in_binary() -> None:
    body, headers = encode_request({"age": math.nan, "name": "Zoë"})

    length = int(headers[JSON_LENGTH_HEADER])
    age, name = json.loads(body[:length])["inputs"]
    assert (age["datatype"], age["shape"]) == ("FP32", [1, 1])
    assert (name["datatype"], name["parameters"]) == ("BYTES", {"binary_data_size": 8})
    assert math.isnan(struct.unpack("<f", body[length : length + 4])[0])
    assert body[length + 4 :] == b"\x04\0\0\0Zo\xc3\xab"


def test_lists_of_text_travel_as_one_row() -> None:
    body, headers = encode_request({"exclude": ["r1", "", "Zoë"]})

    length = int(headers[JSON_LENGTH_HEADER])
    (exclude,) = json.loads(body[:length])["inputs"]
    assert (exclude["datatype"], exclude["shape"]) == ("BYTES", [1, 3])
    assert body[length:] == b"\x02\0\0\0r1" + b"\0\0\0\0" + b"\x04\0\0\0Zo\xc3\xab"


def response(outputs: list[dict], payload: bytes) -> tuple[bytes, dict[str, str]]:
    header = json.dumps({"outputs": outputs}).encode()
    return header + payload, {JSON_LENGTH_HEADER: str(len(header))}


def test_outputs_come_back_in_their_shape() -> None:
    names = b"\x02\0\0\0r1\x00\0\0\0"
    outputs = [
        {
            "name": "names",
            "datatype": "BYTES",
            "shape": [1, 2],
            "parameters": {"binary_data_size": len(names)},
        },
        {"name": "scores", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
    ]
    body, headers = response(outputs, names + struct.pack("<ff", 1.5, math.inf))

    decoded = decode_response(body, headers)

    assert decoded["names"].tolist() == [["r1", ""]]
    np.testing.assert_array_equal(decoded["scores"], [[1.5, np.inf]])


def test_an_answer_in_plain_json_is_understood() -> None:
    body = b'{"outputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'

    assert decode_response(body, {})["x"].tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"<html>", {}),
        (b"[]", {}),
        (b'{"error": "no"}', {}),
        response(
            [{"name": "x", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}],
            b"cut",
        ),
        response(
            [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 2}}], b"cu"
        ),
    ],
)
def test_whatever_is_no_answer_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(InferenceFormatError):
        decode_response(body, headers)
