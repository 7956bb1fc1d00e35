"""Readers bring a source into the contracts of the lake: a small module each, chosen by ``dataset_of``."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

GENERATOR = "generator"
RENT_THE_RUNWAY = "rent_the_runway"


class SourceError(RuntimeError):
    """A source cannot be read; the message names the remedy."""


@dataclass(frozen=True)
class Source:
    """What a reader returns: frames in the contracts of ``schema.TABLES``, not validated yet.

    ``ratings`` may carry a further column ``source_text``, the row as the source had it, so that a row which
    is put into quarantine loses nothing.
    """

    users: pd.DataFrame
    rentals: pd.DataFrame
    ratings: pd.DataFrame
    unparsed: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["line", "reason"]))
    """Rows that could not be read at all: ``line`` as text and the ``reason``."""

    fields: Mapping[str, str] = field(default_factory=dict)
    """The source's own fields, and the kind of most of their values (``kind_of``)."""

    def period(self, since: pd.Timestamp | None, until: pd.Timestamp | None) -> "Source":
        """Return the rows that arrive in ``[since, until)``; ratings go by their arrival, not by their event.

        Rows without a usable time belong to no period and so come with every one: they end in quarantine,
        which keeps each of them once.
        """

        def arriving(frame: pd.DataFrame, column: str) -> pd.DataFrame:
            time = frame[column]
            early = time < since if since is not None else False
            late = time >= until if until is not None else False
            return frame[~(early | late | pd.Series(False, index=frame.index))]

        return Source(
            users=arriving(self.users, "joined_at"),
            rentals=arriving(self.rentals, "listed_at"),
            ratings=arriving(self.ratings, "arrived_at"),
            unparsed=self.unparsed,
            fields=self.fields,
        )


def dataset_of(data: str) -> str:
    """Name of the dataset behind ``data``: empty for the generator, otherwise a path to a known file.

    Raises:
        SourceError: the file is missing or no reader knows it.
    """
    if not data:
        return GENERATOR
    path = Path(data)
    if not path.is_file():
        raise SourceError(
            f"data file {path} does not exist: give DATA=<path to renttherunway_final_data.json.gz>"
        )
    if ".json" in path.suffixes:
        return RENT_THE_RUNWAY
    raise SourceError(
        f"no reader knows {path.name}: known are Rent the Runway (*.json, *.json.gz) and, without DATA, the "
        "generator; a new source is one small module in feature_repo/readers"
    )


def fingerprint(data: str) -> str:
    """A short name of the content behind ``data``: two files of one layout are two sources."""
    if dataset_of(data) == GENERATOR:
        return "seeded"
    with Path(data).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


def read(data: str) -> Source:
    """Read the dataset behind ``data`` (see ``dataset_of``) into the lake's contracts."""
    if dataset_of(data) == GENERATOR:
        from feature_repo.readers.generator import read as generate

        return generate()
    from feature_repo.readers.rent_the_runway import read as read_file

    return read_file(Path(data))


def kind_of(values: pd.Series) -> str:
    """The kind of most of the given values: ``text``, ``number``, ``time``, ``empty``, or another type."""
    if pd.api.types.is_datetime64_any_dtype(values):
        return "time"
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return "number"
    types = values.dropna().map(type).value_counts()
    if types.empty:
        return "empty"
    name = types.index[0].__name__
    return {"str": "text", "int": "number", "float": "number"}.get(name, name)
