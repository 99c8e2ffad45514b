"""Chapter 3: the limits of Ethereum's blobs fork by fork, and their fee to the last wei."""

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web3scale.errors import DomainError
from web3scale.layers import blobs

# Vectors from outside


@pytest.mark.parametrize(
    ("factor", "numerator", "denominator", "expected"),
    [
        (1, 0, 1, 1),
        (38493, 0, 1000, 38493),
        (0, 1234, 2345, 0),
        (1, 2, 1, 6),
        (1, 4, 2, 6),
        (1, 3, 1, 16),
        (1, 6, 2, 18),
        (1, 4, 1, 49),
        (1, 8, 2, 50),
        (10, 8, 2, 542),
        (11, 8, 2, 596),
        (1, 5, 1, 136),
        (1, 5, 2, 11),
        (2, 5, 2, 23),
        (1, 50000000, 2225652, 5709098764),
    ],
)
def test_fake_exponential_of_geth(factor, numerator, denominator, expected):
    """ethereum/go-ethereum commit 02b73d4e, consensus/misc/eip4844 tests."""
    assert blobs.fake_exponential(factor, numerator, denominator) == expected


@pytest.mark.parametrize(("excess", "fee"), [(0, 1), (2314057, 1), (2314058, 2), (10485760, 23)])
def test_blob_fee_of_geth(excess, fee):
    """ethereum/go-ethereum commit 02b73d4e, consensus/misc/eip4844 tests, Cancun."""
    assert blobs.blob_base_fee(excess, 3338477) == fee


@pytest.mark.parametrize(
    ("excess", "used", "after"),
    [
        (0, 0, 0),
        (0, 1, 0),
        (0, 3, 0),
        (0, 4, 131072),
        (1, 4, 131073),
        (1, 5, 262145),
        (393216, 3, 393216),
        (393216, 2, 262144),
        (393216, 1, 131072),
        (131071, 2, 0),
    ],
)
def test_excess_blob_gas_of_geth(excess, used, after):
    """ethereum/go-ethereum commit 02b73d4e, consensus/misc/eip4844 tests, Cancun: target 3."""
    assert blobs.next_excess_blob_gas(excess, used, 3) == after


def test_blob_schedule():
    """ethereum/go-ethereum commit 02b73d4e, params: target, max and update fraction; days of the epochs or times."""
    assert [dataclasses.astuple(limits) for limits in blobs.load_blob_schedule()] == [
        ("Cancun", "2024-03-13", 3, 6, 3338477, 12.0),
        ("Prague", "2025-05-07", 6, 9, 5007716, 12.0),
        ("BPO1", "2025-12-09", 10, 15, 8346193, 12.0),
        ("BPO2", "2026-01-07", 14, 21, 11684671, 12.0),
    ]
    cancun = blobs.load_blob_schedule()[0]
    assert (cancun.target_rate, cancun.peak_rate) == (32_768, 65_536)


@pytest.mark.parametrize(("fork", "full", "empty"), [("Cancun", 12.5, 11.1), ("Prague", 8.2, 14.5)])
def test_largest_change_of_the_blob_fee(fork, full, empty):
    """EIP-4844 and EIP-7691: per cent up after a full block, and down after an empty one."""
    limits = next(s for s in blobs.load_blob_schedule() if s.fork == fork)
    high = 400 * limits.update_fraction // 10
    fee = blobs.blob_base_fee(high, limits.update_fraction)
    after = [
        blobs.blob_base_fee(blobs.next_excess_blob_gas(high, n, limits.target), limits.update_fraction)
        for n in (limits.maximum, 0)
    ]
    assert [round(1000 * (a - fee) / fee) / 10 for a in after] == [full, -empty]


# Integers


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 40))
def test_fake_exponential_stays_just_below_the_true_one(factor, numerator, denominator):
    exact = factor * math.exp(numerator / denominator)
    terms = 3 * numerator / denominator + 30  # far more than are not yet zero
    found = blobs.fake_exponential(factor, numerator, denominator)
    assert exact - 1 - (terms * math.exp(numerator / denominator)) / denominator <= found <= exact + 1e-6


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32])
def test_integers_of_numpy_do_not_overflow(kind):
    fee = blobs.blob_base_fee(kind(100_000_000), kind(3338477))
    assert (fee, type(fee)) == (10203769476395, int)
    assert blobs.next_excess_blob_gas(kind(2**31 - 1), kind(6), kind(3)) == 2**31 - 1 + 3 * 131072
    assert blobs.fake_exponential(kind(11), kind(8), kind(2)) == 596


@pytest.mark.parametrize("denominator", [1, 3, 2**64 // 1000 - 1])
def test_the_largest_exponent_is_the_last_that_is_computed(denominator):
    fee = blobs.blob_base_fee(1000 * denominator, denominator)
    term = total = Fraction(1)
    for i in range(1, 4000):  # e^1000 to more digits than anybody needs
        term = Fraction(int(term * 1000 / i * 2**64), 2**64)
        total += term
    assert fee <= total * (1 + Fraction(1, 10**9))
    if denominator > 3:  # so many fractions of a wei that rounding shows no more
        assert fee >= total * (1 - Fraction(1, 10**9))
    with pytest.raises(
        DomainError, match=rf"fake_exponential: numerator must be an integer in 0 \.\.\. {1000 * denominator}, got"
    ):
        blobs.blob_base_fee(1000 * denominator + 1, denominator)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: blobs.fake_exponential(1, 1, 0), "fake_exponential: denominator must be an integer in 1 ... 1844"),
        (lambda: blobs.fake_exponential(-1, 1, 1), "fake_exponential: factor"),
        (lambda: blobs.fake_exponential(1, -1, 1), "fake_exponential: numerator"),
        (lambda: blobs.fake_exponential(2**64, 1, 1), "fake_exponential: factor"),
        (lambda: blobs.fake_exponential(1, 2**64, 2**53), "fake_exponential: numerator"),
        (lambda: blobs.fake_exponential(1, 1, 2**64), "fake_exponential: denominator"),
        (lambda: blobs.blob_base_fee(10**100_000, 3338477), "fake_exponential: numerator"),
        (lambda: blobs.blob_base_fee(1, 0), "blob_base_fee: update_fraction"),
        (lambda: blobs.blob_base_fee(1.0, 1), "blob_base_fee: excess"),
        (lambda: blobs.next_excess_blob_gas(-1, 0, 0), "next_excess_blob_gas: excess"),
        (lambda: blobs.next_excess_blob_gas(0, -1, 0), "next_excess_blob_gas: blobs"),
        (lambda: blobs.next_excess_blob_gas(0, 0, 1.0), "next_excess_blob_gas: target"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()
