"""What the cards' plots hold."""

from flows.cards import importance_chart, importance_section
from models.importance import Importance

FOUND = (
    Importance("purpose", ("purpose",), 0.02, (0.01, 0.03), 0.001, (-0.001, 0.002)),
    Importance("user's profile", ("user_age", "user_segment"), -0.001, (-0.002, 0.001), 0.1, (0.05, 0.15)),
)


def test_importances_are_bars_with_their_intervals():
    chart = importance_chart(FOUND, "rmse", "rise of RMSE").to_dict()
    bars, lines = chart["layer"]
    assert bars["encoding"]["x"]["field"] == "loss"
    assert (lines["encoding"]["x"]["field"], lines["encoding"]["x2"]["field"]) == ("low", "high")
    [rows] = chart["datasets"].values()
    assert rows[1] == {"subject": "user's profile", "loss": 0.1, "low": 0.05, "high": 0.15,
                       "inputs": "user_age, user_segment"}  # fmt: skip
    assert bars["encoding"]["y"]["sort"] == {"field": "loss", "order": "descending"}


def test_the_section_shows_both_figures():
    rendered = [component.render() for component in importance_section(FOUND)]
    assert [part["type"] for part in rendered] == ["markdown", "markdown", "vegaChart", "vegaChart"]
