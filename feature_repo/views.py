"""What each feature view is computed from: its key, its events and what it keeps of them.

This is the one definition for both engines: the batch job reads it as Spark columns, the stream as arrays.
"""

import struct
from dataclasses import dataclass

from feature_repo.names import CATEGORY_VIEW, CLASS_NAMES, PURPOSE_VIEW, RENTAL_VIEW, USER_VIEW

ENTITY_ATTRIBUTES = {
    "rentals": ("price", "capacity", "category"),
    "users": CLASS_NAMES,
}
"""What a rating takes from its rental and its user, if that existed when the rating became known."""


@dataclass(frozen=True)
class View:
    """A view's features, in terms of the lake's tables."""

    name: str
    prefix: str
    """First word of its features' names."""

    key: str
    """Column of the ratings, joined with their rentals and users, that names the entity."""

    starts: str = ""
    """Table whose rows make an entity exist before its first rental: it has a row from then on."""

    started_at: str = ""
    """Time column of ``starts``."""

    rating_measures: tuple[str, ...] = ()
    """Which of ``price`` and ``capacity`` are averaged over the rentals that were rated."""

    start_measures: tuple[str, ...] = ()
    """Which of them are averaged over the rows of ``starts``."""

    counted: tuple[str, ...] = ()
    """Attributes of the events whose values are counted."""

    recalled: tuple[str, ...] = ()
    """Attributes of the events whose last values are listed: ``rental_id`` or nothing."""

    profile: tuple[str, ...] = ()
    """Columns of ``starts`` that are features themselves."""

    def keeps(self, attribute: str) -> bool:
        """Whether an event of this view carries ``attribute`` of the rating, its rental and its user."""
        return attribute in (*self.rating_measures, *self.counted, *self.recalled)


VIEW_DEFINITIONS = (
    View(
        USER_VIEW,
        prefix="user",
        key="user_id",
        starts="users",
        started_at="joined_at",
        rating_measures=("price", "capacity"),
        counted=("category", "purpose", "capacity", "size"),
        recalled=("rental_id",),
        profile=("age", "height_cm", "weight_kg", "segment", *CLASS_NAMES),
    ),
    View(
        RENTAL_VIEW,
        prefix="rental",
        key="rental_id",
        starts="rentals",
        started_at="listed_at",
        counted=("purpose", "size", *CLASS_NAMES),
        profile=("price", "capacity", "category", "area"),
    ),
    View(
        CATEGORY_VIEW,
        prefix="category",
        key="category",
        starts="rentals",
        started_at="listed_at",
        start_measures=("price",),
        counted=("purpose",),
    ),
    View(PURPOSE_VIEW, prefix="purpose", key="purpose", counted=("category",)),
)


def size_label(size: float) -> str:
    """Return the text under which a size is counted: the shortest that names the float32 next to it.

    Sizes are computed with in float64 but stored, and read from Feast, as float32. Both have the same label;
    no two sizes that float32 tells apart share one.
    """
    (stored,) = struct.unpack("f", struct.pack("f", size))
    stored += 0.0  # makes 0 of -0
    for digits in range(FLOAT32_SAFE_DIGITS, FLOAT32_ALL_DIGITS):
        label = f"{stored:.{digits}g}"
        if struct.pack("f", float(label)) == struct.pack("f", stored):
            return label
    return f"{stored:.{FLOAT32_ALL_DIGITS}g}"


FLOAT32_SAFE_DIGITS = 6
"""Decimal digits of a number that float32 always keeps."""

FLOAT32_ALL_DIGITS = 9
"""Decimal digits that always name one float32."""
