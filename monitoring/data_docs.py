"""Data docs: what the suites ask of each table and what they found, as pages that open without a network.

The content is rendered by Great Expectations. Its own page around it loads styles and scripts from five
other hosts, so the page and the style here are the project's.
"""

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monitoring.expectations import great_expectations

PAGES = Path(__file__).with_name("data_docs_pages")
INDEX = "index.html"


@dataclass(frozen=True)
class _About:
    """One table in the list of all, kept as JSON beside its page."""

    table: str
    describes: str
    rows: int
    expectations: int
    failed: int
    failures: list[str]
    checked_at: str


def publish(
    folder: Path, result: dict[str, Any], rows: int, describes: str, now: datetime | None = None
) -> Path:
    """Write the page of one table, and the list of all tables anew.

    Args:
        folder: where the pages are; a table's last page is replaced.
        result: a validation result of Great Expectations, as its ``to_json_dict`` gives it.
        rows: of the table.
        describes: what the table is, a sentence.
        now: when it was checked.

    Returns:
        The list of all tables, to be opened in a browser.
    """
    great_expectations()
    from great_expectations.core import expectation_validation_result
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    failed = [one for one in result["results"] if not one["success"]]
    about = _About(
        table=result["suite_name"],
        describes=describes,
        rows=rows,
        expectations=len(result["results"]),
        failed=len(failed),
        failures=[one["expectation_config"]["description"] for one in failed],
        checked_at=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M}",
    )
    schema = expectation_validation_result.expectationSuiteValidationResultSchema
    view = DefaultJinjaPageView(custom_views_directory=str(PAGES))
    document = ValidationResultsPageRenderer().render(schema.load(result))
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / f"{about.table}.html", view.render(document, "page.html", about=about))
    _replace(folder / f"{about.table}.json", json.dumps(asdict(about)))
    tables = [json.loads(file.read_text()) for file in sorted(folder.glob("[!.]*.json"))]
    _replace(folder / INDEX, view.env.get_template("index.html").render(tables=tables))
    return folder / INDEX


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
