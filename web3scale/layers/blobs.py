"""Blobs: how many bytes a block of Ethereum has for rollups, and the fee that keeps demand at the target.

A *blob* is the parcel of bytes in which Ethereum keeps a rollup's batches for some weeks. A block has a *target* number
of blobs and a maximum. The *excess* is the blob gas used beyond the target so far; the fee grows exponentially with it.
Source: Buterin et al. (2022), EIP-4844.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from web3scale.facts import load_chains
from web3scale.quantities import Whole, checked, validated

BLOB_BYTES = 131_072  # 4096 field elements of 32 bytes; a blob costs as many units of blob gas
LARGEST_EXPONENT = 1000  # e to this power has 435 digits: no fee comes near, and the series stays short

Word = Annotated[int, Whole(0, 2**64 - 1)]
LIMITS = "blobs_target", "blobs_max", "blob_fee_update_fraction"  # what the file of constants calls them
PositiveWord = Annotated[int, Whole(1, 2**64 - 1)]


@dataclass(frozen=True)
class BlobLimits:
    """How many blobs a block of Ethereum holds since a fork.

    >>> BlobLimits("Cancun", "2024-03-13", 3, 6, 3338477, 12.0).target_rate
    32768.0
    """

    fork: str
    date: str  # on which the fork took effect, ISO 8601
    target: int  # blobs a block at which the fee stays where it is
    maximum: int  # most blobs a block can hold
    update_fraction: int  # blob gas in excess that raises the fee by the factor e
    slot_s: float  # from block to block

    @property
    def target_rate(self) -> float:
        """Blob bytes per second in the long run."""
        return self.target * BLOB_BYTES / self.slot_s

    @property
    def peak_rate(self) -> float:
        """Blob bytes per second while every block is full."""
        return self.maximum * BLOB_BYTES / self.slot_s


def load_blob_schedule() -> tuple[BlobLimits, ...]:
    """Blob limits of Ethereum fork by fork, from the dated file of constants.

    >>> [(limits.fork, limits.target, limits.maximum) for limits in load_blob_schedule()]
    [('Cancun', 3, 6), ('Prague', 6, 9), ('BPO1', 10, 15), ('BPO2', 14, 21)]
    """
    facts = [fact for fact in load_chains() if fact.chain == "Ethereum"]
    value = {(fact.quantity, fact.date): int(fact.value) for fact in facts}
    forks = {fact.date: name[1] for fact in facts if (name := re.search(r"blob schedule: (\w+)", fact.source))}
    (slot,) = (fact.value for fact in facts if fact.quantity == "slot")
    sizes: dict[str, Any] = {date: [value[name, date] for name in LIMITS] for date in forks}
    return tuple(BlobLimits(forks[date], date, *sizes[date], slot) for date in sorted(forks))  # type: ignore[call-arg]


@validated
def fake_exponential(factor: Word, numerator: int, denominator: PositiveWord) -> int:
    """Compute factor · exp(numerator/denominator) in integers: the Taylor series, every term rounded down.

    It is the same on every machine, which no floating-point exponential promises. The quotient is at most 1000.
    Source: EIP-4844.

    >>> fake_exponential(1, 5, 1)  # e^5 = 148.4: each term was rounded down
    136
    """
    checked("fake_exponential", "numerator", numerator, Annotated[int, Whole(0, LARGEST_EXPONENT * denominator)])
    term, total, i = factor * denominator, 0, 1
    while term > 0:
        total += term
        term = term * numerator // (denominator * i)
        i += 1
    return total // denominator


@validated
def blob_base_fee(excess: int, update_fraction: PositiveWord) -> int:
    """Price of a unit of blob gas in wei, at least 1, where `excess` blob gas was used beyond the target so far.

    `update_fraction` is the excess that raises the fee by the factor e; see `load_blob_schedule`. Source: EIP-4844.

    >>> blob_base_fee(10 * 1024 * 1024, 3338477)
    23
    """
    return fake_exponential(1, excess, update_fraction)


@validated
def next_excess_blob_gas(excess: int, blobs: int, target: int) -> int:
    """Excess blob gas after a block with some `blobs`, where the `target` leaves it as it is; never below 0.

    This is the rule before EIP-7918 kept the excess from falling while blobs are very cheap. Source: EIP-4844, section
    "Header extension".

    >>> next_excess_blob_gas(0, 4, target=3), next_excess_blob_gas(0, 2, target=3)
    (131072, 0)
    """
    return max(0, excess + BLOB_BYTES * blobs - BLOB_BYTES * target)
