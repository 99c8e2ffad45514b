"""Chapter 3: what a transaction of a rollup costs, and how many its bytes can carry."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from web3scale.errors import DomainError
from web3scale.layers import rollups


def test_the_cost_falls_to_its_floor_and_never_below():
    law = rollups.rollup_cost
    b, c_fix, c_data, s = (law.symbols[n] for n in law.symbols)
    assert sp.limit(law.expr, b, sp.oo) == rollups.rollup_cost_floor(c_data, s)
    assert sp.diff(law.expr, b).is_negative
    assert sp.simplify(b * (law.expr - rollups.rollup_cost_floor(c_data, s)) - c_fix) == 0
    assert rollups.rollup_cost_floor(16, 12) == 192


@given(share=st.floats(0.01, 0.99), fixed=st.floats(1, 1e9), price=st.floats(1e-3, 1e3), size=st.floats(1, 1e3))
def test_the_batch_at_which_the_fixed_part_has_its_share(share, fixed, price, size):
    batch = rollups.batch_for_share(share, fixed, price, size)
    if batch >= 1:
        whole = rollups.rollup_cost(batch, fixed, price, size)
        assert fixed / batch / whole == pytest.approx(share, rel=1e-9)


def test_throughput_of_a_rollup():
    assert rollups.rollup_throughput([32_768, 65_536], 16).tolist() == [2048, 4096]


def test_gas_of_a_groth16_proof():
    """EIP-1108: 45000 + 34000 k for k pairings, 6000 a multiplication, 150 an addition."""
    assert rollups.groth16_gas(0) == 45_000 + 4 * 34_000 == 181_000
    assert rollups.groth16_gas(3) - rollups.groth16_gas(0) == 3 * 6_150
    assert type(rollups.groth16_gas(np.int8(100))) is int  # 100 · 6150 is no int8


@pytest.mark.parametrize("inputs", [-1, 1.0, True, None])
def test_public_inputs_are_counted(inputs):
    with pytest.raises(DomainError, match="groth16_gas: public_inputs must be an integer of at least 0"):
        rollups.groth16_gas(inputs)


@pytest.mark.parametrize("share", [0, 1])
def test_a_fixed_part_of_nothing_or_all_is_of_no_batch(share):
    with pytest.raises(DomainError, match=r"batch_for_share: fixed_share must be a number in \(0, 1\)"):
        rollups.batch_for_share(share, 1, 1, 1)
