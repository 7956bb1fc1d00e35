"""Side features as numbers: any column of a table becomes columns of 0 and 1."""

import numpy as np
import pandas as pd
import scipy.sparse as sp

BINS = 8
"""Quantile bins of a number."""

FEW_VALUES = 12
"""A number with no more values than this is taken as a category."""

MOST_VALUES = 500
"""Most values of a column; the rarer ones say nothing."""

MOST_MEMBERS = 2000
"""Most columns of an implicit set: the basis of its dense Gram matrix takes some seconds."""

LEAST_ROWS = 3
"""Rows that a value needs: what a single user or item has, its own vector knows already."""


def feature_matrix(table: pd.DataFrame) -> sp.csr_matrix:
    """Return the features of each row, each column's part with length 1, or 0 where nothing is known.

    Numbers and dates become quantile bins; categories one column a value; values joined by ``|`` several
    columns. Missing values are no value.

    Args:
        table: one row per user or item, in the order of their codes; missing rows are all NaN.

    Returns:
        float64 [rows, features].
    """
    parts = [part for name in table for part in _columns(table[name])]
    return sp.hstack(parts, format="csr") if parts else sp.csr_matrix((len(table), 0))


def _columns(values: pd.Series) -> list[sp.csr_matrix]:
    text = values.astype("string").str.strip()
    text = text.where(text != "")
    numbers = _numbers(text)
    if numbers is not None:
        bins = pd.qcut(numbers, BINS, labels=False, duplicates="drop")
        text = bins.astype("Int64").astype("string")
    exploded = text.str.split("|").explode().str.strip()
    exploded = exploded[exploded.notna() & (exploded != "")]
    counts = exploded.value_counts()
    kept = np.sort(counts[counts >= LEAST_ROWS].index[:MOST_VALUES].to_numpy(dtype=str))
    if not len(kept):
        return []
    exploded = exploded[exploded.isin(kept)]
    rows, columns = exploded.index.to_numpy(), np.searchsorted(kept, exploded.to_numpy(dtype=str))
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(values), len(kept)))
    matrix.data[:] = 1.0
    return [unit_rows(matrix)]


def implicit_sets(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Return which of the ``MOST_MEMBERS`` most frequent columns each row has, as features.

    A user's rated items, or an item's raters, say more than the ratings alone: Koren 2008, "Factorization
    Meets the Neighborhood", and, for both sides, Rendle et al. 2019, "On the Difficulty of Evaluating
    Baselines".

    Args:
        matrix: 1 at observed pairs [rows, columns].
    """
    frequent = np.argsort(-np.asarray(matrix.sum(axis=0)).ravel(), kind="stable")[:MOST_MEMBERS]
    return unit_rows(matrix[:, np.sort(frequent)].astype(np.float64))


def unit_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Scale each row to length 1; empty rows stay empty."""
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(1.0 / np.where(length > 0, length, 1.0)) @ matrix)


def _numbers(text: pd.Series) -> pd.Series | None:
    # A column is a number, or a date, when nearly all of its values are.
    known = text.dropna()
    if known.nunique() <= FEW_VALUES:
        return None
    numbers = pd.to_numeric(text, errors="coerce").astype("float64")
    if numbers.notna().sum() < NEARLY_ALL * len(known):
        if not known.str.contains(r"\d{4}").mean() >= NEARLY_ALL:
            return None
        dates = pd.to_datetime(text, errors="coerce", format="mixed", utc=True)
        numbers = dates.map(lambda date: date.timestamp(), na_action="ignore").astype("float64")
    return numbers if numbers.notna().sum() >= NEARLY_ALL * len(known) else None


NEARLY_ALL = 0.95
"""Share of a column's values that make it a number."""
