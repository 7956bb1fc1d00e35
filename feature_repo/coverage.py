"""How well features are filled: of the latest row of each entity, read straight from the history's files."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds


@dataclass(frozen=True)
class Coverage:
    """What the latest values of a feature look like."""

    entities: int
    share: float
    """Share of the entities whose value is known, 0..1."""

    low: str = ""
    """The smallest value of a number, the earliest of a time, as text; empty where there is none."""

    middle: str = ""
    """The median, or the most frequent value of a categorical feature with its share of those known."""

    high: str = ""


def coverage(folder: Path, key: str, kinds: Mapping[str, str]) -> dict[str, Coverage]:
    """Describe the latest values in the history at ``folder``.

    One column is in memory at a time, beside the key and the time.

    Args:
        folder: parquet files with ``key``, ``event_timestamp`` and features.
        key: column that names the entity.
        kinds: features by name, and their ``names.Feature.kind``. What the files lack is left out.
    """
    history = ds.dataset(folder, format="parquet")
    latest = _latest(history.to_table(columns=[key, "event_timestamp"]), key)
    found = {}
    for name, kind in kinds.items():
        if name in history.schema.names:
            column = history.to_table(columns=[name])[name].take(latest).combine_chunks()
            found[name] = _describe(column, kind)
    return found


def _latest(rows: pa.Table, key: str) -> pa.Array:
    """Places of each entity's last row."""
    codes = rows[key].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    times = rows["event_timestamp"].cast(pa.int64(), safe=False).to_numpy()
    order = np.lexsort((times, codes))
    return pa.array(order[np.flatnonzero(np.diff(codes[order], append=-1))])


def _describe(column: pa.Array, kind: str) -> Coverage:
    known = column.drop_null()
    share = len(known) / len(column) if len(column) else 0.0
    if not len(known) or kind in ("counts", "list"):
        return Coverage(len(column), share)
    if kind == "categorical":
        most = max(pc.value_counts(known).to_pylist(), key=lambda value: (value["counts"], value["values"]))
        often = f"{most['values']} ({most['counts'] / len(known):.0%})"
        return Coverage(len(column), share, middle=often)
    text = _date if kind == "time" else _number
    low, middle, high = pc.quantile(known, [0.0, 0.5, 1.0], interpolation="nearest").to_pylist()
    return Coverage(len(column), share, text(low), text(middle), text(high))


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _date(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
