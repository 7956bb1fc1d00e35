"""What was answered lately, and single answers, as a person looks for them in the prediction log."""

from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from monitoring.log_entries import PREDICTIONS
from monitoring.log_files import FILES_KEPT_READ, LogFileError, files

_COUNTED = ["timestamp", "predictor", "ok", "latency_ms"]
_SHOWN = ["request_id", "user_id", "model_version", "predictor", "ok", "latency_ms", "timestamp"]


def by_minute(folder: Path, since: datetime) -> pd.DataFrame:
    """Return what each predictor answered in each minute (UTC) at or after ``since``.

    Returns:
        A frame with the columns ``minute``, ``predictor``, ``requests``, ``failed`` and ``latency_p95_ms``
        (of the proper answers, NaN where there is none), in order of time.

    Raises:
        LogFileError: a file of the log is damaged.
    """
    empty = pa.schema([PREDICTIONS.field(name) for name in _COUNTED]).empty_table()
    tables = [_counted(path) for path in files(folder / "predictions", since)]
    rows = pa.concat_tables([empty, *tables]).to_pandas()
    rows = rows[rows["timestamp"] >= since]
    rows = rows.assign(
        minute=rows["timestamp"].dt.floor("min"),
        failed=~rows["ok"].astype(bool),
        proper_ms=rows["latency_ms"].where(rows["ok"].astype(bool)),
    )
    return (
        rows.groupby(["minute", "predictor"])
        .agg(
            requests=("failed", "size"),
            failed=("failed", "sum"),
            latency_p95_ms=("proper_ms", lambda values: values.quantile(0.95)),
        )
        .reset_index()
    )


def latest(folder: Path, count: int) -> pd.DataFrame:
    """Return the last ``count`` answers, the newest first, without features and rentals.

    Raises:
        LogFileError: a file of the log is damaged.
    """
    found: list[dict[str, Any]] = []
    for path in islice(reversed(list(files(folder / "predictions", None))), count):
        found += _read(path, _SHOWN).sort_by([("timestamp", "descending")]).to_pylist()
        if len(found) >= count:
            break
    return pd.DataFrame(found[:count], columns=_SHOWN)


def find(folder: Path, request_id: str) -> dict[str, Any] | None:
    """Return the entry of an answer, its columns by name; None if the log has none of this id.

    Files are looked through from the newest to the oldest. Columns which the log has gained since are None.

    Raises:
        LogFileError: a file of the log is damaged.
    """
    for path in reversed(list(files(folder / "predictions", None))):
        if pc.any(pc.equal(_read(path, ["request_id"])["request_id"], request_id)).as_py():
            rows = _read(path, None).filter(pc.field("request_id") == request_id)
            return dict.fromkeys(PREDICTIONS.names) | rows.to_pylist()[-1]
    return None


@lru_cache(maxsize=FILES_KEPT_READ)
def _counted(path: Path) -> pa.Table:
    return _read(path, _COUNTED)


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.ParquetFile(path).read(columns)
    except (pa.ArrowException, OSError) as error:
        raise LogFileError(
            f"{path} is damaged ({error}); move it away to read the rest of the log"
        ) from error
