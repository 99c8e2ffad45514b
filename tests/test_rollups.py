"""Chapter 3: batches and blobs as bytes, the blob fee, costs of a rollup, and the dispute over one step."""

import dataclasses
import math
from dataclasses import replace

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale.crypto import MerkleTree, example_key, public_key
from web3scale.errors import DomainError
from web3scale.layers import ledger as book
from web3scale.layers import rollups
from web3scale.layers.ledger import FEES, Ledger, Transfer, sign_transfer

NAMES = ["Alice", "Bob", "Carol", "Dave", "Eve"]
KEYS = [example_key(name) for name in NAMES]
PUBLIC = [public_key(key) for key in KEYS]
ACCOUNTS = [FEES, *PUBLIC]
STEPS = 64


def opening() -> Ledger:
    ledger = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
    ledger.apply(sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 3}, fee=1, nonce=1))  # a nonce and a fee that are not 0
    return ledger


def make_records() -> list[bytes]:
    """64 steps: payments to one and to two, overdrafts, wrong nonces, forged and foreign signatures, nonsense."""
    nonces = [2, 1, 1, 1, 1]
    records = []
    for i in range(STEPS):
        who = i * 3 % 5
        to = {PUBLIC[(who + 1) % 5]: 1 + i % 4}
        if i % 4 == 1:
            to[PUBLIC[(who + 3) % 5]] = 2
        if i % 11 == 3:
            to[FEES] = 1
        fee, nonce, chain, good = i % 3, nonces[who], "rollup", True
        if i % 9 == 4:
            to[PUBLIC[(who + 1) % 5]], good = 1000, False
        if i % 13 == 5:
            nonce, good = nonce + 1, False
        if i % 17 == 6:
            chain, good = "elsewhere", False
        transfer = sign_transfer(KEYS[who], chain, to, fee=fee, nonce=nonce)
        if i % 19 == 7:
            transfer, good = replace(transfer, signature=bytes(64)), False
        record = rollups.encode_record(transfer, ACCOUNTS)
        if i % 23 == 8:
            record, good = record[:-1], False
        if i == 40:  # a payment to an account that does not exist
            more = [*ACCOUNTS, b"nobody"]
            record = rollups.encode_record(replace(transfer, payments=((b"nobody", 1),)), more)
            good = False
        nonces[who] += good
        records.append(record)
    return records


RECORDS = make_records()
LONG = rollups.replay(opening(), ACCOUNTS, RECORDS)


class Remembering:
    """A trace whose witnesses are made once: the game is played on it hundreds of times."""

    made: dict[tuple[int, int], rollups.Witness] = {}  # noqa: RUF012

    def __init__(self, steps: int) -> None:
        self.trace = rollups.Trace(LONG.opening, LONG.accounts, LONG.records[:steps], LONG.roots[: steps + 1])
        self.claim = self.trace.claim
        self.root, self.agrees = self.trace.root, self.trace.agrees

    def witness(self, step: int) -> rollups.Witness:
        """Make it once."""
        key = (len(self.trace.records), step)
        if key not in self.made:
            self.made[key] = self.trace.witness(step)
        return self.made[key]


HONEST = {}


def honest(steps: int) -> Remembering:
    return HONEST.setdefault(steps, Remembering(steps))


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
    assert rollups.fake_exponential(factor, numerator, denominator) == expected


@pytest.mark.parametrize(("excess", "fee"), [(0, 1), (2314057, 1), (2314058, 2), (10485760, 23)])
def test_blob_fee_of_geth(excess, fee):
    """ethereum/go-ethereum commit 02b73d4e, consensus/misc/eip4844 tests, Cancun."""
    assert rollups.blob_base_fee(excess, 3338477) == fee


@pytest.mark.parametrize(
    ("excess", "blobs", "after"),
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
def test_excess_blob_gas_of_geth(excess, blobs, after):
    """ethereum/go-ethereum commit 02b73d4e, consensus/misc/eip4844 tests, Cancun: target 3."""
    assert rollups.next_excess_blob_gas(excess, blobs, 3) == after


def test_blob_schedule():
    """ethereum/go-ethereum commit 02b73d4e, params: target, max and update fraction; days of the epochs or times."""
    assert [dataclasses.astuple(limits) for limits in rollups.load_blob_schedule()] == [
        ("Cancun", "2024-03-13", 3, 6, 3338477, 12.0),
        ("Prague", "2025-05-07", 6, 9, 5007716, 12.0),
        ("BPO1", "2025-12-09", 10, 15, 8346193, 12.0),
        ("BPO2", "2026-01-07", 14, 21, 11684671, 12.0),
    ]
    cancun = rollups.load_blob_schedule()[0]
    assert (cancun.target_rate, cancun.peak_rate) == (32_768, 65_536)


@pytest.mark.parametrize(("fork", "full", "empty"), [("Cancun", 12.5, 11.1), ("Prague", 8.2, 14.5)])
def test_largest_change_of_the_blob_fee(fork, full, empty):
    """EIP-4844 and EIP-7691: per cent up after a full block, and down after an empty one."""
    limits = next(s for s in rollups.load_blob_schedule() if s.fork == fork)
    high = 400 * limits.update_fraction // 10
    fee = rollups.blob_base_fee(high, limits.update_fraction)
    after = [
        rollups.blob_base_fee(rollups.next_excess_blob_gas(high, n, limits.target), limits.update_fraction)
        for n in (limits.maximum, 0)
    ]
    assert [round(1000 * (a - fee) / fee) / 10 for a in after] == [full, -empty]


def test_gas_of_a_groth16_proof():
    """EIP-1108: 45000 + 34000 k for k pairings, 6000 a multiplication, 150 an addition."""
    assert rollups.groth16_gas(0) == 45_000 + 4 * 34_000 == 181_000
    assert rollups.groth16_gas(3) - rollups.groth16_gas(0) == 3 * 6_150


def test_varints_are_leb128():
    """DWARF 5, figure 22 and table 7.6 of the standard: unsigned LEB128 of 2, 127, 128, 129, 12857."""
    for amount, form in [(2, "02"), (127, "7f"), (128, "8001"), (129, "8101"), (12857, "b964")]:
        transfer = Transfer("rollup", FEES, ((PUBLIC[0], amount),), 0, 1, bytes(64))
        assert rollups.encode_record(transfer, ACCOUNTS).hex() == "0001000101" + form + "00" * 64


# Batches as bytes

numbers = st.one_of(st.integers(0, 300), st.integers(0, 2**70))
accounts = st.sampled_from(ACCOUNTS)
transfers = st.builds(
    Transfer,
    st.just("rollup"),
    accounts,
    st.lists(st.tuples(accounts, numbers), max_size=4).map(tuple),
    numbers,
    numbers,
    st.binary(min_size=64, max_size=64),
)
batches = st.lists(transfers, max_size=6).map(tuple)


@given(batch=batches, signatures=st.booleans())
def test_a_batch_is_read_as_it_was_written(batch, signatures):
    data = rollups.encode_batch(batch, ACCOUNTS, signatures=signatures)
    kept = batch if signatures else tuple(replace(t, signature=b"") for t in batch)
    assert rollups.decode_batch(data, ACCOUNTS, "rollup") == kept
    bare = len(rollups.encode_batch(batch, ACCOUNTS, signatures=False))
    assert len(data) == bare + 64 * len(batch) * signatures
    if signatures:
        assert data[bare - sum(len(r) - 64 for r in records_of(batch)) :] == b"".join(records_of(batch))


def records_of(batch):
    return [rollups.encode_record(t, ACCOUNTS) for t in batch]


@given(batch=batches, signatures=st.booleans(), data=st.data())
def test_a_batch_of_wrong_length_is_refused(batch, signatures, data):
    whole = rollups.encode_batch(batch, ACCOUNTS, signatures=signatures)
    cut = data.draw(st.integers(0, len(whole) - 1))
    for wrong in (whole[:cut], whole + bytes(1 + cut)):
        with pytest.raises(rollups.BadBatch):
            rollups.decode_batch(wrong, ACCOUNTS, "rollup")


@settings(max_examples=300)
@given(data=st.one_of(st.binary(max_size=30), st.binary(max_size=30).map(lambda b: b"\0\1" + b)))
def test_no_two_byte_strings_are_the_same_batch(data):
    try:
        batch = rollups.decode_batch(data, ACCOUNTS, "rollup")
    except rollups.BadBatch:
        return
    assert rollups.encode_batch(batch, ACCOUNTS, signatures=bool(data[0])) == data


@pytest.mark.parametrize(
    ("data", "values"),
    [
        ("", {"size": 0}),
        ("0200", {"form": 2}),
        ("0081", {"size": 2}),
        ("008000", {"position": 3}),
        ("000000", {"left": 1}),
        ("000105010100", {}),  # account 5 of 6: fine
        ("000106010100", {"account": 6}),
        ("00010101010101", {"size": 7}),
        ("0001010101010601", {"account": 6}),
        ("0001010101010501", {}),
    ],
)
def test_what_is_no_batch(data, values):
    if not values:
        assert len(rollups.decode_batch(bytes.fromhex(data), ACCOUNTS, "rollup")) == 1
        return
    with pytest.raises(rollups.BadBatch) as refusal:
        rollups.decode_batch(bytes.fromhex(data), ACCOUNTS, "rollup")
    assert refusal.value.values == values


@settings(max_examples=20)
@given(
    size=st.sampled_from([0, 1, 30, 31, 126_967, 126_968, 126_969, 253_944, 253_945]),
    seed=st.binary(min_size=8, max_size=8),
)
def test_blobs_hold_what_was_put_in(size, seed):
    data = (seed * (size // 8 + 1))[:size]
    blobs = rollups.pack_blobs(data)
    assert rollups.unpack_blobs(blobs) == data
    assert {len(blob) for blob in blobs} == {131_072}
    assert len(blobs) == max(1, math.ceil((size + 8) / 126_976))
    assert not any(any(blob[::32]) for blob in blobs)  # every element is below the field's prime


def test_what_are_no_blobs():
    (blob,) = rollups.pack_blobs(b"hello")
    short = blob[:-1]
    broken = [blob[:at] + b"\1" + blob[at + 1 :] for at in (0, 32, 60, 131_071)]
    too_long = blob[:1] + (10**6).to_bytes(8, "big") + blob[9:]
    shorter = blob[:1] + (4).to_bytes(8, "big") + blob[9:]
    for wrong, value in [
        ([short], {"size": 131_071}),
        ([blob, short], {"size": 131_071}),
        ([], {"length": 0}),
        ([blob, bytes(131_072)], {"length": 5}),
        *[([b], {"length": 5}) for b in broken],
        ([too_long], {"length": 10**6}),
        ([shorter], {"length": 4}),
    ]:
        with pytest.raises(rollups.BadBatch) as refusal:
            rollups.unpack_blobs(wrong)
        assert refusal.value.values == value


# What the bytes cost


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


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 40))
def test_fake_exponential_stays_just_below_the_true_one(factor, numerator, denominator):
    exact = factor * math.exp(numerator / denominator)
    terms = 3 * numerator / denominator + 30  # far more than are not yet zero
    found = rollups.fake_exponential(factor, numerator, denominator)
    assert exact - 1 - (terms * math.exp(numerator / denominator)) / denominator <= found <= exact + 1e-6


# One step, executed by the referee


@pytest.mark.parametrize("step", range(STEPS))
def test_the_referee_finds_what_the_ledger_finds(step):
    trace = honest(STEPS)
    before, after = LONG.roots[step], LONG.roots[step + 1]
    assert rollups.execute_step(trace.claim, step, before, trace.witness(step)) == after


def test_the_steps_are_of_all_kinds():
    """The trace accepts and refuses for every reason that a record can give; its last root is the ledger's."""
    ledger, seen = opening(), set()
    for record in RECORDS:
        try:
            (transfer,) = rollups.decode_batch(b"\1\1" + record, ACCOUNTS, "rollup")
        except rollups.BadBatch:
            seen.add(rollups.BadBatch)
            continue
        seen.add(type(ledger.apply(transfer).refusal))
    assert seen == {type(None), rollups.BadBatch, book.BadSignature, book.Overdraft, book.WrongNonce}
    assert LONG.roots[-1] == ledger.root
    assert ledger.balance(FEES) > 10
    assert 15 < sum(a == b for a, b in zip(LONG.roots, LONG.roots[1:], strict=False)) < 50


@settings(max_examples=150)
@given(
    sender=st.integers(0, 4),
    to=st.dictionaries(st.sampled_from(ACCOUNTS), st.integers(0, 40), max_size=4),
    fee=st.integers(0, 5),
    nonce=st.integers(0, 3),
    forged=st.booleans(),
    balances=st.lists(st.integers(0, 60), min_size=5, max_size=5),
)
def test_the_referee_on_random_transfers(sender, to, fee, nonce, forged, balances):
    ledger = Ledger("rollup", dict(zip(PUBLIC, balances, strict=True)))
    transfer = sign_transfer(KEYS[sender], "rollup", to, fee=fee, nonce=nonce)
    if forged:
        transfer = replace(transfer, fee=fee + 1)
    trace = rollups.replay(ledger, ACCOUNTS, [rollups.encode_record(transfer, ACCOUNTS)])
    found = rollups.execute_step(trace.claim, 0, trace.roots[0], trace.witness(0))
    untouched = ledger.root
    assert trace.roots[0] == untouched
    ledger.apply(transfer)
    assert found == ledger.root == trace.roots[1]


def lies_about(witness: rollups.Witness) -> list[rollups.Witness]:
    """Every single part of a witness changed, dropped, doubled or taken for another."""
    found = [
        replace(witness, record=witness.record[:-1]),
        replace(witness, record=witness.record + b"\0"),
        replace(witness, record=b"nonsense"),
        replace(witness, record=None),
        replace(witness, record_path=witness.record_path[:-1]),
        replace(witness, record_path=(*witness.record_path, bytes(32))),
        replace(witness, record_path=None),
        replace(witness, accounts=witness.accounts[:-1]),
        replace(witness, accounts=witness.accounts[1:]),
        replace(witness, accounts=(*witness.accounts, witness.accounts[-1])),
        replace(witness, accounts=witness.accounts[::-1]),
        replace(witness, accounts=None),
        replace(witness, accounts=(None, *witness.accounts[1:])),
    ]
    for i, proof in enumerate(witness.accounts):
        other = witness.accounts[i - 1]
        for changed in (
            {"balance": proof.balance + 1},
            {"balance": -1},
            {"balance": 1.0},
            {"nonce": proof.nonce + 1},
            {"nonce": -1},
            {"nonce": None},
            {"account": other.account},
            {"account": []},
            {"index": other.index},
            {"size": proof.size + 1},
            {"path": proof.path[:-1]},
            {"path": (*proof.path, bytes(32))},
            {"path": other.path},
            {"path": (bytes(32), *proof.path[1:])},
            {"path": None},
        ):
            accounts = [*witness.accounts]
            accounts[i] = replace(proof, **changed)
            found.append(replace(witness, accounts=tuple(accounts)))
    return found


@pytest.mark.parametrize("step", [0, 1, 3, 4, 25, 63])
def test_a_tampered_witness_proves_nothing(step):
    trace = honest(STEPS)
    good = trace.witness(step)
    assert len(good.accounts) >= 3
    lies = lies_about(good)
    assert len(lies) > 50
    for lie in lies:
        with pytest.raises(rollups.BadWitness):
            rollups.execute_step(trace.claim, step, LONG.roots[step], lie)


class Chameleon(tuple):
    """A path that could read otherwise the second time."""

    __slots__ = ()


class Elastic(int):
    """A number that is written as another one."""

    def to_bytes(self, *_):
        return b"\x01"


class Agreeable(bytes):
    """Bytes that equal whatever they are compared with."""

    def __eq__(self, other):
        return True

    __hash__ = bytes.__hash__


def test_parts_of_other_types_prove_nothing_even_if_they_hash_the_same():
    trace = honest(4).trace
    true = trace.witness(0)
    first = true.accounts[0]
    assert rollups.execute_step(trace.claim, 0, trace.roots[0], true) == trace.roots[1]
    for lie in [
        None,
        replace(true, record=bytearray(true.record)),
        replace(true, record=memoryview(true.record)),
        replace(true, record=Agreeable(true.record)),
        replace(true, record_path=list(true.record_path)),
        replace(true, record_path=Chameleon(true.record_path)),
        replace(true, accounts=list(true.accounts)),
        replace(true, accounts=(proof for proof in true.accounts)),
        replace(true, accounts=(replace(first, balance=Elastic(first.balance)), *true.accounts[1:])),
        replace(true, accounts=(replace(first, nonce=True), *true.accounts[1:])),
        replace(true, accounts=(replace(first, account=Agreeable(first.account)), *true.accounts[1:])),
        replace(true, accounts=(replace(first, path=Chameleon(first.path)), *true.accounts[1:])),
        replace(true, accounts=(None, *true.accounts[1:])),
        replace(true, accounts=(object.__new__(book.AccountProof), *true.accounts[1:])),
        object.__new__(rollups.Witness),
    ]:
        with pytest.raises(rollups.BadWitness):
            rollups.execute_step(trace.claim, 0, trace.roots[0], lie)


def test_a_signature_that_is_no_bytes_does_not_refute_an_honest_claim():
    """A record of another type hashes to the same leaf; executed, its transfer would seem unsigned."""
    transfers = [sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 5}, fee=1, nonce=n) for n in (1, 2, 3, 4)]
    ledger = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
    trace = rollups.replay(ledger, ACCOUNTS, [rollups.encode_record(t, ACCOUNTS) for t in transfers])

    class Challenger:
        def agrees(self, step, root):
            return True

        def witness(self, step):
            now = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
            now.apply_block(transfers[:step])
            proofs = tuple(now.prove(account) for account in ACCOUNTS[:3])  # nothing will change: one root for all
            true = trace.witness(step)
            return replace(true, record=bytearray(true.record), accounts=proofs)

    assert rollups.dispute(trace.claim, trace, Challenger()).winner == "proposer"


def test_a_root_that_equals_everything_is_silence():
    trace = honest(4).trace

    class Proposer:
        def root(self, step):
            return Agreeable(bytes(32))

        def witness(self, step):
            return None

    assert rollups.dispute(replace(trace.claim, after=bytes(32)), Proposer(), trace).winner == "challenger"


def test_a_party_whose_program_fails_is_silent():
    trace = honest(4).trace

    class Broken:
        def root(self, step):
            raise SystemExit

        agrees = lambda self, step, root: self.root(step)  # noqa: E731
        witness = root

    wrong = replace(trace.claim, after=bytes(32))
    for failing in (Broken(), object()):
        assert rollups.dispute(wrong, failing, trace).winner == "challenger"
    assert rollups.dispute(trace.claim, trace, Broken()).winner == "proposer"


def test_a_record_with_something_behind_it_is_a_step_that_changes_nothing():
    record = rollups.encode_record(sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 5}, fee=1, nonce=1), ACCOUNTS)
    ledger = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
    for tail, moved in ((b"", True), (b"\0", False)):
        trace = rollups.replay(ledger, ACCOUNTS, [record + tail])
        assert (trace.roots[0] != trace.roots[1]) == moved
        step = rollups.execute_step(trace.claim, 0, trace.roots[0], trace.witness(0))
        assert step == trace.roots[1]


def test_numbers_have_256_bits_at_most():
    largest = Transfer("rollup", PUBLIC[0], ((PUBLIC[1], 2**256 - 1),), 0, 1, bytes(64))
    assert rollups.decode_batch(rollups.encode_batch([largest], ACCOUNTS), ACCOUNTS, "rollup") == (largest,)
    larger = replace(largest, payments=((PUBLIC[1], 2**256),))
    with pytest.raises(DomainError, match="256 bits"):
        rollups.encode_record(larger, ACCOUNTS)
    for tail in (b"\xff" * 10**6, b"\xff" * 36 + b"\x7f"):
        with pytest.raises(rollups.BadBatch, match="256 bits"):
            rollups.decode_batch(b"\1\1" + tail, ACCOUNTS, "rollup")


@pytest.mark.parametrize("thing", [None, 5, "x", [None], ["x" * rollups.BLOB_BYTES], bytearray(b"\1\0")])
def test_what_are_no_bytes_is_no_batch_and_no_blob(thing):
    with pytest.raises(rollups.BadBatch):
        rollups.decode_batch(thing, ACCOUNTS, "rollup")
    with pytest.raises(rollups.BadBatch):
        rollups.unpack_blobs(thing)


def test_a_witness_of_another_step_or_root_proves_nothing():
    trace = honest(STEPS)
    refusals = {}
    for step, root, shown, size in [
        (1, LONG.roots[1], 0, STEPS),
        (0, LONG.roots[1], 0, STEPS),
        (0, LONG.roots[0], 0, 32),
    ]:
        claim = replace(trace.claim, steps=size)
        with pytest.raises(rollups.BadWitness) as refusal:
            rollups.execute_step(claim, step, root, trace.witness(shown))
        refusals[step, size] = refusal.value
    assert refusals[1, STEPS].values == {"step": 1}
    assert refusals[0, STEPS].values == {"index": 0}
    cut = replace(trace.witness(0), accounts=trace.witness(0).accounts[1:])
    with pytest.raises(rollups.BadWitness) as refusal:
        rollups.execute_step(trace.claim, 0, LONG.roots[0], cut)
    assert refusal.value.values == {"shown": [(p.index, p.size) for p in cut.accounts]}


def test_a_root_does_not_say_how_many_leaves_it_has():
    """In a tree of six, the last two are one branch: by its path alone, account 4 of 6 could pass for another place."""
    leaves = [bytes([i]) for i in range(3)]
    three, pair = MerkleTree(leaves), MerkleTree(leaves[:2])
    path = three.inclusion_proof(2)
    assert path == (pair.root,)
    # so a record or an account under a path of one digest is at place 2 of 3, or at place 1 of 2: the claim must say
    transfer = sign_transfer(KEYS[0], "rollup", {FEES: 1}, fee=0, nonce=1)
    small = Ledger("rollup", dict.fromkeys(PUBLIC[:2], 10))
    record = rollups.encode_record(transfer, ACCOUNTS[:3])
    trace = rollups.replay(small, ACCOUNTS[:3], [record])
    eve = rollups.encode_record(sign_transfer(KEYS[1], "rollup", {FEES: 1}, fee=0, nonce=1), [FEES, PUBLIC[1]])
    forged = rollups.replay(small, ACCOUNTS[:3], [eve])  # here index 1 is Alice, and Bob's signature is not hers
    assert forged.roots[0] == forged.roots[1]
    proof = replace(small.prove(PUBLIC[1]), index=1, size=2)
    assert book.verify_account(small.root, proof)  # by its path, Bob is account 1 of 2
    fees = small.prove(FEES)
    lie = rollups.Witness(eve, (), (fees, proof))
    with pytest.raises(rollups.BadWitness):
        rollups.execute_step(forged.claim, 0, forged.roots[0], lie)
    assert trace.roots[0] != trace.roots[1]


# The dispute


class Liar:
    """Answers by a list, round after round; shows what it was given. Nobody can make it tell one story."""

    def __init__(self, answers, shown=None, truth=None):
        self.answers, self.shown, self.truth = list(answers), shown, truth

    def root(self, step):
        """State what comes next."""
        answer = self.answers.pop(0) if self.answers else bytes(32)
        return self.truth.root(step) if answer == "truth" else answer

    def agrees(self, step, root):
        """Answer what comes next."""
        answer = self.answers.pop(0) if self.answers else False
        return self.truth.agrees(step, root) if answer == "truth" else answer

    def witness(self, step):
        """Show what it was given."""
        if callable(self.shown):
            return self.shown(step)
        return self.shown


def shows(trace):
    """What a liar may show: nothing, junk, an honest witness, one of another step, a tampered one, itself a trap."""
    last = len(trace.trace.records) - 1
    return st.one_of(
        st.none(),
        st.just("junk"),
        st.just(rollups.Witness(None, None, None)),
        st.just(trace.witness),
        st.integers(0, last).map(trace.witness),
        st.tuples(st.integers(0, 200)).map(
            lambda i: (
                lambda step: (
                    (lies := lies_about(trace.witness(step)))[i[0] % len(lies)]
                    if trace.witness(step).accounts
                    else replace(trace.witness(step), record=b"x")
                )
            )
        ),
    )


states = st.one_of(
    st.just("truth"), st.integers(0, STEPS).map(LONG.roots.__getitem__), st.binary(min_size=32, max_size=32)
)
lengths = st.one_of(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 16, 33, 64]), st.integers(1, STEPS))


def in_range(verdict, steps):
    """As many rounds as halving takes: never more than the logarithm rounded up, never fewer than rounded down."""
    return math.floor(math.log2(steps)) <= verdict.rounds <= math.ceil(math.log2(steps))


@settings(max_examples=500, deadline=None, derandomize=True)
@given(data=st.data(), steps=lengths)
def test_an_honest_challenger_beats_every_wrong_root(data, steps):
    trace = honest(steps)
    after = data.draw(states.filter(lambda root: root not in ("truth", trace.claim.after)))
    answers = data.draw(st.lists(states, max_size=7))
    liar = Liar(answers, data.draw(shows(trace)), trace)
    claim = replace(trace.claim, after=after)
    verdict = rollups.dispute(claim, liar, trace)
    assert verdict.winner == "challenger"
    assert in_range(verdict, steps)
    assert verdict.step is not None
    assert verdict.size_bytes == 33 * verdict.rounds + trace.witness(verdict.step).size_bytes


@settings(max_examples=500, deadline=None, derandomize=True)
@given(data=st.data(), steps=lengths)
def test_an_honest_proposer_survives_every_challenger(data, steps):
    trace = honest(steps)
    answers = data.draw(st.lists(st.sampled_from([True, False, "truth", None]), max_size=7))
    liar = Liar(answers, data.draw(shows(trace)), trace)
    verdict = rollups.dispute(trace.claim, trace, liar)
    assert verdict.winner == "proposer"
    assert verdict.step is None or in_range(verdict, steps)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), steps=lengths)
def test_the_disputed_step_is_the_first_wrong_one_of_a_consistent_liar(data, steps):
    """A liar who is right up to some step and then holds to another story is caught at that step."""
    trace = honest(steps)
    at = data.draw(st.integers(0, steps - 1))
    wrong = [*LONG.roots[: at + 1], *[bytes([1]) * 32] * (steps - at)]
    liar = Remembering(steps)
    liar.root = wrong.__getitem__
    verdict = rollups.dispute(replace(trace.claim, after=wrong[-1]), liar, trace)
    assert (verdict.winner, verdict.step) == ("challenger", at)
    assert verdict.reason == "executing the step refutes the claim"


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_rounds_of_the_longest_dispute(steps):
    trace = honest(steps)
    rounds = set()
    for at in range(steps):
        wrong = [*LONG.roots[: at + 1], *[bytes([1]) * 32] * (steps - at)]
        rounds.add(count_rounds(replace(trace.claim, after=wrong[-1]), wrong, trace))
    assert max(rounds) == math.ceil(math.log2(steps))
    assert min(rounds) == math.floor(math.log2(steps))


def count_rounds(claim, wrong, trace):
    """Play without a witness: only the rounds are counted, and who disputes must prove."""
    challenger = Liar([], None)
    challenger.agrees = trace.agrees
    proposer = Liar([], None)
    proposer.root = wrong.__getitem__
    verdict = rollups.dispute(claim, proposer, challenger)
    assert (verdict.winner, verdict.reason, verdict.step) == ("proposer", "nobody shows a witness", None)
    assert verdict.size_bytes == 33 * verdict.rounds
    return verdict.rounds


@pytest.mark.parametrize("silence", [None, "no", 7, b"short", True])
def test_a_silent_proposer_loses(silence):
    trace = honest(8)
    verdict = rollups.dispute(trace.claim, Liar(["truth", silence], trace.witness, trace), trace)
    assert (verdict.winner, verdict.step, verdict.rounds, verdict.size_bytes) == ("challenger", None, 1, 33)
    assert verdict.reason == "the proposer is silent"


@pytest.mark.parametrize("silence", [None, "yes", 1])
def test_a_silent_challenger_loses(silence):
    trace = honest(8)
    claim = replace(trace.claim, after=bytes(32))
    verdict = rollups.dispute(claim, trace, Liar(["truth", silence], trace.witness, trace))
    assert (verdict.winner, verdict.step, verdict.rounds, verdict.size_bytes) == ("proposer", None, 1, 33 + 32)
    assert verdict.reason == "the challenger is silent"


def test_who_disputes_without_the_data_loses_even_against_a_wrong_root():
    """Without the batch there is no witness and no root to compare: all eight ways to answer three rounds lose."""
    trace = honest(8)
    claim = replace(trace.claim, after=bytes(32))
    for way in range(8):
        blind = Liar([bool(way >> i & 1) for i in range(3)], None)
        assert rollups.dispute(claim, Liar([], None), blind).winner == "proposer"


def test_the_witness_of_either_side_decides():
    trace = honest(8)
    mute = Liar(["truth"] * 3, None, trace)
    assert rollups.dispute(trace.claim, trace, mute).reason == "executing the step confirms the claim"
    wrong, mute = replace(trace.claim, after=bytes(32)), Liar(["truth"] * 3, None, trace)
    assert rollups.dispute(wrong, trace, mute).winner == "challenger"  # the liar's own witness convicts it


def test_wrong_witnesses_are_read_and_paid_for():
    trace = honest(8)
    junk = replace(trace.witness(7), record=bytes(1000))
    liar = Liar(["truth"] * 3, junk, trace)
    verdict = rollups.dispute(trace.claim, trace, liar)
    assert verdict.size_bytes == 99 + junk.size_bytes + trace.witness(verdict.step).size_bytes


def test_size_of_a_witness():
    witness = honest(STEPS).witness(0)
    digests = 6 + sum(len(p.path) for p in witness.accounts)
    leaves = sum(len(book.account_leaf(p.account, p.balance, p.nonce)) for p in witness.accounts)
    assert witness.size_bytes == len(RECORDS[0]) + 32 * digests + leaves


def test_replaying_leaves_the_ledger_alone():
    ledger = opening()
    before = ledger.root, ledger.total, [ledger.nonce(a) for a in ACCOUNTS]
    trace = rollups.replay(ledger, ACCOUNTS, RECORDS[:5])
    trace.witness(4)
    assert (ledger.root, ledger.total, [ledger.nonce(a) for a in ACCOUNTS]) == before
    assert trace.roots[-1] != before[0]
    ledger.apply(sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 1}, fee=0, nonce=2))
    assert trace.opening.root == before[0]


# Bad input

ONE = Transfer("rollup", PUBLIC[0], ((PUBLIC[1], 1),), 0, 1, bytes(64))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rollups.encode_batch([replace(ONE, sender=b"x")], ACCOUNTS), "encode_batch: accounts must hold"),
        (lambda: rollups.encode_record(replace(ONE, payments=((b"x", 1),)), ACCOUNTS), "encode_record: accounts"),
        (lambda: rollups.encode_record(replace(ONE, signature=b""), ACCOUNTS), "signature must have 64 bytes, got 0"),
        (lambda: rollups.encode_record(replace(ONE, fee=-1), ACCOUNTS), "integer of at least 0, got -1"),
        (lambda: rollups.encode_record(replace(ONE, nonce=True), ACCOUNTS), "integer of at least 0, got True"),
        (lambda: rollups.encode_record(replace(ONE, payments=((FEES, 1.0),)), ACCOUNTS), "at least 0, got 1.0"),
        (lambda: rollups.pack_blobs("text"), "pack_blobs: data must be bytes, got 'text'"),
        (lambda: rollups.fake_exponential(1, 1, 0), "fake_exponential: denominator must be an integer of at least 1"),
        (lambda: rollups.fake_exponential(-1, 1, 1), "fake_exponential: factor"),
        (lambda: rollups.fake_exponential(1, -1, 1), "fake_exponential: numerator"),
        (lambda: rollups.next_excess_blob_gas(-1, 0, 0), "next_excess_blob_gas: excess"),
        (lambda: rollups.next_excess_blob_gas(0, -1, 0), "next_excess_blob_gas: blobs"),
        (lambda: rollups.next_excess_blob_gas(0, 0, 1.0), "next_excess_blob_gas: target"),
        (lambda: rollups.groth16_gas(-1), "groth16_gas: public_inputs"),
        (lambda: rollups.replay(opening(), ACCOUNTS[1:], RECORDS), "replay: accounts must be the 6 of the ledger"),
        (lambda: rollups.replay(opening(), ACCOUNTS[::-1], RECORDS), "replay: accounts must be the 6 of the ledger"),
        (lambda: rollups.replay(opening(), [*ACCOUNTS[:5], b"x"], RECORDS), "replay: accounts must be"),
        (lambda: rollups.replay(opening(), ACCOUNTS, []), "replay: number of records must be an integer of at least 1"),
        (lambda: rollups.dispute(replace(honest(1).claim, steps=0), LONG, LONG), "dispute: steps"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()
