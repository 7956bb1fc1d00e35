"""Whether an exported graph keeps its head: finite answers to requests that nobody meant well."""

from pathlib import Path

import numpy as np

from models.inference import STRING, inputs_of, open_session

RATING_SCALE = (1.0, 5.0)
"""On which every predicted rating must lie; the recommender's own, which would bring PyTorch with it."""

EVERY_INPUT = "every input"

TEXTS = {
    "an empty text": "",
    "an unknown id": "nobody-has-this-id",
    "a text of 100,000 characters": "x" * 100_000,
    "control characters": "\0\x01\x1b[31m\r\n\t\x7f",
    "other scripts and marks": "été ☀ 用户 \u202e\ufeff",
    "SQL": "'; DROP TABLE users; --",
    "the word NaN": "NaN",
}

NUMBERS = {
    "NaN": np.nan,
    "infinity": np.inf,
    "minus infinity": -np.inf,
    "the largest number": np.finfo(np.float32).max,
    "the lowest number": np.finfo(np.float32).min,
    "the smallest number": np.finfo(np.float32).smallest_subnormal,
    "minus one": -1.0,
}


def adversarial_faults(onnx_path: Path) -> tuple[str, ...]:
    """Return what went wrong, in words, for hostile values in each input alone and in all of them at once.

    The inputs are those that the graph names. Every number of an answer must be finite, and every predicted
    rating on the scale 1..5.

    Args:
        onnx_path: a file written by ``models.export.export``.
    """
    session = open_session(onnx_path)
    kinds = {value.name: value.type for value in session.get_inputs()}
    outputs = [value.name for value in session.get_outputs() if value.type != STRING]
    nothing = inputs_of(session, [{}])
    faults = []
    for name in (*kinds, EVERY_INPUT):
        for text, number in zip(TEXTS, NUMBERS, strict=True):
            values, said = dict(nothing), set()
            for hostile in kinds if name == EVERY_INPUT else (name,):
                what, value = (text, TEXTS[text]) if kinds[hostile] == STRING else (number, NUMBERS[number])
                values[hostile] = np.full_like(nothing[hostile], value)
                said.add(what)
            answer = dict(zip(outputs, session.run(outputs, values), strict=True))
            if fault := _fault(answer):
                faults.append(f"{' and '.join(sorted(said))} in {name}: {fault}")
    return tuple(faults)


def _fault(answer: dict[str, np.ndarray]) -> str:
    unsound = sorted(name for name, values in answer.items() if not np.isfinite(values).all())
    if unsound:
        return f"{', '.join(unsound)} is not finite"
    low, high = RATING_SCALE
    ratings = answer["predicted_rating"]
    return (
        ""
        if ((ratings >= low) & (ratings <= high)).all()
        else f"predicted_rating is not within {low}..{high}"
    )
