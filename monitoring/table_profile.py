"""A Spark table in one pass: what its suite asks of it, computed by one action that reads each row once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class ColumnProfile:
    """One column of a table."""

    known: int
    """Rows with a value."""

    known_lately: int
    """Of these, rows after ``TableProfile.since``."""

    lowest: Any = None
    """Smallest value of a number, or of a time in microseconds since 1970; None where nothing is known, and
    of text."""

    highest: Any = None
    """Largest one; a number that is none (NaN) counts as larger than all, as Spark has it."""


@dataclass(frozen=True)
class TableProfile:
    """What one pass over a table found."""

    rows: int
    rows_lately: int
    """Rows later than the time that was given, all of them without one."""

    repeated: int
    """Rows whose key and time another row has already."""

    columns: dict[str, ColumnProfile]

    def share_known(self, name: str) -> float:
        """Share of the rows of late whose value of column ``name`` is known; 1 where there are no rows."""
        return self.columns[name].known_lately / self.rows_lately if self.rows_lately else 1.0


def profile(
    frame: "DataFrame", key: str, time: str, ranged: Sequence[str], since: datetime | None = None
) -> TableProfile:
    """Profile every column of ``frame`` in one Spark action.

    The statistics are observed (``DataFrame.observe``) on the rows while the action that counts repeated keys
    takes them past: only key and time are shuffled, and the files are read once.

    Args:
        frame: any Spark table.
        key: column of the entity.
        time: column of the time.
        ranged: columns whose smallest and largest value are asked for.
        since: rows after it are those of late; None takes all.
    """
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    lately = F.lit(True) if since is None else F.col(time) > F.lit(since)
    wanted = [F.count(F.lit(1)).alias("rows"), F.count_if(lately).alias("rows lately")]
    for name in frame.columns:
        column = F.col(f"`{name}`")
        wanted.append(F.count(column).alias(f"known {name}"))
        wanted.append(F.count_if(column.isNotNull() & lately).alias(f"known lately {name}"))
    for name in ranged:
        # Of a time, an observation gives back a Java object: numbers it gives as they are.
        column = F.unix_micros(time) if name == time else F.col(f"`{name}`")
        wanted += [F.min(column).alias(f"lowest {name}"), F.max(column).alias(f"highest {name}")]
    observation = Observation()
    times = frame.observe(observation, *wanted).groupBy(key, time).agg(F.count(F.lit(1)).alias("times"))
    (repeated,) = times.agg(F.sum(F.col("times") - 1)).collect()[0]
    # Spark leaves out the work on an empty table, observation included, and asking for that would never end.
    found = observation.get if repeated is not None else {}
    return TableProfile(
        rows=found.get("rows", 0),
        rows_lately=found.get("rows lately", 0),
        repeated=repeated or 0,
        columns={
            name: ColumnProfile(
                known=found.get(f"known {name}", 0),
                known_lately=found.get(f"known lately {name}", 0),
                lowest=found.get(f"lowest {name}"),
                highest=found.get(f"highest {name}"),
            )
            for name in frame.columns
        },
    )
