"""What the monitoring flow has written last: drift by feature, and quality over time."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from flows.control.errors import NothingThereError, ReportError
from flows.control.records import records


def drift(home: Path) -> dict[str, Any]:
    """Return the last comparison as ``monitoring.drift_report`` has it.

    Returns:
        Its plain values, with ``periods`` (what was compared, in words), ``distributions`` (of each feature
        the labels of its bins, and the shares of both samples in them), and ``at``, when it was written.

    Raises:
        NothingThereError: there is none yet.
        ReportError: it cannot be read.
    """
    path = home / "monitoring" / "drift.json"
    try:
        return {**json.loads(path.read_text()), "at": _written(path)}
    except FileNotFoundError as error:
        raise NothingThereError("nothing was compared yet: run `make monitor`") from error
    except (ValueError, TypeError) as error:
        raise ReportError(f"{path} is damaged ({error}): run `make monitor`, which writes it anew") from error


def performance(home: Path) -> list[dict[str, Any]]:
    """Return the figures over time, a row per period, version of the model, segment and metric.

    Raises:
        NothingThereError: there are none yet.
        ReportError: they cannot be read.
    """
    path = home / "monitoring" / "performance.parquet"
    try:
        rows = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise NothingThereError("no figures of what is served yet: run `make monitor`") from error
    except (pa.ArrowException, OSError) as error:
        raise ReportError(f"{path} is damaged ({error}): run `make monitor`, which writes it anew") from error
    return records(rows)


def _written(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)
