"""Pieces of the page as HTML; whatever is told is text, which cannot become markup."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

LEVELS = {
    "drift": "red",
    "rollback": "red",
    "failed": "red",
    "interrupt": "amber",
    "rolled back": "amber",
    "refused": "amber",
    "promote": "green",
    "registered": "green",
    "same": "green",
}
"""Words of tables that are told apart at a glance."""

COMMAND = re.compile(r"`([^`]+)`")

STYLE = (Path(__file__).parent / "style.css").read_text()


def text(value: object) -> str:
    """Return a value as text inside markup, commands between backticks as code; what is missing is a dash."""
    return "–" if value is None else COMMAND.sub(r"<code>\1</code>", escape(str(value)))


def banner(level: str, line: str, beside: str = "") -> str:
    """Return a line on a ground of its level: red, amber, green or grey."""
    return (
        f'<div class="banner {escape(level)}" role="status"><strong>{text(line)}</strong>'
        f"<span>{text(beside)}</span></div>"
    )


def findings(rows: Iterable[Mapping[str, str]]) -> str:
    """Return findings with their remedies as a list."""
    items = [
        f'<li class="{escape(row["level"])}">{text(row["what"])}'
        + (f' <span class="remedy">→ {text(row["remedy"])}</span>' if row["remedy"] else "")
        + "</li>"
        for row in rows
    ]
    return f'<ul class="findings">{"".join(items)}</ul>'


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> str:
    """Return a table, which a narrow screen shows as a list of its rows; without rows the line ``empty``."""
    body = [
        "<tr>"
        + "".join(
            f'<td data-label="{escape(header)}">{_cell(value)}</td>'
            for header, value in zip(headers, row, strict=True)
        )
        + "</tr>"
        for row in rows
    ]
    if not body:
        return f'<p class="empty">{text(empty)}</p>'
    head = "".join(f"<th>{text(header)}</th>" for header in headers)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"


def _cell(value: object) -> str:
    """A word that tells a state gets its colour."""
    level = LEVELS.get(str(value))
    return f'<span class="word {level}">{text(value)}</span>' if level else text(value)


def cards(each: Iterable[tuple[str, object, object]]) -> str:
    """Return cards of a title, a large figure and a line below it."""
    inner = [
        f'<div class="card"><div class="title">{text(title)}</div><div class="figure">{text(figure)}</div>'
        f'<div class="below">{text(below)}</div></div>'
        for title, figure, below in each
    ]
    return f'<div class="cards">{"".join(inner)}</div>'


def predictor(name: str, role: str, percent: int, level: str, lines: Iterable[object]) -> str:
    """Return the card of a predictor with its share as a bar; ``percent`` is 0..100."""
    below = "".join(f'<div class="below">{text(line)}</div>' for line in lines)
    return (
        f'<div class="card {escape(level)}"><div class="title">{text(role)}</div>'
        f'<div class="figure">{text(name)} <span class="share">{percent} %</span></div>'
        f'<div class="bar"><div style="width:{percent}%"></div></div>{below}</div>'
    )


def chain(steps: Iterable[tuple[str, Iterable[tuple[str, object]]]]) -> str:
    """Return steps which follow from each other, each with its facts by name."""
    inner = []
    for title, facts in steps:
        told = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts)
        inner.append(f'<li><div class="title">{text(title)}</div><dl>{told}</dl></li>')
    return f'<ol class="chain">{"".join(inner)}</ol>'


def moment(iso: str | None) -> str:
    """Return a time to the second, in UTC."""
    return "–" if iso is None else f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def day(iso: str | None) -> str:
    """Return the day of a time, in UTC."""
    return "–" if iso is None else f"{datetime.fromisoformat(iso).astimezone(UTC):%Y-%m-%d}"
