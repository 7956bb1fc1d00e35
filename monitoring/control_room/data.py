"""Data quality and freshness, and the way from a recommendation back to its data."""

from collections.abc import Iterator, Mapping
from typing import Any

import streamlit as st

from monitoring.control_room.client import ControlApi, ProblemError
from monitoring.control_room.markup import banner, cards, chain, moment, table

TRACED, CHOSEN = "traced", "chosen"
"""Names of the two fields in the session."""

FIGURES = ("rmse", "ndcg_at_10", "hr_at_10", "onnx_max_abs_diff")
"""Of a version's figures, those that people ask for first."""


@st.fragment(run_every="15s")
def freshness(api: ControlApi) -> None:
    """How old data and features are, and what is in quarantine."""
    try:
        state = api.read("/data")
    except ProblemError as problem:
        st.html(banner("amber", str(problem)))
        return
    counts = ", ".join(f"{name} {rows:,}" for name, rows in state["rows"].items())
    st.html(
        cards(
            [
                (
                    "ratings until",
                    moment(state["data_until"])[:16],
                    f"{state['dataset'] or 'no dataset'}: {counts}",
                ),
                ("features until", moment(state["features_until"])[:16], f"{state['missed']:,} landed late"),
                ("in quarantine", f"{sum(one['rows'] for one in state['quarantined']):,}", "rows"),
            ]
        )
    )
    st.html(
        table(
            ["table", "rows", "share", "reasons"],
            [
                (
                    one["table"],
                    f"{one['rows']:,}",
                    f"{one['share']:.2%}",
                    "; ".join(f"{why} ({rows:,})" for why, rows in one["reasons"].items()),
                )
                for one in state["quarantined"]
            ],
            "Nothing is in quarantine",
        )
    )


@st.fragment
def lineage(api: ControlApi) -> None:
    """From one recommendation back to where it comes from."""
    try:
        latest = {row["request_id"]: row for row in api.read("/answers")}
    except ProblemError as problem:
        st.html(banner("amber", str(problem)))
        latest = {}

    def told(request_id: str) -> str:
        row = latest[request_id]
        return f"{moment(row['timestamp'])[11:]} {row['predictor']} for user {row['user_id']}"

    def take() -> None:
        # The latest ones are others a moment later, when the chosen one may not be among them.
        st.session_state[TRACED] = st.session_state[CHOSEN]

    left, right = st.columns(2)
    request_id = left.text_input("request_id of a recommendation", key=TRACED, max_chars=200)
    right.selectbox(
        "or one of the latest", list(latest), format_func=told, index=None, key=CHOSEN, on_change=take
    )
    if not request_id or not (request_id := request_id.strip()):
        return
    try:
        found = api.read("/lineage", request_id=request_id)
    except ProblemError as problem:
        st.html(banner("amber", str(problem)))
        return
    st.html(chain(_steps(found["answer"], found["model"])))
    with st.expander("The features as the model got them"):
        st.html(table(["feature", "value"], found["answer"]["features"].items(), "None were known"))


def _steps(
    answer: Mapping[str, Any], model: Mapping[str, Any]
) -> Iterator[tuple[str, list[tuple[str, object]]]]:
    rated = zip(answer["rental_ids"], answer["predicted_ratings"], strict=True)
    yield (
        "recommendation",
        [
            ("request", answer["request_id"]),
            ("for user", answer["user_id"]),
            ("at (UTC)", moment(answer["timestamp"])),
            ("rentals", ", ".join(f"{rental} ({rating:.2f})" for rental, rating in rated) or None),
            ("answered", "properly" if answer["ok"] else "not: users got another predictor's answer"),
            ("within", f"{answer['latency_ms']:.0f} ms"),
        ],
    )
    lineage, metrics = model.get("lineage", {}), model.get("metrics", {})
    yield (
        "model",
        [
            ("predictor", answer["predictor"]),
            ("version", f"{answer['model_name']} {model['version']}"),
            ("is now", ", ".join(model.get("aliases", [])) or "neither champion nor challenger"),
            *((name, f"{metrics[name]:.4g}") for name in FIGURES if name in metrics),
            *([("not known", model["fault"])] if "fault" in model else []),
        ],
    )
    if not lineage:
        return
    yield (
        "run",
        [
            ("Metaflow", lineage.get("metaflow_run")),
            ("MLflow", model["mlflow_run"]),
            ("code (git)", lineage.get("git_commit")),
            ("because", lineage.get("reason")),
            ("gate", lineage.get("gate")),
        ],
    )
    yield (
        "features",
        [
            ("feature service", lineage.get("feature_service")),
            (
                "as served",
                f"{len(answer['features'])}; {answer['features_failure'] or 'from the online store'}",
            ),
        ],
    )
    yield (
        "data",
        [
            ("dataset", lineage.get("dataset")),
            ("snapshot (SHA-256)", lineage.get("dataset_hash")),
            ("ratings", f"{lineage.get('first_event')} to {lineage.get('trained_until')}"),
        ],
    )
