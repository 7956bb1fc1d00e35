"""Quarantined rows a second time: `python -m flows quarantine`, after a contract or the rows were mended.

Nothing is lost on the way: what passes now is in the lake before it leaves the quarantine, and the lake takes
a key once. What lands late was not known before, so it arrives now, as far as the data knows the time.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from feature_repo import lake
from feature_repo.settings import FeatureSettings
from flows import metrics

REPAIRABLE = ("users", "rentals", "ratings")
"""Tables whose rows have columns; a line that could not be read has none."""


class RepairError(ValueError):
    """The file of repaired rows is not one; the message names the remedy."""


@dataclass(frozen=True)
class Replayed:
    """What became of the quarantined rows of one table."""

    table: str
    landed: int
    repeated: int
    """Good rows whose key the lake had already; they have left the quarantine."""

    kept: int

    def __str__(self) -> str:
        """The counts in words."""
        landed = f"{self.table}: {self.landed:,} landed, {self.repeated:,} were there already"
        return f"{landed}, {self.kept:,} still in quarantine"


def export(settings: FeatureSettings, table: str, file: Path) -> int:
    """Write the quarantined rows of ``table`` with their reasons as CSV, to be mended; return how many."""
    from monitoring import quarantine

    rows = quarantine.read(settings.lake / "quarantine", table)
    rows.to_csv(file, index=False)
    return len(rows)


def replay(settings: FeatureSettings, table: str, repaired: Path | None = None) -> Replayed:
    """Validate the quarantined rows of ``table`` again, and land what is good now.

    Args:
        settings: where the lake is.
        table: one of ``REPAIRABLE``.
        repaired: a file of ``export`` with mended values; None takes the rows as they are, after a contract
            or the code was mended.

    Raises:
        RepairError: the file cannot be read, or has rows that are not in quarantine.
    """
    from monitoring import quarantine
    from monitoring.contracts import SOURCE_TEXT
    from monitoring.expectations import validate
    from monitoring.settings import MonitoringSettings

    folder = settings.lake / "quarantine"
    rows = quarantine.read(folder, table)
    if repaired is not None:
        rows = _repaired(repaired, rows)
    if rows.empty:
        return Replayed(table, 0, 0, 0)
    # Of a bad row the validation gives back the source's text: here that tells which one it is.
    plain = rows.drop(columns=["reason", "batch", "row_id"]).assign(**{SOURCE_TEXT: rows["row_id"]})
    if table == "ratings":
        plain = plain.assign(arrived_at=lake.clock(settings.lake).isoformat())
    # They were bad once: that most of them still are is no sign of a wrong file.
    checked = validate(plain, table, MonitoringSettings(mostly_bad_share=1.0))
    batch = f"replay-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    landed = lake.append(settings.lake, table, batch, checked.good) if len(checked.good) else 0
    quarantine.remove(folder, table, set(rows["row_id"]) - set(checked.bad.get(SOURCE_TEXT, [])))
    metrics.quarantined(settings)
    return Replayed(table, landed, len(checked.good) - landed, quarantine.count(folder).get(table, 0))


def _repaired(file: Path, quarantined: pd.DataFrame) -> pd.DataFrame:
    try:
        rows = pd.read_csv(file, dtype=object, keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise RepairError(f"{file} cannot be read as CSV ({error}): give a file of --export") from error
    if not {"row_id", "batch", "reason"} <= set(rows):
        raise RepairError(f"{file} lacks row_id, batch or reason: give a file of --export, whole")
    unknown = set(rows["row_id"]) - set(quarantined["row_id"])
    if unknown or rows["row_id"].duplicated().any():
        raise RepairError(
            f"{len(unknown)} rows of {file} are not in quarantine, or one is there twice: export anew"
        )
    return rows
