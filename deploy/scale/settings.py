"""What is assumed and what was measured, read from ``RENTALS_SCALE_…`` environment variables."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Target(BaseSettings):
    """How large the system is to be. All of it is assumed."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_SCALE_")

    users: int = Field(100_000_000, ge=1)
    """Users, each of whom asks as often as another."""

    rentals: int = Field(10_000_000, ge=1)
    """Rentals of the catalogue."""

    requests_per_second: float = Field(1_000_000, gt=0)
    """Recommendations asked for in the busiest second."""

    mean_load: float = Field(0.5, gt=0, le=1)
    """Requests of a mean second, as a part of the busiest one's."""

    events_per_day: float = Field(1_000_000_000, gt=0)
    """Ratings of a day."""

    popularity_exponent: float = Field(0.8, gt=0, lt=2)
    """Zipf's exponent of rentals and users: the one at rank r is met in proportion to r to the minus this."""

    answer_rentals: int = Field(10, ge=1)
    """Rentals of an answer, each of which the API describes."""

    core_gigabytes_per_second: float = Field(10, gt=0)
    """What a core reads from memory, where all of them read."""


class Prices(BaseSettings):
    """Prices, all assumed; put yours. The unit is one of money, the same in all of them."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_SCALE_")

    core_hour: float = Field(0.04, ge=0)
    """A core with its share of memory, for an hour."""

    memory_gigabyte_hour: float = Field(0.005, ge=0)
    """A gigabyte of memory, for an hour."""

    storage_gigabyte_month: float = Field(0.02, ge=0)
    """A gigabyte of object storage, for a month of 30 days."""

    million_writes: float = Field(5.0, ge=0)
    """A million objects written to object storage."""

    log_days: float = Field(30.0, gt=0)
    """Days for which the prediction log is kept."""

    memory_copies: int = Field(2, ge=1)
    """Copies of what is in memory: a store that has lost a machine must go on."""


class Measured(BaseSettings):
    """What the benchmarks found on two cores; ``docs/scale.md`` names the command of each."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_SCALE_")

    answers_per_second: float = Field(452.9, gt=0)
    """Recommendations with eight clients, whose own work is on the same cores."""

    answer_cores: float = Field(2, gt=0)
    """Cores that these kept busy, at most."""

    user_value_bytes: float = Field(1454, gt=0)
    """Packed features of a user, the largest of them."""

    rental_value_bytes: float = Field(1187, gt=0)
    """Packed features of a rental, the largest of them."""

    store_entry_bytes: float = Field(130, ge=0)
    """Key of a packed value (33 bytes), and what Redis is assumed to spend on a field of a hash."""

    materialized_rows_per_second: float = Field(256_410, gt=0)
    """Rows of ten features that one driver writes into Redis."""

    history_ratings_per_second: float = Field(16 * 192_462 / 321, gt=0)
    """Ratings folded into the history on two cores, where there are 3.1 million."""

    history_rows_per_rating: float = Field(24.3e6 / (16 * 192_462), gt=0)
    """Rows of the history that a rating makes in all views."""

    history_row_bytes: float = Field(35, gt=0)
    """Parquet of such a row, the mean of all views."""

    stream_events_per_second: float = Field(1000, gt=0)
    """Events of the stream at which an online feature is there within .73 s (p99)."""

    training_events_per_second: float = Field(12_331, gt=0)
    """Events that a training passes on one thread, of a catalogue of 5,850."""

    log_row_bytes: float = Field(526, gt=0)
    """Parquet of an answer in the prediction log."""

    log_files_per_second: float = Field(4, gt=0)
    """Files of the log that each API process writes."""

    lifts: int = Field(56, ge=0)
    """Values of purposes, sizes and classes of users that a rental's vector counts beside what is learnt."""

    subjects: int = Field(5, ge=0)
    """Subjects of a rental's common reasons in the graph."""
