"""Model repositories where a cluster looks for them: what is written here is copied to S3."""

from pathlib import Path
from urllib.parse import urlsplit

from serving.settings import ServingSettings

S3 = "s3://"


class ModelStorageError(RuntimeError):
    """A model repository cannot be copied; the message names the remedy."""


def upload(repository: Path, settings: ServingSettings) -> None:
    """Copy ``models/v<version>`` below ``model_uri_base`` if that is on S3; elsewhere nothing is done.

    A predictor fetches it when it starts, which is after this has returned. The same version again, as after
    a kill, replaces each object, which S3 does in one moment.

    Raises:
        ModelStorageError: S3 does not answer, has no such bucket, or refuses the account.
    """
    if not settings.model_uri_base.startswith(S3):
        return
    import boto3
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError

    base = urlsplit(f"{settings.model_uri_base.rstrip('/')}/{repository.name}")
    try:
        s3 = boto3.client("s3")
        for file in sorted(path for path in repository.rglob("*") if path.is_file()):
            key = f"{base.path.strip('/')}/{file.relative_to(repository).as_posix()}"
            s3.upload_file(str(file), base.netloc, key)
    except (BotoCoreError, S3UploadFailedError) as error:
        raise ModelStorageError(
            f"{repository.name} cannot be copied to {settings.model_uri_base} ({error}): make the bucket, "
            "let the account write it, or correct RENTALS_MODEL_URI_BASE or AWS_ENDPOINT_URL_S3"
        ) from error
