"""One feature in two samples, counted in the same bins: what distances compare and charts show."""

from typing import Literal

import numpy as np
import pandas as pd

Kind = Literal["numeric", "categorical"]

BINS = 10
"""Deciles of the reference: the usual bins of the population stability index."""

FEW_VALUES = 20
"""With at most this many different reference values (ratings, counts), each value is a bin of its own."""


def present(frame: pd.DataFrame, name: str, kind: Kind) -> pd.Series:
    """Return the values of a column that can be compared: not null, finite, numbers or text by ``kind``.

    A column that the frame lacks has no values.

    Raises:
        ValueError: a numeric column holds something else.
    """
    if name not in frame:
        return pd.Series(dtype="float64" if kind == "numeric" else object)
    column = frame[name]
    if kind == "categorical":
        return column.dropna().astype(str)
    try:
        return pd.to_numeric(column).astype("float64").replace([np.inf, -np.inf], np.nan).dropna()
    except (ValueError, TypeError) as error:
        raise ValueError(f"column {name!r} is not numeric: {error}; list it as 'categorical'") from error


def binned(reference: pd.Series, current: pd.Series, kind: Kind) -> pd.DataFrame:
    """Count both samples, as `present` returns them, in bins made from the reference.

    Numeric bins are deciles of the reference, or its values where these are few, and one bin each for
    what lies below and above anything it held. Categorical bins are the categories of either sample.

    Returns:
        A frame indexed by the bin's label, in order (categories: most frequent first), with integer columns
        ``reference`` and ``current``.
    """
    if kind == "categorical":
        counts = pd.DataFrame({"reference": reference.value_counts(), "current": current.value_counts()})
        counts = counts.fillna(0).astype(int).rename_axis("bin")
        return counts.sort_values(["reference", "current"], ascending=False, kind="stable")
    edges, labels = _edges(reference.to_numpy())
    return pd.DataFrame(
        {
            "reference": np.bincount(np.searchsorted(edges, reference, side="right"), minlength=len(labels)),
            "current": np.bincount(np.searchsorted(edges, current, side="right"), minlength=len(labels)),
        },
        index=pd.Index(labels, name="bin"),
    )


def shares(counts: pd.DataFrame, feature: str) -> pd.DataFrame:
    """Return counts of `binned` in the long form that charts take.

    Returns:
        A frame with the columns feature, bin, order, sample and share (0..1 within its sample).
    """
    portions = (counts / counts.sum().clip(lower=1)).reset_index()
    portions = portions.assign(order=range(len(portions)), feature=feature)
    return portions.melt(
        id_vars=["feature", "bin", "order"],
        value_vars=["reference", "current"],
        var_name="sample",
        value_name="share",
    )


def _edges(reference: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Return the ascending lower edges of all bins but the first, and a label for each bin."""
    values = np.unique(reference)
    if len(values) == 0:
        return np.array([]), ["any"]
    if len(values) <= FEW_VALUES:
        inside, labels = values, [f"{value:.6g}" for value in values]
    else:
        inside = np.unique(np.quantile(reference, np.linspace(0, 1, BINS + 1)[:-1]))
        ends = [*inside[1:], values[-1]]
        labels = [f"{low:.4g} – {high:.4g}" for low, high in zip(inside, ends, strict=True)]
    edges = np.append(inside, np.nextafter(values[-1], np.inf))
    return edges, [f"< {values[0]:.4g}", *labels, f"> {values[-1]:.4g}"]
