"""Settings of the flows, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class FlowSettings(BaseSettings):
    """How the flows cut time and what they ask of a model."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    test_days: int = 60
    """The last days before the training's end are the test: long enough for a stable figure, short enough to
    be like the days that follow."""

    catalogue_weeks: int = 104
    """Weekly catalogue snapshots that the ranking loss and the tests see: two years of seasons, and a
    popularity that is at most a week old."""

    retrain_cooldown_days: int = Field(7, ge=0)
    """Days of new ratings that a training by an alarm must have seen more than the one before it."""

    retrain_daily_budget: int = Field(3, ge=1)
    """Trainings that alarms may start within 24 hours."""

    retrain_patience: int = Field(3, ge=1)
    """Trainings in a row without a new version after which a person is called and nothing trains any more."""

    alert_url: str = ""
    """Webhook that is told when a person is needed (JSON with the key ``text``); else standard error."""
