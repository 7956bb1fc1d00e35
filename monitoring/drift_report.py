"""The verdict of a drift comparison: what moved, how far, how surely, in words and in plain values."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from monitoring.distribution import Kind

TestName = Literal["kolmogorov-smirnov", "chi-square", "missing values"]

TOGETHER = "all features together"
"""What drifted when no feature did and their joint distribution did."""


@dataclass(frozen=True)
class Change:
    """When a feature changed.

    Attributes:
        since: the first moment after the change, to a hundredth of all rows.
        p_value: how likely the rows part so clearly at any moment without a change.
    """

    since: Any
    p_value: float

    def __str__(self) -> str:
        """The moment, in words."""
        return f"since {self.since:%Y-%m-%d}" if isinstance(self.since, date) else f"since {self.since}"


@dataclass(frozen=True)
class FeatureDrift:
    """The verdict on one feature.

    Attributes:
        name: the feature.
        kind: ``numeric`` or ``categorical``.
        test: the test that decided: of the values, or of how many are missing; None with too few rows.
        p_value: of that test.
        adjusted_p_value: after Benjamini-Hochberg over all tests of all features, twice as large as these
            share the level with the test of all features together.
        effects: distances by name: ``ks`` (0..1) and ``wasserstein`` (reference standard deviations) for
            numeric features, with ``mean_reference`` and ``mean_current``; ``psi``, ``jensen_shannon``
            (0..1), ``unseen`` (share of current values that the reference has no category or range for),
            ``missing_reference`` and ``missing_current`` (shares of rows) for all. What could not be
            computed is left out.
        drifted: whether the difference is both sure and large.
        explanation: the same in words.
        change: since when; None if it has not drifted, or nothing is known of time.
    """

    name: str
    kind: Kind
    test: TestName | None
    p_value: float
    adjusted_p_value: float
    effects: dict[str, float]
    drifted: bool
    explanation: str
    change: Change | None = None


@dataclass(frozen=True)
class JointDrift:
    """The verdict on all features together.

    Attributes:
        adjusted_p_value: of the energy test, twice as large as it shares the level with the features.
        effect: the energy coefficient (0 for equal distributions, 1 for ones far apart), less what chance
            gives, times the number of features: one that moves among others counts about as if alone.
        drifted: whether the difference is both sure and large.
        rows: how many rows of both samples were drawn for it.
        least_like: positions of the drawn current rows which are least like the reference, that one first.
    """

    adjusted_p_value: float
    effect: float
    drifted: bool
    rows: int
    least_like: tuple[int, ...]

    def __str__(self) -> str:
        """The verdict in a line."""
        return f"{TOGETHER}: energy {self.effect:.3f}, p {self.adjusted_p_value:.3f}, from {self.rows} rows"


@dataclass(frozen=True)
class NewRow:
    """A current row to look at: its label in the frame's index, and why."""

    label: str
    why: str


@dataclass(frozen=True)
class DriftReport:
    """What a comparison found.

    Attributes:
        features: the verdicts on all features, in the order asked for.
        joint: the verdict on all of them together; None with too few rows.
        new_rows: current rows which look new.
        reference_rows: rows compared.
        current_rows: the same.
    """

    features: tuple[FeatureDrift, ...]
    joint: JointDrift | None
    new_rows: tuple[NewRow, ...]
    reference_rows: int
    current_rows: int

    @property
    def drifted(self) -> list[str]:
        """Names of the features that drifted, or `TOGETHER` where it shows only in all of them."""
        names = [feature.name for feature in self.features if feature.drifted]
        return names or ([TOGETHER] if self.joint and self.joint.drifted else [])

    @property
    def since(self) -> Any:
        """The first moment at which one of the drifted features changed; None where none tells."""
        return min((one.change.since for one in self.features if one.drifted and one.change), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON takes."""
        return {
            "drifted": self.drifted,
            "reference_rows": self.reference_rows,
            "current_rows": self.current_rows,
            "features": [
                asdict(feature)
                | {"change": feature.change and asdict(feature.change) | {"since": str(feature.change.since)}}
                for feature in self.features
            ],
            "joint": self.joint and asdict(self.joint),
            "new_rows": [asdict(row) for row in self.new_rows],
        }

    def to_text(self) -> str:
        """Return a table for people, drifted features first."""
        ordered = sorted(self.features, key=lambda feature: not feature.drifted)
        width = max(len(feature.name) for feature in self.features)
        lines = [f"{self.reference_rows} reference rows, {self.current_rows} current rows"]
        for feature in ordered:
            verdict = "DRIFT" if feature.drifted else "same"
            psi = feature.effects.get("psi", float("nan"))
            since = f", {feature.change}" if feature.change else ""
            lines.append(
                f"{verdict:5}  {feature.name:{width}}  psi {psi:6.3f}  p {feature.adjusted_p_value:7.1e}"
                f"  {feature.explanation}{since}"
            )
        if self.joint:
            lines.append(f"{'DRIFT' if self.joint.drifted else 'same':5}  {self.joint}")
        lines += [f"new    row {row.label}: {row.why}" for row in self.new_rows]
        return "\n".join(lines)
