"""Evidence that a share is larger than it should be, which may be looked at as often as one likes.

Each look at a fixed-level test is another chance of a false alarm. A betting score that is fair under the
null hypothesis has no such chances: by Ville's inequality ("Étude critique de la notion de collectif", 1939)
it ever exceeds 1 / level with a probability of at most the level. The one here averages likelihood ratios
over all larger shares (Robbins, "Statistical Methods Related to the Law of the Iterated Logarithm", 1970).
"""

import numpy as np
from scipy import special, stats

Values = np.ndarray | float


def log_evidence(count: Values, total: Values, share: Values) -> np.ndarray:
    """Return the logarithm of the evidence that events fall to an arm more often than with ``share``.

    Args:
        count: events of the arm, of ``total``; all three may be arrays of one shape.
        total: events of both arms.
        share: the arm's largest share of the events under the null hypothesis.

    Returns:
        The logarithm of the mean, over all larger shares, of how much more probable they make what was seen:
        0 before the first event, below 0 where the null hypothesis explains it better, NaN where ``share`` is
        1, so that there is nothing to compare.
    """
    other = total - count
    likelihood = special.betaln(count + 1, other + 1) + stats.beta.logsf(share, count + 1, other + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(likelihood - np.log1p(-share) - count * np.log(share) - other * np.log1p(-share))


def less_reward(
    champion_hits: Values, champion_trials: Values, canary_hits: Values, canary_trials: Values
) -> np.ndarray:
    """Log evidence that a reward falls to the champion more often than a trial does; arrays of one shape."""
    share = champion_trials / (champion_trials + canary_trials)
    return log_evidence(champion_hits, champion_hits + canary_hits, share)


def kept_reward(
    champion_hits: Values, champion_trials: Values, canary_hits: Values, canary_trials: Values, margin: float
) -> np.ndarray:
    """Log evidence that the canary gets more than ``1 - margin`` times the champion's share of rewards.

    At that bound a reward falls to the canary as often as a trial would if it had fewer by the margin.
    """
    kept = (1 - margin) * canary_trials
    return log_evidence(canary_hits, champion_hits + canary_hits, kept / (kept + champion_trials))
