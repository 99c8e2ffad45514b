"""Quorums: how many replicas must agree, how many may lie, and what agreement costs in messages and bandwidth.

Of n *replicas*, at most f are *Byzantine*: they may do anything. A *quorum* is a number of replicas whose votes decide.
Any two quorums have an honest replica in common if and only if 2q − n ≥ f + 1; the honest ones are enough for one if
and only if q ≤ n − f. A *view* is a period with one leader; *messages* are those between different replicas.

Definition 4.1 and Theorem 4.1 of the book. Sources: Castro and Liskov (1999), OSDI; Yin et al. (2019), PODC; Dwork,
Lynch and Stockmeyer (1988), J. ACM 35.
"""

from typing import Annotated

import sympy as sp

from web3scale import quantities as q
from web3scale.formula import formula
from web3scale.quantities import validated

MANY = 10**9
Replicas = Annotated[int, q.Whole(1, MANY)]


@validated
def max_faults(replicas: Replicas) -> int:
    """Byzantine replicas that n replicas can tolerate: the largest f with n ≥ 3f + 1.

    >>> [max_faults(n) for n in (3, 4, 6, 7, 100, 103)]
    [0, 1, 1, 2, 33, 34]
    """
    return (replicas - 1) // 3


@validated
def quorum_size(replicas: Replicas) -> int:
    """Votes that decide: the smallest q of which any two sets have an honest replica in common, ⌈(n + f + 1)/2⌉.

    At n = 3f + 1 it is 2f + 1 = n − f.

    >>> [quorum_size(n) for n in (4, 5, 6, 7, 100, 103)]
    [3, 4, 4, 5, 67, 69]
    """
    return (replicas + max_faults(replicas) + 2) // 2


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

    In a chain of views each decides one block, the one proposed three views before.

    >>> chained_messages(4), chained_messages(100)
    (6.0, 198.0)
    """
    return 2 * (replicas - 1)


@formula(batch_size="b", decision_time="L")
def agreement_throughput(batch_size: q.Count, decision_time: q.PositiveSeconds) -> q.Rate:
    """Transactions decided per second, one batch after the other: Definition 4.1 of the book.

    The number of replicas enters by the decision time, which the slowest replica of the fastest quorum sets.

    >>> agreement_throughput(1000, 0.5)
    2000.0
    """
    return batch_size / decision_time


@formula(uplink="U", transaction_size="s", replicas="n")
def leader_bound(uplink: q.PositiveDataRate, transaction_size: q.PositiveBytes, replicas: q.CountAboveOne) -> q.Rate:
    """Throughput at which sending every transaction to the n − 1 others fills the leader's uplink.

    >>> round(leader_bound(100e6 / 8, 250, 4)), round(leader_bound(100e6 / 8, 250, 100))
    (16667, 505)
    """
    return uplink / (transaction_size * (replicas - 1))


@formula(batch_size="b", decision_time="L", uplink="U", transaction_size="s", replicas="n")
def consensus_throughput(
    batch_size: q.Count,
    decision_time: q.PositiveSeconds,
    uplink: q.PositiveDataRate,
    transaction_size: q.PositiveBytes,
    replicas: q.CountAboveOne,
) -> q.Rate:
    """Throughput that neither the decision time nor the leader's uplink forbids: the lesser of the two.

    >>> round(consensus_throughput(1000, 0.5, 100e6 / 8, 250, 100))  # the uplink binds
    505
    """
    return sp.Min(agreement_throughput(batch_size, decision_time), leader_bound(uplink, transaction_size, replicas))
