"""The log of what was served and of what users said to it: written beside the requests, read by polling."""

import json
import logging
import threading
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa

from monitoring import log_files
from monitoring.log_entries import FEEDBACK, PREDICTIONS, SCHEMAS, Feedback, Prediction, as_row
from monitoring.settings import MonitoringSettings

__all__ = [
    "Feedback",
    "Prediction",
    "PredictionLog",
    "join_feedback",
    "read_feedback",
    "read_predictions",
    "served_features",
]

_logger = logging.getLogger(__name__)


class PredictionLog:
    """Writes predictions and feedback below ``folder`` from a thread of its own; closes as a context manager.

    `record` and `feedback` never wait for the disk. When it is too slow, or refuses, entries are dropped,
    counted in ``dropped`` and reported to the log of the program. Several processes may share a folder.
    """

    def __init__(self, folder: Path, settings: MonitoringSettings | None = None) -> None:
        self.dropped = 0
        """Entries which were not written."""
        self._folder = folder
        self._settings = settings or MonitoringSettings()
        self._waiting: list[tuple[str, Prediction | Feedback]] = []
        self._accepted = self._settled = self._flush_up_to = 0
        self._closing = False
        self._changed = threading.Condition()
        self._writer = threading.Thread(target=self._write_until_closed, name="prediction-log", daemon=True)
        self._writer.start()

    def __enter__(self) -> "PredictionLog":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def record(self, prediction: Prediction) -> None:
        """Accept a prediction for writing."""
        self._accept("predictions", prediction)

    def feedback(self, feedback: Feedback) -> None:
        """Accept feedback for writing."""
        self._accept("feedback", feedback)

    def flush(self) -> None:
        """Wait until everything accepted so far is on disk or counted as dropped."""
        with self._changed:
            self._flush_up_to = goal = self._accepted
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._settled >= goal)

    def close(self) -> None:
        """Write what is waiting and end the thread; later entries are refused. May be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join()

    def _accept(self, kind: str, entry: Prediction | Feedback) -> None:
        with self._changed:
            if self._closing:
                raise RuntimeError("the prediction log is closed; open a new one to record more")
            if len(self._waiting) >= self._settings.log_capacity:
                self._drop(1, "the disk is slower than the requests")
                return
            self._waiting.append((kind, entry))
            self._accepted += 1
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def _drop(self, count: int, reason: str) -> None:
        with self._changed:
            first = self.dropped == 0
            self.dropped += count
        # Once: a full disk must not fill the program's log as well. The count goes on.
        if first:
            _logger.error("prediction log: entries are dropped, the first because %s", reason)

    def _write_until_closed(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                self._changed.wait_for(
                    lambda: self._closing or self._flush_up_to > self._settled,
                    timeout=self._settings.log_interval_seconds,
                )
                batch, self._waiting = self._waiting, []
            for kind, schema in SCHEMAS.items():
                entries = [entry for of_kind, entry in batch if of_kind == kind]
                if entries:
                    self._write(entries, schema, self._folder / kind)
            with self._changed:
                self._settled += len(batch)
                self._changed.notify_all()

    def _write(self, entries: list[Prediction | Feedback], schema: pa.Schema, folder: Path) -> None:
        try:
            log_files.append([as_row(entry) for entry in entries], schema, folder)
        except OSError as error:
            self._drop(len(entries), f"{folder} cannot be written: {error}")
        except (
            Exception
        ) as error:  # an entry of the wrong types must cost neither its neighbours nor the thread
            if len(entries) == 1:
                self._drop(1, f"{entries[0].request_id!r} does not fit the log: {error}")
                return
            middle = len(entries) // 2
            self._write(entries[:middle], schema, folder)
            self._write(entries[middle:], schema, folder)


def read_predictions(folder: Path, since: datetime | None = None) -> pd.DataFrame:
    """Return the predictions made at or after ``since``, oldest first, a column per field of `Prediction`.

    ``features`` holds JSON text; `served_features` opens it.

    Raises:
        ValueError: ``since`` has no time zone.
        LogFileError: a file of the log is damaged.
    """
    return log_files.read(PREDICTIONS, folder / "predictions", since).to_pandas()


def read_feedback(folder: Path, since: datetime | None = None) -> pd.DataFrame:
    """Return the feedback given at or after ``since``, oldest first, a column per field of `Feedback`.

    Feedback that was sent several times is there once, as of the last time.

    Raises:
        ValueError: ``since`` has no time zone.
        LogFileError: a file of the log is damaged.
    """
    rows = log_files.read(FEEDBACK, folder / "feedback", since).to_pandas()
    sent = ["request_id", "user_id", "rental_id", "rating"]
    return rows.drop_duplicates(sent, keep="last", ignore_index=True)


def served_features(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the features as served, a column each, rows and index those of ``predictions``."""
    return pd.DataFrame([json.loads(text) for text in predictions["features"]], index=predictions.index)


def join_feedback(predictions: pd.DataFrame, feedback: pd.DataFrame) -> pd.DataFrame:
    """Join feedback to the answers that it is about, by request_id.

    Feedback for one request and rental counts once, the latest; of predictions with one request_id the
    latest counts. Feedback to an unknown request keeps its row, with nulls for the prediction.

    Returns:
        A row per feedback: its columns, those of the prediction except lists and features (``latency_ms``,
        ``predictor``, …; its time as ``served_at``), and of the rental ``position`` (0 is best), ``score``
        and ``predicted_rating``, null where the answer does not contain it.
    """
    feedback = feedback.sort_values("timestamp", kind="stable")
    feedback = feedback.drop_duplicates(["request_id", "rental_id"], keep="last")
    answers = predictions.sort_values("timestamp", kind="stable").drop_duplicates("request_id", keep="last")
    answers = answers.rename(columns={"timestamp": "served_at"}).drop(columns=["user_id", "features"])
    lists = ["rental_ids", "scores", "predicted_ratings"]
    rentals = answers[["request_id", *lists]].explode(lists).dropna(subset="rental_ids")
    rentals.columns = pd.Index(["request_id", "rental_id", "score", "predicted_rating"])
    rentals = rentals.astype({"score": float, "predicted_rating": float})
    rentals["position"] = rentals.groupby("request_id").cumcount().astype(float)
    rentals = rentals.drop_duplicates(["request_id", "rental_id"])
    joined = feedback.merge(answers.drop(columns=lists), on="request_id", how="left")
    return joined.merge(rentals, on=["request_id", "rental_id"], how="left")
