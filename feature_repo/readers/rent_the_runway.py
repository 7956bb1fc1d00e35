"""Rent the Runway clothing-fit data (Misra, Wan, McAuley, RecSys 2018): JSON lines, plain or gzipped."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from feature_repo.readers import Source, SourceError, kind_of

SOURCE_POINTS_PER_POINT = 2.0
"""The source rates 2..10; the lake 1..5."""

LONGEST_LINE = 1_000_000
"""Bytes of a line; the longest real one has some thousands. More is another file, or an attack on memory."""

UNREADABLE_SHARE = 0.5
"""A field of which a larger share of the given values cannot be read has changed its meaning."""
LEAST_VALUES = 20
"""Fewer given values of a field than this do not tell a changed source from a few bad rows."""

CENTIMETRES_PER_INCH = 2.54
KILOGRAMS_PER_POUND = 0.45359237


def _text(given: pd.Series) -> pd.Series:
    def read(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return value if isinstance(value, str) else None

    return given.map(read).astype(object)


def _number(given: pd.Series) -> pd.Series:
    return pd.to_numeric(given.astype("string"), errors="coerce").astype(float)


def _day(given: pd.Series) -> pd.Series:
    return pd.to_datetime(given.astype("string"), format="%B %d, %Y", errors="coerce", utc=True).astype(
        "datetime64[us, UTC]"
    )


def _centimetres(given: pd.Series) -> pd.Series:
    height = given.astype("string").str.extract(r"^(\d+)' *(\d+)\"$").astype(float)
    return ((height[0] * 12 + height[1]) * CENTIMETRES_PER_INCH).round(1)


def _kilograms(given: pd.Series) -> pd.Series:
    weight = given.astype("string").str.extract(r"^(\d+(?:\.\d+)?)lbs$")[0].astype(float)
    return (weight * KILOGRAMS_PER_POUND).round(1)


@dataclass(frozen=True)
class _Field:
    says: str
    """What its values look like."""
    read: Callable[[pd.Series], pd.Series]
    """Given values to those of the lake; null where they cannot be read."""
    required: bool = False


FIELDS = {
    "user_id": _Field("text or a whole number", _text, required=True),
    "item_id": _Field("text or a whole number", _text, required=True),
    "rating": _Field("a number, as such or as text", _number, required=True),
    "review_date": _Field("a day like April 20, 2016", _day, required=True),
    "rented for": _Field("text", _text),
    "size": _Field("a number, as such or as text", _number),
    "category": _Field("text", _text),
    "age": _Field("a number, as such or as text", _number),
    "body type": _Field("text", _text),
    "height": _Field("feet and inches like 5' 8\"", _centimetres),
    "weight": _Field("pounds like 137lbs", _kilograms),
}
"""Fields that the lake takes; every one may be missing in a line."""

OTHER_FIELDS = frozenset({"fit", "bust size", "review_text", "review_summary"})
"""Fields of the layout that the lake has no place for."""


def read(path: Path) -> Source:
    """Read the file into the lake's contracts; a line that is not a JSON object goes to ``Source.unparsed``.

    A given value that cannot be read becomes a tuple around it, so that validation finds a value of a wrong
    kind instead of nothing, or of a number in another unit.

    Raises:
        SourceError: the file is empty, truncated or not what its name says, or fields have changed their name
            or meaning.
    """
    records, unparsed = [], []
    names: set[str] = set()
    for number, (raw, is_whole) in enumerate(_lines(path), start=1):
        line = raw.decode(errors="backslashreplace")
        if not is_whole:
            reason = f"line {number} is longer than {LONGEST_LINE:,} bytes: only its beginning is kept here"
            unparsed.append({"line": line, "reason": reason})
            continue
        try:
            record = json.loads(raw.decode())
        # Besides wrong JSON: bytes that are no UTF-8, a number of 5,000 digits, brackets nested 5,000 deep.
        except (ValueError, RecursionError) as error:
            unparsed.append({"line": line, "reason": f"line {number} is not JSON: {error}"})
            continue
        if not isinstance(record, dict):
            unparsed.append({"line": line, "reason": f"line {number} is not a JSON object"})
            continue
        records.append([record.get(name) for name in FIELDS] + [line])
        names |= record.keys()
    if not records and not unparsed:
        raise SourceError(f"{path} holds no line: download it again")
    given = pd.DataFrame(records, columns=[*FIELDS, "source_text"], dtype=object)
    values = pd.DataFrame({name: field.read(given[name]) for name, field in FIELDS.items()})
    if records:
        _check_layout(path, given, values, names)
    rows = pd.DataFrame({name: _marked(given[name], values[name]) for name in FIELDS})
    # A period is cut by time, so a day that cannot be read is no day.
    rows["review_date"] = values["review_date"]
    by_time = rows.sort_values("review_date", kind="stable")
    return Source(
        users=_users(by_time),
        rentals=_rentals(by_time),
        ratings=_ratings(rows, given, values),
        unparsed=pd.DataFrame(unparsed, columns=["line", "reason"]),
        fields={name: kind_of(given[name]) if name in FIELDS else "not read" for name in sorted(names)},
    )


def _lines(path: Path) -> Iterator[tuple[bytes, bool]]:
    """Yield each line that is not blank, and whether it is whole: of a too long one only the beginning."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            while line := file.readline(LONGEST_LINE):
                is_whole, rest = len(line) < LONGEST_LINE or line.endswith(b"\n"), line
                while len(rest) == LONGEST_LINE and not rest.endswith(b"\n"):
                    rest = file.readline(LONGEST_LINE)
                if line.strip():
                    yield line.rstrip(b"\r\n"), is_whole
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SourceError(f"{path} is truncated or not gzip ({error}): download it again") from error
    except OSError as error:
        raise SourceError(
            f"{path} cannot be read ({error.strerror}): check the path and its permissions"
        ) from error


def _check_layout(path: Path, given: pd.DataFrame, values: pd.DataFrame, names: set[str]) -> None:
    """Raise ``SourceError`` with every field that no line names or that is mostly of another kind."""
    faults = []
    strange = names - FIELDS.keys() - OTHER_FIELDS
    for name, field in FIELDS.items():
        known = given[name].dropna()
        unreadable = known[values.loc[known.index, name].isna()]
        # Without a field that nobody knows, an optional one may just be absent.
        if name not in names and (field.required or strange):
            faults.append(f"no line has {name!r} ({field.says})")
        elif len(known) >= LEAST_VALUES and len(unreadable) > UNREADABLE_SHARE * len(known):
            faults.append(
                f"{name!r} is not {field.says} in {len(unreadable)} of {len(known)} lines, "
                f"such as {repr(unreadable.iloc[0])[:60]}"
            )
    if faults:
        new = f"; fields that the layout does not have: {', '.join(sorted(strange))[:200]}" if strange else ""
        raise SourceError(
            f"{path} is not in the layout of Rent the Runway: {'; '.join(faults)}{new}. Give the fields "
            "their names and kinds back, or write a reader for the new layout in feature_repo/readers"
        )


def _marked(given: pd.Series, values: pd.Series) -> pd.Series:
    unreadable = given.notna() & values.isna()
    if not unreadable.any():
        return values
    return values.astype(object).where(~unreadable, given.map(lambda value: (str(value),)))


def _users(by_time: pd.DataFrame) -> pd.DataFrame:
    """One row a user, with the profile of the first review: later answers would leak into earlier events."""
    first = by_time.drop_duplicates("user_id")
    return pd.DataFrame(
        {
            "user_id": first["user_id"],
            "joined_at": first["review_date"],
            "age": first["age"],
            "height_cm": first["height"],
            "weight_kg": first["weight"],
            "segment": first["body type"],
        }
    )


def _rentals(by_time: pd.DataFrame) -> pd.DataFrame:
    """One row a rental, listed when it was first rented; the source has no price, area or capacity."""
    first = by_time.drop_duplicates("item_id")
    return pd.DataFrame(
        {
            "rental_id": first["item_id"],
            "category": first["category"],
            "area": None,
            "price": float("nan"),
            "capacity": float("nan"),
            "listed_at": first["review_date"],
        }
    )


def _ratings(rows: pd.DataFrame, given: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    # The source has no id, and a person may rate the same rental twice on a day: count within the day.
    name = _escaped(values["user_id"]) + ":" + _escaped(values["item_id"]) + ":"
    name += given["review_date"].astype("string").fillna("")
    return pd.DataFrame(
        {
            "rating_id": name + ":" + name.groupby(name).cumcount().astype(str),
            "user_id": rows["user_id"],
            "rental_id": rows["item_id"],
            "rating": _marked(given["rating"], values["rating"] / SOURCE_POINTS_PER_POINT),
            "source_rating": rows["rating"],
            "purpose": rows["rented for"],
            "size": rows["size"],
            "event_timestamp": rows["review_date"],
            # The source does not tell when a review arrived.
            "arrived_at": rows["review_date"],
            "source_text": given["source_text"],
        }
    )


def _escaped(ids: pd.Series) -> pd.Series:
    """Ids in which ``:`` can only be the separator, so that 1:2 with 3 is not 1 with 2:3."""
    return ids.fillna("").astype(str).str.replace("%", "%25").str.replace(":", "%3A")
