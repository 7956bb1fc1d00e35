"""Rows that broke a contract: kept whole, with the reason, until somebody repairs and replays them."""

import hashlib
import json
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

_SCHEMA = pa.schema([(name, pa.string()) for name in ("table", "batch", "reason", "row")])
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def write(bad: pd.DataFrame, table: str, batch: str, folder: Path) -> int:
    """Write the rows of ``bad`` (a column ``reason``, any others) to ``folder/table/batch.parquet``.

    The row itself is stored as JSON text, because a bad row may hold a word where a number belongs. Writing
    a batch again replaces it, and a row which another batch holds already is not kept twice; a batch
    without bad rows leaves no file.

    Returns:
        How many rows the batch holds.

    Raises:
        ValueError: ``bad`` has no reasons, or a name does not do as a file name.
    """
    for name in (table, batch):
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} does not do as a file name; use 1 to 128 letters, digits, '.', '_' and '-'"
            )
    if "reason" not in bad:
        raise ValueError("bad rows need a column 'reason'; it comes from validate(...).bad")
    path = folder / table / f"{batch}.parquet"
    rows = pd.DataFrame({"reason": bad["reason"].tolist(), "row": _as_json(bad.drop(columns="reason"))})
    others = [each for each in _batches(folder) if each.parent.name == table and each != path]
    known = {row for other in others for row in pq.read_table(other, columns=["row"])["row"].to_pylist()}
    rows = rows[~rows["row"].isin(known)]
    if rows.empty:
        path.unlink(missing_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    _replace(path, pa.Table.from_pandas(rows.assign(table=table, batch=batch), schema=_SCHEMA))
    return len(rows)


def count(folder: Path) -> dict[str, int]:
    """Return table -> rows in quarantine; empty where nothing was ever quarantined."""
    rows: dict[str, int] = {}
    for path in _batches(folder):
        rows[path.parent.name] = rows.get(path.parent.name, 0) + pq.read_metadata(path).num_rows
    return rows


def reasons(folder: Path) -> dict[str, dict[str, int]]:
    """Return table -> reason -> rows, the most frequent reason first."""
    found: dict[str, Counter[str]] = {}
    for path in _batches(folder):
        counted = pq.read_table(path, columns=["reason"])["reason"].to_pylist()
        found.setdefault(path.parent.name, Counter()).update(counted)
    return {table: dict(counted.most_common()) for table, counted in found.items()}


def read(folder: Path, table: str) -> pd.DataFrame:
    """Return the table's rows for repair: their own columns, ``reason``, ``batch`` and ``row_id``."""
    frames = [pq.read_table(path).to_pandas() for path in _batches(folder) if path.parent.name == table]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in ("reason", "batch", "row_id")})
    kept = pd.concat(frames, ignore_index=True)
    rows = pd.DataFrame([json.loads(row) for row in kept["row"]], dtype=object)
    return rows.assign(reason=kept["reason"], batch=kept["batch"], row_id=kept["row"].map(_identity))


def remove(folder: Path, table: str, row_ids: set[str]) -> None:
    """Take the rows with these ids (of ``read``) out of quarantine; a batch without rows leaves no file."""
    for path in _batches(folder):
        if path.parent.name != table:
            continue
        rows = pq.read_table(path)
        stays = [_identity(row) not in row_ids for row in rows["row"].to_pylist()]
        if not any(stays):
            path.unlink()
        elif not all(stays):
            _replace(path, rows.filter(pa.array(stays)))


def _replace(path: Path, rows: pa.Table) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(rows, temporary)
    temporary.replace(path)


def _identity(row: str) -> str:
    return hashlib.sha256(row.encode(errors="surrogatepass")).hexdigest()[:16]


def _batches(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*.parquet") if not path.name.startswith("."))


def _as_json(rows: pd.DataFrame) -> list[str]:
    plain = rows.astype(object).where(rows.notna(), None)
    return [json.dumps(row, default=str) for row in plain.to_dict(orient="records")]
