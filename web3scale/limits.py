"""Limits of a blockchain: what its blocks, its network and its disks allow. Chapter 2 of the book.

Vocabulary: *block rate* λ (blocks per second, all miners together), *propagation delay* Δ (seconds until everybody has
a block), *adversary* q (the share of block production that breaks the rules), *confirmations* z (blocks of the chain
since a payment was sent, the one that holds it included), *fan-out* k (peers to which a node forwards a message).

Sources: Nakamoto (2008), Bitcoin; Decker and Wattenhofer (2013), IEEE P2P; Sompolinsky and Zohar (2015), Financial
Cryptography; Dembo et al. (2020), ACM CCS; Kermarrec, Massoulié and Ganesh (2003), IEEE TPDS 14; Grunspan and
Pérez-Marco (2018), Int. J. Theoretical and Applied Finance 21.
"""

import csv
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from web3scale.errors import DomainError, shown
from web3scale.formula import (
    Array,
    Count,
    CountAboveOne,
    PositiveRate,
    PositiveRatio,
    PositiveSeconds,
    Quantity,
    Rate,
    Ratio,
    Seconds,
    Share,
    checked,
    checked_integer,
    checked_scalar,
    finite,
    formula,
)

MOST_CONFIRMATIONS = 10**12  # twenty million years of Bitcoin: larger numbers are mistakes
MOST_BLOCKS = 10**9

PositiveBytes = Annotated[Any, Quantity("byte", open="low")]
PositiveGas = Annotated[Any, Quantity("gas", open="low")]
PositiveBandwidth = Annotated[Any, Quantity("byte/s", open="low")]
SecondsPerByte = Annotated[Any, Quantity("s/byte")]
Degree = Annotated[Any, Quantity("1", low=2.0)]
Real = Annotated[Any, Quantity("1", low=-np.inf)]

_MINORITY = Quantity("1", high=0.5, open="high")
_LATENCY = Quantity("s")
_POSITIVE_SECONDS = Quantity("s", open="low")
_RATE = Quantity("1/s", open="low")


@formula(block_size="B", block_rate="lambda", transaction_size="s")
def byte_throughput(block_size: PositiveBytes, block_rate: PositiveRate, transaction_size: PositiveBytes) -> Rate:
    """Throughput if every byte of every block were used: the bound of Theorem 2.1 as the treatise states it.

    Parameters
    ----------
    block_size : float or array
        Block size B, bytes.
    block_rate : float or array
        Blocks produced per second, λ.
    transaction_size : float or array
        Transaction size s, bytes.

    Returns
    -------
    float or array
        λB/s, transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> byte_throughput(1_000_000, 1 / 600, 500)  # Bitcoin before 2017
    3.3333333333333335
    """
    return block_rate * block_size / transaction_size


@formula(gas_limit="G", block_rate="lambda", transaction_gas="u")
def gas_throughput(gas_limit: PositiveGas, block_rate: PositiveRate, transaction_gas: PositiveGas) -> Rate:
    """Throughput if every unit of gas in every block were used.

    Parameters
    ----------
    gas_limit : float or array
        Gas limit of a block, G.
    block_rate : float or array
        Blocks produced per second, λ.
    transaction_gas : float or array
        Gas used by one transaction, u.

    Returns
    -------
    float or array
        λG/u, transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(gas_throughput(30_000_000, 1 / 12, 21_000), 1)  # plain transfers only
    119.0
    """
    return block_rate * gas_limit / transaction_gas


@formula(bandwidth="C", fan_out="k", transaction_size="s")
def bandwidth_throughput(bandwidth: PositiveBandwidth, fan_out: PositiveRatio, transaction_size: PositiveBytes) -> Rate:
    """Throughput at which forwarding every transaction fills a node's uplink.

    Parameters
    ----------
    bandwidth : float or array
        Upload bandwidth C of a node, bytes per second.
    fan_out : float or array
        Peers k to which a node forwards a message.
    transaction_size : float or array
        Transaction size s, bytes.

    Returns
    -------
    float or array
        C/(k·s), transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> bandwidth_throughput(1_000_000, 8, 250)
    500.0
    """
    return bandwidth / (fan_out * transaction_size)


@formula(
    block_size="B",
    gas_limit="G",
    block_rate="lambda",
    transaction_size="s",
    transaction_gas="u",
    bandwidth="C",
    fan_out="k",
)
def throughput_bound(
    block_size: PositiveBytes,
    gas_limit: PositiveGas,
    block_rate: PositiveRate,
    transaction_size: PositiveBytes,
    transaction_gas: PositiveGas,
    bandwidth: PositiveBandwidth,
    fan_out: PositiveRatio,
) -> Rate:
    """Throughput that neither bytes nor gas nor uplink forbid: the least of the three. Theorem 2.1(a) of the book.

    Parameters
    ----------
    block_size : float or array
        Size of a block B, bytes.
    gas_limit : float or array
        Gas limit of a block, G.
    block_rate : float or array
        Blocks produced per second, λ.
    transaction_size : float or array
        Transaction size s, bytes.
    transaction_gas : float or array
        Gas used by one transaction, u.
    bandwidth : float or array
        Upload bandwidth C of a node, bytes per second.
    fan_out : float or array
        Peers k to which a node forwards a message.

    Returns
    -------
    float or array
        min(λB/s, λG/u, C/(ks)), transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(throughput_bound(1e6, 30e6, 1 / 12, 110, 21_000, 25e6 / 8, 8))  # gas binds
    119
    """
    return sp.Min(
        byte_throughput(block_size, block_rate, transaction_size),
        gas_throughput(gas_limit, block_rate, transaction_gas),
        bandwidth_throughput(bandwidth, fan_out, transaction_size),
    )


@formula(block_rate="lambda", propagation_delay="Delta")
def growth_rate(block_rate: PositiveRate, propagation_delay: Seconds) -> Rate:
    """Growth of the longest chain when many small miners learn of a block after a fixed delay.

    Parameters
    ----------
    block_rate : float or array
        Blocks produced per second, λ.
    propagation_delay : float or array
        Time Δ until all have a block, seconds.

    Returns
    -------
    float or array
        λ/(1 + λΔ), blocks per second; the rest is forked off.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Sompolinsky and Zohar (2015), Financial Cryptography.

    Examples
    --------
    >>> growth_rate(1.0, 1.0)
    0.5
    """
    return block_rate / (1 + block_rate * propagation_delay)


@formula(block_size="B", block_rate="lambda", transaction_size="s", fixed_delay="a", delay_per_byte="b")
def delayed_throughput(
    block_size: PositiveBytes,
    block_rate: PositiveRate,
    transaction_size: PositiveBytes,
    fixed_delay: Seconds,
    delay_per_byte: SecondsPerByte,
) -> Rate:
    """Throughput of the longest chain when a block of B bytes takes a + bB seconds to spread. Theorem 2.1 of the book.

    Parameters
    ----------
    block_size : float or array
        Block size B, bytes.
    block_rate : float or array
        Blocks produced per second, λ.
    transaction_size : float or array
        Transaction size s, bytes.
    fixed_delay : float or array
        Part of the propagation delay that does not depend on the size, a, seconds.
    delay_per_byte : float or array
        Propagation delay added per byte, b.

    Returns
    -------
    float or array
        (B/s)·λ/(1 + λ(a + bB)), transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Sompolinsky and Zohar (2015), Financial Cryptography.

    Examples
    --------
    >>> round(delayed_throughput(1_000_000, 1 / 600, 500, 0, 0), 3)  # no delay: the byte bound
    3.333
    """
    return block_size / transaction_size * growth_rate(block_rate, fixed_delay + delay_per_byte * block_size)


@formula(block_rate="lambda", propagation_delay="Delta")
def tolerated_adversary(block_rate: PositiveRate, propagation_delay: Seconds) -> Share:
    """Adversary's share of block production that longest-chain consensus tolerates at a given delay.

    Parameters
    ----------
    block_rate : float or array
        Blocks produced per second, λ.
    propagation_delay : float or array
        Time Δ until all have a block, seconds.

    Returns
    -------
    float or array
        The solution q of q = (1 − q)/(1 + (1 − q)λΔ): one half without delay.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Dembo et al. (2020), ACM CCS.

    Examples
    --------
    >>> round(tolerated_adversary(1.0, 1.0), 4)
    0.382
    """
    return 2 / (2 + block_rate * propagation_delay + sp.sqrt(4 + (block_rate * propagation_delay) ** 2))


@formula(bandwidth="C", message_size="m", message_rate="r")
def connection_bound(bandwidth: PositiveBandwidth, message_size: PositiveBytes, message_rate: PositiveRate) -> Ratio:
    """Connections that a node's uplink can serve. Theorem 2.2 of the book.

    Parameters
    ----------
    bandwidth : float or array
        Upload bandwidth C of a node, bytes per second.
    message_size : float or array
        Message size m, bytes.
    message_rate : float or array
        Messages per second on each connection, r.

    Returns
    -------
    float or array
        C/(m·r).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> connection_bound(1_000_000, 500, 100)
    20.0
    """
    return bandwidth / (message_size * message_rate)


@formula(nodes="n", degree="d")
def flooding_waste(nodes: Count, degree: Degree) -> Ratio:
    """Sends of a flood that reach a node which has the message already.

    Parameters
    ----------
    nodes : float or array
        Number n of nodes.
    degree : float or array
        Connections d of each node, at least 2.

    Returns
    -------
    float or array
        n(d − 2) + 2, in a connected network where each node has d ≥ 2 links.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> flooding_waste(1000, 8)
    6002.0
    """
    return nodes * (degree - 2) + 2


@formula(margin="c")
def cover_probability(margin: Real) -> Share:
    """Probability that random push reaches every node, if each sends to each other with probability (ln n + c)/n.

    Parameters
    ----------
    margin : float or array
        Fan-out beyond ln n, c.

    Returns
    -------
    float or array
        exp(−e^(−c)), the limit for large n.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Kermarrec, Massoulié and Ganesh (2003), IEEE TPDS 14.

    Examples
    --------
    >>> round(cover_probability(3), 3)
    0.951
    """
    return sp.exp(-sp.exp(-margin))


@formula(nodes="n", fan_out="k", link_latency="L", transmit_time="tau")
def tree_coverage_time(
    nodes: Count, fan_out: CountAboveOne, link_latency: Seconds, transmit_time: PositiveSeconds
) -> Seconds:
    """Time until a tree of a given fan-out, each node sending to its children in turn, has reached all nodes.

    Parameters
    ----------
    nodes : float or array
        Number n of nodes.
    fan_out : float or array
        Peers k to which a node forwards a message, above 1.
    link_latency : float or array
        Latency L of one link, seconds.
    transmit_time : float or array
        Time τ to transmit one message, seconds.

    Returns
    -------
    float or array
        (ln n/ln k)·(L + kτ), seconds.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(tree_coverage_time(1000, 10, 0.1, 0.01), 3)
    0.6
    """
    return sp.log(nodes) / sp.log(fan_out) * (link_latency + fan_out * transmit_time)


@formula(disk_size="V", throughput="X", transaction_size="s")
def time_to_full(disk_size: PositiveBytes, throughput: PositiveRate, transaction_size: PositiveBytes) -> Seconds:
    """Time until a node that keeps every transaction has filled its disk.

    Parameters
    ----------
    disk_size : float or array
        Disk capacity V, bytes.
    throughput : float or array
        Transactions per second, X.
    transaction_size : float or array
        Transaction size s, bytes.

    Returns
    -------
    float or array
        V/(X·s), seconds.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(time_to_full(2e12, 1000, 500) / 86_400, 1)  # days
    46.3
    """
    return disk_size / (throughput * transaction_size)


def best_fan_out(link_latency: npt.ArrayLike, transmit_time: npt.ArrayLike) -> Any:
    """Fan-out that makes `tree_coverage_time` least.

    Parameters
    ----------
    link_latency : float or array
        Latency L of one link, seconds.
    transmit_time : float or array
        Time τ to transmit one message, seconds.

    Returns
    -------
    float or array
        exp(1 + W₀(L/(eτ))), not rounded; e where the latency is nothing.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(best_fan_out(0, 0.01), 3)
    2.718
    """
    from scipy.special import lambertw

    latency = checked("best_fan_out", "link_latency", link_latency, _LATENCY)
    sending = checked("best_fan_out", "transmit_time", transmit_time, _POSITIVE_SECONDS)
    try:
        with np.errstate(over="ignore"):
            best = finite("best_fan_out", np.exp(1 + lambertw(np.divide(latency, np.e * np.asarray(sending))).real))
    except ValueError as error:
        if isinstance(error, DomainError):
            raise
        shapes = f"link_latency {np.shape(latency)}, transmit_time {np.shape(sending)}"
        raise DomainError(f"best_fan_out: shapes must broadcast, got {shapes}") from None
    return float(best) if np.ndim(best) == 0 else best


def _race(where: str, adversary: float, confirmations: int) -> tuple[float, int]:
    share = checked_scalar(where, "adversary", adversary, _MINORITY)
    count = checked_integer(where, "confirmations", confirmations, low=0)
    if count > MOST_CONFIRMATIONS:
        raise DomainError(f"{where}: confirmations must be at most {MOST_CONFIRMATIONS}, got {shown(count)}")
    return share, count


def nakamoto_double_spend(adversary: float, confirmations: int) -> float:
    """Probability that a double spend succeeds, by Nakamoto's approximation.

    It puts the *mean* time of z honest blocks for their random time, so that the adversary's blocks are Poisson; the
    exact answer is `double_spend`.

    Parameters
    ----------
    adversary : float
        Share q of block production, below one half.
    confirmations : int
        Blocks z that the seller waits for.

    Returns
    -------
    float
        A probability.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Nakamoto (2008), Bitcoin, section 11.

    Examples
    --------
    >>> round(nakamoto_double_spend(0.1, 6), 7)
    0.0002428
    """
    from scipy.special import gammainc, gammaincc

    q, z = _race("nakamoto_double_spend", adversary, confirmations)
    if q == 0 or z == 0:
        return float(z == 0)
    odds = q / (1 - q)
    # ahead already: certain. Behind by z - j: catches up with odds^(z-j), and the sum over j is a Poisson tail again,
    # of mean z. Both terms are positive, so nothing cancels
    below_one = (2 * q - 1) / (1 - q)  # odds - 1, to all digits
    decay = np.log1p(below_one) - below_one
    ahead, behind = gammainc(z + 1, z * odds), np.exp(z * decay) * gammaincc(z + 1, z)
    return min(1.0, float(ahead + behind))


def double_spend(adversary: float, confirmations: int) -> float:
    """Probability that a double spend succeeds, exactly.

    Parameters
    ----------
    adversary : float
        Share q of block production, below one half.
    confirmations : int
        Blocks z that the seller waits for.

    Returns
    -------
    float
        The regularised incomplete beta function I_{4q(1−q)}(z, 1/2).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Grunspan and Pérez-Marco (2018), Int. J. Theoretical and Applied Finance 21.

    Examples
    --------
    >>> round(double_spend(0.1, 6), 7)
    0.0005914
    """
    from scipy.special import betainc, betaincc

    q, z = _race("double_spend", adversary, confirmations)
    if z == 0:
        return 1.0
    # near one half 4q(1-q) is 1 up to rounding, and its distance from 1 is what counts
    return float(betainc(z, 0.5, 4 * q * (1 - q)) if q < 0.25 else betaincc(0.5, z, (1 - 2 * q) ** 2))


@dataclass(frozen=True, eq=False)
class MiningRun:
    """What `simulate_mining` saw.

    Attributes
    ----------
    blocks : int
        Blocks mined in each run.
    longest : array, shape (runs,)
        Blocks on the longest chain.
    duration_s : array, shape (runs,)
        Seconds from the first block to the last.

    Examples
    --------
    >>> simulate_mining(1.0, 0.0, blocks=10, runs=2, rng=np.random.default_rng(1)).longest
    array([10., 10.])
    """

    blocks: int
    longest: Array
    duration_s: Array

    @property
    def growth_rate(self) -> Array:
        """Blocks that the longest chain gains per second, shape (runs,)."""
        rate: Array = (self.longest - 1) / self.duration_s
        return rate

    @property
    def fork_rate(self) -> Array:
        """Share of blocks that are not on the longest chain, shape (runs,)."""
        share: Array = 1 - self.longest / self.blocks
        return share


def simulate_mining(
    block_rate: float, propagation_delay: float, *, blocks: int, runs: int, rng: np.random.Generator
) -> MiningRun:
    """Simulate many small miners, each of whom learns of a block a fixed time after it was found.

    A block raises the chain by one if its miner knew the highest block, that is if the first block of that height is
    older than the delay; otherwise it is a sibling and is lost.

    Parameters
    ----------
    block_rate : float
        Blocks per second, all miners together.
    propagation_delay : float
        Seconds until everybody has a block.
    blocks, runs : int
        Blocks mined in a run, two or more, and independent runs.
    rng : numpy.random.Generator
        Where the randomness comes from.

    Returns
    -------
    MiningRun
        Length of the longest chain and the time it took.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Sompolinsky and Zohar (2015), Financial Cryptography.

    Examples
    --------
    >>> run = simulate_mining(1.0, 1.0, blocks=100_000, runs=1, rng=np.random.default_rng(1))
    >>> round(float(run.fork_rate[0]), 2)  # theory: one half
    0.5
    """
    where = "simulate_mining"
    rate = checked_scalar(where, "block_rate", block_rate, _RATE)
    delay = checked_scalar(where, "propagation_delay", propagation_delay, _LATENCY)
    count = checked_integer(where, "blocks", blocks, low=2)
    many = checked_integer(where, "runs", runs, low=1)
    if count * many > MOST_BLOCKS:
        raise DomainError(f"{where}: blocks times runs must be at most {MOST_BLOCKS}, got {shown(count * many)}")
    if not isinstance(rng, np.random.Generator):
        raise DomainError(f"{where}: rng must be a numpy.random.Generator, got {rng!r}")
    with np.errstate(over="ignore"):
        found = finite(where, np.cumsum(rng.standard_exponential((many, count)) / rate, axis=1))
    longest = np.empty(many)
    for run, times in enumerate(found):
        # the first block that knows block i: the whole array at once, then one step per block of the chain
        heir = np.maximum(np.searchsorted(times, times + delay), np.arange(1, count + 1)).tolist()
        at, height = 0, 1
        while (at := heir[at]) < count:
            height += 1
        longest[run] = height
    return MiningRun(count, longest, found[:, -1] - found[:, 0])


@dataclass(frozen=True)
class ChainFact:
    """One dated constant of one chain.

    Attributes
    ----------
    chain, quantity : str
        Whose it is, and what: ``"Bitcoin"``, ``"block_interval"``.
    value : float
        The number, in `unit`.
    unit : str
        Its unit.
    date : str
        When it took effect or was recorded, ISO 8601.
    source : str
        Where it can be looked up.

    Examples
    --------
    >>> load_chains()[0].chain
    'Bitcoin'
    """

    chain: str
    quantity: str
    value: float
    unit: str
    date: str
    source: str


def load_chains() -> list[ChainFact]:
    """Protocol constants of real chains, each with its date and its source: the file ``chains.csv``.

    Returns
    -------
    list of ChainFact
        In the order of the file.

    Examples
    --------
    >>> {"Bitcoin", "Ethereum"} <= {fact.chain for fact in load_chains()}
    True
    """
    text = files("web3scale").joinpath("chains.csv").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [
        ChainFact(row["chain"], row["quantity"], float(row["value"]), row["unit"], row["date"], row["source"])
        for row in csv.DictReader(lines)
    ]
