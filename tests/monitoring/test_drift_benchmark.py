"""The drift benchmark on small frames."""

import pytest

from monitoring.benchmark import CATEGORICAL, NUMERIC, benchmark, frame


def test_p_values_are_scipys_and_what_was_not_measured_is_null() -> None:
    figures = benchmark(rows=3_000, rounds=1)
    assert figures["largest_p_value_difference"] < 1e-9
    assert figures["evidently"] is figures["evidently_ratio"] is None
    assert "--evidently" in figures["how"]
    assert {"value", "unit", "baseline", "ratio"} <= figures.keys()


def test_frames_hold_what_is_said_of_them() -> None:
    made = frame(1_000, seed=0, shift=0.0)
    assert len(made.select_dtypes("number").columns) == NUMERIC
    assert len(made.select_dtypes("object").columns) == CATEGORICAL
    assert made.isna().any().any()


def test_a_python_without_evidently_is_named(tmp_path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(RuntimeError, match="cannot run Evidently; install it there: no module"):
        benchmark(rows=1_000, rounds=1, evidently=str(python))
