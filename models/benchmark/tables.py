"""Plain files of any usual layout as tables; all faults of a file are told at once."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("user", "item", "rating", "timestamp")
"""What an interaction is made of, in the order of files without header."""

ALIASES = {
    "user": ("user", "userid", "useridtoken", "uid", "u"),
    "item": ("item", "itemid", "itemidtoken", "movieid", "movie", "iid", "i", "productid", "asin"),
    "rating": ("rating", "ratingfloat", "score", "stars"),
    "timestamp": ("timestamp", "timestampfloat", "time", "date", "ts", "unixtime"),
}
"""Names of the columns in headers, in lower case and without ``_``, ``:`` and blanks."""

SEPARATORS = ("::", "\t", ";", ",", "|")
"""Tried in this order: a later one may be part of a field."""

MOST_EXAMPLES = 3
"""Examples of a fault that are shown."""


class FileError(ValueError):
    """A file cannot be used; the message lists all that is wrong with it."""

    def __init__(self, path: Path, faults: Sequence[str]) -> None:
        super().__init__(f"{path}:\n" + "\n".join(f"- {fault}" for fault in faults))


def read_interactions(path: Path, rated: bool) -> pd.DataFrame:
    """Read ``user item rating timestamp``, separated by tab, comma, ``;``, ``|`` or ``::``, or parquet.

    A header is optional; without one the columns are taken in this order. Rating and timestamp may be left
    out; a time may be a number or a date.

    Args:
        path: the file.
        rated: whether ratings are needed.

    Returns:
        ``user`` and ``item`` (text), and where the file has them ``rating`` and ``timestamp`` (float).

    Raises:
        FileError: no rows, unknown columns, missing or non-numeric values, pairs that come twice.
    """
    table = _named(path, _read(path))
    faults = []
    for name in ("user", "item"):
        table[name] = table[name].astype("string").str.strip()
        faults += _fault(table, table[name].isna() | (table[name] == ""), f"no {name}")
    if "rating" in table:
        numbers = pd.to_numeric(table["rating"], errors="coerce").astype("float64")
        faults += _fault(table, numbers.isna() | numbers.abs().eq(np.inf), "a rating that is no number")
        table["rating"] = numbers
    elif rated:
        faults.append("no ratings: --task rating needs a third column, or a column named rating")
    if "timestamp" in table:
        times = _times(table["timestamp"])
        faults += _fault(table, times.isna(), "a timestamp that is neither a number nor a date")
        table["timestamp"] = times
    twice = table.duplicated(["user", "item"], keep=False) & table["user"].notna()
    faults += _fault(table, twice, "a pair of user and item that comes more than once (keep one)")
    if faults:
        raise FileError(path, faults)
    return table.astype({"user": str, "item": str}).reset_index(drop=True)


def read_negatives(path: Path) -> pd.DataFrame:
    """Read the negatives of He et al. 2017: ``(user,item)``, or ``user`` and ``item``, then other items.

    Returns:
        ``user``, ``item`` (text) and ``negatives`` (lists of text), one row a test event.

    Raises:
        FileError: no rows, a line without negatives, an item among its own negatives, a pair twice.
    """
    lines = [line.strip() for line in _text(path).splitlines()]
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line]
    separator = _separator([re.sub(r"\(.*?\)", "", line) for _, line in numbered[:100]]) or "\t"
    rows, numbers, faults = [], [], []
    for number, line in numbered:
        paired = re.match(r"\(\s*([^,]+?)\s*,\s*(.+?)\s*\)\s*", line)
        rest = [
            field.strip() for field in line[paired.end() if paired else 0 :].strip(separator).split(separator)
        ]
        user, item, others = (*paired.groups(), rest) if paired else (rest[0], rest[1:2], rest[2:])
        item = item if paired else "".join(item)
        others = [other for other in others if other]
        if not others:
            faults.append(f"line {number}: a user, an item and at least one negative are needed")
        elif item in others:
            faults.append(f"line {number}: item {item} is among its own negatives")
        else:
            rows.append((user, item, others))
            numbers.append(number)
    table = pd.DataFrame(rows, columns=["user", "item", "negatives"], index=numbers)
    twice = table.duplicated(["user", "item"])
    faults += [
        f"line {number}: the same user and item as on an earlier line" for number in table.index[twice]
    ]
    if not numbered:
        faults.append("the file has no rows")
    if faults:
        shown = faults[:20]
        raise FileError(path, shown + [f"{len(faults) - 20} more"] * (len(faults) > 20))
    return table.reset_index(drop=True)


def read_features(path: Path) -> pd.DataFrame:
    """Read an id, then any columns: numbers, categories, or several values joined by ``|``.

    A header is taken as one when its first field is ``id`` or ends with it, or names a user or an item.

    Returns:
        Text columns, by id.

    Raises:
        FileError: no rows, no feature, an id twice.
    """
    table = _read(path)
    first = str(table.iloc[0, 0]) if len(table) else ""
    if path.suffix != ".parquet" and _is_id(first):
        table.columns = [str(name) for name in table.iloc[0]]
        table = table.iloc[1:]
    ids = table.iloc[:, 0].astype("string").str.strip() if table.shape[1] else pd.Series(dtype="string")
    faults = ["the file has no rows"] if not len(table) else []
    if table.shape[1] < 2:
        faults.append("no features: an id and at least one other column are needed")
    faults += _fault(table, ids.isna() | (ids == ""), "no id")
    faults += _fault(table, ids.duplicated(), "an id that came before")
    if faults:
        raise FileError(path, faults)
    features = table.iloc[:, 1:].astype("string")
    features.columns = [f"{number} {name}" for number, name in enumerate(features.columns)]
    return features.set_axis(ids.astype(str), axis=0)


def _read(path: Path) -> pd.DataFrame:
    # All columns, as text where the file is text; without names.
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    text = _text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise FileError(path, ["the file has no rows"])
    separator = _separator(lines[:100])
    if separator not in (",", ";"):
        fields = [line.split(separator) for line in lines]
    else:
        fields = list(csv.reader(lines, delimiter=separator))
    width = len(fields[0])
    ragged = [number for number, row in enumerate(fields, start=1) if len(row) != width]
    if ragged:
        examples = ", ".join(str(number) for number in ragged[:MOST_EXAMPLES])
        raise FileError(
            path, [f"{len(ragged)} rows have not {width} fields as the first one: row {examples} …"]
        )
    return pd.DataFrame(fields, dtype="string", index=range(1, len(fields) + 1))


def _text(path: Path) -> str:
    if not path.is_file():
        raise FileError(path, ["there is no such file"])
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # MovieLens's older files.
        return data.decode("latin-1")


def _separator(lines: Sequence[str]) -> str | None:
    # The first that splits every line into the same number of fields, else one that splits every line.
    for same in (True, False):
        for separator in SEPARATORS:
            counts = {line.count(separator) for line in lines}
            if counts and 0 not in counts and (len(counts) == 1 or not same):
                return separator
    return None


def _named(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    parquet = path.suffix == ".parquet"
    header = [str(name) for name in (table.columns if parquet else table.iloc[0])]
    names = [known.get(re.sub(r"[\s_:]", "", name).lower(), "") for name in header]
    if not parquet and not any(names):
        if not 2 <= table.shape[1] <= len(COLUMNS):
            raise FileError(
                path,
                [f"{table.shape[1]} columns without a header that names any of {', '.join(COLUMNS)}: "
                 f"2 to {len(COLUMNS)} are taken, in this order"],
            )  # fmt: skip
        return table.set_axis(COLUMNS[: table.shape[1]], axis=1)
    faults = [
        f"no column for the {name}: there are {', '.join(header)}"
        for name in COLUMNS[:2]
        if name not in names
    ]
    faults += [f"two columns for the {name}" for name in COLUMNS if names.count(name) > 1]
    body = table if parquet else table.iloc[1:]
    if not len(body):
        faults.append("the file has no rows")
    if faults:
        raise FileError(path, faults)
    chosen = [name != "" for name in names]
    return body.loc[:, chosen].set_axis([name for name in names if name], axis=1)


def _times(values: pd.Series) -> pd.Series:
    if pd.api.types.is_datetime64_any_dtype(values):
        dates = pd.to_datetime(values, utc=True)
    else:
        numbers = pd.to_numeric(values, errors="coerce").astype("float64")
        if numbers.notna().any():
            return numbers
        dates = pd.to_datetime(values, errors="coerce", format="mixed", utc=True)
    seconds = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return seconds.astype("float64")


def _is_id(name: str) -> bool:
    plain = re.sub(r"[\s_:]", "", name).lower().removesuffix("token")
    return plain.endswith("id") or plain in (*ALIASES["user"][:1], *ALIASES["item"][:1])


def _fault(table: pd.DataFrame, wrong: pd.Series, what: str) -> list[str]:
    rows = table.index[wrong.to_numpy(dtype=bool)]
    if not len(rows):
        return []
    examples = ", ".join(str(row) for row in rows[:MOST_EXAMPLES])
    return [f"{len(rows)} rows with {what}: row {examples}{' …' if len(rows) > MOST_EXAMPLES else ''}"]
