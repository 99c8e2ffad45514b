"""Laws of speed-up. Section 1.3 of the book.

*nodes* n: processors, servers or load generators, the size of a configuration; *parallel* p: the share of a
**one-node** run that can be spread; *contention* σ: the cost of waiting for what is shared; *coherency* κ: the cost of
keeping every pair of nodes in agreement.

Sources: Amdahl (1967), AFIPS; Gustafson (1988), CACM 31; Karp and Flatt (1990), CACM 33; Gunther (2007), Guerrilla
Capacity Planning.
"""

import sympy as sp

from web3scale import quantities as q
from web3scale.formula import formula


@formula(parallel="p", nodes="n")
def amdahl_speedup(parallel: q.Share, nodes: q.Count) -> q.Ratio:
    """Speed-up of a fixed task on more nodes (Amdahl 1967). Model 1.1 of the book.

    >>> amdahl_speedup(0.95, 20)
    10.256410256410252
    """
    return 1 / ((1 - parallel) + parallel / nodes)


@formula(parallel="p")
def amdahl_limit(parallel: q.ShareBelowOne) -> q.Ratio:
    """Speed-up that no number of nodes exceeds.

    >>> amdahl_limit(0.75)
    4.0
    """
    return 1 / (1 - parallel)


@formula(parallel="p")
def amdahl_half_nodes(parallel: q.ShareBelowOne) -> q.Ratio:
    """Nodes at which `amdahl_speedup` reaches half its limit; below 1, one node is past half of it already.

    >>> amdahl_half_nodes(0.75)
    3.0
    """
    return parallel / (1 - parallel)


@formula(speedup="A", nodes="n")
def karp_flatt(speedup: q.PositiveRatio, nodes: q.CountAboveOne) -> q.Real:
    """Serial share that Amdahl's law reads out of a speed-up measured on n nodes (Karp and Flatt 1990).

    It is negative where the speed-up is more than n.

    >>> karp_flatt(4, 4)
    0.0
    """
    return (1 / speedup - 1 / nodes) / (1 - 1 / nodes)


@formula(scaled_parallel="p_G", nodes="n")
def gustafson_speedup(scaled_parallel: q.Share, nodes: q.Count) -> q.Ratio:
    """Speed-up of a task that grows with the nodes; p_G is a share of the **n-node** run, not Amdahl's p.

    Model 1.2 of the book (Gustafson 1988).

    >>> gustafson_speedup(0.5, 9)
    5.0
    """
    return (1 - scaled_parallel) + scaled_parallel * nodes


@formula(scaled_parallel="p_G", nodes="n")
def amdahl_parallel(scaled_parallel: q.Share, nodes: q.Count) -> q.Share:
    """Amdahl's p, of the one-node run of the same task, where the share by Gustafson's count is known.

    >>> amdahl_parallel(0.5, 9)
    0.9
    """
    return nodes * scaled_parallel / ((1 - scaled_parallel) + nodes * scaled_parallel)


@formula(nodes="n", gain="gamma", contention="sigma", coherency="kappa")
def usl_throughput(nodes: q.Count, gain: q.PositiveRate, contention: q.Share, coherency: q.Ratio) -> q.Rate:
    """Universal Scalability Law: throughput of n nodes of which one makes γ (Gunther 2007). Model 1.3 of the book.

    >>> usl_throughput(10, 1.0, 0.02, 0.02)
    3.3557046979865772
    """
    return gain * nodes / (1 + contention * (nodes - 1) + coherency * nodes * (nodes - 1))


@formula(contention="sigma", coherency="kappa")
def usl_peak(contention: q.Share, coherency: q.PositiveRatio) -> q.Ratio:
    """Nodes at which `usl_throughput` is greatest; below 1, one node is best. Without coherency there is no peak.

    >>> usl_peak(0.0, 0.0001)
    100.0
    """
    return sp.sqrt((1 - contention) / coherency)
