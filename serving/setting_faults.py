"""What is wrong with the values of settings, by the names under which people set them."""

from collections.abc import Callable, Iterator

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError


def setting_faults(
    kind: type[BaseSettings], make: Callable[[type[BaseSettings]], BaseSettings] = lambda kind: kind()
) -> Iterator[str]:
    """Give each value that ``kind`` does not take, with its variable.

    Args:
        kind: a room's settings.
        make: reads them; from the environment by default.
    """
    prefix = kind.model_config.get("env_prefix", "")
    try:
        make(kind)
    except SettingsError as error:
        # A value that is to be JSON, and is not.
        field = str(error).partition('"')[2].partition('"')[0]
        yield f"{prefix}{field.upper()}: is not JSON, such as its documentation shows"
    except ValidationError as error:
        for fault in error.errors():
            name, message = str(fault["loc"][0]).upper(), fault["msg"]
            yield f"{prefix}{name}: {message[0].lower()}{message[1:]}, got {fault['input']!r}"
