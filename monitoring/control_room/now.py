"""What is so now: the verdict, what serves, and what was decided and trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from monitoring.control_room import charts
from monitoring.control_room.client import ControlApi, ProblemError
from monitoring.control_room.markup import banner, day, findings, moment, predictor, table, text

CHART = {"displayModeBar": False, "scrollZoom": False}
"""A figure without its tools, which a phone has no room for."""

MINUTES = 30
"""Of the chart of answers."""

NEWEST = 6
"""Rows that are shown without being asked for: a phone shows each of them as a list."""


@st.fragment(run_every="3s")
def verdict(api: ControlApi) -> None:
    """The top line, and all that is known behind it."""
    try:
        now = api.read("/now")
    except ProblemError as problem:
        st.html(banner("red", str(problem)))
        return
    told = now["verdict"]
    st.html(banner(told["level"], told["line"], f"{moment(now['at'])} UTC") + findings(told["findings"]))


@st.fragment(run_every="3s")
def serving(api: ControlApi) -> None:
    """Predictors with share and health, and the other components."""
    try:
        state = api.read("/now")["serving"]
    except ProblemError:
        return
    if state is None or not state["runtime"]["running"]:
        st.html(banner("red", "Nothing is served: make up serves the last champion"))
        return
    runtime = state["runtime"]
    champion = next((one["name"] for one in runtime["predictors"] if not one["shadow"]), None)
    inner = "".join(_predictor(one, champion) for one in runtime["predictors"])
    others = [one for one in runtime["components"] if not one["name"].startswith("predictor-")]
    told = " · ".join(f"{one['name']} {one['state'].lower()}" for one in others)
    st.html(f'<div class="cards">{inner}</div><p class="empty">{text(told)}</p>')


@st.fragment(run_every="10s")
def traffic(api: ControlApi) -> None:
    """Answers by minute."""
    try:
        rows = api.read("/traffic", minutes=MINUTES)
    except ProblemError as problem:
        st.html(banner("amber", str(problem)))
        return
    if rows:
        st.plotly_chart(charts.traffic(rows), config=CHART, key="traffic", alt="answers by minute")
    else:
        st.html(banner("grey", f"No recommendation was asked for in the last {MINUTES} minutes"))


@st.fragment(run_every="3s")
def decisions(api: ControlApi) -> None:
    """What rollouts and people decided."""
    try:
        state = api.read("/now")["serving"]
    except ProblemError:
        return
    _newest(
        ["when (UTC)", "version", "beside", "decision", "share", "why"],
        [
            (
                moment(one["at"]),
                one["canary"],
                one["champion"],
                one["action"],
                f"{one['share']} %",
                "; ".join(one["reasons"]),
            )
            for one in (state["decisions"] if state else [])
        ],
        "No version was rolled out yet: `python flows/rollout.py run --version N`",
    )


@st.fragment(run_every="5s")
def trainings(api: ControlApi) -> None:
    """What the loop trained, and whether it may."""
    try:
        state = api.read("/now")["training"]
    except ProblemError:
        return
    if state is None:
        return
    may = state["objection"] or "a training may start"
    if state["running"]:
        may = "a training, or the rollout of its version, runs"
    st.html(banner("grey", f"Now: {may}"))
    _newest(
        ["when (UTC)", "data until", "why", "outcome", "version", "in words"],
        [
            (
                moment(one["began_at"]),
                day(one["until"]),
                one["reason"],
                one["outcome"],
                one["version"],
                one["detail"] or None,
            )
            for one in state["trainings"]
        ],
        "The loop has trained nothing yet",
    )


def _newest(headers: Sequence[str], rows: Sequence[Sequence[object]], empty: str) -> None:
    """Show the newest rows, and those before them when they are asked for."""
    st.html(table(headers, rows[:NEWEST], empty))
    if earlier := rows[NEWEST:]:
        with st.expander(f"{len(earlier)} earlier ones"):
            st.html(table(headers, earlier, ""))


def _predictor(one: Mapping[str, Any], champion: str | None) -> str:
    role = "shadow" if one["shadow"] else "champion" if one["name"] == champion else "canary"
    slow = one["latency_p95_ms"], one["latency_p99_ms"]
    return predictor(
        one["name"],
        role,
        one["weight"],
        "" if one["ready"] else "red",
        [
            "ready" if one["ready"] else "not ready",
            f"{one['requests']:,} requests at Envoy, {one['errors']:,} failed",
            "no latency yet" if None in slow else f"p95 {slow[0]:.0f} ms, p99 {slow[1]:.0f} ms",
        ],
    )
