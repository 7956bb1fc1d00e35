"""What is known of ratings that are not there: how large their errors will be, and who gives none."""

from collections.abc import Iterator

import pandas as pd

from monitoring.drift import compare
from monitoring.estimated_performance import Covariates, UnsupportedError, estimated_rmse
from monitoring.labels import Labelled
from monitoring.outcomes import ALL, Outcomes
from monitoring.performance import in_periods
from monitoring.served_drift import kinds
from monitoring.served_roles import ServedFeatures
from monitoring.settings import MonitoringSettings

MOST_ANSWERS = 20_000
"""Answers, drawn at random, that are looked at: more would not move an estimate."""

LATEST_RATINGS = 1_000
"""Ratings to learn from: those before what may have changed the errors would hide it."""


def estimates(
    found: Labelled,
    judged: Outcomes,
    features: ServedFeatures,
    settings: MonitoringSettings,
    notes: list[str],
) -> Iterator[tuple[object, ...]]:
    """Give rows of the table of performance: the RMSE of periods in which ratings are awaited.

    Args:
        found: the labels.
        judged: their outcomes.
        features: the roles of features.
        settings: with the least number of ratings to learn from.
        notes: takes why a period is not estimated.
    """
    answers = in_periods(judged.answers, settings.performance_period)
    errors = judged.squared_errors().set_axis(_keys(judged.ratings))
    for version, of_version in answers.groupby("model_version"):
        awaiting = of_version.loc[~of_version["mature"], ["period_start", "period_end"]].drop_duplicates()
        rated = int(of_version.loc[of_version["mature"], "rated"].sum())
        if awaiting.empty:
            continue
        if rated < settings.performance_least_labels:
            notes.append(
                f"the RMSE of what awaits ratings of version {version} is not estimated: {rated} are there"
            )
            continue
        drawn = _latest(of_version)
        shown = found.shown.join(drawn, on="request_id", how="inner")
        said = shown[["position", "score", "predicted_rating"]].reset_index(drop=True)
        served = features.of_requests(found.features(shown["request_id"])).reset_index(drop=True)
        covariates = Covariates.of(served.join(said))
        squared = errors.reindex(_keys(shown)).to_numpy()
        for begin, end in awaiting.itertuples(index=False):
            wanted = (shown["period_start"] == begin).to_numpy()
            # Of a large log some periods may be drawn empty; an answer may also have shown nothing.
            if not wanted.any():
                continue
            try:
                figure = estimated_rmse(
                    covariates, squared, shown["user"].to_numpy(), shown["mature"].to_numpy(), wanted
                )
            except UnsupportedError as error:
                notes.append(f"the RMSE of version {version} from {begin:%Y-%m-%d} is not estimated: {error}")
                continue
            yield begin, end, version, ALL, "rmse", *figure, int(wanted.sum()), True


def _latest(answers: pd.DataFrame) -> pd.DataFrame:
    """Return the newest answers that had their time, with ``LATEST_RATINGS``, and the awaited ones."""
    newest = answers[answers["mature"]].sort_values("served_at", ascending=False, kind="stable")
    awaited = answers[~answers["mature"]]
    awaited = awaited.sample(min(len(awaited), MOST_ANSWERS), random_state=0)
    return pd.concat([newest[newest["rated"].cumsum() <= LATEST_RATINGS], awaited])


def who_rates(
    found: Labelled, judged: Outcomes, version: str, features: ServedFeatures, settings: MonitoringSettings
) -> str:
    """Say how many answers of a version were rated, and in which features these differ from the others."""
    mature = judged.answers[judged.answers["mature"] & (judged.answers["model_version"] == version)]
    if not mature["rated"].any():
        return f"no answer of version {version} was rated in its time"
    rated = f"{mature['rated'].mean():.1%} of the answers of version {version} were rated"
    share = f"{rated}, and errors are of these alone"
    drawn = mature.sample(min(len(mature), MOST_ANSWERS), random_state=0)
    served = features.of_requests(found.features(drawn.index)).assign(user=drawn["user"])
    others, raters = served[drawn["rated"] == 0], served[drawn["rated"] > 0]
    compared = kinds(others, raters, [str(name) for name in served if name != "user"])
    if not compared or others.empty or raters.empty:
        return share
    differs = compare(others, raters, compared, settings, cluster="user").drifted
    return f"{share}; who rated differs in {', '.join(differs)}" if differs else share


def _keys(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[["request_id", "rental_id"]])
