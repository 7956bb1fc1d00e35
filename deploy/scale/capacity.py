"""What each part takes at the target's size if it stays as it is built."""

from dataclasses import dataclass

from deploy.scale.settings import Measured, Prices, Target
from models.settings import Hyperparameters

DAY_SECONDS = 86_400

FLOAT_BYTES, INTEGER_BYTES = 4, 8

ONNX_FILE_BYTES = 2**31
"""An ONNX file is one protobuf message, which cannot be larger."""

FILTER_CODES = 4
"""Integers of a rental in the graph: its place in ``exclude``, ``only``, ``category`` and ``area``."""

FAISS_CORE_SECONDS = 32 * 4.45e-6
"""Core seconds of a search for 100 of 10 million vectors, which holds the nearest in 86 of 100 cases: .00445
ms on 32 threads, in batches (FAISS wiki, "bench_all_ivf_logs deep10M", IVF16384_HNSW32,PQ48x4fs, nprobe 16).
"""


@dataclass(frozen=True)
class Amount:
    """What a part takes: a number, its unit, and how it comes about."""

    part: str
    value: float
    unit: str
    how: str


@dataclass(frozen=True)
class GraphBytes:
    """Bytes that a rental and a user add to one served graph, without texts and their look-up tables."""

    rental: int
    user: int

    @classmethod
    def of(cls, parameters: Hyperparameters, measured: Measured) -> "GraphBytes":
        """Count the constants that ``models.export`` writes.

        Of a rental: both vectors and biases, price, common reasons, and the vector by which it counts among a
        user's recent rentals. Of a user: the embeddings of the id in both halves.
        """
        ranking = parameters.ranking_dimension + measured.lifts
        rating = parameters.rating_members * parameters.rating_dimension
        floats = ranking + 1 + rating + 1 + 1 + measured.subjects + parameters.ranking_dimension
        user = parameters.ranking_dimension + parameters.rating_embedding
        return cls(FLOAT_BYTES * floats + INTEGER_BYTES * FILTER_CODES, FLOAT_BYTES * user)

    def total(self, rentals: float, users: float) -> float:
        """Bytes of one graph."""
        return self.rental * rentals + self.user * users


def graph(target: Target, measured: Measured, parameters: Hyperparameters) -> list[Amount]:
    """What the whole catalogue, and every user's embedding, in the served graph comes to."""
    each = GraphBytes.of(parameters, measured)
    total = each.total(target.rentals, target.users)
    ranking = parameters.ranking_dimension + measured.lifts
    scan = FLOAT_BYTES * ranking * target.rentals
    milliseconds = scan / 1e6 / target.core_gigabytes_per_second
    operations = 2 * ranking * target.rentals
    scores = FLOAT_BYTES * target.rentals * target.requests_per_second
    return [
        Amount("a graph", total / 1e9, "GB", f"{each.rental} B a rental, {each.user} B a user"),
        Amount("of what an ONNX file holds", total / ONNX_FILE_BYTES, "times", "at most 2 GiB"),
        Amount("rentals at which the file is full", target.rentals * ONNX_FILE_BYTES / total, "", "same mix"),
        Amount("read for one answer", scan / 1e9, "GB", f"{ranking} floats a rental, unless batched"),
        Amount("… by a core", milliseconds, "ms", f"{target.core_gigabytes_per_second:g} GB/s, assumed"),
        Amount(
            "for all scores",
            operations * target.requests_per_second / 1e15,
            "PFLOP/s",
            f"2 x {ranking} a rental",
        ),
        Amount("scores written", scores / 1e12, "TB/s", "before the best are taken"),
        Amount(
            "cores for an ANN index instead",
            target.requests_per_second * FAISS_CORE_SECONDS,
            "cores",
            "FAISS on 10 million vectors, .14 ms a search",
        ),
    ]


def store(target: Target, measured: Measured, prices: Prices) -> list[Amount]:
    """What the packed online store comes to."""
    memory = target.users * (measured.user_value_bytes + measured.store_entry_bytes)
    memory += target.rentals * (measured.rental_value_bytes + measured.store_entry_bytes)
    bandwidth = target.requests_per_second * measured.user_value_bytes * 8
    return [
        Amount("memory, one copy", memory / 1e9, "GB", "the largest value of each, key and Redis' own"),
        Amount(
            "memory, all copies", prices.memory_copies * memory / 1e9, "GB", f"{prices.memory_copies} copies"
        ),
        Amount("users' features out of it", bandwidth / 1e9, "Gbit/s", "one value a request"),
        Amount(
            "writing all users anew",
            target.users / measured.materialized_rows_per_second,
            "s",
            "one driver, ten features a row",
        ),
    ]


def events(target: Target, measured: Measured) -> list[Amount]:
    """What a day's ratings come to in the stream, the history and a training."""
    folding = target.events_per_day / measured.history_ratings_per_second
    rows = target.events_per_day * measured.history_rows_per_rating
    rate = target.events_per_day / DAY_SECONDS
    return [
        Amount("events", rate, "1/s", "a day's mean"),
        Amount(
            "streams of what was measured", rate / measured.stream_events_per_second, "", "two cores each"
        ),
        Amount("folding a day's ratings", folding / 3600, "h", "on two cores, Spark's driver among them"),
        Amount(
            "history of a day",
            rows * measured.history_row_bytes / 1e9,
            "GB",
            f"{rows / 1e9:.1f} billion rows",
        ),
        Amount(
            "one epoch of a day's ratings",
            target.events_per_day / measured.training_events_per_second / 3600,
            "h",
            "on one thread, of 5,850 rentals",
        ),
    ]


def log(target: Target, measured: Measured) -> list[Amount]:
    """What the prediction log comes to."""
    processes = target.requests_per_second / measured.answers_per_second
    a_day = target.requests_per_second * target.mean_load * DAY_SECONDS
    return [
        Amount(
            "written in the busiest second",
            target.requests_per_second * measured.log_row_bytes / 1e6,
            "MB",
            "",
        ),
        Amount("API processes", processes, "", "one a machine of two cores, as measured"),
        Amount(
            "files of a day", processes * measured.log_files_per_second * DAY_SECONDS / 1e6, "million", ""
        ),
        Amount("rows of a day", a_day / 1e9, "billion", ""),
        Amount("of a day", a_day * measured.log_row_bytes / 1e12, "TB", "which monitoring reads whole"),
    ]
