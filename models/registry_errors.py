"""What the registry fails with: MLflow's and S3's errors as ours, which name the remedy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from models.settings import ModelSettings

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes for a model or version that is not there, and for an alias that is not."""


class RegistryError(LookupError):
    """The registry has no such version or alias, or does not answer; the message names the remedy."""


class NotRegisteredError(RegistryError):
    """The registry answers, and has no such version or alias."""


@contextmanager
def asking(settings: ModelSettings, missing: str) -> Iterator[None]:
    """Raise NotRegisteredError with ``missing``, or RegistryError with the address and what failed."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in MISSING:
            raise NotRegisteredError(missing) from error
        address = re.sub("//[^/@]*@", "//", settings.tracking_uri)
        raise RegistryError(
            f"the registry at {address} does not answer: {error.message}; start its server, or correct "
            "RENTALS_MLFLOW_TRACKING_URI"
        ) from error


@contextmanager
def keeping(settings: ModelSettings) -> Iterator[None]:
    """Raise RegistryError where S3, of which only its own package knows the errors, fails."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in ("boto3", "botocore"):
            raise
        raise RegistryError(
            f"what runs keep at {settings.artifacts or 'S3'} cannot be written or read: {error}; make the "
            "bucket, let the account use it, or correct RENTALS_MLFLOW_ARTIFACTS or AWS_ENDPOINT_URL_S3"
        ) from error
