"""How much faster shards are than one, if accounts lie on them at random: formulas, and a count that knows none.

A *shard* keeps some of the accounts. A transaction is *cross-shard* if it touches accounts of two or more. A *visit* is
one message to one shard, with the work that follows it: a local transaction makes one, a cross-shard transaction
several to each shard it touches (two in `crossshard`: lock or prepare, then commit or abort). Proposition 3.1 of the
book.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from web3scale.formula import formula
from web3scale.quantities import Array, Count, Positive, PositiveRate, Quantity, Rate, Share, Whole, checked, validated

# the formulas lose a digit with each factor of ten in k, and in v: at the ends of both, four are left
Size = Annotated[Any, Quantity("1", low=1.0, high=1e6)]
Few = Annotated[int, Whole(1, 1024)]
Places = Annotated[int, Whole(1, 5 * 10**6)]  # to draw, all runs together: more would fill the memory


@formula(shards="k", accounts="m")
def cross_shard_share(shards: Count, accounts: Count) -> Share:
    """Share of transactions that touch more than one shard, if accounts are spread evenly at random.

    A difference from 1: exact to 2·10⁻¹⁶, however small the share.

    >>> cross_shard_share(16, 2)
    0.9375
    """
    return 1 - shards ** (1 - accounts)


@formula(shards="k", accounts="m")
def shards_touched(shards: Size, accounts: Size) -> Count:
    """Mean number of distinct shards that a transaction touches, if accounts are spread evenly at random.

    A small difference times k: exact to 2k·10⁻¹⁶ of its value, nine digits for a million shards.

    >>> shards_touched(2, 2)
    1.5
    """
    return shards * (1 - (1 - 1 / shards) ** accounts)


@formula(shards="k", accounts="m", visits="v")
def shard_work(shards: Size, accounts: Size, visits: Size) -> Count:
    """Mean number of visits that a transaction makes, if a cross-shard one makes v to each shard that it touches.

    >>> shard_work(2, 2, 2)  # half local with one visit, half on two shards with two visits each
    2.5
    """
    local = shards ** (1 - accounts)
    return local + visits * (shards_touched(shards, accounts) - local)


@formula(service_rate="mu", shards="k", accounts="m", visits="v")
def sharded_throughput(service_rate: PositiveRate, shards: Size, accounts: Size, visits: Size) -> Rate:
    """Transactions per second of evenly loaded shards, each of which serves μ visits a second.

    >>> sharded_throughput(1000, 1, 2, 2), sharded_throughput(1000, 2, 2, 2)
    (1000.0, 800.0)
    """
    return shards * service_rate / shard_work(shards, accounts, visits)


@dataclass(frozen=True, eq=False)
class Workload:
    """What `simulate_workload` saw of transactions, and of each run."""

    touched: npt.NDArray[np.int64]  # distinct shards of each transaction, shape (runs, transactions)
    cross_share: Array  # share of cross-shard transactions, shape (runs,)
    work: Array  # mean visits of a transaction, shape (runs,)


@validated
def simulate_workload(
    shards: Few, accounts: Few, visits: Few, *, transactions: Positive, runs: Positive, rng: np.random.Generator
) -> Workload:
    """Draw transactions whose accounts lie on random shards, and count: five million accounts at most.

    >>> run = simulate_workload(4, 2, 2, transactions=10_000, runs=1, rng=np.random.default_rng(1))
    >>> round(float(run.cross_share[0]), 2)  # theory: 0.75
    0.75
    """
    checked("simulate_workload", "runs times places", runs * transactions * accounts, Places)
    places = np.sort(rng.integers(shards, size=(runs, transactions, accounts)), axis=2)
    first = np.ones(places.shape, dtype=bool)  # whether an account is the first of its transaction on its shard
    first[:, :, 1:] = places[:, :, 1:] != places[:, :, :-1]
    touched = first.sum(axis=2)
    crosses = touched > 1
    weight = first * np.where(crosses, visits, 1)[:, :, None]
    return Workload(touched, crosses.mean(axis=1), weight.sum(axis=(1, 2)) / transactions)
