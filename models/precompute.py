"""Recommendations for all users ahead of their requests: a block of users at a time, here or on Spark."""

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.inference import COUNT, frame_inputs, open_session
from models.recommendation_table import ROW_COLUMNS, RecommendationTable

if TYPE_CHECKING:
    import onnxruntime
    from pyspark.sql import DataFrame

ROWS_AT_ONCE = 1_024
"""Users of one inference: enough that a call costs nothing; scores over 10,000 rentals take 40 MB twice."""

BLOCK = "block"
"""Column of the block's number, and the field of what Spark answers."""

EACH_ONCE = "there must be users, each with an id and in one row: take the latest features of each"


class PrecomputeError(ValueError):
    """The users cannot be precomputed; the message names the remedy."""


@dataclass(frozen=True)
class BestRentals:
    """The function of a block: users in, their best rentals out. It travels to the workers of a cluster.

    Attributes:
        graph: content of the exported model.
        count: rentals of each user.
        threads: of one inference; 0 takes a thread per core.
    """

    graph: bytes
    count: int
    threads: int = 0

    def __call__(self, users: pd.DataFrame) -> pd.DataFrame:
        """Return ``user_id``, ``rental_id``, ``prediction`` (1..5 stars) and ``rank`` (from 1, the best).

        Args:
            users: a row per user, a column per input of the model; lists in ``exclude`` and the other
                filters, where there are such columns, are masked.

        Raises:
            ValueError: columns are missing, or a numeric one holds what is no number.
        """
        session = _session(self.graph, self.threads)
        inputs = frame_inputs(session, users)
        answers = [
            session.run(
                ["rental_id", "predicted_rating", "score"],
                {name: values[start : start + ROWS_AT_ONCE] for name, values in inputs.items()}
                | {COUNT: np.array([self.count], np.int64)},
            )
            for start in range(0, len(users), ROWS_AT_ONCE)
        ]
        rental_ids, ratings, scores = (np.concatenate(parts) for parts in zip(*answers, strict=True))
        width = rental_ids.shape[1]
        rows = pd.DataFrame(
            {
                "user_id": np.repeat(users["user_id"].to_numpy(object), width),
                "rental_id": rental_ids.ravel(),
                "prediction": ratings.ravel(),
                "rank": np.tile(np.arange(1, width + 1), len(users)),
            }
        )
        masked = np.isneginf(scores.ravel())
        return rows[~masked] if masked.any() else rows


@dataclass(frozen=True)
class Precomputed:
    """What a precomputation did: users of the set, its blocks, and how many of these were written now."""

    set_id: int
    users: int
    blocks: int
    written: int


def precompute(
    users: pd.DataFrame, best: BestRentals, version: str, table: RecommendationTable, block: int
) -> Precomputed:
    """Bring the best rentals of all users into the table, on this machine.

    The same users, features and model again go on with the blocks that are missing, and write none twice.

    Args:
        users: a row per user, a column per input of the model.
        best: the function of a block.
        version: version of the model, which the table tells.
        table: where to.
        block: users of a block.

    Raises:
        PrecomputeError: there are no users, or one without an id, or one twice.
        RecommendationTableError: a later set was published meanwhile.
    """
    users = users.sort_values("user_id", ignore_index=True)
    if users.empty or users["user_id"].isna().any() or users["user_id"].duplicated().any():
        raise PrecomputeError(EACH_ONCE)
    # Lists cannot be hashed; their text can.
    plain = users.astype(dict.fromkeys(users.select_dtypes(object), str))
    hashes = pd.util.hash_pandas_object(plain, index=False).to_numpy()
    blocks = -(-len(users) // block)
    set_id = table.begin(_content(best, version, blocks, [*users.columns], hashes.tobytes()), version, blocks)
    missing = table.missing(set_id)
    for number in missing:
        table.write(set_id, number, best(users.iloc[number * block : (number + 1) * block]))
    table.publish(set_id)
    return Precomputed(set_id, len(users), blocks, len(missing))


def precompute_on_spark(
    users: "DataFrame", best: BestRentals, version: str, table: RecommendationTable, block: int
) -> Precomputed:
    """Do as ``precompute`` by the workers of Spark, each of which writes its own blocks.

    A worker's task that is done twice, as after a failure, writes nothing twice.

    Args:
        users: a row per user, a column per input of the model; the same each time it is computed.
        best: the function of a block; a thread for each is enough where a worker has a task per core.
        version: version of the model, which the table tells.
        table: where to; the workers must reach it.
        block: users of a block, about.

    Raises:
        PrecomputeError: there are no users, or one without an id, or one twice.
        RecommendationTableError: a later set was published meanwhile.
    """
    from pyspark.sql import functions as F

    hashed = F.xxhash64(*users.columns).cast("decimal(38)")
    (counted,) = users.agg(
        F.count(F.lit(1)).alias("rows"),
        F.countDistinct("user_id").alias("users"),
        F.sum(hashed).alias("sum"),
    ).collect()
    if not counted.rows or counted.rows != counted.users:
        raise PrecomputeError(EACH_ONCE)
    blocks = -(-counted.rows // block)
    content = _content(best, version, blocks, ["spark", *users.columns], str(counted["sum"]).encode())
    set_id = table.begin(content, version, blocks)
    missing = table.missing(set_id)
    if missing:
        numbered = users.withColumn(BLOCK, F.crc32("user_id") % blocks).where(F.col(BLOCK).isin(missing))
        tasks = numbered.repartition(min(len(missing), _parallelism(users)), BLOCK)
        write = functools.partial(_write_blocks, best, table, set_id)
        tasks.sortWithinPartitions(BLOCK).mapInPandas(write, f"{BLOCK} long").collect()
        # A block without users is written as well: nobody is in it.
        for number in table.missing(set_id):
            table.write(set_id, number, pd.DataFrame(columns=list(ROW_COLUMNS)))
    table.publish(set_id)
    return Precomputed(set_id, counted.rows, blocks, len(missing))


def _write_blocks(
    best: BestRentals, table: RecommendationTable, set_id: int, frames: Iterable[pd.DataFrame]
) -> Iterator[pd.DataFrame]:
    """Compute and write the blocks of a partition, which is in their order; tell the number of each."""
    for number, users in _whole_blocks(frames):
        table.write(set_id, number, best(users.sort_values("user_id")))
        yield pd.DataFrame({BLOCK: [number]})


def _whole_blocks(frames: Iterable[pd.DataFrame]) -> Iterator[tuple[int, pd.DataFrame]]:
    """Put the blocks together again which Arrow's batches cut."""
    number, parts = -1, list[pd.DataFrame]()
    for frame in frames:
        for found in frame[BLOCK].unique():
            if parts and found != number:
                yield number, pd.concat(parts)
                parts = []
            number = int(found)
            parts.append(frame[frame[BLOCK] == found])
    if parts:
        yield number, pd.concat(parts)


def _parallelism(users: "DataFrame") -> int:
    return int(users.sparkSession.sparkContext.defaultParallelism)


def _content(best: BestRentals, version: str, blocks: int, columns: list[str], rows: bytes) -> str:
    """A hash of all that a set is computed from."""
    described = f"{version} {best.count} {blocks} {columns}".encode()
    return hashlib.sha256(described + best.graph + rows).hexdigest()


@functools.lru_cache(1)
def _session(graph: bytes, threads: int) -> "onnxruntime.InferenceSession":
    return open_session(graph, threads)
