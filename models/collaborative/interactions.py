"""Who chose what, as codes."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Interactions:
    """Events of users with items; both are codes from 0, also of users and items without any event."""

    users: np.ndarray
    """Code of each event's user, int64 [events]."""

    items: np.ndarray
    """Code of each event's item, int64 [events]."""

    user_count: int
    """Users, those without events included."""

    item_count: int
    """Items, those without events included."""

    times: np.ndarray | None = None
    """Time of each event, float64 [events], in any unit; None when unknown."""

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """1 where a user had an item, float32 [users, items]."""
        ones = np.ones(len(self), dtype=np.float32)
        matrix = sp.csr_matrix((ones, (self.users, self.items)), (self.user_count, self.item_count))
        matrix.data[:] = 1.0
        return matrix

    @cached_property
    def item_counts(self) -> np.ndarray:
        """Users of each item, float64 [items]."""
        return np.asarray(self.matrix.sum(axis=0), dtype=np.float64).ravel()

    def where(self, keep: np.ndarray) -> "Interactions":
        """Return the events of a mask or of positions, with the same codes."""
        times = None if self.times is None else self.times[keep]
        return replace(self, users=self.users[keep], items=self.items[keep], times=times)

    def in_order(self, by_time: bool = True) -> "Interactions":
        """Return the events by user and, within a user, by time; equal times keep their order."""
        if self.times is None or not by_time:
            return self.where(np.argsort(self.users, kind="stable"))
        return self.where(np.lexsort((self.times, self.users)))

    def hold_out(self, most_users: int, last: bool, seed: int) -> tuple["Interactions", "Interactions"]:
        """Take one event of each user who has two or more, of ``most_users`` drawn users at most.

        Args:
            most_users: the events of other users are dropped, so that a search stays short.
            last: whether a user's last event is taken, which needs times, or a random one.
            seed: of the draws.

        Returns:
            What is left, and the events that were taken, one a user.
        """
        draw = np.random.default_rng(seed)
        some = self
        if self.user_count > most_users:
            chosen = np.zeros(self.user_count, dtype=bool)
            chosen[draw.choice(self.user_count, most_users, replace=False)] = True
            some = self.where(chosen[self.users])
        some = (some if last else some.where(draw.permutation(len(some)))).in_order(by_time=last)
        ends = np.append(some.users[1:] != some.users[:-1], True)[: len(some)]
        taken = ends & (np.bincount(some.users, minlength=some.user_count)[some.users] > 1)
        return some.where(~taken), some.where(taken)


@dataclass(frozen=True)
class Protocol:
    """How the ranking will be tested, so that the search can compare in the same way."""

    last: bool
    """Whether the test's events come after their users' training events."""

    negatives: int | None
    """Items that each test item is compared with; None for the whole catalogue."""
