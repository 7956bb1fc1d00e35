"""How long a drift comparison takes beside plain scipy and Evidently, on the same frames.

``python -m monitoring.benchmark`` measures, and puts the figures into ``bench/drift.json``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from monitoring.distribution import Kind
from monitoring.drift import compare
from monitoring.settings import MonitoringSettings

ROWS = 1_000_000
"""Of each frame: a month of a large shop."""

NUMERIC, CATEGORICAL = 40, 10
"""Columns of each kind."""

ROUNDS = 7
"""Comparisons of which the median counts."""

SHIFT = 0.003
"""By so many standard deviations every other column of the current frame moves: enough for p-values of all
sizes to be compared with scipy's."""

EVIDENTLY = Path(__file__).with_name("evidently_baseline.py")


def benchmark(rows: int = ROWS, rounds: int = ROUNDS, evidently: str = "") -> dict[str, Any]:
    """Measure a comparison of two frames, and what scipy and Evidently take for the same.

    Args:
        rows: of each frame.
        rounds: comparisons of which the median counts.
        evidently: a Python interpreter that has Evidently; without it its figures are null.

    Returns:
        Seconds, those of both baselines, how many times as long these take, the largest difference of a
        p-value from scipy's, and how all this was measured.
    """
    reference, current = frame(rows, 0, 0.0), frame(rows, 1, SHIFT)
    columns: dict[str, Kind] = {
        **{f"number_{number}": "numeric" for number in range(NUMERIC)},
        **{f"text_{number}": "categorical" for number in range(CATEGORICAL)},
    }
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        report = compare(reference, current, columns)
        seconds.append(time.perf_counter() - started)
    value = statistics.median(seconds)
    started = time.perf_counter()
    expected = scipy_p_values(reference, current, columns)
    by_scipy = time.perf_counter() - started
    by_evidently = _evidently(reference, current, evidently) if evidently else None
    return {
        "value": round(value, 3),
        "unit": "s",
        "baseline": round(by_scipy, 1),
        "ratio": round(by_scipy / value, 1),
        "evidently": by_evidently and round(by_evidently, 1),
        "evidently_ratio": by_evidently and round(by_evidently / value, 1),
        "largest_p_value_difference": max(
            abs(feature.p_value - expected[feature.name]) for feature in report.features
        ),
        "how": f"median of {rounds} comparisons of {rows:,} rows with as many, {NUMERIC} numeric and "
        f"{CATEGORICAL} categorical columns, from frames to report: all distances and tests, the joint test "
        f"and new rows; {os.cpu_count()} cores; baseline: scipy's ks_2samp (asymptotic) and "
        "chi2_contingency, column by column, once; evidently: its DataDriftPreset with the same tests, once"
        + ("" if evidently else ", not measured: give a Python that has it by --evidently"),
    }


def frame(rows: int, seed: int, shift: float) -> pd.DataFrame:
    """Return numbers (normal, skewed, whole, some missing) and texts (of 3 to 30 categories) to compare."""
    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for number in range(NUMERIC):
        normal = rng.normal(shift * (number % 2), 1, rows)
        shapes = (
            normal,
            np.exp(normal),
            np.round(10 * normal),
            np.where(rng.random(rows) < 0.1, np.nan, normal),
        )
        columns[f"number_{number}"] = shapes[number // 2 % len(shapes)]
    for number in range(CATEGORICAL):
        count = 3 * (number + 1)
        weights = np.linspace(1, 2 + shift * (number % 2), count)
        texts = np.array([f"category {each}" for each in range(count)], dtype=object)
        columns[f"text_{number}"] = texts[rng.choice(count, rows, p=weights / weights.sum())]
    return pd.DataFrame(columns)


def scipy_p_values(
    reference: pd.DataFrame, current: pd.DataFrame, columns: dict[str, Kind]
) -> dict[str, float]:
    """Return each column's p-value as one would compute it by scipy alone."""
    p_values = {}
    for name, kind in columns.items():
        before, after = reference[name].dropna(), current[name].dropna()
        if kind == "numeric":
            p_values[name] = float(stats.ks_2samp(before, after, method="asymp").pvalue)
        else:
            table = pd.concat([before.value_counts(), after.value_counts()], axis=1).fillna(0)
            p_values[name] = float(stats.chi2_contingency(table.to_numpy()).pvalue)
    return p_values


def _evidently(reference: pd.DataFrame, current: pd.DataFrame, interpreter: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "reference.parquet", Path(folder) / "current.parquet"]
        for sample, file in zip((reference, current), files, strict=True):
            sample.to_parquet(file)
        answer = subprocess.run([interpreter, EVIDENTLY, *files], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"{interpreter} cannot run Evidently; install it there: {answer.stderr[-500:]}")
    return float(answer.stdout.split()[-1])


def main() -> None:
    """Measure a drift comparison of two large frames beside scipy and Evidently."""
    parser = argparse.ArgumentParser(prog="python -m monitoring.benchmark", description=main.__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--evidently", default="", metavar="PYTHON", help="an interpreter that has Evidently")
    entry = benchmark(**vars(parser.parse_args()))
    file = MonitoringSettings().home / "bench" / "drift.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".drift.{os.getpid()}.json")
    temporary.write_text(json.dumps({"compare": entry}, indent=2, ensure_ascii=False) + "\n")
    temporary.replace(file)
    sys.stdout.write(json.dumps(entry, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
