"""Settings as a whole, of all rooms: those of a file, whatever the environment says, and those in force."""

import difflib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from feature_repo.settings import FeatureSettings
from flows.settings import ClusterSettings as ArgoSettings
from flows.settings import FlowSettings
from models.settings import GateSettings, Hyperparameters, ModelSettings, TrainerSettings
from monitoring.settings import MonitoringSettings
from serving.setting_faults import setting_faults
from serving.settings import ClusterSettings, DecisionThresholds, ServingSettings

ROOMS: tuple[type[BaseSettings], ...] = (
    *(FeatureSettings, FlowSettings, ArgoSettings, MonitoringSettings),
    *(ModelSettings, Hyperparameters, TrainerSettings, GateSettings),
    *(ServingSettings, DecisionThresholds, ClusterSettings),
)

NO_SETTINGS = {"RENTALS_API_KEY", "RENTALS_GATEWAY_PORTS", "RENTALS_MODEL_FINGERPRINT", "RENTALS_RUNTIME"}
"""Variables with the prefix of settings that are none: a client's key, and what a runtime tells its parts."""

Settings = TypeVar("Settings", bound=BaseSettings)


class _FromFile(BaseSettings):
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (dotenv_settings,)


def read(path: Path, kind: type[Settings]) -> Settings:
    """Return the settings of a room as the file has them; what it has of other rooms is left out.

    Raises:
        ValidationError, SettingsError: a value is not one that its setting takes.
    """
    config = SettingsConfigDict(env_file=path, extra="ignore")
    found: Settings = type(
        kind.__name__, (_FromFile, kind), {"__module__": __name__, "model_config": config}
    )()
    return found


def faults(path: Path) -> Iterator[str]:
    """Give the variables of a file that no room reads, and the values that none takes."""
    yield from (f"{path.name}: {fault}" for fault in _unknown(dotenv_values(path)))
    for kind in ROOMS:
        yield from (f"{path.name}: {fault}" for fault in setting_faults(kind, lambda kind: read(path, kind)))


def faults_of_environment() -> Iterator[str]:
    """The same of this process's variables with our prefix."""
    yield from _unknown(
        name for name in os.environ if name.startswith("RENTALS_") and name not in NO_SETTINGS
    )
    yield from wrong_values()


def wrong_values() -> Iterator[str]:
    """Give the values in this process's environment that no room takes."""
    for kind in ROOMS:
        yield from setting_faults(kind)


def _unknown(names: Iterable[str]) -> Iterator[str]:
    known = {
        f"{kind.model_config.get('env_prefix', '')}{name}".upper()
        for kind in ROOMS
        for name in kind.model_fields
    }
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{name}: no room has this setting{hint}"
