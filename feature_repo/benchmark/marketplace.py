"""The lake that is measured: one of its own, so that nothing of the user's is touched."""

from feature_repo import lake, readers
from feature_repo.schema import TABLES
from feature_repo.settings import FeatureSettings


def marketplace(settings: FeatureSettings, data: str) -> FeatureSettings:
    """Return settings whose home holds a lake of the source behind ``data`` (see ``readers.dataset_of``).

    Rows that lack what the contract demands are left out; a lake that is there already is taken as it is.
    """
    name = f"{readers.dataset_of(data)}-{readers.fingerprint(data)}"
    filled = settings.model_copy(update={"home": settings.home / "bench" / name})
    if not lake.dataset_of(filled.lake):
        source = readers.read(data)
        for table, frame in (
            ("users", source.users),
            ("rentals", source.rentals),
            ("ratings", source.ratings),
        ):
            needed = [field.name for field in TABLES[table] if not field.nullable]
            lake.append(filled.lake, table, "all", frame.dropna(subset=needed))
        lake.claim(filled.lake, readers.dataset_of(data))
    return filled
