"""Charts of a drift comparison, for a flow's card or the control room."""

from typing import Any

import pandas as pd

from monitoring.distribution import binned, shares
from monitoring.drift_report import DriftReport

MOST_BINS = 14
"""Bars a reader can tell apart; rarer categories of a feature are left out of its chart."""

REST = "all others"
"""The bar of what has none of its own."""

_COLOURS = {"reference": "#9aa5b1", "current": "#d1495b"}


def drift_chart(
    report: DriftReport, reference: pd.DataFrame, current: pd.DataFrame, most: int = 6
) -> dict[str, Any]:
    """Return a Vega-Lite specification: both distributions of each drifted feature, largest effect first.

    Without drift the features that moved most are shown, so that a card is never empty.

    Args:
        report: the comparison of the two frames.
        reference: what the model was trained on.
        current: what came after.
        most: at most so many features.
    """
    import altair

    ordered = sorted(
        report.features, key=lambda feature: (-feature.drifted, -feature.effects.get("psi", 0.0))
    )
    charts = []
    for feature in [each for each in ordered if each.drifted][:most] or ordered[:most]:
        portions = shares(binned(reference, current, feature.name, feature.kind), feature.name)
        portions = portions[portions["order"] < MOST_BINS]
        charts.append(
            altair.Chart(portions, title=f"{feature.name}: {feature.explanation}", width=520, height=160)
            .mark_bar()
            .encode(
                x=altair.X("bin:N", sort=altair.SortField("order"), title=None),
                xOffset=altair.XOffset("sample:N", sort=list(_COLOURS)),
                y=altair.Y("share:Q", axis=altair.Axis(format="%"), title="share of rows"),
                color=altair.Color(
                    "sample:N",
                    scale=altair.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
                    title=None,
                ),
                tooltip=["bin:N", "sample:N", altair.Tooltip("share:Q", format=".1%")],
            )
        )
    # Shared by default, the offset of the first chart would be too wide for one with more bars.
    return altair.vconcat(*charts).resolve_scale(xOffset="independent").to_dict()


def distributions(
    report: DriftReport, reference: pd.DataFrame, current: pd.DataFrame
) -> list[dict[str, Any]]:
    """Return both distributions of each compared feature as plain values: shares of its rows that have it.

    Returns:
        For each feature its ``name``, ``kind`` and ``drifted``, the ``labels`` of its bins, and for each bin
        the shares ``reference`` and ``current`` (0..1); past ``MOST_BINS`` categories are one, ``REST``.
    """
    found = []
    for feature in report.features:
        portions = binned(reference, current, feature.name, feature.kind).counts
        portions = portions / portions.sum().clip(lower=1)
        if len(portions) > MOST_BINS:
            rest = portions.iloc[MOST_BINS - 1 :].sum().rename(REST)
            portions = pd.concat([portions.iloc[: MOST_BINS - 1], rest.to_frame().T])
        found.append(
            {
                "name": feature.name,
                "kind": feature.kind,
                "drifted": feature.drifted,
                "labels": [str(label) for label in portions.index],
                "reference": portions["reference"].tolist(),
                "current": portions["current"].tolist(),
            }
        )
    return found
