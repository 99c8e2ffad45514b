"""Batches: a rollup's transfers as bytes, as few as they are, and the blobs of layer 1 that hold them.

A *record* is one transfer as it stands in a batch: sender, nonce, fee, number of payments, then recipient and amount of
each, then 64 bytes of signature. An account is named by its *index* in the rollup's list of accounts. Numbers are
written seven bits a byte, the lowest first (LEB128). A batch is one byte for its form (1 with signatures, 0 without),
the number of its transfers, and the records. No two byte strings are the same batch.

Sources: DWARF 5, section 7.6 (LEB128); Buterin et al. (2022), EIP-4844 (blobs).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from web3scale.errors import DomainError, Rejected, require, shown
from web3scale.layers.blobs import BLOB_BYTES
from web3scale.layers.ledger import Transfer
from web3scale.message import Signed
from web3scale.quantities import validated

BLOB_DATA = BLOB_BYTES // 32 * 31  # the first byte of an element stays zero: not all 32-byte numbers are in the field
SIGNATURE_BYTES = 64
LARGEST = (1 << 256) - 1  # numbers in a batch have 256 bits at most, as on Ethereum


# Writing


def _varint(value: int) -> bytes:
    if value > LARGEST:
        raise DomainError(f"encode_batch: numbers must have 256 bits at most, got {shown(value)}")
    digits = [value >> shift & 127 for shift in range(0, value.bit_length() or 1, 7)]
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])  # the top bit says that more follow


def _record(transfer: Signed[Transfer], index: Mapping[bytes, int], signatures: bool) -> bytes:
    order = transfer.body
    for account in (order.sender, *dict(order.payments)):
        if account not in index:
            raise DomainError(f"encode_batch: accounts must hold sender and recipients, got {shown(account)}")
    paid = [number for account, amount in order.payments for number in (index[account], amount)]
    numbers = [index[order.sender], order.nonce, order.fee, len(order.payments), *paid]
    if signatures and [len(signature) for signature in transfer.signatures] != [SIGNATURE_BYTES]:
        raise DomainError(f"encode_batch: a transfer must have one signature of 64 bytes, got {shown(transfer)}")
    return b"".join([*map(_varint, numbers), *(transfer.signatures if signatures else ())])


@validated
def encode_record(transfer: Signed[Transfer], accounts: Sequence[bytes]) -> bytes:
    """Write one transfer as it stands in a batch, signature included; `accounts` are all of the rollup, by index.

    >>> transfer = Signed(Transfer("rollup", b"a", ((b"b", 5000),), 1, 1), (bytes(64),))
    >>> encode_record(transfer, [bytes(32), b"a", b"b"])[:7].hex()
    '01010101028827'
    """
    return _record(transfer, {account: i for i, account in enumerate(accounts)}, signatures=True)


@validated
def encode_batch(transfers: Sequence[Signed[Transfer]], accounts: Sequence[bytes], *, signatures: bool = True) -> bytes:
    """Write a batch as bytes; a rollup that proves validity leaves the signatures out.

    What only a ledger can refuse may be in it: everybody who executes it refuses the same. The chain of a transfer is
    not written: whoever reads the batch takes it for one of the rollup's own, and where it was signed for another its
    signature is wrong.

    >>> transfer = Signed(Transfer("rollup", b"a", ((b"b", 5000),), 1, 1), (bytes(64),))
    >>> [len(encode_batch([transfer] * 10, [bytes(32), b"a", b"b"], signatures=kept)) for kept in (True, False)]
    [712, 72]
    """
    index = {account: i for i, account in enumerate(accounts)}
    records = [_record(transfer, index, signatures) for transfer in transfers]
    return b"".join([bytes([signatures]), _varint(len(records)), *records])


# Reading


class _Reader:
    """Bytes from a stranger, read from left to right."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.need(count)
        self.at += count
        return self.data[self.at - count : self.at]

    def need(self, count: int) -> None:
        if count > len(self.data) - self.at:
            raise Rejected("batch: bytes must not end within a transfer", size=len(self.data))

    def number(self) -> int:
        value, bits, byte = 0, 0, 128
        while byte > 127:
            byte = self.take(1)[0]
            value, bits = value | (byte & 127) << bits, bits + 7
            if value > LARGEST or bits > 259:  # 37 bytes hold 256 bits
                raise Rejected("batch: numbers must have 256 bits at most", position=self.at)
        if byte == 0 and bits > 7:  # a zero on top adds nothing: one number has one form
            raise Rejected("batch: numbers must be written without leading zeros", position=self.at)
        return value

    def count(self, least: int) -> int:
        """Read how many things follow, each of `least` bytes or more: a count that cannot be true costs no time."""
        count = self.number()
        self.need(count * least)
        return count


@dataclass(frozen=True)
class Record:
    """A record taken apart; accounts are still indices.

    >>> read_record(bytes.fromhex("010101010501") + bytes(64), accounts=6).touched
    [0, 1, 5]
    """

    sender: int
    nonce: int
    fee: int
    payments: tuple[tuple[int, int], ...]
    signatures: tuple[bytes, ...]

    @property
    def touched(self) -> list[int]:
        """Indices of all accounts that it may change, ascending: account 0 collects the fees."""
        return sorted({0, self.sender, *dict(self.payments)})

    def _transfer(self, names: Sequence[bytes] | Mapping[int, bytes], chain: str) -> Signed[Transfer]:
        payments = tuple((names[account], amount) for account, amount in self.payments)
        return Signed(Transfer(chain, names[self.sender], payments, self.fee, self.nonce), self.signatures)


def _records(reader: _Reader, count: int, accounts: int, signatures: bool) -> list[Record]:
    """Read so many records, behind which nothing may follow."""
    records = []
    for _ in range(count):
        sender, nonce, fee = reader.number(), reader.number(), reader.number()
        payments = tuple((reader.number(), reader.number()) for _ in range(reader.count(least=2)))
        for account in (sender, *dict(payments)):
            require(account < accounts, "batch: accounts must be the rollup's", account=account, accounts=accounts)
        signature = (reader.take(SIGNATURE_BYTES),) if signatures else ()
        records.append(Record(sender, nonce, fee, payments, signature))
    if left := len(reader.data) - reader.at:
        raise Rejected("batch: nothing must follow the last transfer", left=left)
    return records


@validated
def read_record(record: bytes, accounts: int) -> Record | None:
    """Take a record apart, in a rollup of so many `accounts`; None if it is none: `encode_record` never writes it.

    >>> read_record(bytes.fromhex("01010101028827") + bytes(64), accounts=3).payments
    ((2, 5000),)
    """
    try:
        return _records(_Reader(record), 1, accounts, signatures=True)[0]
    except Rejected:
        return None


@validated
def decode_batch(data: bytes, accounts: Sequence[bytes], chain: str) -> tuple[Signed[Transfer], ...]:
    r"""Read a batch of the rollup `chain`; what `encode_batch` never writes is `Rejected`.

    >>> decode_batch(b"\x01\x00", [], "rollup")
    ()
    >>> decode_batch(b"\x01\x01", [], "rollup")
    Traceback (most recent call last):
    web3scale.errors.Rejected: batch: bytes must not end within a transfer, got size=2
    """
    if len({*accounts}) < len(accounts):  # an account of two indices could be written in two ways
        raise DomainError(f"decode_batch: accounts must be all different, got {shown(accounts)}")
    reader = _Reader(data)
    form = reader.take(1)[0]
    require(form in (0, 1), "batch: first byte must be 0 or 1", form=form)
    count = reader.count(least=4 + SIGNATURE_BYTES * form)
    records = _records(reader, count, len(accounts), signatures=form == 1)
    return tuple(record._transfer(accounts, chain) for record in records)


# Blobs


@validated
def pack_blobs(data: bytes) -> tuple[bytes, ...]:
    """Put bytes into as many blobs as they need.

    A blob is 4096 elements of 32 bytes. Their contents are the length of the data in eight bytes, the data, and zeros;
    31 bytes to each element, after a zero.

    >>> [len(pack_blobs(bytes(size))) for size in (0, 126968, 126969)]
    [1, 1, 2]
    """
    framed = len(data).to_bytes(8, "big") + data
    framed += bytes(-len(framed) % BLOB_DATA)
    wide = b"".join(b"\0" + framed[at : at + 31] for at in range(0, len(framed), 31))
    return tuple(wide[at : at + BLOB_BYTES] for at in range(0, len(wide), BLOB_BYTES))


@validated
def unpack_blobs(blobs: Sequence[bytes]) -> bytes:
    """Take the bytes out of blobs again; what `pack_blobs` never makes is `Rejected`.

    >>> unpack_blobs(pack_blobs(b"hello"))
    b'hello'
    """
    wide = b"".join(blobs)
    framed = b"".join(wide[at + 1 : at + 32] for at in range(0, len(wide), 32))
    size = int.from_bytes(framed[:8], "big")
    data = framed[8 : 8 + size]
    require(pack_blobs(data) == tuple(blobs), "blobs: length and padding must fit the data", length=size)
    return data
