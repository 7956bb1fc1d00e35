"""How long recommendations for all users take beside the bare matrix products.

``python -m models.precompute_benchmark`` measures and prints it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from models.columns import Columns
from models.export import export, rental_vectors
from models.precompute import ROWS_AT_ONCE, BestRentals, precompute
from models.recommendation_table import RecommendationTable
from models.settings import Hyperparameters, ModelSettings
from models.train import fit

RENTALS = 5_850
"""Rentals of Rent the Runway."""

USERS = 8_192
"""Users of one round; the time grows in step with them."""

ROUNDS = 21
"""The rounds take turns, so that what else the machine does meets all of them; the median counts."""

EVENTS = 2_000
"""Enough to fit on: speed does not depend on what was learnt."""

CHUNKS = (256, ROWS_AT_ONCE)
"""Rows of one bare product: the baseline is the faster of small ones, which stay in the cache, and ours."""

COLUMNS = Columns(
    user_numeric=tuple(f"user_number_{number}" for number in range(16)),
    user_categorical=("user_segment", "user_favourite_category", "user_favourite_purpose"),
    rental_numeric=tuple(f"rental_number_{number}" for number in range(10)),
    rental_categorical=("rental_category", "rental_area"),
)
"""As many as the feature service of the recommender has."""


def benchmark(users: int = USERS, rentals: int = RENTALS, threads: int = 0) -> dict[str, Any]:
    """Measure users x catalogue with the best rentals and their ratings, against both products alone.

    Args:
        users: of one round.
        rentals: of the catalogue.
        threads: of ONNX Runtime and PyTorch, 0 for a thread per core. NumPy's are set before Python starts,
            by ``OMP_NUM_THREADS``.

    Returns:
        Seconds, the baseline's seconds, their ratio, and how they were measured; also the seconds of writing
        the same users into SQLite.
    """
    settings, hyperparameters = ModelSettings(), Hyperparameters(epochs=1)
    if threads:
        torch.set_num_threads(threads)
    model, catalogue, requests = _market(users, rentals, hyperparameters)
    vectors = rental_vectors(model, catalogue)
    with tempfile.TemporaryDirectory() as folder:
        graph = export(model, catalogue, Path(folder) / "model.onnx").read_bytes()
        best = BestRentals(graph, settings.recommendations_per_user, threads)
        bare = {
            f"{library} by {chunk} rows": product(users, chunk, vectors.ranking, vectors.rating)
            for library, product in (("numpy", _numpy_products), ("torch", _torch_products))
            for chunk in CHUNKS
        }
        best(requests.head(ROWS_AT_ONCE))
        seconds = {name: list[float]() for name in ("precompute", *bare)}
        for _ in range(ROUNDS):
            for name, run in {"precompute": lambda: best(requests), **bare}.items():
                started = time.perf_counter()
                run()
                seconds[name].append(time.perf_counter() - started)
        table = RecommendationTable(f"sqlite:///{folder}/recommendations.db")
        started = time.perf_counter()
        precompute(requests, best, "benchmark", table, settings.recommendations_block)
        stored = time.perf_counter() - started
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    value = medians.pop("precompute")
    fastest = min(medians, key=medians.__getitem__)
    ranking, rating = vectors.ranking.shape[1], vectors.rating.shape[1]
    return {
        "value": round(value, 4),
        "unit": "s",
        "baseline": round(medians[fastest], 4),
        "ratio": round(value / medians[fastest], 2),
        "how": f"median of {ROUNDS} rounds in turns, {users:,} users x {rentals:,} rentals from frame to "
        f"frame: user side, scores, masks, best {best.count} and their ratings; baseline: the products of "
        f"both halves, lengths {ranking} and {rating}, into memory that is there, by the fastest of "
        f"{', '.join(medians)}: {fastest}; threads: {threads or torch.get_num_threads()}",
        "users_per_second": round(users / value),
        "with_sqlite": round(stored, 2),
    }


def _market(
    users: int, rentals: int, hyperparameters: Hyperparameters
) -> tuple[Any, pd.DataFrame, pd.DataFrame]:
    """A model fitted on noise, its catalogue, and the inputs of the users."""
    draw = np.random.default_rng(0)

    def frame(rows: int, strings: tuple[str, ...], numeric: tuple[str, ...]) -> pd.DataFrame:
        texts = {name: draw.integers(30, size=rows).astype(str) for name in strings}
        return pd.DataFrame(texts | {name: draw.normal(size=rows) for name in numeric})

    catalogue = frame(rentals, COLUMNS.rental_strings, COLUMNS.rental_numeric).assign(
        rental_id=[f"r{number}" for number in range(rentals)],
        snapshot_at=pd.Timestamp("2024-01-01", tz="UTC"),
    )
    people = frame(users, COLUMNS.user_strings, COLUMNS.user_numeric).assign(
        user_id=[f"u{number}" for number in range(users)]
    )
    events = people.sample(EVENTS, replace=True, random_state=0, ignore_index=True).join(
        catalogue.sample(EVENTS, replace=True, random_state=1, ignore_index=True)
    )
    events["rating"] = draw.integers(1, 6, EVENTS).astype(float)
    events["event_timestamp"] = pd.Timestamp("2024-02-01", tz="UTC")
    return fit(events, catalogue, COLUMNS, hyperparameters), catalogue, people


def _numpy_products(users: int, chunk: int, *halves: torch.Tensor) -> Callable[[], None]:
    rentals = [half.T.contiguous().numpy() for half in halves]
    vectors = [np.ones((chunk, len(half)), np.float32) for half in rentals]
    out = np.empty((chunk, rentals[0].shape[1]), np.float32)

    def run() -> None:
        for _ in range(0, users, chunk):
            for user, rental in zip(vectors, rentals, strict=True):
                np.matmul(user, rental, out=out)

    return run


def _torch_products(users: int, chunk: int, *halves: torch.Tensor) -> Callable[[], None]:
    rentals = [half.T.contiguous() for half in halves]
    vectors = [torch.ones(chunk, len(half)) for half in rentals]
    out = torch.empty(chunk, rentals[0].shape[1])

    def run() -> None:
        for _ in range(0, users, chunk):
            for user, rental in zip(vectors, rentals, strict=True):
                torch.matmul(user, rental, out=out)

    return run


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="python -m models.precompute_benchmark", description=main.__doc__)
    parser.add_argument("--users", type=int, default=USERS)
    parser.add_argument("--rentals", type=int, default=RENTALS)
    parser.add_argument("--threads", type=int, default=0)
    sys.stdout.write(json.dumps(benchmark(**vars(parser.parse_args())), indent=2) + "\n")


if __name__ == "__main__":
    main()
