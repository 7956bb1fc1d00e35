"""The settings of an overlay, which all pods get: a file, whatever this machine's environment says."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from feature_repo.settings import FeatureSettings
from flows.settings import FlowSettings
from models.settings import GateSettings, Hyperparameters, ModelSettings, TrainerSettings
from monitoring.settings import MonitoringSettings
from serving.settings import ClusterSettings, DecisionThresholds, ServingSettings

ROOMS: tuple[type[BaseSettings], ...] = (
    *(FeatureSettings, FlowSettings, MonitoringSettings),
    *(ModelSettings, Hyperparameters, TrainerSettings, GateSettings),
    *(ServingSettings, DecisionThresholds, ClusterSettings),
)

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
    known = {
        f"{kind.model_config.get('env_prefix', '')}{name}".upper()
        for kind in ROOMS
        for name in kind.model_fields
    }
    for name in dotenv_values(path):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            yield f"{path.name}: {name}: no room has this setting{hint}"
    for kind in ROOMS:
        try:
            read(path, kind)
        except SettingsError as error:
            yield f"{path.name}: {error}"
        except ValidationError as error:
            for fault in error.errors():
                yield f"{path.name}: {fault['loc'][0]}: {fault['msg']}, got {fault['input']!r}"
