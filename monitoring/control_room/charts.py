"""The page's charts, by Plotly."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import plotly.graph_objects as go

COLOURS = ("#2f7ed8", "#e08600", "#7b4fc9", "#2e9d4f", "#c2185b", "#00838f")
"""One after the other for predictors and versions, which so differ for most colour-blind people, too."""

REFERENCE, CURRENT, FAILED = "#8a94a6", "#e08600", "#d32f2f"

LABEL_LETTERS = 18
"""Letters of a bin's label that fit below it."""

Rows = Sequence[Mapping[str, Any]]


def traffic(rows: Rows) -> go.Figure:
    """Answers by minute and predictor, those that failed on top."""
    figure = go.Figure()
    frame = pd.DataFrame(rows)
    frame["minute"] = pd.to_datetime(frame["minute"])
    for colour, (name, part) in zip(_colours(), frame.groupby("predictor"), strict=False):
        good = part["requests"] - part["failed"]
        figure.add_bar(x=part["minute"], y=good, name=_text(name), marker_color=colour)
    failed = frame[frame["failed"] > 0].groupby("minute", as_index=False)["failed"].sum()
    if len(failed):
        figure.add_bar(x=failed["minute"], y=failed["failed"], name="failed", marker_color=FAILED)
    figure.update_layout(barmode="stack", yaxis_title="answers a minute")
    return _laid_out(figure, 230)


def performance(rows: Rows) -> go.Figure:
    """One figure over time: a line per version with its interval; what is estimated is dashed."""
    figure = go.Figure()
    frame = pd.DataFrame(rows)
    frame["period_start"] = pd.to_datetime(frame["period_start"])
    # What could not be computed comes as null.
    frame[["value", "lower", "upper"]] = frame[["value", "lower", "upper"]].astype(float)
    for colour, (name, version) in zip(_colours(), frame.groupby("model_version"), strict=False):
        for estimated, part in version.sort_values("period_start").groupby("estimated"):
            figure.add_scatter(
                x=part["period_start"],
                y=part["value"],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": part["upper"] - part["value"],
                    "arrayminus": part["value"] - part["lower"],
                    "thickness": 1,
                },
                name=f"version {_text(name)}{' (estimated)' if estimated else ''}",
                mode="lines+markers",
                line={"color": colour, "dash": "dash" if estimated else "solid"},
                marker={"symbol": "circle-open" if estimated else "circle", "size": 8},
                customdata=part["count"],
                hovertemplate="%{x|%Y-%m-%d}: %{y:.4f} (of %{customdata:,})",
            )
    return _laid_out(figure, 320)


def distributions(feature: Mapping[str, Any]) -> go.Figure:
    """A feature's two distributions beside each other."""
    frame = pd.DataFrame({name: feature[name] for name in ("labels", "reference", "current")})
    labels = [_text(label) for label in frame["labels"]]
    short = [_text(_short(str(label))) for label in frame["labels"]]
    figure = go.Figure()
    for name, colour in (("reference", REFERENCE), ("current", CURRENT)):
        figure.add_bar(x=labels, y=frame[name], name=name, marker_color=colour)
    figure.update_layout(barmode="group", yaxis_tickformat=".0%", xaxis_type="category")
    figure.update_xaxes(ticktext=short, tickvals=labels)
    return _laid_out(figure, 280)


def _laid_out(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
        # Zooming by a finger would hold the page that somebody wants to scroll.
        dragmode=False,
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True, rangemode="normal")
    return figure


def _colours() -> list[str]:
    return list(COLOURS) * 20


def _short(label: str) -> str:
    return label if len(label) <= LABEL_LETTERS else f"{label[: LABEL_LETTERS - 1]}…"


def _text(value: object) -> str:
    """Plotly takes tags in what it writes."""
    return escape(str(value))
