"""Quality over time, and drift by feature."""

from collections.abc import Iterable, Mapping
from typing import Any

import streamlit as st

from monitoring.control_room import charts
from monitoring.control_room.client import ControlApi, ProblemError
from monitoring.control_room.markup import banner, moment, table, text
from monitoring.control_room.now import CHART

METRICS = {
    "rmse": "error of predicted ratings, in stars: lower is better",
    "calibration_error": "predicted less given rating, in stars: above 0 is too high",
    "calibration_slope": "how much of a predicted step is one: 1 is calibrated",
    "reward_share": "share of answers of which something was liked: higher is better",
    "rated_share": "share of answers that got a rating",
    "ndcg_at_10": "NDCG@10 of the answers: higher is better",
    "ndcg_at_10_of_renters": "NDCG@10 of answers after which the user rented: higher is better",
}
"""What the figures mean; one that is not here is shown without words."""

CHARTS_SHOWN = 4
"""Features that are drawn without being asked for."""


@st.fragment(run_every="30s")
def quality(api: ControlApi) -> None:
    """One figure over time."""
    try:
        rows = api.read("/performance")
    except ProblemError as problem:
        st.html(banner("grey", str(problem)))
        return
    if not rows:
        st.html(
            banner(
                "grey", "What became of the answers is not known yet: it takes feedback, then make monitor"
            )
        )
        return
    left, right = st.columns(2)
    known = {row["metric"] for row in rows}
    metric = left.selectbox("Figure", sorted(known, key=_place))
    of_metric = [row for row in rows if row["metric"] == metric]
    segments = sorted({row["segment"] for row in of_metric}, key=lambda name: (name != "all", name))
    segment = right.selectbox("Of", segments)
    st.html(f'<p class="empty">{METRICS.get(metric, "")}</p>')
    shown = [row for row in of_metric if row["segment"] == segment]
    st.plotly_chart(charts.performance(shown), config=CHART, key="quality", alt=f"{metric} over time")


@st.fragment(run_every="30s")
def drift(api: ControlApi) -> None:
    """The alarms, what moved, and the two distributions of what is chosen."""
    try:
        report = api.read("/drift")
    except ProblemError as problem:
        st.html(banner("grey", str(problem)))
        return
    alarms = report["alarms"]
    line = "; ".join(alarms) if alarms else "No alarm"
    level = "amber" if alarms else "green"
    st.html(banner(level, line[0].upper() + line[1:], f"compared {moment(report['at'])} UTC"))
    for compared in filter(None, (report, report["served"])):
        st.html(_comparison(compared))
    drawn = {one["name"]: one for one in report["distributions"]}
    names = [one["name"] for one in _drifted_first(report["features"]) if one["name"] in drawn]
    first = [name for name in names if name in report["drifted"]][:CHARTS_SHOWN] or names[:1]
    for name in st.multiselect("Distributions of", names, default=first):
        st.plotly_chart(
            charts.distributions(drawn[name]),
            config=CHART,
            key=f"drift {name}",
            alt=f"distributions of {name}",
        )


def _place(metric: str) -> tuple[int, str]:
    """Known figures in the order of ``METRICS``, others after them."""
    return (list(METRICS).index(metric) if metric in METRICS else len(METRICS), metric)


def _comparison(report: Mapping[str, Any]) -> str:
    rows = f"{report['reference_rows']:,} rows before, {report['current_rows']:,} since"
    features = table(
        ["feature", "verdict", "PSI", "adjusted p", "since", "in words"],
        [_feature(one) for one in _drifted_first(report["features"])],
        "No feature was compared",
    )
    return f'<p class="empty">{text(report["periods"])} ({rows})</p>{features}'


def _drifted_first(features: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(features, key=lambda one: (not one["drifted"], -(one["effects"].get("psi") or 0)))


def _feature(one: Mapping[str, Any]) -> tuple[object, ...]:
    psi, p_value = one["effects"].get("psi"), one["adjusted_p_value"]
    return (
        one["name"],
        "drift" if one["drifted"] else "same",
        None if psi is None else f"{psi:.3f}",
        None if p_value is None else f"{p_value:.1e}",
        one["change"] and one["change"]["since"][:10],
        one["explanation"],
    )
