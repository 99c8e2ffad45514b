"""Quorums: how many replicas must agree, how many may lie, and what agreement costs in messages and bandwidth.

Of n *replicas*, at most f are *Byzantine*: they may do anything. A *quorum* is a number of replicas whose votes decide.
Two quorums of q share at least 2q − n replicas, so they have an honest one in common if and only if 2q − n ≥ f + 1. The
honest replicas are enough for a quorum if and only if q ≤ n − f. Both hold for some q if and only if n ≥ 3f + 1. A
*view* is a period with one leader; *messages* are those between different replicas.

Definition 4.1 and Theorem 4.1 of the book. Sources: Dwork, Lynch and Stockmeyer (1988), J. ACM 35; Castro and Liskov
(1999), OSDI; Yin et al. (2019), PODC.
"""

from typing import Annotated

from web3scale import quantities as q
from web3scale.formula import formula
from web3scale.quantities import validated

Replicas = Annotated[int, q.Whole(1, 10**9)]
Faults = Annotated[int, q.Whole(0, 10**9)]


@formula(quorum="q", replicas="n")
def shared_replicas(quorum: q.Count, replicas: q.Count) -> q.Real:
    """Fewest replicas that two quorums have in common; none where the number is not positive.

    >>> shared_replicas(3, 4)
    2.0
    """
    return 2 * quorum - replicas


@validated
def max_faults(replicas: Replicas) -> int:
    """Byzantine replicas that n replicas tolerate: the largest f with n ≥ 3f + 1.

    >>> [max_faults(n) for n in (3, 4, 6, 7, 100, 103)]
    [0, 1, 1, 2, 33, 34]
    """
    return (replicas - 1) // 3


@validated
def smallest_quorum(replicas: Replicas, faults: Faults) -> int:
    """Smallest q of which any two sets have an honest replica in common: ⌈(n + f + 1)/2⌉, safe whatever n is.

    At n = 3f + 1 it is 2f + 1. Where it exceeds n − f, silent replicas can block it.

    >>> [smallest_quorum(n, max_faults(n)) for n in (4, 5, 6, 7, 100, 103)], smallest_quorum(6, 2)
    ([3, 4, 4, 5, 67, 69], 5)
    """
    return (replicas + faults + 2) // 2


@formula(replicas="n")
def pbft_messages(replicas: q.Count) -> q.Ratio:
    """Messages of one decision of PBFT: n − 1 pre-prepares, (n − 1)² prepares, n(n − 1) commits. Theorem 4.1.

    >>> pbft_messages(4), pbft_messages(100)
    (24.0, 19800.0)
    """
    return 2 * replicas * (replicas - 1)


@formula(replicas="n")
def hotstuff_messages(replicas: q.Count) -> q.Ratio:
    """Messages of one view of basic HotStuff, a decision: 4 broadcasts, 3 rounds of votes. Theorem 4.1 of the book.

    The n − 1 new-view messages that open a view are counted apart.

    >>> hotstuff_messages(4), hotstuff_messages(100)
    (21.0, 693.0)
    """
    return 7 * (replicas - 1)


@formula(replicas="n")
def chained_messages(replicas: q.Count) -> q.Ratio:
    """Messages of one view of chained HotStuff: one proposal, one round of votes. Theorem 4.1 of the book.

    While leaders are honest and in time, each view decides one block: the one proposed three views before.

    >>> chained_messages(4), chained_messages(100)
    (6.0, 198.0)
    """
    return 2 * (replicas - 1)


@formula(uplink="U", transaction_size="s", replicas="n")
def leader_bound(uplink: q.PositiveDataRate, transaction_size: q.PositiveBytes, replicas: q.CountAboveOne) -> q.Rate:
    """Throughput at which sending every transaction to the n − 1 others fills the leader's uplink.

    >>> round(leader_bound(100e6 / 8, 250, 4)), round(leader_bound(100e6 / 8, 250, 100))
    (16667, 505)
    """
    return uplink / (transaction_size * (replicas - 1))


@formula(batch="b", decision_time="L", uplink="U", transaction_size="s", replicas="n")
def commit_rate(
    batch: q.Count,
    decision_time: q.PositiveSeconds,
    uplink: q.PositiveDataRate,
    transaction_size: q.PositiveBytes,
    replicas: q.CountAboveOne,
) -> q.Rate:
    """Transactions committed per second, if the leader sends a block once the one before is decided. Definition 4.1.

    The tolerated faults enter by the decision time, without the time to send the block: it is that of a quorum.

    >>> round(commit_rate(1000, 0.5, 100e6 / 8, 250, 4)), round(commit_rate(1000, 0.5, 100e6 / 8, 250, 100))
    (1786, 403)
    """
    return batch / (decision_time + batch / leader_bound(uplink, transaction_size, replicas))
