"""The catalogue's page and the figures on it."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from feature_repo import catalogue
from feature_repo.coverage import Coverage, coverage
from feature_repo.names import ON_DEMAND_VIEWS, VIEWS
from feature_repo.settings import FeatureSettings


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    return catalogue.sections(FeatureSettings(home=tmp_path_factory.mktemp("empty")))


def test_the_page_tells_every_feature_with_its_unit_validity_and_inputs(sections):
    page = Page(catalogue.render(sections, ""))
    for features in (VIEWS | ON_DEMAND_VIEWS).values():
        for feature in features:
            for text in (feature.name, feature.description, feature.unit, feature.validity):
                assert text in page.text
    assert "requested_purpose: what the user looks for" in page.text
    assert "user_capacity_counts" in page.text


def test_without_a_history_nothing_is_claimed_about_values(sections):
    assert all(row.coverage is None for section in sections for row in section.features)
    page = Page(catalogue.render(sections, ""))
    assert page.text.count("not computed yet") == sum(map(len, VIEWS.values()))


def test_the_page_needs_nothing_from_elsewhere(sections):
    text = catalogue.render(sections, "")
    for _, attributes in Page(text).tags:
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:"))
    assert not re.search(r"https?://|@import|url\(", text)


def test_hostile_text_stays_text(sections):
    hostile = "</p><script>alert(1)</script>\"'&"
    row = replace(
        sections[0].features[0], description=hostile, unit=hostile, coverage=Coverage(1, 1.0, middle=hostile)
    )
    section = replace(
        sections[0], name=hostile, description=hostile, features=(row,), facts=((hostile, (hostile,)),)
    )
    plain = Page(catalogue.render([sections[0]], ""))
    page = Page(catalogue.render([section], hostile))
    for tag in ("script", "style"):
        assert [name for name, _ in page.tags].count(tag) == [name for name, _ in plain.tags].count(tag)
    assert page.text.count(hostile) >= 6


def test_services_say_how_much_of_a_view_they_give(sections):
    users = dict(sections[0].facts)["services"]
    assert users == (f"recommender_v3 (20 of {len(VIEWS['user_features'])})", "marketplace_v1")
    by_name = {row.name: row for row in sections[0].features}
    assert by_name["user_age"].services == ("recommender_v3",)
    assert by_name["user_price_deviation"].services == ()


def test_coverage_is_that_of_the_last_row_of_each_entity(tmp_path):
    day = pd.Timestamp("2020-01-01", tz="UTC")
    frame = pd.DataFrame(
        {
            "user_id": ["1", "11", "1", "2", "11", "3"],
            "event_timestamp": [day + pd.Timedelta(days=n) for n in (5, 1, 2, 3, 4, 0)],
            "number": [1.0, 900.0, 800.0, 3.0, 20_000.0, None],
            "word": ["b", "z", "z", "b", "a", None],
            "time": [0.0, 9e9, 9e9, 86_400.0, 0.0, None],
            "counts": ["{}", None, None, "{}", "{}", "{}"],
            "list": ["[]", None, None, '["a"]', "[]", None],
            "empty": pd.Series([None] * 6, dtype="float32"),
        }
    )
    frame[:3].to_parquet(tmp_path / "one.parquet")
    frame[3:].to_parquet(tmp_path / "two.parquet")
    (tmp_path / ".three.parquet.tmp").write_text("half written")
    kinds = {"number": "numeric", "word": "categorical", "time": "time", "counts": "counts", "list": "list"}
    found = coverage(tmp_path, "user_id", {**kinds, "empty": "numeric", "not_there": "numeric"})
    assert found == {
        "number": Coverage(4, 0.75, "1", "3", "20,000"),
        "word": Coverage(4, 0.75, middle="b (67%)"),
        "time": Coverage(4, 0.75, "1970-01-01", "1970-01-01", "1970-01-02"),
        "counts": Coverage(4, 1.0),
        "list": Coverage(4, 0.75),
        "empty": Coverage(4, 0.0),
    }


def test_the_command_writes_the_page_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RENTALS_HOME", str(tmp_path / "new"))
    catalogue.main()
    page = tmp_path / "new" / "catalogue.html"
    assert capsys.readouterr().out.endswith(f"{page}\n")
    assert page.read_text().startswith("<!doctype html>")
    assert [path.name for path in page.parent.iterdir()] == ["catalogue.html"]
