"""Settings of monitoring, read from ``RENTALS_…`` environment variables."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

CHECKOUT = Path(__file__).resolve().parents[1]


class MonitoringSettings(BaseSettings):
    """Where monitoring writes, and the thresholds at which it speaks up."""

    model_config = SettingsConfigDict(env_prefix="RENTALS_")

    home: Annotated[Path, AfterValidator(Path.absolute)] = CHECKOUT / ".rentals"
    """Folder of everything that a run writes; a relative one is below the working folder."""

    mostly_bad_share: float = Field(default=0.5, gt=0, le=1)
    """A batch with a larger share of bad rows stops: past one half the source is broken, not the rows."""

    feature_known_share_kept: float = Field(default=0.5, ge=0, le=1)
    """Part of a feature's known values, as a share of its rows, that must still be known among the rows since
    the run before: whoever loses half of them has lost a source, not customers."""

    volume_warning_factor: float = Field(default=5.0, gt=1)
    """Ratings a day of a batch, against the median of the batches before, beyond which it is told: a season
    makes two or three of it."""

    volume_stop_factor: float = Field(default=100.0, gt=1)
    """Beyond it the batch stops: a hundredfold is a file that was cut off, or that was written twice."""

    stale_days: float = Field(default=7.0, gt=0)
    """Days between the newest rating of a batch and its end (without one: now) beyond which it is told."""

    drift_false_discovery_level: float = Field(default=0.01, gt=0, lt=1)
    """Expected share of false alarms among what is named as drifted (Benjamini-Hochberg), and with nothing
    moved how often anything at all is."""

    drift_ks: float = Field(default=0.1, ge=0, le=1)
    """Kolmogorov-Smirnov distance a numeric feature must exceed: a tenth of all rows lies elsewhere."""

    drift_psi: float = Field(default=0.2, ge=0)
    """Population stability index a categorical feature must exceed: above 0.2 credit scoring acts."""

    drift_missing_share: float = Field(default=0.1, ge=0, le=1)
    """Change in the share of missing values that counts as drift: a tenth of all rows lost or gained."""

    drift_energy: float = Field(default=0.02, ge=0)
    """Energy coefficient times features that all together must exceed: what one gives that moves by a quarter
    of its standard deviation, which is a Kolmogorov-Smirnov distance of 0.1."""

    drift_minimum_rows: int = Field(default=30, ge=2)
    """Fewer independent values than this, on either side, are not judged: the tests are asymptotic."""

    unlisted_share: float = Field(default=0.05, gt=0, le=1)
    """Share of new ratings that may be of rentals which the served catalogue lacks: none of them could have
    been recommended. A refresh of the catalogue costs no training."""

    log_capacity: int = Field(default=20_000, ge=1)
    """Entries the prediction log keeps waiting for the disk; past it new ones are counted as dropped."""

    log_interval_seconds: float = Field(default=0.25, gt=0)
    """Least time between two files of the prediction log: fresh enough for a canary, few enough files."""

    control_url: str = "http://127.0.0.1:20000"
    """Address of the control API, from which the control room's page has all that it shows."""

    skew_threshold: float = Field(default=0.001, ge=0, lt=1)
    """Share of the served values of any one feature that may differ from the recomputed ones. Both come from
    one history, so that all should be equal; one in a thousand is left for requests which were answered
    while new features were on their way."""

    skew_sample: int = Field(default=2_000, ge=1)
    """Logged requests which `make skew` recomputes: enough to see a share of one in a thousand."""

    pushgateway_url: str = ""
    """Pushgateway that flows push their figures to, for pods; empty: they are kept in files of the home."""

    performance_period: Literal["day", "week", "month"] = "week"
    """Length of the periods by which performance is told: a week holds all its days, weekend included."""

    performance_horizon_days: float = Field(default=30, gt=0)
    """Longest time for the labels of an answer: a rental later than that has other reasons. It is shorter
    where the log shows that labels come faster."""

    performance_reference_users: int = Field(default=500, ge=30)
    """First users of a version, by whom later ones are judged: with fewer even a doubled error is hard to
    tell from a reference that was lucky."""

    performance_rmse_margin: float = Field(default=0.05, ge=0)
    """Relative rise of the RMSE that is no alarm: a smaller one costs no user a noticeable star."""

    performance_reward_margin: float = Field(default=0.1, ge=0, lt=1)
    """Relative loss of liked answers that is no alarm: days of the week differ by as much."""

    performance_false_alarm_level: float = Field(default=0.01, gt=0, lt=1)
    """Chance that a version which did not get worse ever raises an alarm, however often it is looked at."""

    performance_least_labels: int = Field(default=200, ge=50)
    """Ratings of a version from which the error of what is not rated yet is estimated: ten strata of
    twenty."""

    served_days: int = Field(default=7, ge=1)
    """Days at the begin of a version and up to now whose served features and predictions are compared: a
    week each, so that weekdays weigh the same."""

    @property
    def data_docs(self) -> Path:
        """Folder of the data docs."""
        return self.home / "data-docs"

    @property
    def quality(self) -> Path:
        """SQLite file of what batches and features looked like, run by run."""
        return self.home / "monitoring" / "quality.db"
