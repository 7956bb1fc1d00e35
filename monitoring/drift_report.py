"""The verdict of a drift comparison: what moved, how far, how surely, in words and in plain values."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from monitoring.distribution import Kind

TestName = Literal["kolmogorov-smirnov", "chi-square", "missing values"]


@dataclass(frozen=True)
class FeatureDrift:
    """The verdict on one feature.

    Attributes:
        name: the feature.
        kind: ``numeric`` or ``categorical``.
        test: the test that decided: of the values, or of how many are missing; None with too few rows.
        p_value: of that test.
        adjusted_p_value: after Benjamini-Hochberg over all tests of all features.
        effects: distances by name: ``ks`` (0..1) and ``wasserstein`` (reference standard deviations) for
            numeric features; ``psi``, ``jensen_shannon`` (0..1), ``missing_reference`` and
            ``missing_current`` (shares of rows) for all. What could not be computed is left out.
        drifted: whether the difference is both sure and large.
        explanation: the same in words.
    """

    name: str
    kind: Kind
    test: TestName | None
    p_value: float
    adjusted_p_value: float
    effects: dict[str, float]
    drifted: bool
    explanation: str


@dataclass(frozen=True)
class DriftReport:
    """The verdicts on all features, in the order asked for, and the sizes in rows of both samples."""

    features: tuple[FeatureDrift, ...]
    reference_rows: int
    current_rows: int

    @property
    def drifted(self) -> list[str]:
        """Names of the features that drifted."""
        return [feature.name for feature in self.features if feature.drifted]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values that JSON takes."""
        return {
            "drifted": self.drifted,
            "reference_rows": self.reference_rows,
            "current_rows": self.current_rows,
            "features": [asdict(feature) for feature in self.features],
        }

    def to_text(self) -> str:
        """Return a table for people, drifted features first."""
        ordered = sorted(self.features, key=lambda feature: not feature.drifted)
        width = max(len(feature.name) for feature in self.features)
        lines = [f"{self.reference_rows} reference rows, {self.current_rows} current rows"]
        for feature in ordered:
            verdict = "DRIFT" if feature.drifted else "same"
            psi = feature.effects.get("psi", float("nan"))
            lines.append(
                f"{verdict:5}  {feature.name:{width}}  psi {psi:6.3f}  p {feature.adjusted_p_value:7.1e}"
                f"  {feature.explanation}"
            )
        return "\n".join(lines)
