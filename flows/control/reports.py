"""What the monitoring flow has written last: drift by feature, and quality over time."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from flows.alarms import drift_file
from flows.control.errors import NothingThereError, ReportError
from flows.control.records import records
from flows.monitored_performance import table_of
from monitoring.settings import MonitoringSettings


def drift(home: Path) -> dict[str, Any]:
    """Return the last comparisons and their alarms.

    Returns:
        What ``flows.alarms.write_drift`` writes, and ``at``, its ``measured_at`` as a time.

    Raises:
        NothingThereError: there is none yet.
        ReportError: it cannot be read.
    """
    path = drift_file(home)
    try:
        found = json.loads(path.read_text())
        alarms = [str(alarm) for alarm in found["alarms"]]
        return {**found, "alarms": alarms, "at": datetime.fromisoformat(found["measured_at"]).astimezone(UTC)}
    except FileNotFoundError as error:
        raise NothingThereError("nothing was compared yet: run `make monitor`") from error
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise ReportError(
            f"{path} is damaged ({error!r}): run `make monitor`, which writes it anew"
        ) from error


def performance(home: Path) -> list[dict[str, Any]]:
    """Return the figures over time, a row per period, version of the model, segment and metric.

    Raises:
        NothingThereError: there are none yet.
        ReportError: they cannot be read.
    """
    path = table_of(MonitoringSettings(home=home))
    try:
        rows = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise NothingThereError("no figures of what is served yet: run `make monitor`") from error
    except (pa.ArrowException, OSError) as error:
        raise ReportError(f"{path} is damaged ({error}): run `make monitor`, which writes it anew") from error
    return records(rows)
