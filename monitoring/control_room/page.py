"""The control room: one page for people. `python -m flows control-room` starts it."""

import streamlit as st

from monitoring.control_room import actions, data, markup, now, quality
from monitoring.control_room.client import ControlApi
from monitoring.settings import MonitoringSettings


def page() -> None:
    """Draw the page, what matters at night first."""
    st.set_page_config(page_title="Control room", layout="wide", initial_sidebar_state="collapsed")
    st.html(f"<style>{markup.STYLE}</style>")
    api = ControlApi(MonitoringSettings().control_url)
    now.verdict(api)
    actions.actions(api)
    for title, parts in SECTIONS.items():
        st.subheader(title, divider="gray")
        for part in parts:
            part(api)


SECTIONS = {
    "Serving now": (now.serving, now.traffic),
    "Decisions": (now.decisions,),
    "Quality over time": (quality.quality,),
    "Drift": (quality.drift,),
    "Data": (data.freshness,),
    "From a recommendation to its data": (data.lineage,),
    "Trainings": (now.trainings,),
}

page()
