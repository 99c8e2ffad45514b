"""Rollups: what a transaction costs that layer 1 only stores, and how many of them its bytes can carry.

A *rollup* executes transfers on a ledger of its own and writes two things on layer 1: the *batch*, that is a list of
transfers as bytes (`web3scale.layers.batches`), and the state root after it. A *fault proof* shows that such a root is
wrong (`web3scale.layers.disputes`); a *validity proof* shows that it is right.

Sources: Groth (2016), EUROCRYPT; Cardozo and Williamson (2018), EIP-1108 (gas of a pairing check).
"""

from typing import Annotated

from web3scale import quantities as q
from web3scale.formula import formula
from web3scale.quantities import validated

PAIRING_BASE_GAS, PAIRING_GAS, ECMUL_GAS, ECADD_GAS = 45_000, 34_000, 6_000, 150  # EIP-1108

PositiveMoneyPerByte = Annotated[q.Number, q.Quantity("money/byte", open="low")]


@formula(data_rate="C", transaction_size="s")
def rollup_throughput(data_rate: q.PositiveDataRate, transaction_size: q.PositiveBytes) -> q.Rate:
    """Throughput at which a rollup's transactions fill the bytes that layer 1 has for them, C/s.

    Rollups that share layer 1 share this bound.

    >>> rollup_throughput(32_768, 128)
    256.0
    """
    return data_rate / transaction_size


@formula(batch="b", batch_cost=r"c_{\mathrm{fix}}", byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def rollup_cost(
    batch: q.Count, batch_cost: q.Money, byte_cost: PositiveMoneyPerByte, transaction_size: q.PositiveBytes
) -> q.Money:
    """Layer-1 cost of one rollup transaction, c_fix/b + c_data·s. Proposition 3.3 of the book.

    Each transaction pays its share of the batch's fixed cost, and its bytes.

    >>> rollup_cost([1, 100, 10_000], 200_000, 16, 12)
    array([200192.,   2192.,    212.])
    """
    return batch_cost / batch + byte_cost * transaction_size


@formula(byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def rollup_cost_floor(byte_cost: PositiveMoneyPerByte, transaction_size: q.PositiveBytes) -> q.Money:
    """Cost below which no batch size brings a rollup transaction, c_data·s.

    >>> rollup_cost_floor(16, 12)
    192.0
    """
    return byte_cost * transaction_size


@formula(fixed_share="varphi", batch_cost=r"c_{\mathrm{fix}}", byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def batch_for_share(
    fixed_share: q.InnerShare, batch_cost: q.Money, byte_cost: PositiveMoneyPerByte, transaction_size: q.PositiveBytes
) -> q.PositiveRatio:
    """Batch size at which the fixed part is a given share φ of a transaction's cost. Proposition 3.3 of the book.

    It is not rounded; a larger batch has a smaller share.

    >>> batch_for_share(0.5, 192_000, 16, 12)
    1000.0
    """
    return (1 - fixed_share) / fixed_share * batch_cost / (byte_cost * transaction_size)


@validated
def groth16_gas(public_inputs: int) -> int:
    """Gas for the curve operations that verify one Groth16 proof on Ethereum, however much it proves.

    Four pairings, and a multiplication and an addition for each of the `public_inputs`, the numbers that the proof
    speaks of: for a rollup the two roots and a digest of the batch, say. Calldata is not counted.

    >>> groth16_gas(3)
    199450
    """
    return PAIRING_BASE_GAS + 4 * PAIRING_GAS + public_inputs * (ECMUL_GAS + ECADD_GAS)
