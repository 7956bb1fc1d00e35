"""The buttons: each asks for a reason and a key, and says what happened or why not."""

from typing import Any

import streamlit as st

from monitoring.control_room.client import ControlApi, ProblemError
from monitoring.control_room.markup import banner

KEY, DONE = "key", "done"
"""Names in the session, which is in memory and of one browser's tab."""

LONGEST_REASON = 500


def actions(api: ControlApi) -> None:
    """Show the buttons, and what the last one did."""
    with st.container(horizontal=True):
        if st.button("Roll back…", type="primary"):
            _roll_back(api)
        if st.button("Pause retraining…"):
            _pause(api)
        if st.button("Resume retraining…"):
            _resume(api)
        if st.button("Retrain…"):
            _retrain(api)
    # There even while it is empty: what follows keeps its place on the page.
    outcome = st.container()
    if DONE in st.session_state:
        outcome.html(banner("green", st.session_state[DONE], "by you"))


@st.dialog("Roll back")
def _roll_back(api: ControlApi) -> None:
    serving = _now(api).get("serving")
    planned = serving["rollback"] if serving else None
    if planned is None:
        st.html(banner("grey", "There is nothing to take back: no canary, and no promotion before this one."))
        return
    st.html(
        banner(
            "amber",
            f"{planned['predictor']} ({planned['share']} %) loses all its traffic; "
            f"{planned['champion']} answers everybody.",
        )
    )
    _form(api, "/rollback", f"Roll back {planned['predictor']}", predictor=planned["predictor"])


@st.dialog("Pause retraining")
def _pause(api: ControlApi) -> None:
    st.html(banner("amber", "Nothing trains until it is resumed; what runs already goes on."))
    _form(api, "/pause", "Pause")


@st.dialog("Resume retraining")
def _resume(api: ControlApi) -> None:
    st.html(banner("grey", "Drift may train again, and trainings that brought nothing are forgiven."))
    _form(api, "/resume", "Resume")


@st.dialog("Retrain")
def _retrain(api: ControlApi) -> None:
    training = _now(api).get("training")
    if training and training["objection"]:
        st.html(banner("grey", f"Not now: {training['objection']}"))
        return
    st.html(banner("amber", "A training takes minutes and much of this machine; the gate judges its result."))
    roll_out = st.checkbox("Then give the new version its traffic, step by step")
    _form(api, "/retrain", "Train", roll_out=roll_out)


def _now(api: ControlApi) -> dict[str, Any]:
    try:
        return dict(api.read("/now"))
    except ProblemError as problem:
        st.html(banner("red", str(problem)))
        st.stop()


def _form(api: ControlApi, path: str, label: str, **body: Any) -> None:
    """Ask for reason and key, then act; a refusal stays in the dialog."""
    with st.form(path, border=False):
        why = st.text_input("Why", max_chars=LONGEST_REASON, placeholder="who will read this in a year?")
        key = st.text_input(
            "Key",
            type="password",
            value=st.session_state.get(KEY, ""),
            autocomplete="off",
            help="of `python -m serving key`; this page keeps it until its tab is closed",
        )
        if not st.form_submit_button(label, type="primary", width="stretch"):
            return
    try:
        with st.spinner("…"):
            done = api.act(path, key.strip(), why=why, **body)
    except ProblemError as problem:
        st.html(banner("red", str(problem)))
        return
    st.session_state[KEY], st.session_state[DONE] = key, done
    st.rerun()
