"""Features that break their suites do not go online; the next ones are compared with the last good ones."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from feature_repo.names import VIEWS
from feature_repo.settings import FeatureSettings
from flows.feature_quality import LIMITS, check, tables
from flows.features_card import features_card
from monitoring.feature_expectations import TIME, FeatureQualityError

pytestmark = pytest.mark.slow

DAY = pd.Timestamp("2024-01-01", tz="UTC")
ENTITIES = 200


def write(settings: FeatureSettings, day: pd.Timestamp, **changes: Any) -> None:
    """Add one good row for each entity of each feature table at ``day``, but for what changes say."""
    for table in tables(day):
        columns: dict[str, Any] = {
            table.key: [f"{n}" for n in range(ENTITIES)],
            TIME: pd.Series([day] * ENTITIES).astype("datetime64[us, UTC]"),
        }
        kinds = {feature.name: feature.kind for feature in VIEWS[table.name]}
        for column in table.columns:
            text = kinds[column.name] in ("categorical", "counts", "list")
            columns[column.name] = ["{}" if text else column.limits[0] if column.limits else 0.0] * ENTITIES
        columns |= {name: value for name, value in changes.items() if name in columns}
        folder = settings.lake / table.name
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(columns).to_parquet(folder / f"{day:%Y%m%d}.parquet", index=False)


@pytest.fixture
def settings(tmp_path: Path, spark: Any) -> FeatureSettings:
    """Good features as of a day, checked once."""
    found = FeatureSettings(home=tmp_path / "home")
    write(found, DAY)
    good = check(found, DAY)
    good.require()
    assert good.failures == []
    return found


def test_every_number_has_its_limits():
    assert {column.name for table in tables(DAY) for column in table.columns if column.limits} == {
        feature.name
        for features in VIEWS.values()
        for feature in features
        if feature.kind in ("numeric", "time")
    }
    assert all(low <= high for low, high in LIMITS.values())


def test_what_breaks_a_suite_stops_with_the_remedy_and_good_features_go_on(settings: FeatureSettings):
    later = DAY + pd.Timedelta(days=30)
    write(settings, later, user_rentals_7d=[-1.0] + [0.0] * (ENTITIES - 1), rental_price=None)
    quality = check(settings, later)
    price = (
        "rental_features: 'rental_price is known as often as before: 100%, and at least 50%' does not hold: 0"
    )
    assert quality.failures == ["user_features: 'user_rentals_7d is 0 or more' does not hold: -1", price]
    with pytest.raises(FeatureQualityError, match=r"2 expectations .* nothing went online: .*make features"):
        quality.require()
    page = Path(quality.data_docs)
    assert "✘" in page.read_text()
    assert "user_rentals_7d is 0 or more" in page.with_name("user_features.html").read_text()
    texts = " ".join(str(part.render()) for part in features_card(quality, None, []))
    assert "**2 of" in texts
    assert "nothing went online" in texts

    # The failed run is no past to compare with: what was lost still counts as lost.
    assert price in check(settings, later).failures

    write(settings, later)
    check(settings, later).require()


def test_a_row_from_the_future_stops(settings: FeatureSettings):
    failures = check(settings, DAY - pd.Timedelta(seconds=1)).failures
    assert len([failure for failure in failures if "no event_timestamp is after" in failure]) == len(VIEWS)
