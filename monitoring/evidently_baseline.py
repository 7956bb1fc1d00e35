"""Evidently's drift report on two files, timed: run by a Python that has Evidently, for the benchmark.

``python evidently_baseline.py REFERENCE CURRENT`` prints the seconds. It imports nothing of this project.
"""

import sys
import time

import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset


def main() -> None:
    """Compare all columns by the tests that the benchmark compares them by."""
    reference, current = (pd.read_parquet(path) for path in sys.argv[1:])
    report = Report([DataDriftPreset(num_method="ks", cat_method="chisquare")])
    started = time.perf_counter()
    report.run(current, reference)
    sys.stdout.write(f"{time.perf_counter() - started}\n")


if __name__ == "__main__":
    main()
