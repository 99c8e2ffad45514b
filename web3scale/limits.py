"""Limits of a blockchain: what its blocks, its network and its disks allow. Chapter 2 of the book.

Vocabulary: *block rate* λ (blocks per second, all miners together), *propagation delay* Δ (seconds until everybody has
a block), *adversary* q (the share of block production that breaks the rules), *confirmations* z (blocks of the chain
since a payment was sent, the one that holds it included), *fan-out* k (peers to which a node forwards a message).

Sources: Nakamoto (2008), Bitcoin; Decker and Wattenhofer (2013), IEEE P2P; Sompolinsky and Zohar (2015), Financial
Cryptography; Dembo et al. (2020), ACM CCS; Kermarrec, Massoulié and Ganesh (2003), IEEE TPDS 14; Grunspan and
Pérez-Marco (2018), Int. J. Theoretical and Applied Finance 21.
"""

from typing import Annotated

import numpy as np
import sympy as sp
from numpy.random import Generator

from web3scale import quantities as q
from web3scale.formula import formula
from web3scale.quantities import checked, finite, validated

Bytes = q.PositiveBytes
Speed = q.PositiveRate
Time = q.Seconds
# the letters of the three bounds
BY_BYTES = {"block_size": "B", "block_rate": "lambda", "transaction_size": "s"}
BY_GAS = {"gas_limit": "G", "block_rate": "lambda", "transaction_gas": "u"}
BY_UPLINK = {"bandwidth": "C", "fan_out": "k", "transaction_size": "s"}
MOST_BLOCKS = 2 * 10**6  # of all runs together: some seconds
Blocks = Annotated[int, q.Whole(2, MOST_BLOCKS)]
Runs = Annotated[int, q.Whole(1, 10**5)]
Confirmations = Annotated[int, q.Whole(0, 10**12)]  # twenty million years of Bitcoin: larger numbers are mistakes


# Theorem 2.1: what a block can carry


@formula(**BY_BYTES)
def byte_throughput(block_size: Bytes, block_rate: Speed, transaction_size: Bytes) -> q.Rate:
    """Throughput if every byte of every block were used: the bound of Theorem 2.1 as the treatise states it.

    >>> byte_throughput(1_000_000, 1 / 600, 500)  # Bitcoin before 2017
    3.3333333333333335
    """
    return block_rate * block_size / transaction_size


@formula(**BY_GAS)
def gas_throughput(gas_limit: q.PositiveGas, block_rate: Speed, transaction_gas: q.PositiveGas) -> q.Rate:
    """Throughput if every unit of gas in every block were used.

    >>> round(gas_throughput(30_000_000, 1 / 12, 21_000), 1)  # plain transfers only
    119.0
    """
    return block_rate * gas_limit / transaction_gas


@formula(**BY_UPLINK)
def bandwidth_throughput(bandwidth: q.PositiveDataRate, fan_out: q.PositiveRatio, transaction_size: Bytes) -> q.Rate:
    """Throughput at which forwarding every transaction to k peers fills a node's uplink C.

    >>> bandwidth_throughput(1_000_000, 8, 250)
    500.0
    """
    return bandwidth / (fan_out * transaction_size)


@formula(**BY_BYTES | BY_GAS | BY_UPLINK)
def throughput_bound(
    block_size: Bytes,
    gas_limit: q.PositiveGas,
    block_rate: Speed,
    transaction_size: Bytes,
    transaction_gas: q.PositiveGas,
    bandwidth: q.PositiveDataRate,
    fan_out: q.PositiveRatio,
) -> q.Rate:
    """Throughput that neither bytes nor gas nor uplink forbid: the least of the three. Theorem 2.1(a) of the book.

    >>> round(throughput_bound(1e6, 30e6, 1 / 12, 110, 21_000, 25e6 / 8, 8))  # gas binds
    119
    """
    return sp.Min(
        byte_throughput(block_size, block_rate, transaction_size),
        gas_throughput(gas_limit, block_rate, transaction_gas),
        bandwidth_throughput(bandwidth, fan_out, transaction_size),
    )


@formula(block_rate="lambda", propagation_delay="Delta")
def growth_rate(block_rate: Speed, propagation_delay: Time) -> q.Rate:
    """Growth of the longest chain when many small miners learn of a block after a fixed delay; the rest is forked off.

    Source: Sompolinsky and Zohar (2015).

    >>> growth_rate(1.0, 1.0)
    0.5
    """
    return block_rate / (1 + block_rate * propagation_delay)


@formula(block_size="B", block_rate="lambda", transaction_size="s", fixed_delay="a", delay_per_byte="b")
def delayed_throughput(
    block_size: Bytes, block_rate: Speed, transaction_size: Bytes, fixed_delay: Time, delay_per_byte: q.SecondsPerByte
) -> q.Rate:
    """Throughput of the longest chain when a block of B bytes takes a + bB seconds to spread. Theorem 2.1 of the book.

    >>> round(delayed_throughput(1_000_000, 1 / 600, 500, 0, 0), 3)  # no delay: the byte bound
    3.333
    """
    return block_size / transaction_size * growth_rate(block_rate, fixed_delay + delay_per_byte * block_size)


@formula(block_rate="lambda", propagation_delay="Delta")
def tolerated_adversary(block_rate: Speed, propagation_delay: Time) -> q.Share:
    """Adversary's share of block production that longest-chain consensus tolerates at a given delay.

    It solves q = (1 − q)/(1 + (1 − q)λΔ): one half without delay (Dembo et al. 2020).

    >>> round(tolerated_adversary(1.0, 1.0), 4)
    0.382
    """
    return 2 / (2 + block_rate * propagation_delay + sp.sqrt(4 + (block_rate * propagation_delay) ** 2))


# Theorem 2.2: what the network can carry


@formula(bandwidth="C", message_size="m", message_rate="r")
def connection_bound(bandwidth: q.PositiveDataRate, message_size: Bytes, message_rate: Speed) -> q.Ratio:
    """Connections that a node's uplink can serve, with r messages a second on each. Theorem 2.2 of the book.

    >>> connection_bound(1_000_000, 500, 100)
    20.0
    """
    return bandwidth / (message_size * message_rate)


@formula(nodes="n", degree="d")
def flooding_waste(nodes: q.Count, degree: q.Degree) -> q.Ratio:
    """Sends of a flood that reach a node which has the message already, if the network is connected.

    >>> flooding_waste(1000, 8)
    6002.0
    """
    return nodes * (degree - 2) + 2


@formula(margin="c")
def cover_probability(margin: q.Real) -> q.Share:
    """Probability that random push reaches every node, if each sends to each other with probability (ln n + c)/n.

    The limit for large n (Kermarrec, Massoulié and Ganesh 2003).

    >>> round(cover_probability(3), 3)
    0.951
    """
    return sp.exp(-sp.exp(-margin))


@formula(nodes="n", fan_out="k", link_latency="L", transmit_time="tau")
def tree_coverage_time(
    nodes: q.Count, fan_out: q.CountAboveOne, link_latency: Time, transmit_time: q.PositiveSeconds
) -> Time:
    """Time until a tree of a given fan-out, each node sending to its children in turn, has reached all nodes.

    >>> round(tree_coverage_time(1000, 10, 0.1, 0.01), 3)
    0.6
    """
    return sp.log(nodes) / sp.log(fan_out) * (link_latency + fan_out * transmit_time)


@validated
def best_fan_out(link_latency: q.One[Time], transmit_time: q.One[q.PositiveSeconds]) -> q.Ratio:
    """Fan-out that makes `tree_coverage_time` least: exp(1 + W₀(L/(eτ))), not rounded; e where the latency is nothing.

    >>> round(best_fan_out(0, 0.01), 3)
    2.718
    """
    from scipy.special import lambertw

    with np.errstate(all="ignore"):
        return finite("best_fan_out", np.exp(1 + lambertw(link_latency / transmit_time / np.e).real))


# Definition 2.2: what a disk can hold


@formula(disk_size="V", throughput="X", transaction_size="s")
def time_to_full(disk_size: Bytes, throughput: Speed, transaction_size: Bytes) -> Time:
    """Time until a node that keeps every transaction has filled its disk; it counts this history, and not the state.

    >>> round(time_to_full(2e12, 1000, 500) / 86_400, 1)  # days
    46.3
    """
    return disk_size / (throughput * transaction_size)


# Double spends


@validated
def nakamoto_double_spend(adversary: q.One[q.Minority], confirmations: Confirmations) -> q.Share:
    """Probability that a double spend succeeds, by Nakamoto's approximation (Nakamoto 2008, section 11).

    It puts the *mean* time of z honest blocks for their random time, so that the adversary's blocks are Poisson; the
    exact answer is `double_spend`. To twelve digits where z is at most 1000, or else 0 below the smallest of floats.

    >>> round(nakamoto_double_spend(0.1, 6), 7)
    0.0002428
    """
    from scipy.special import gammainc, gammaincc

    share, z = adversary, confirmations
    if share == 0 or z == 0:
        return float(z == 0)
    odds, short = share / (1 - share), (1 - 2 * share) / (1 - share)  # short is 1 - odds: each to all its digits
    # ahead already: certain. Behind by z - j: catches up with odds^(z-j), and the sum over j is a Poisson tail again,
    # of mean z. Both terms are positive, so nothing cancels
    decay = short + (np.log1p(-short) if short < 0.5 else np.log(odds))
    ahead, behind = gammainc(z + 1, z * odds), np.exp(z * decay) * gammaincc(z + 1, z)
    return min(1.0, float(ahead + behind))


@validated
def double_spend(adversary: q.One[q.Minority], confirmations: Confirmations) -> q.Share:
    """Probability that a double spend succeeds, exactly: the regularised incomplete beta function I_{4q(1−q)}(z, 1/2).

    Source: Grunspan and Pérez-Marco (2018).

    >>> round(double_spend(0.1, 6), 7)
    0.0005914
    """
    from scipy.special import betainc, betaincc

    share, z = adversary, confirmations
    if z == 0:
        return 1.0
    # near one half 4q(1-q) is 1 up to rounding, and its distance from 1 is what counts
    return float(betainc(z, 0.5, 4 * share * (1 - share)) if share < 0.25 else betaincc(0.5, z, (1 - 2 * share) ** 2))


# Forks


@validated
def simulate_mining(
    block_rate: q.One[Speed], propagation_delay: q.One[Time], *, blocks: Blocks, runs: Runs, rng: Generator
) -> q.Rate:
    """Simulate many small miners, each of whom learns of a block a fixed time after it was found.

    A block raises the chain by one if its miner knew the highest block, that is if the first block of that height is
    older than the delay; otherwise it is a sibling and is lost. Returns the blocks that the longest chain gains per
    second in each run, shape (runs,). Source: Sompolinsky and Zohar (2015).

    >>> growth = simulate_mining(1.0, 1.0, blocks=100_000, runs=1, rng=np.random.default_rng(1))
    >>> round(float(growth[0]), 2)  # theory: one half
    0.5
    """
    checked("simulate_mining", "blocks times runs", blocks * runs, Annotated[int, q.Whole(0, MOST_BLOCKS)])
    with np.errstate(all="ignore"):
        found = np.cumsum(rng.standard_exponential((runs, blocks)) / block_rate, axis=1)
        longest = np.empty(runs)
        for run, times in enumerate(found):
            # the first block that knows block i: the whole array at once, then one step per block of the chain
            known = np.searchsorted(times, times + propagation_delay)
            heir = np.maximum(known, np.arange(1, blocks + 1)).tolist()
            at, height = 0, 1
            while (at := heir[at]) < blocks:
                height += 1
            longest[run] = height
        return finite("simulate_mining", (longest - 1) / finite("simulate_mining", found[:, -1] - found[:, 0]))
