"""Rollups: batches of transfers on layer 1 as bytes, what the bytes cost, and a game that finds the one wrong step.

Vocabulary: a *batch* is a list of transfers that a rollup executes together; a *blob* is the parcel of bytes in which
Ethereum keeps such data for some weeks; a *record* is one transfer as it stands in a batch. A *proposer* posts a batch
and the state root after it; a *challenger* disputes the root; the *referee* is the contract on layer 1 that decides.
Added to Definition 3.2 of the book.

Sources: Buterin et al. (2022), EIP-4844 (blobs and their fee); Cardozo and Williamson (2018), EIP-1108 (gas of a
pairing check); Kalodner et al. (2018), USENIX Security (the bisection game); Groth (2016), EUROCRYPT.
"""

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from web3scale.crypto import MerkleTree, leaf_hash, root_from_proof, verify_inclusion
from web3scale.errors import DomainError, Rejected, shown
from web3scale.formula import Count, PositiveRatio, Quantity, Rate, checked_integer, formula
from web3scale.layers.ledger import AccountProof, Ledger, Transfer, account_leaf, verify_account
from web3scale.limits import load_chains

BLOB_BYTES = 131_072  # 4096 field elements of 32 bytes: EIP-4844; a blob costs as many units of blob gas
ELEMENTS = 4096
BLOB_DATA = ELEMENTS * 31  # the first byte of an element stays zero: not all 32-byte numbers are in the field
SIGNATURE_BYTES = 64
LARGEST = (1 << 256) - 1  # numbers in a batch have 256 bits at most, as on Ethereum
PAIRING_BASE_GAS, PAIRING_GAS, ECMUL_GAS, ECADD_GAS = 45_000, 34_000, 6_000, 150  # EIP-1108

Money = Annotated[Any, Quantity("money")]
PositiveMoneyPerByte = Annotated[Any, Quantity("money/byte", open="low")]
PositiveBytes = Annotated[Any, Quantity("byte", open="low")]
PositiveDataRate = Annotated[Any, Quantity("byte/s", open="low")]
PositiveShare = Annotated[Any, Quantity("1", high=1.0, open="low high")]


class BadBatch(Rejected):
    """Bytes that are no batch, no record or no blobs: too short, too long, or not written in the one right way."""


class BadWitness(Rejected):
    """A witness that proves nothing about the step in question."""


@dataclass(frozen=True)
class BlobLimits:
    """How many blobs a block of Ethereum holds since a fork.

    Attributes
    ----------
    fork, date : str
        Name of the fork, and the day on which it took effect, ISO 8601.
    target, maximum : int
        Blobs a block at which the fee stays where it is, and the most there can be.
    update_fraction : int
        Blob gas in excess that raises the fee by the factor e.
    slot_s : float
        Time from block to block, seconds.

    Examples
    --------
    >>> BlobLimits("Cancun", "2024-03-13", 3, 6, 3338477, 12.0).target_rate
    32768.0
    """

    fork: str
    date: str
    target: int
    maximum: int
    update_fraction: int
    slot_s: float

    @property
    def target_rate(self) -> float:
        """Blob bytes per second in the long run."""
        return self.target * BLOB_BYTES / self.slot_s

    @property
    def peak_rate(self) -> float:
        """Blob bytes per second while every block is full."""
        return self.maximum * BLOB_BYTES / self.slot_s


@dataclass(frozen=True)
class Claim:
    """What the contract on layer 1 knows of a batch. Only `after` is the proposer's; the rest is layer 1's own.

    Attributes
    ----------
    chain : str
        Name of the rollup.
    batch_root : bytes
        Merkle root of the records.
    steps, accounts : int
        Number of records, and of accounts: a Merkle root does not say how many leaves it has.
    before, after : bytes
        State roots: the last one that is settled, and the one that is claimed.

    Examples
    --------
    >>> Claim("rollup", bytes(32), 1, 1, bytes(32), bytes(32)).steps
    1
    """

    chain: str
    batch_root: bytes
    steps: int
    accounts: int
    before: bytes
    after: bytes


@dataclass(frozen=True)
class Witness:
    """All that the referee needs to execute one step: the record, the accounts it touches, and the paths to the roots.

    Attributes
    ----------
    record : bytes
        The transfer as it stands in the batch.
    record_path : tuple of bytes
        Its inclusion proof in the batch.
    accounts : tuple of AccountProof
        The fee account, the sender and the recipients by ascending index, each as before the step; the path of each is
        in the tree in which those before it have changed already.

    Examples
    --------
    >>> Witness(b"12345", (bytes(32),), ()).size_bytes
    37
    """

    record: bytes
    record_path: tuple[bytes, ...]
    accounts: tuple[AccountProof, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that the referee reads."""
        digests = len(self.record_path) + sum(len(proof.path) for proof in self.accounts)
        return len(self.record) + 32 * digests + sum(len(proof.leaf) for proof in self.accounts)


@dataclass(frozen=True)
class Verdict:
    """How a dispute ended.

    Attributes
    ----------
    winner : str
        "proposer" or "challenger".
    reason : str
        What decided it.
    step : int or None
        The step that was executed, counted from 0; None if it did not come to that.
    rounds : int
        Midpoints that were stated and answered.
    size_bytes : int
        Bytes that layer 1 had to read.

    Examples
    --------
    >>> Verdict("challenger", "the proposer is silent", None, 0, 0).rounds
    0
    """

    winner: str
    reason: str
    step: int | None
    rounds: int
    size_bytes: int


class Proposer(Protocol):
    """Who defends a claim.

    Attributes
    ----------
    root, witness : callable
        What it states at a midpoint and shows at the end; None is silence.

    Examples
    --------
    >>> hasattr(Trace, "root") and hasattr(Trace, "witness")
    True
    """

    def root(self, step: int) -> bytes | None:
        """State the root after so many steps."""

    def witness(self, step: int) -> Witness | None:
        """Show what is needed to execute a step."""


class Challenger(Protocol):
    """Who disputes a claim.

    Attributes
    ----------
    agrees, witness : callable
        What it answers at a midpoint and shows at the end; None is silence.

    Examples
    --------
    >>> hasattr(Trace, "agrees") and hasattr(Trace, "witness")
    True
    """

    def agrees(self, step: int, root: bytes) -> bool | None:
        """Say whether this is the root after so many steps."""

    def witness(self, step: int) -> Witness | None:
        """Show what is needed to execute a step."""


@dataclass(frozen=True)
class Trace:
    """Every step of a batch, executed: what an honest node knows. It plays both sides of a dispute.

    Attributes
    ----------
    opening : Ledger
        The state before the batch; not changed.
    accounts : tuple of bytes
        Its accounts by index.
    records : tuple of bytes
        The transfers as they stand in the batch.
    roots : tuple of bytes
        The state root before the first step and after each.

    Examples
    --------
    >>> replay(Ledger("rollup", {}), [bytes(32)], [b"nonsense"]).claim.steps  # nonsense is a step that changes nothing
    1
    """

    opening: Ledger
    accounts: tuple[bytes, ...]
    records: tuple[bytes, ...]
    roots: tuple[bytes, ...]

    @property
    def claim(self) -> Claim:
        """The honest claim."""
        batch_root = MerkleTree(self.records).root
        steps, accounts = len(self.records), len(self.accounts)
        return Claim(self.opening.chain, batch_root, steps, accounts, self.roots[0], self.roots[-1])

    def root(self, step: int) -> bytes | None:
        """State the root after so many steps."""
        return self.roots[step]

    def agrees(self, step: int, root: bytes) -> bool | None:
        """Say whether this is the root after so many steps."""
        return root == self.roots[step]

    def witness(self, step: int) -> Witness | None:
        """Show what is needed to execute a step."""
        path = MerkleTree(self.records).inclusion_proof(step)
        touched = _touched(self.records[step], len(self.accounts))
        ledger = copy.deepcopy(self.opening)
        for record in self.records[:step]:
            _apply_record(ledger, record, self.accounts)
        before = [ledger.prove(account) for account in self.accounts]
        _apply_record(ledger, self.records[step], self.accounts)
        tree, proofs = MerkleTree(proof.leaf for proof in before), []
        for index in touched:
            old = before[index]
            leads = tree.inclusion_proof(index)
            proofs.append(AccountProof(old.account, old.balance, old.nonce, index, len(self.accounts), leads))
            tree.update({index: ledger.prove(old.account).leaf})
        return Witness(self.records[step], path, tuple(proofs))


# Batches as bytes


def _varint(where: str, name: str, value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow (LEB128)."""
    rest, out = checked_integer(where, name, value, low=0), bytearray()
    if rest > LARGEST:
        raise DomainError(f"{where}: {name} must have 256 bits at most, got {shown(rest)}")
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*out, rest])


class _Reader:
    """Bytes read from left to right; BadBatch where they end too soon."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise BadBatch("batch: bytes must not end within a transfer", size=len(self.data))
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if value > LARGEST or shift > 256:
                raise BadBatch("batch: numbers must have 256 bits at most", position=self.at)
            if byte < 128:
                break
            shift += 7
        if byte == 0 and shift:  # a zero on top adds nothing: one number has one form
            raise BadBatch("batch: numbers must be written without leading zeros", position=self.at)
        return value

    def end(self) -> None:
        if self.at != len(self.data):
            raise BadBatch("batch: nothing must follow the last transfer", left=len(self.data) - self.at)


@dataclass(frozen=True)
class _Fields:
    """A record taken apart; accounts are still indices."""

    sender: int
    nonce: int
    fee: int
    payments: tuple[tuple[int, int], ...]
    signature: bytes

    @property
    def accounts(self) -> list[int]:
        """Every account it names."""
        return [self.sender, *(index for index, _ in self.payments)]

    def transfer(self, names: Callable[[int], bytes], chain: str) -> Transfer:
        payments = tuple((names(index), amount) for index, amount in self.payments)
        return Transfer(chain, names(self.sender), payments, self.fee, self.nonce, self.signature)


def _read_fields(reader: _Reader, signature: bool) -> _Fields:
    sender, nonce, fee, count = (reader.number() for _ in range(4))
    payments = []
    for _ in range(count):
        payments.append((reader.number(), reader.number()))
    return _Fields(sender, nonce, fee, tuple(payments), reader.take(SIGNATURE_BYTES * signature))


def _known(fields: _Fields, accounts: int) -> _Fields:
    if max(fields.accounts) >= accounts:
        raise BadBatch(f"batch: account must be below {accounts}", account=max(fields.accounts))
    return fields


def _read_record(record: bytes, accounts: int) -> _Fields:
    reader = _Reader(record)
    fields = _known(_read_fields(reader, signature=True), accounts)
    reader.end()
    return fields


def _encode(where: str, transfer: Transfer, index: Mapping[bytes, int], signature: bool) -> bytes:
    numbers = [transfer.nonce, transfer.fee, len(transfer.payments)]
    try:
        for account, amount in transfer.payments:
            numbers += [index[account], amount]
        numbers.insert(0, index[transfer.sender])
    except KeyError as unknown:
        raise DomainError(f"{where}: accounts must hold sender and recipients, got {unknown.args[0]!r}") from None
    if signature and len(transfer.signature) != SIGNATURE_BYTES:
        raise DomainError(f"{where}: signature must have 64 bytes, got {len(transfer.signature)}")
    signed = transfer.signature if signature else b""
    return b"".join(_varint(where, "transfers", number) for number in numbers) + signed


def encode_record(transfer: Transfer, accounts: Sequence[bytes]) -> bytes:
    """Write one transfer as it stands in a batch, signature included.

    Parameters
    ----------
    transfer
        The transfer.
    accounts
        All accounts of the rollup by index.

    Returns
    -------
    bytes
        Sender, nonce, fee, number of payments, recipient and amount of each, all variable-length integers; 64 bytes
        of signature.

    Raises
    ------
    DomainError
        If an account is not among `accounts`, a number is not natural, or the signature has not 64 bytes.

    Examples
    --------
    >>> transfer = Transfer("rollup", b"a", ((b"b", 5000),), 1, 1, bytes(64))
    >>> encode_record(transfer, [bytes(32), b"a", b"b"])[:7].hex()
    '01010101028827'
    """
    return _encode("encode_record", transfer, {name: i for i, name in enumerate(accounts)}, True)


def encode_batch(transfers: Sequence[Transfer], accounts: Sequence[bytes], *, signatures: bool = True) -> bytes:
    """Write a batch as bytes: accounts by their index, numbers as short as they are.

    Parameters
    ----------
    transfers
        The batch. What only a ledger can refuse may be in it: everybody who executes it refuses the same.
    accounts
        All accounts of the rollup by index.
    signatures
        Whether the 64 bytes of each are included: a rollup that proves validity leaves them out.

    Returns
    -------
    bytes
        One byte for the form, the number of transfers, the records.

    Raises
    ------
    DomainError
        If an account is not among `accounts`, a number is not natural, or a signature has not 64 bytes.

    Notes
    -----
    The chain of a transfer is not written: whoever reads the batch takes it for one of the rollup's own, and where it
    was signed for another its signature is wrong.

    Examples
    --------
    >>> transfer = Transfer("rollup", b"a", ((b"b", 5000),), 1, 1, bytes(64))
    >>> [len(encode_batch([transfer] * 10, [bytes(32), b"a", b"b"], signatures=kept)) for kept in (True, False)]
    [712, 72]
    """
    index = {name: i for i, name in enumerate(accounts)}
    records = [_encode("encode_batch", transfer, index, signatures) for transfer in transfers]
    return b"".join([bytes([bool(signatures)]), _varint("encode_batch", "transfers", len(records)), *records])


def decode_batch(data: bytes, accounts: Sequence[bytes], chain: str) -> tuple[Transfer, ...]:
    r"""Read a batch.

    Parameters
    ----------
    data
        From `encode_batch`.
    accounts
        All accounts of the rollup by index.
    chain
        The rollup's name, which no record repeats.

    Returns
    -------
    tuple of Transfer
        The batch; without signatures if it was written without.

    Raises
    ------
    BadBatch
        If these bytes are not what `encode_batch` writes for some batch.

    Examples
    --------
    >>> decode_batch(b"\x01\x00", [], "rollup")
    ()
    >>> decode_batch(b"\x01\x01", [], "rollup")
    Traceback (most recent call last):
    web3scale.layers.rollups.BadBatch: batch: bytes must not end within a transfer, got size=2
    """
    if type(data) is not bytes:
        raise BadBatch("batch: it must be bytes", given=data)
    reader = _Reader(data)
    form = reader.take(1)[0]
    if form > 1:
        raise BadBatch("batch: first byte must be 0 or 1", form=form)
    count = reader.number()
    transfers = []
    for _ in range(count):
        fields = _known(_read_fields(reader, signature=bool(form)), len(accounts))
        transfers.append(fields.transfer(accounts.__getitem__, chain))
    reader.end()
    return tuple(transfers)


def pack_blobs(data: bytes) -> tuple[bytes, ...]:
    """Put bytes into as many blobs as they need.

    Parameters
    ----------
    data
        Any bytes.

    Returns
    -------
    tuple of bytes, length 131072 each
        The length of the data in eight bytes, the data, zeros; 31 bytes to each field element, after a zero.

    Raises
    ------
    DomainError
        If `data` is not bytes.

    References
    ----------
    Buterin et al. (2022), EIP-4844.

    Examples
    --------
    >>> [len(pack_blobs(bytes(size))) for size in (0, 126968, 126969)]
    [1, 1, 2]
    """
    if not isinstance(data, bytes):
        raise DomainError(f"pack_blobs: data must be bytes, got {data!r}")
    framed = len(data).to_bytes(8, "big") + data
    framed += bytes(-len(framed) % BLOB_DATA)
    wide = b"".join(b"\0" + framed[at : at + 31] for at in range(0, len(framed), 31))
    return tuple(wide[at : at + BLOB_BYTES] for at in range(0, len(wide), BLOB_BYTES))


def unpack_blobs(blobs: Sequence[bytes]) -> bytes:
    """Take the bytes out of blobs again.

    Parameters
    ----------
    blobs
        From `pack_blobs`.

    Returns
    -------
    bytes
        What was put in.

    Raises
    ------
    BadBatch
        If a blob has another size, or they are not what `pack_blobs` writes for some bytes.

    Examples
    --------
    >>> unpack_blobs(pack_blobs(b"hello"))
    b'hello'
    """
    if not isinstance(blobs, (tuple, list)) or not all(type(blob) is bytes for blob in blobs):
        raise BadBatch("blobs: they must be a tuple of bytes", given=blobs)
    for blob in blobs:
        if len(blob) != BLOB_BYTES:
            raise BadBatch(f"blobs: size must be {BLOB_BYTES}", size=len(blob))
    wide = b"".join(blobs)
    framed = b"".join(wide[at + 1 : at + 32] for at in range(0, len(wide), 32))
    size = int.from_bytes(framed[:8], "big")
    data = framed[8 : 8 + size]
    if not blobs or pack_blobs(data) != tuple(blobs):
        raise BadBatch("blobs: length and padding must fit the data", length=size)
    return data


# What the bytes cost


def load_blob_schedule() -> tuple[BlobLimits, ...]:
    """Blob limits of Ethereum by fork, from the dated file of constants.

    Returns
    -------
    tuple of BlobLimits
        By date.

    Examples
    --------
    >>> [(limits.fork, limits.target, limits.maximum) for limits in load_blob_schedule()]
    [('Cancun', 3, 6), ('Prague', 6, 9), ('BPO1', 10, 15), ('BPO2', 14, 21)]
    """
    facts = [fact for fact in load_chains() if fact.chain == "Ethereum"]
    slot = next(fact.value for fact in facts if fact.quantity == "slot")
    forks: dict[tuple[str, str], dict[str, int]] = {}
    for fact in facts:
        if fork := re.search(r"blob schedule: (\w+)", fact.source):
            forks.setdefault((fact.date, fork[1]), {})[fact.quantity] = int(fact.value)
    return tuple(
        BlobLimits(
            fork, date, found["blobs_target"], found["blobs_max"], found["blob_fee_update_fraction"], slot_s=slot
        )
        for (date, fork), found in sorted(forks.items())
    )


def fake_exponential(factor: int, numerator: int, denominator: int) -> int:
    """Compute factor · exp(numerator/denominator) in integers: the Taylor series, every term rounded down.

    Parameters
    ----------
    factor, numerator
        At least 0.
    denominator
        At least 1.

    Returns
    -------
    int
        The same on every machine, which no floating-point exponential promises.

    Raises
    ------
    DomainError
        If an argument is not such an integer.

    References
    ----------
    Buterin et al. (2022), EIP-4844, section "Gas accounting".

    Examples
    --------
    >>> fake_exponential(1, 5, 1)  # e^5 = 148.4: each term was rounded down
    136
    """
    where = "fake_exponential"
    term = checked_integer(where, "factor", factor, low=0) * checked_integer(where, "denominator", denominator, low=1)
    checked_integer(where, "numerator", numerator, low=0)
    total, i = 0, 1
    while term > 0:
        total += term
        term = term * numerator // (denominator * i)
        i += 1
    return total // denominator


def blob_base_fee(excess: int, update_fraction: int) -> int:
    """Price of a unit of blob gas.

    Parameters
    ----------
    excess
        Blob gas used beyond the target so far, gas.
    update_fraction
        Excess that raises the fee by the factor e, gas; see `load_blob_schedule`.

    Returns
    -------
    int
        Wei per unit of blob gas, at least 1.

    Raises
    ------
    DomainError
        If an argument is not an integer of at least 0, or the fraction is 0.

    References
    ----------
    Buterin et al. (2022), EIP-4844, section "Gas accounting".

    Examples
    --------
    >>> blob_base_fee(10 * 1024 * 1024, 3338477)
    23
    """
    return fake_exponential(1, excess, update_fraction)


def next_excess_blob_gas(excess: int, blobs: int, target: int) -> int:
    """Excess blob gas after a block, by the rule before EIP-7918 kept it from falling while blobs are very cheap.

    Parameters
    ----------
    excess
        Before the block, gas.
    blobs
        Blobs in the block.
    target
        Blobs a block at which the excess stays as it is.

    Returns
    -------
    int
        Gas, never below 0.

    Raises
    ------
    DomainError
        If an argument is not an integer of at least 0.

    References
    ----------
    Buterin et al. (2022), EIP-4844, section "Header extension".

    Examples
    --------
    >>> next_excess_blob_gas(0, 4, target=3), next_excess_blob_gas(0, 2, target=3)
    (131072, 0)
    """
    where = "next_excess_blob_gas"
    given = checked_integer(where, "excess", excess, low=0)
    used = BLOB_BYTES * checked_integer(where, "blobs", blobs, low=0)
    return max(0, given + used - BLOB_BYTES * checked_integer(where, "target", target, low=0))


@formula(data_rate="C", transaction_size="s")
def rollup_throughput(data_rate: PositiveDataRate, transaction_size: PositiveBytes) -> Rate:
    """Throughput at which a rollup's transactions fill the bytes that layer 1 has for them.

    Parameters
    ----------
    data_rate : float or array
        Layer-1 bytes per second, C.
    transaction_size : float or array
        Layer-1 bytes of one rollup transaction, s.

    Returns
    -------
    float or array
        C/s, transactions per second; rollups that share layer 1 share this bound.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> rollup_throughput(32_768, 128)
    256.0
    """
    return data_rate / transaction_size


@formula(batch="b", batch_cost=r"c_{\mathrm{fix}}", byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def rollup_cost(
    batch: Count, batch_cost: Money, byte_cost: PositiveMoneyPerByte, transaction_size: PositiveBytes
) -> Money:
    """Layer-1 cost of one rollup transaction. Proposition 3.3 of the book.

    Parameters
    ----------
    batch : float or array
        Transactions in one batch, b.
    batch_cost : float or array
        Fixed cost of one batch, c_fix, money.
    byte_cost : float or array
        Cost of one byte on layer 1, c_data, money per byte.
    transaction_size : float or array
        Layer-1 bytes of one rollup transaction, s.

    Returns
    -------
    float or array
        c_fix/b + c_data·s, money; never below `rollup_cost_floor`.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> rollup_cost([1, 100, 10_000], 200_000, 16, 12)
    array([200192.,   2192.,    212.])
    """
    return batch_cost / batch + byte_cost * transaction_size


@formula(byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def rollup_cost_floor(byte_cost: PositiveMoneyPerByte, transaction_size: PositiveBytes) -> Money:
    """Cost below which no batch size brings a rollup transaction.

    Parameters
    ----------
    byte_cost : float or array
        Cost of one byte on layer 1, c_data, money per byte.
    transaction_size : float or array
        Layer-1 bytes of one rollup transaction, s.

    Returns
    -------
    float or array
        c_data·s, money.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> rollup_cost_floor(16, 12)
    192.0
    """
    return byte_cost * transaction_size


@formula(fixed_share="varphi", batch_cost=r"c_{\mathrm{fix}}", byte_cost=r"c_{\mathrm{data}}", transaction_size="s")
def batch_for_share(
    fixed_share: PositiveShare,
    batch_cost: Money,
    byte_cost: PositiveMoneyPerByte,
    transaction_size: PositiveBytes,
) -> PositiveRatio:
    """Batch size at which the fixed part is a given share of the cost. Proposition 3.3 of the book.

    Parameters
    ----------
    fixed_share : float or array
        Share φ of the cost of a transaction that is its part of the batch's fixed cost.
    batch_cost : float or array
        Fixed cost of one batch, c_fix, money.
    byte_cost : float or array
        Cost of one byte on layer 1, c_data, money per byte.
    transaction_size : float or array
        Layer-1 bytes of one rollup transaction, s.

    Returns
    -------
    float or array
        (1 − φ)/φ · c_fix/(c_data·s), not rounded; a larger batch has a smaller share.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> batch_for_share(0.5, 192_000, 16, 12)
    1000.0
    """
    return (1 - fixed_share) / fixed_share * batch_cost / (byte_cost * transaction_size)


def groth16_gas(public_inputs: int) -> int:
    """Gas for the curve operations that verify one Groth16 proof on Ethereum, however much it proves.

    Parameters
    ----------
    public_inputs
        Numbers that the proof speaks of: for a rollup the two roots and a digest of the batch, say.

    Returns
    -------
    int
        Four pairings, and a multiplication and an addition for each public input; calldata not counted.

    Raises
    ------
    DomainError
        If `public_inputs` is not an integer of at least 0.

    References
    ----------
    Groth (2016), EUROCRYPT; Cardozo and Williamson (2018), EIP-1108.

    Examples
    --------
    >>> groth16_gas(3)
    199450
    """
    inputs = checked_integer("groth16_gas", "public_inputs", public_inputs, low=0)
    return PAIRING_BASE_GAS + 4 * PAIRING_GAS + inputs * (ECMUL_GAS + ECADD_GAS)


# The fault-proof game


def _touched(record: bytes, accounts: int) -> list[int]:
    """Indices of the accounts that a record may change; none if it is no record."""
    try:
        return sorted({0, *_read_record(record, accounts).accounts})  # 0: the account of the fees
    except BadBatch:
        return []


def _apply_record(ledger: Ledger, record: bytes, accounts: Sequence[bytes]) -> None:
    """Execute one step on a whole ledger: what is no record, and what the ledger refuses, changes nothing."""
    try:
        fields = _read_record(record, len(accounts))
    except BadBatch:
        return
    ledger.apply(fields.transfer(accounts.__getitem__, ledger.chain))


def replay(ledger: Ledger, accounts: Sequence[bytes], records: Sequence[bytes]) -> Trace:
    """Execute a batch on a copy of a ledger and keep the root after every step.

    Parameters
    ----------
    ledger
        The state before the batch; it is left as it is.
    accounts
        All its accounts by index.
    records
        The batch, from `encode_record`; anything else is a step that changes nothing.

    Returns
    -------
    Trace
        What an honest node knows.

    Raises
    ------
    DomainError
        If `accounts` are not the ledger's, or there is no record.

    Examples
    --------
    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.ledger import FEES, sign_transfer
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> accounts = [FEES, public_key(alice), bob]
    >>> paid = [sign_transfer(alice, "rollup", {bob: 2}, fee=0, nonce=n) for n in (1, 2, 3)]
    >>> ledger = Ledger("rollup", {public_key(alice): 5, bob: 0})
    >>> trace = replay(ledger, accounts, [encode_record(transfer, accounts) for transfer in paid])
    >>> len(set(trace.roots))  # the third is not covered: the root stays
    3
    """
    names = tuple(accounts)
    if len(names) != len(ledger) or any(
        name not in ledger or ledger.prove(name).index != i for i, name in enumerate(names)
    ):
        raise DomainError(f"replay: accounts must be the {len(ledger)} of the ledger by index, got {len(names)}")
    checked_integer("replay", "number of records", len(records), low=1)
    opening, now = copy.deepcopy(ledger), copy.deepcopy(ledger)
    roots = [now.root]
    for record in records:
        _apply_record(now, record, names)
        roots.append(now.root)
    return Trace(opening, names, tuple(records), tuple(roots))


def _ledger_of(chain: str, proofs: Sequence[AccountProof]) -> Ledger:
    """Make a ledger of a few accounts, with the balances and the nonces that their proofs state."""
    balances = {proof.account: proof.balance for proof in proofs}
    return Ledger(chain, balances, {proof.account: proof.nonce for proof in proofs})


def execute_step(claim: Claim, step: int, before: bytes, witness: Witness) -> bytes:
    """Execute one step of a batch without the state: from a root, a record and a few accounts to the next root.

    Each account's path is checked with the old leaf and followed again with the new one. So the second path leads to
    the root in which the first leaf has changed, and so on: the last root is the one after the step.

    Parameters
    ----------
    claim
        What the contract knows of the batch.
    step
        Number of the step, from 0.
    before
        The state root before it.
    witness
        What somebody shows. It is trusted in nothing.

    Returns
    -------
    bytes, length 32
        The state root after the step.

    Raises
    ------
    BadWitness
        If the witness does not lead to the batch and to the root before.

    Examples
    --------
    >>> trace = replay(Ledger("rollup", {}), [bytes(32)], [b"nonsense"])
    >>> execute_step(trace.claim, 0, trace.roots[0], trace.witness(0)) == trace.roots[1]
    True
    """
    if not _is_well_formed(witness):
        raise BadWitness("witness: parts must be of exactly their types", witness=witness)
    try:
        return _execute(claim, step, before, witness)
    except DomainError as fault:
        raise BadWitness("witness: parts must be in their ranges", fault=str(fault)) from None


def _is_well_formed(witness: Witness) -> bool:
    """Whether all parts are exactly of their types: others could hash like them, and read otherwise."""
    if type(witness) is not Witness:
        return False
    try:
        return _has_exact_parts(witness)
    except AttributeError:  # made without its fields
        return False


def _has_exact_parts(witness: Witness) -> bool:
    if type(witness.record) is not bytes or type(witness.accounts) is not tuple:
        return False
    if not all(type(proof) is AccountProof for proof in witness.accounts):
        return False
    numbers = [(proof.balance, proof.nonce, proof.index, proof.size) for proof in witness.accounts]
    paths = [witness.record_path, *(proof.path for proof in witness.accounts)]
    return (
        all(type(proof.account) is bytes for proof in witness.accounts)
        and all(type(number) is int for four in numbers for number in four)
        and all(type(path) is tuple and all(type(digest) is bytes for digest in path) for path in paths)
    )


def _execute(claim: Claim, step: int, before: bytes, witness: Witness) -> bytes:
    if not verify_inclusion(claim.batch_root, witness.record, step, claim.steps, witness.record_path):
        raise BadWitness("witness: record must stand at this step of the batch", step=step)
    touched = _touched(witness.record, claim.accounts)
    if not touched:
        return before
    shown = [(proof.index, proof.size) for proof in witness.accounts]
    if shown != [(index, claim.accounts) for index in touched]:
        raise BadWitness(f"witness: accounts must be {touched} of {claim.accounts}", shown=shown)
    names = {proof.index: proof.account for proof in witness.accounts}
    ledger = _ledger_of(claim.chain, witness.accounts)
    ledger.apply(_read_record(witness.record, claim.accounts).transfer(names.__getitem__, claim.chain))
    root = before
    for proof in witness.accounts:
        leaf = account_leaf(proof.account, ledger.balance(proof.account), ledger.nonce(proof.account))
        changed = root_from_proof(leaf_hash(leaf), proof.index, proof.size, proof.path)
        if changed is None or not verify_account(root, proof):
            raise BadWitness("witness: account must be under the root", index=proof.index)
        root = changed
    return root


def _ask(party: object, question: str, *values: object) -> Any:
    try:
        return getattr(party, question)(*values)
    except (Exception, SystemExit):  # whatever a stranger's program does wrong is silence
        return None


def dispute(claim: Claim, proposer: Proposer, challenger: Challenger) -> Verdict:
    """Decide between a proposer and a challenger by executing one step. Proposition 3.4 of the book.

    All steps up to `low` are agreed on, the root after `high` is not. The proposer states the root halfway between;
    the challenger's answer moves one end there. One step remains, and the referee executes it.

    Parameters
    ----------
    claim
        Of which only the root after is the proposer's; see `Claim`.
    proposer, challenger
        Who plays. Nothing they say is trusted; who says nothing, or raises, loses.

    Returns
    -------
    Verdict
        For the proposer too if nobody shows a witness: who disputes must prove.

    Raises
    ------
    DomainError
        If the claim has no steps.

    References
    ----------
    Kalodner et al. (2018), USENIX Security.

    Examples
    --------
    >>> from dataclasses import replace
    >>> trace = replay(Ledger("rollup", {}), [bytes(32)], [b"nonsense"])
    >>> dispute(trace.claim, trace, trace).winner
    'proposer'
    >>> dispute(replace(trace.claim, after=bytes(32)), trace, trace).winner
    'challenger'
    """
    low, high = 0, checked_integer("dispute", "steps", claim.steps, low=1)
    before, after = claim.before, claim.after
    rounds = size = 0
    while high - low > 1:
        middle = (low + high) // 2
        stated = _ask(proposer, "root", middle)
        if type(stated) is not bytes or len(stated) != 32:
            return Verdict("challenger", "the proposer is silent", None, rounds, size)
        answer = _ask(challenger, "agrees", middle, stated)
        if not isinstance(answer, bool):
            return Verdict("proposer", "the challenger is silent", None, rounds, size + 32)
        rounds, size = rounds + 1, size + 33  # a root and a yes or no
        if answer:
            low, before = middle, stated
        else:
            high, after = middle, stated
    for party in (challenger, proposer):
        witness = _ask(party, "witness", low)
        if not _is_well_formed(witness):
            continue
        try:
            size += witness.size_bytes
            holds = execute_step(claim, low, before, witness) == after
        except (BadWitness, DomainError):
            continue  # it proves nothing, for neither side
        reason = f"executing the step {'confirms' if holds else 'refutes'} the claim"
        return Verdict("proposer" if holds else "challenger", reason, low, rounds, size)
    return Verdict("proposer", "nobody shows a witness", None, rounds, size)
