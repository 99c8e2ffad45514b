"""Chapter 3: a rollup's transfers as bytes and back, in one form only, and blobs that hold them."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers import batches
from web3scale.layers.blobs import BLOB_BYTES
from web3scale.layers.ledger import FEES, Transfer
from web3scale.message import Signed

PUBLIC = [public_key(example_key(name)) for name in ["Alice", "Bob", "Carol", "Dave", "Eve"]]
ACCOUNTS = [FEES, *PUBLIC]


def order(sender=PUBLIC[0], payments=((PUBLIC[1], 1),), fee=0, nonce=1, signatures=(bytes(64),)):
    return Signed(Transfer("rollup", sender, payments, fee, nonce), signatures)


def test_numbers_are_leb128():
    """DWARF 5, figure 22 and table 7.6 of the standard: unsigned LEB128 of 2, 127, 128, 129, 12857."""
    for amount, form in [(2, "02"), (127, "7f"), (128, "8001"), (129, "8101"), (12857, "b964")]:
        transfer = order(FEES, ((PUBLIC[0], amount),))
        assert batches.encode_record(transfer, ACCOUNTS).hex() == "0001000101" + form + "00" * 64


# Round trips

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**70), st.just(2**256 - 1))
accounts = st.sampled_from(ACCOUNTS)
transfers = st.builds(
    order,
    accounts,
    st.lists(st.tuples(accounts, numbers), max_size=4).map(tuple),
    numbers,
    numbers,
    st.binary(min_size=64, max_size=64).map(lambda signature: (signature,)),
)
lists = st.lists(transfers, max_size=6).map(tuple)


@given(batch=lists, signatures=st.booleans())
def test_a_batch_is_read_as_it_was_written(batch, signatures):
    data = batches.encode_batch(batch, ACCOUNTS, signatures=signatures)
    kept = batch if signatures else tuple(replace(t, signatures=()) for t in batch)
    assert batches.decode_batch(data, ACCOUNTS, "rollup") == kept
    bare = len(batches.encode_batch(batch, ACCOUNTS, signatures=False))
    assert len(data) == bare + 64 * len(batch) * signatures
    if signatures:
        records = b"".join(batches.encode_record(t, ACCOUNTS) for t in batch)
        assert data[len(data) - len(records) :] == records


@given(transfer=transfers)
def test_a_record_is_read_as_it_was_written(transfer):
    written = batches.encode_record(transfer, ACCOUNTS)
    record = batches.read_record(written, len(ACCOUNTS))
    assert record._transfer(ACCOUNTS, "rollup") == transfer
    named = {FEES, transfer.body.sender, *(account for account, _ in transfer.body.payments)}
    assert record.touched == [i for i, account in enumerate(ACCOUNTS) if account in named]
    for wrong in (written[:-1], written + b"\0"):
        assert batches.read_record(wrong, len(ACCOUNTS)) is None


@given(batch=lists, signatures=st.booleans(), data=st.data())
def test_a_batch_of_wrong_length_is_refused(batch, signatures, data):
    whole = batches.encode_batch(batch, ACCOUNTS, signatures=signatures)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:cut], whole + bytes(1 + cut)):
        with pytest.raises(Rejected):
            batches.decode_batch(wrong, ACCOUNTS, "rollup")


@settings(max_examples=300)
@given(data=st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(lambda b: b"\0\1" + b)))
def test_no_two_byte_strings_are_the_same_batch(data):
    try:
        batch = batches.decode_batch(data, ACCOUNTS, "rollup")
    except Rejected:
        return
    assert batches.encode_batch(batch, ACCOUNTS, signatures=bool(data[0])) == data


# What is no batch


@pytest.mark.parametrize(
    ("data", "rule", "values"),
    [
        ("", "bytes must not end within a transfer", {"size": 0}),
        ("0200", "first byte must be 0 or 1", {"form": 2}),
        ("0081", "bytes must not end within a transfer", {"size": 2}),
        ("008000", "numbers must be written without leading zeros", {"position": 3}),
        ("000000", "nothing must follow the last transfer", {"left": 1}),
        ("000105010100", "", {}),  # account 5 of 6: fine
        ("000106010100", "accounts must be the rollup's", {"account": 6, "accounts": 6}),
        ("00010101010101", "bytes must not end within a transfer", {"size": 7}),
        ("0001010101010601", "accounts must be the rollup's", {"account": 6, "accounts": 6}),
        ("0001010101010501", "", {}),
    ],
)
def test_what_is_no_batch(data, rule, values):
    if not values:
        assert len(batches.decode_batch(bytes.fromhex(data), ACCOUNTS, "rollup")) == 1
        return
    with pytest.raises(Rejected) as refusal:
        batches.decode_batch(bytes.fromhex(data), ACCOUNTS, "rollup")
    assert (refusal.value.rule, refusal.value.values) == (f"batch: {rule}", values)


def test_numbers_have_256_bits_at_most():
    largest = order(payments=((PUBLIC[1], 2**256 - 1),))
    assert batches.decode_batch(batches.encode_batch([largest], ACCOUNTS), ACCOUNTS, "rollup") == (largest,)
    with pytest.raises(DomainError, match="256 bits"):
        batches.encode_record(order(payments=((PUBLIC[1], 2**256),)), ACCOUNTS)
    for tail in (b"\xff" * 10**6, b"\xff" * 36 + b"\x7f" + bytes(100)):
        with pytest.raises(Rejected, match="256 bits"):
            batches.decode_batch(b"\1\1" + tail, ACCOUNTS, "rollup")


COUNT = b"\x80" * 8 + b"\x10"  # 2^60 as LEB128


@pytest.mark.parametrize(
    ("data", "rule"),
    [
        (b"\1" + COUNT + bytes(10**6), "bytes must not end within a transfer"),
        (b"\0" + COUNT + bytes(10**6), "bytes must not end within a transfer"),
        (b"\1\1\0\0\0" + COUNT + bytes(10**6), "bytes must not end within a transfer"),
        (b"\0\1\0\0\0" + COUNT + bytes(10**6), "bytes must not end within a transfer"),
        (b"\1" + b"\xff" * 10**5 + b"\1", "numbers must have 256 bits at most"),
        (b"\1\1\0" + b"\x80" * 10**5 + b"\1", "numbers must have 256 bits at most"),
        (b"\1\1" + b"\x80" * 10**5 + b"\0", "numbers must have 256 bits at most"),
    ],
)
def test_hostile_bytes_are_refused_after_a_few(monkeypatch, data, rule):
    read = []
    take = batches._Reader.take

    def counted(self, count):
        read.append(count)
        return take(self, count)

    monkeypatch.setattr(batches._Reader, "take", counted)
    with pytest.raises(Rejected, match=f"batch: {rule}"):
        batches.decode_batch(data, ACCOUNTS, "rollup")
    assert sum(read) < 50


def test_a_count_that_just_fits_is_read():
    """The least that a transfer can take are four bytes, and two a payment."""
    assert len(batches.decode_batch(b"\0\3" + bytes(12), ACCOUNTS, "rollup")) == 3
    ((transfer),) = batches.decode_batch(b"\0\1\0\0\0\2" + bytes(4), ACCOUNTS, "rollup")
    assert transfer.body.payments == ((FEES, 0), (FEES, 0))


# Blobs


@settings(max_examples=20)
@given(
    size=st.sampled_from([0, 1, 30, 31, 126_967, 126_968, 126_969, 253_944, 253_945]),
    seed=st.binary(min_size=8, max_size=8),
)
def test_blobs_hold_what_was_put_in(size, seed):
    data = (seed * (size // 8 + 1))[:size]
    blobs = batches.pack_blobs(data)
    assert batches.unpack_blobs(blobs) == data
    assert {len(blob) for blob in blobs} == {131_072}
    assert len(blobs) == max(1, math.ceil((size + 8) / 126_976))
    assert not any(any(blob[::32]) for blob in blobs)  # every element is below the field's prime


def test_what_are_no_blobs():
    (blob,) = batches.pack_blobs(b"hello")
    short = blob[:-1]
    broken = [blob[:at] + b"\1" + blob[at + 1 :] for at in (0, 32, 60, 131_071)]
    too_long = blob[:1] + (10**6).to_bytes(8, "big") + blob[9:]
    shorter = blob[:1] + (4).to_bytes(8, "big") + blob[9:]
    for wrong, value in [
        ([short], {"length": 5}),
        ([blob, short], {"length": 5}),
        ([blob[:5]], {"length": 0}),
        ([], {"length": 0}),
        ([blob, bytes(131_072)], {"length": 5}),
        *[([b], {"length": 5}) for b in broken],
        ([too_long], {"length": 10**6}),
        ([shorter], {"length": 4}),
    ]:
        with pytest.raises(Rejected, match="blobs: length and padding must fit the data") as refusal:
            batches.unpack_blobs(wrong)
        assert refusal.value.values == value


# The caller's mistakes


@pytest.mark.parametrize("thing", [None, 5, "x", [None], ["x" * BLOB_BYTES], bytearray(b"\1\0")])
def test_what_are_no_bytes_is_no_batch_and_no_blob(thing):
    with pytest.raises(DomainError, match="decode_batch: data must be a bytes"):
        batches.decode_batch(thing, ACCOUNTS, "rollup")
    with pytest.raises(DomainError, match="unpack_blobs: blobs must be "):
        batches.unpack_blobs(thing)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batches.encode_batch([order(sender=b"x")], ACCOUNTS), "encode_batch: accounts must hold sender"),
        (lambda: batches.encode_record(order(payments=((b"x", 1),)), ACCOUNTS), "accounts must hold sender and recip"),
        (lambda: batches.encode_record(order(signatures=(b"",)), ACCOUNTS), "one signature of 64 bytes"),
        (lambda: batches.encode_record(order(signatures=()), ACCOUNTS), "one signature of 64 bytes"),
        (lambda: batches.encode_batch([order(signatures=(bytes(64),) * 2)], ACCOUNTS), "one signature of 64 bytes"),
        (lambda: batches.encode_record(order(nonce=2**256), ACCOUNTS), "256 bits at most"),
        (lambda: batches.encode_record(order().body, ACCOUNTS), "encode_record: transfer must be "),
        (lambda: batches.encode_batch([order().body], ACCOUNTS), "encode_batch: transfers must be "),
        (lambda: batches.encode_batch([], ACCOUNTS, signatures=1), "encode_batch: signatures must be a bool"),
        (lambda: batches.encode_batch([order()], "text"), "encode_batch: accounts must be "),
        (lambda: batches.pack_blobs("text"), "pack_blobs: data must be a bytes, got 'text'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()


def test_a_list_of_accounts_names_each_once():
    """With two indices for one account a batch would have two forms."""
    with pytest.raises(DomainError, match="decode_batch: accounts must be all different"):
        batches.decode_batch(b"\0\1\1\1\0\1\2\5", [b"fees", b"a", b"a"], "rollup")
