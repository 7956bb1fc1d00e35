"""The pieces of the control room's page: what anybody wrote stays text."""

from html.parser import HTMLParser

import plotly.io
import pytest

from monitoring.control_room import charts, markup
from monitoring.control_room.client import ControlApi, ProblemError

HOSTILE = "<img src=x onerror=alert(1)>\"'</td>"


class Tags(HTMLParser):
    """The tags of a piece, and its text."""

    def __init__(self, piece: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.said = ""
        self.feed(piece)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.said += data


@pytest.mark.parametrize(
    "piece",
    [
        markup.banner(HOSTILE, HOSTILE, HOSTILE),
        markup.findings([{"level": HOSTILE, "what": HOSTILE, "remedy": HOSTILE}]),
        markup.table([HOSTILE], [[HOSTILE]], ""),
        markup.table([], [], HOSTILE),
        markup.cards([(HOSTILE, HOSTILE, HOSTILE)]),
        markup.predictor(HOSTILE, HOSTILE, 50, HOSTILE, [HOSTILE]),
        markup.chain([(HOSTILE, [(HOSTILE, HOSTILE)])]),
    ],
)
def test_what_is_told_cannot_become_markup(piece: str) -> None:
    parsed = Tags(piece)
    assert "img" not in parsed.tags and "onerror" not in parsed.attributes
    assert HOSTILE in parsed.said


def test_a_command_is_set_as_one() -> None:
    assert markup.text("run `make <x>` now") == "run <code>make &lt;x&gt;</code> now"
    assert markup.text(None) == "–"


def test_states_are_told_apart_at_a_glance() -> None:
    piece = markup.table(["decision"], [["rollback"], ["start"]], "")
    assert '<span class="word red">rollback</span>' in piece and ">start</td>" in piece


def test_times_are_in_utc() -> None:
    assert markup.moment("2026-05-01T14:00:00+02:00") == "2026-05-01 12:00:00"
    assert markup.day("2026-05-01T01:00:00+02:00") == "2026-04-30"


def test_labels_of_charts_are_text() -> None:
    figure = charts.distributions(
        {"labels": [HOSTILE, "work"], "reference": [0.5, 0.5], "current": [1.0, 0.0]}
    )
    assert [tuple(bars.y) for bars in figure.data] == [(0.5, 0.5), (1.0, 0.0)]
    assert "<img" not in plotly.io.to_json(figure).replace("\\u003c", "<")


def test_failed_answers_stand_on_top_of_the_others() -> None:
    rows = [
        {"minute": "2026-05-01T12:00:00Z", "predictor": "v3", "requests": 10, "failed": 0},
        {"minute": "2026-05-01T12:00:00Z", "predictor": "v4", "requests": 5, "failed": 2},
    ]
    drawn = {bars.name: list(bars.y) for bars in charts.traffic(rows).data}
    assert drawn == {"v3": [10], "v4": [3], "failed": [2]}


def test_versions_and_estimates_are_lines_of_their_own() -> None:
    row = {"value": 0.6, "lower": 0.5, "upper": 0.7, "count": 9, "period_start": "2026-05-01T00:00:00Z"}
    rows = [
        row | {"model_version": version, "estimated": estimated}
        for version, estimated in (("3", False), ("4", False), ("4", True))
    ]
    rows.append(rows[0] | {"value": None, "lower": None, "upper": None})
    names = [line.name for line in charts.performance(rows).data]
    assert names == ["version 3", "version 4", "version 4 (estimated)"]


def test_an_api_that_is_away_is_told_with_the_remedy() -> None:
    with pytest.raises(ProblemError, match=r"127.0.0.1:9.*make control-room"):
        ControlApi("http://127.0.0.1:9").read("/now")
    with pytest.raises(ProblemError, match="this key is not known"):
        ControlApi("http://127.0.0.1:9").act("/pause", "Schlüssel", why="")
