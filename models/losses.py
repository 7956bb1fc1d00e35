"""The two losses: who was chosen from the catalogue, and how it was rated."""

import torch.nn.functional as F
from torch import Tensor


def ranking_loss(scores: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Full softmax cross-entropy over the catalogue, weighted by event.

    Args:
        scores: [events, rentals].
        target: position of the chosen rental [events]; negative ones have no ranking loss.
        weight: [events].

    Returns:
        The weighted mean in nats, and zero where no event has a target.
    """
    known = target >= 0
    if not known.any():
        return scores.new_zeros(())
    losses = F.cross_entropy(scores[known], target[known], reduction="none")
    return (losses * weight[known]).sum() / weight[known].sum()


def rating_loss(predicted: Tensor, rating: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean squared error, in squared steps of the 1..5 scale; all arguments are [events]."""
    return ((predicted - rating) ** 2 * weight).sum() / weight.sum()
