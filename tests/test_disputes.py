"""Chapter 3: the dispute over one step of a batch, played against liars, and the referee that executes this step."""

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale import crypto, message
from web3scale.crypto import MerkleTree, example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers import batches, disputes
from web3scale.layers import ledger as ledgers
from web3scale.layers.disputes import Witness, dispute, execute_step, replay
from web3scale.layers.ledger import FEES, AccountProof, Ledger, account_leaf, sign_transfer, verify_account

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
            transfer, good = replace(transfer, signatures=(bytes(64),)), False
        record = batches.encode_record(transfer, ACCOUNTS)
        if i % 23 == 8:
            record, good = record[:-1], False
        if i == 40:  # a payment to an account that does not exist
            nobody = replace(transfer, body=replace(transfer.body, payments=((b"nobody", 1),)))
            record, good = batches.encode_record(nobody, [*ACCOUNTS, b"nobody"]), False
        nonces[who] += good
        records.append(record)
    return records


RECORDS = make_records()


@cache
def honest(steps: int) -> disputes.Trace:
    return replay(opening(), RECORDS[:steps])


LONG = honest(STEPS)


# One step, executed by the referee


@pytest.mark.parametrize("step", range(STEPS))
def test_the_referee_finds_what_the_ledger_finds(step):
    assert execute_step(LONG.claim, step, LONG.roots[step], LONG.witness(step)) == LONG.roots[step + 1]


def test_the_steps_are_of_all_kinds():
    """The trace accepts and refuses for every reason that a record can give; each of its roots is the ledger's."""
    ledger, seen, roots = opening(), Counter(), []
    for record in RECORDS:
        roots.append(ledger.root)
        try:
            (transfer,) = batches.decode_batch(b"\1\1" + record, ACCOUNTS, "rollup")
        except Rejected as refusal:
            seen[refusal.rule.split(":")[0]] += 1
            continue
        refusal = ledger.apply(transfer).refusal
        seen[refusal and refusal.rule] += 1
    assert set(seen) == {
        None,
        "batch",
        "transfer: the sender must sign exactly this",
        "transfer: balance must cover amounts and fee",
        "transfer: nonce must be the next",
    }
    assert LONG.roots == (*roots, ledger.root)
    assert ledger.balance(FEES) > 10
    assert 15 < sum(a == b for a, b in zip(LONG.roots, LONG.roots[1:], strict=False)) < 50


def test_a_witness_shows_the_accounts_as_they_were():
    """Whatever is asked, and in whatever order: the accounts are those of a ledger that went so far."""
    ledger, states = opening(), []
    for record in RECORDS:
        states.append([ledger.prove(account) for account in ACCOUNTS])
        try:
            ledger.apply_block(batches.decode_batch(b"\1\1" + record, ACCOUNTS, "rollup"))
        except Rejected:
            continue
    for step in (63, 0, 25, 26, 24, 63):
        for proof in LONG.witness(step).accounts:
            was = states[step][proof.index]
            assert replace(proof, path=()) == replace(was, path=())
        assert LONG.witness(step).accounts[0] == states[step][0]  # the first path is that of the tree before


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
        transfer = replace(transfer, body=replace(transfer.body, fee=fee + 1))
    trace = replay(ledger, [batches.encode_record(transfer, ACCOUNTS)])
    found = execute_step(trace.claim, 0, trace.roots[0], trace.witness(0))
    untouched = ledger.root
    assert trace.roots[0] == untouched
    ledger.apply(transfer)
    assert found == ledger.root == trace.roots[1]


def test_a_record_with_something_behind_it_is_a_step_that_changes_nothing():
    record = batches.encode_record(sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 5}, fee=1, nonce=1), ACCOUNTS)
    ledger = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
    for tail, moved in ((b"", True), (b"\0", False)):
        trace = replay(ledger, [record + tail])
        assert (trace.roots[0] != trace.roots[1]) == moved
        assert execute_step(trace.claim, 0, trace.roots[0], trace.witness(0)) == trace.roots[1]


def test_replaying_leaves_the_ledger_alone():
    ledger = opening()
    before = ledger.root, ledger.total, ledger.height, [ledger.nonce(a) for a in ACCOUNTS]
    trace = replay(ledger, RECORDS[:5])
    trace.witness(4)
    assert (ledger.root, ledger.total, ledger.height, [ledger.nonce(a) for a in ACCOUNTS]) == before
    assert trace.roots[-1] != before[0]
    ledger.apply(sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 1}, fee=0, nonce=2))
    assert trace.roots[0] == before[0]
    assert execute_step(trace.claim, 0, before[0], trace.witness(0)) == trace.roots[1]


def test_size_of_a_witness():
    witness = LONG.witness(0)
    digests = 6 + sum(len(p.path) for p in witness.accounts)
    leaves = sum(len(account_leaf(p.account, p.balance, p.nonce)) for p in witness.accounts)
    assert witness.size_bytes == len(RECORDS[0]) + 32 * digests + leaves


# A witness is trusted in nothing


def lies_about(witness: Witness) -> list[Witness]:
    """Every single part of a witness changed, dropped, doubled or taken for another."""
    found = [
        replace(witness, record=witness.record[:-1]),
        replace(witness, record=witness.record + b"\0"),
        replace(witness, record=b"nonsense"),
        replace(witness, record_path=witness.record_path[:-1]),
        replace(witness, record_path=(*witness.record_path, bytes(32))),
        replace(witness, accounts=witness.accounts[:-1]),
        replace(witness, accounts=witness.accounts[1:]),
        replace(witness, accounts=(*witness.accounts, witness.accounts[-1])),
        replace(witness, accounts=witness.accounts[::-1]),
    ]
    for i, proof in enumerate(witness.accounts):
        other = witness.accounts[i - 1]
        for changed in (
            {"balance": proof.balance + 1},
            {"balance": 2**300},
            {"nonce": proof.nonce + 1},
            {"account": other.account},
            {"account": b""},
            {"index": other.index},
            {"index": 2**70},
            {"size": proof.size + 1},
            {"path": proof.path[:-1]},
            {"path": (*proof.path, bytes(32))},
            {"path": other.path},
            {"path": (bytes(32), *proof.path[1:])},
            {"path": (*proof.path[:-1], bytes(31))},
        ):
            accounts = [*witness.accounts]
            accounts[i] = replace(proof, **changed)
            found.append(replace(witness, accounts=tuple(accounts)))
    return found


@pytest.mark.parametrize("step", [0, 1, 3, 4, 25, 63])
def test_a_tampered_witness_proves_nothing(step):
    good = LONG.witness(step)
    assert len(good.accounts) >= 3
    lies = lies_about(good)
    assert len(lies) > 45
    for lie in lies:
        with pytest.raises(Rejected, match="witness: "):
            execute_step(LONG.claim, step, LONG.roots[step], lie)


def test_a_step_that_changes_nothing_touches_no_account():
    step = next(i for i, record in enumerate(RECORDS) if not LONG.witness(i).accounts)
    padded = replace(LONG.witness(step), accounts=LONG.witness(0).accounts)
    with pytest.raises(Rejected, match="witness: accounts must be those that the record touches"):
        execute_step(LONG.claim, step, LONG.roots[step], padded)


def test_a_witness_of_another_step_or_root_proves_nothing():
    refusals = {}
    for step, root, shown, size in [
        (1, LONG.roots[1], 0, STEPS),
        (0, LONG.roots[1], 0, STEPS),
        (0, LONG.roots[0], 0, 32),
    ]:
        with pytest.raises(Rejected) as refusal:
            execute_step(replace(LONG.claim, steps=size), step, root, LONG.witness(shown))
        refusals[step, size] = refusal.value
    assert refusals[1, STEPS].values == {"step": 1}
    assert refusals[0, STEPS].values == {"index": 0}
    assert refusals[0, 32].rule == "witness: record must stand at this step of the batch"
    cut = replace(LONG.witness(0), accounts=LONG.witness(0).accounts[1:])
    with pytest.raises(Rejected) as refusal:
        execute_step(LONG.claim, 0, LONG.roots[0], cut)
    places = [(p.index, p.size) for p in LONG.witness(0).accounts]
    assert refusal.value.values == {"shown": places[1:], "touched": places}


def test_a_root_does_not_say_how_many_leaves_it_has():
    """In a tree of six, the last two are one branch: by its path alone, account 4 of 6 could pass for another place."""
    leaves = [bytes([i]) for i in range(3)]
    three, pair = MerkleTree(leaves), MerkleTree(leaves[:2])
    path = three.inclusion_proof(2)
    assert path == (pair.root,)
    # so a record or an account under a path of one digest is at place 2 of 3, or at place 1 of 2: the claim must say
    transfer = sign_transfer(KEYS[0], "rollup", {FEES: 1}, fee=0, nonce=1)
    small = Ledger("rollup", dict.fromkeys(PUBLIC[:2], 10))
    trace = replay(small, [batches.encode_record(transfer, ACCOUNTS[:3])])
    eve = batches.encode_record(sign_transfer(KEYS[1], "rollup", {FEES: 1}, fee=0, nonce=1), [FEES, PUBLIC[1]])
    forged = replay(small, [eve])  # here index 1 is Alice, and Bob's signature is not hers
    assert forged.roots[0] == forged.roots[1]
    proof = replace(small.prove(PUBLIC[1]), index=1, size=2)
    assert verify_account(small.root, proof)  # by its path, Bob is account 1 of 2
    fees = small.prove(FEES)
    lie = Witness(eve, (), (fees, proof))
    with pytest.raises(Rejected, match="witness: accounts must be those that the record touches"):
        execute_step(forged.claim, 0, forged.roots[0], lie)
    assert trace.roots[0] != trace.roots[1]


# Answers are looked at: what other programs make is no witness


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


def forced(original, **fields):
    """A message with fields that its making would have refused."""
    made = object.__new__(type(original))
    made.__dict__.update(original.__dict__ | fields)
    return made


@dataclass(frozen=True)
class Heir(Witness):
    """A witness by inheritance."""


class Lazy(Witness):
    """A witness whose record is another one from the second look on."""

    @property
    def record(self):
        """Say one thing, then another."""
        looks = self.__dict__["looks"] = self.__dict__.get("looks", 0) + 1
        return self.__dict__["record"] if looks == 1 else b"nonsense"


class Trap(Witness):
    """A witness that ends the program of whoever looks at it."""

    @property
    def accounts(self):
        """Raise."""
        raise KeyboardInterrupt

    @property
    def __class__(self):
        """Raise."""
        raise SystemExit

    def __repr__(self):
        raise GeneratorExit


class LyingDict(dict):
    """A record's dictionary that raises when it is walked."""

    def __iter__(self):
        raise SystemExit

    keys = items = values = __iter__


def strange_witnesses(true: Witness) -> list[object]:
    first, rest = true.accounts[0], true.accounts[1:]
    lazy, trap, walled = object.__new__(Lazy), object.__new__(Trap), object.__new__(Witness)
    lazy.__dict__.update(true.__dict__)
    trap.__dict__.update(true.__dict__)
    object.__setattr__(walled, "__dict__", LyingDict(true.__dict__ | {"record": 5}))
    return [
        None,
        object.__new__(Witness),
        Heir(true.record, true.record_path, true.accounts),
        lazy,
        trap,
        walled,
        forced(true, record=None),
        forced(true, record=bytearray(true.record)),
        forced(true, record=memoryview(true.record)),
        forced(true, record=Agreeable(true.record)),
        forced(true, record_path=None),
        forced(true, record_path=list(true.record_path)),
        forced(true, record_path=Chameleon(true.record_path)),
        forced(true, accounts=None),
        forced(true, accounts=5),
        forced(true, accounts=list(true.accounts)),
        forced(true, accounts=Chameleon(true.accounts)),
        forced(true, accounts=(proof for proof in true.accounts)),
        forced(true, accounts=(None, *rest)),
        forced(true, accounts=(object.__new__(AccountProof), *rest)),
        *(
            forced(true, accounts=(forced(first, **fields), *rest))
            for fields in (
                {"balance": Elastic(first.balance)},
                {"balance": -1},
                {"balance": 1.0},
                {"nonce": True},
                {"nonce": None},
                {"account": []},
                {"account": Agreeable(first.account)},
                {"path": None},
                {"path": Chameleon(first.path)},
                {"index": Elastic(first.index)},
            )
        ),
    ]


STRANGE = strange_witnesses(honest(4).witness(0))


@pytest.mark.parametrize("number", range(len(STRANGE)))
def test_parts_of_other_types_prove_nothing_even_if_they_hash_the_same(number):
    trace, lie = honest(4), STRANGE[number]
    if not isinstance(lie, Trap):  # whose error message ends the program of the caller himself
        with pytest.raises(DomainError, match=r"execute_step: witness|^Witness: |^AccountProof: "):
            execute_step(trace.claim, 0, trace.roots[0], lie)

    def liar():
        return Party(["truth"] * 2, lie, trace)

    verdict = dispute(trace.claim, trace, liar())
    assert (verdict.winner, verdict.reason) == ("proposer", "executing the step confirms the claim")
    assert verdict.size_bytes == 66 + trace.witness(3).size_bytes  # what is no witness is not read
    wrong = replace(trace.claim, after=bytes(32))
    assert dispute(wrong, liar(), trace).winner == "challenger"
    assert dispute(wrong, liar(), liar()).reason == "nobody shows a witness"


def test_a_signature_that_is_no_bytes_does_not_refute_an_honest_claim():
    """A record of another type hashes to the same leaf; executed, its transfer would seem unsigned."""
    transfers = [sign_transfer(KEYS[0], "rollup", {PUBLIC[1]: 5}, fee=1, nonce=n) for n in (1, 2, 3, 4)]
    ledger = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
    trace = replay(ledger, [batches.encode_record(t, ACCOUNTS) for t in transfers])

    class Challenger:
        def agrees(self, step, root):
            return True

        def witness(self, step):
            now = Ledger("rollup", dict.fromkeys(PUBLIC, 60))
            now.apply_block(transfers[:step])
            proofs = tuple(now.prove(account) for account in ACCOUNTS[:3])  # nothing will change: one root for all
            return forced(trace.witness(step), record=bytearray(trace.records[step]), accounts=proofs)

    assert dispute(trace.claim, trace, Challenger()).winner == "proposer"


def test_a_root_that_equals_everything_is_silence():
    trace = honest(4)
    liar = Party(answers=[Agreeable(bytes(32))])
    assert dispute(replace(trace.claim, after=bytes(32)), liar, trace).reason == "the proposer is silent"


class OwnError(BaseException):
    """Raised by nobody else."""


RAISED = [KeyboardInterrupt, SystemExit, GeneratorExit, Exception, MemoryError, RecursionError, StopIteration, OwnError]


@pytest.mark.parametrize("error", RAISED)
@pytest.mark.parametrize("where", ["root", "agrees", "witness", "lookup"])
def test_a_party_whose_program_fails_is_silent(error, where):
    trace = honest(4)

    def fail(*_):
        raise error

    class Failing:
        root, agrees, witness = trace.root, trace.agrees, trace.witness

    setattr(Failing, "__getattribute__" if where == "lookup" else where, fail)
    wrong = replace(trace.claim, after=bytes(32))
    assert dispute(wrong, Failing(), trace).winner == "challenger"
    assert dispute(trace.claim, trace, Failing()).winner == "proposer"


def test_what_is_no_party_is_silent():
    trace = honest(4)
    assert dispute(trace.claim, object(), trace).reason == "the proposer is silent"
    assert dispute(trace.claim, trace, None).reason == "the challenger is silent"


# The game


class Party:
    """Answers by a list, round after round; shows what it was given. Nobody can make it tell one story."""

    def __init__(self, answers=(), shown=None, truth=None):
        self.answers, self.shown, self.truth = list(answers), shown, truth

    def root(self, step):
        """State what comes next."""
        answer = self.answers.pop(0) if self.answers else bytes(32)
        return self.truth.root(step) if isinstance(answer, str) and answer == "truth" else answer

    def agrees(self, step, root):
        """Answer what comes next."""
        answer = self.answers.pop(0) if self.answers else False
        return self.truth.agrees(step, root) if answer == "truth" else answer

    def witness(self, step):
        """Show what it was given."""
        return self.shown(step) if callable(self.shown) else self.shown


class Consistent(Party):
    """Right up to some step, then it holds to another story."""

    def __init__(self, steps, at, shown=None):
        super().__init__(shown=shown)
        self.roots = [*LONG.roots[: at + 1], *[bytes([1]) * 32] * (steps - at)]

    def root(self, step):
        """State a root of the story."""
        return self.roots[step]


def shows(trace):
    """What a liar may show: nothing, junk, an honest witness, one of another step, a tampered one, itself a trap."""

    def tampered(number, step):
        true = trace.witness(step)
        lies = lies_about(true) if true.accounts else [replace(true, record=b"x")]
        return lies[number % len(lies)]

    return st.one_of(
        st.none(),
        st.just("junk"),
        st.integers(0, len(STRANGE) - 1).map(lambda number: lambda step: STRANGE[number]),
        st.just(trace.witness),
        st.integers(0, len(trace.records) - 1).map(trace.witness),
        st.integers(0, 200).map(lambda number: lambda step: tampered(number, step)),
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
    liar = Party(data.draw(st.lists(states, max_size=7)), data.draw(shows(trace)), trace)
    verdict = dispute(replace(trace.claim, after=after), liar, trace)
    assert verdict.winner == "challenger"
    assert in_range(verdict, steps)
    assert verdict.step is not None
    assert verdict.size_bytes == 33 * verdict.rounds + trace.witness(verdict.step).size_bytes


@settings(max_examples=500, deadline=None, derandomize=True)
@given(data=st.data(), steps=lengths)
def test_an_honest_proposer_survives_every_challenger(data, steps):
    trace = honest(steps)
    answers = data.draw(st.lists(st.sampled_from([True, False, "truth", None]), max_size=7))
    verdict = dispute(trace.claim, trace, Party(answers, data.draw(shows(trace)), trace))
    assert verdict.winner == "proposer"
    assert verdict.step is None or in_range(verdict, steps)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(data=st.data(), steps=lengths)
def test_the_disputed_step_is_the_first_wrong_one_of_a_consistent_liar(data, steps):
    """A liar who is right up to some step and then holds to another story is caught at that step."""
    trace = honest(steps)
    at = data.draw(st.integers(0, steps - 1))
    liar = Consistent(steps, at, shown=trace.witness)
    verdict = dispute(replace(trace.claim, after=liar.roots[-1]), liar, trace)
    assert (verdict.winner, verdict.step) == ("challenger", at)
    assert verdict.reason == "executing the step refutes the claim"


@pytest.mark.parametrize("steps", range(1, STEPS + 1))
def test_rounds_of_the_longest_dispute(steps):
    """Played without a witness: only the rounds are counted, and who disputes must prove."""
    trace = honest(steps)
    mute = Party()
    mute.agrees = trace.agrees
    rounds = set()
    for at in range(steps):
        liar = Consistent(steps, at)
        verdict = dispute(replace(trace.claim, after=liar.roots[-1]), liar, mute)
        assert (verdict.winner, verdict.reason, verdict.step) == ("proposer", "nobody shows a witness", None)
        assert verdict.size_bytes == 33 * verdict.rounds
        rounds.add(verdict.rounds)
    assert max(rounds) == math.ceil(math.log2(steps))
    assert min(rounds) == math.floor(math.log2(steps))


@pytest.mark.parametrize("silence", [None, "no", 7, b"short", True, bytearray(32)])
def test_a_silent_proposer_loses(silence):
    trace = honest(8)
    verdict = dispute(trace.claim, Party(["truth", silence], trace.witness, trace), trace)
    assert (verdict.winner, verdict.step, verdict.rounds, verdict.size_bytes) == ("challenger", None, 1, 33)
    assert verdict.reason == "the proposer is silent"


@pytest.mark.parametrize("silence", [None, "yes", 1])
def test_a_silent_challenger_loses(silence):
    trace = honest(8)
    claim = replace(trace.claim, after=bytes(32))
    verdict = dispute(claim, trace, Party(["truth", silence], trace.witness, trace))
    assert (verdict.winner, verdict.step, verdict.rounds, verdict.size_bytes) == ("proposer", None, 1, 33 + 32)
    assert verdict.reason == "the challenger is silent"


def test_who_disputes_without_the_data_loses_even_against_a_wrong_root():
    """Without the batch there is no witness and no root to compare: all eight ways to answer three rounds lose."""
    claim = replace(honest(8).claim, after=bytes(32))
    for way in range(8):
        blind = Party([bool(way >> i & 1) for i in range(3)])
        assert dispute(claim, Party(), blind).winner == "proposer"


def test_the_witness_of_either_side_decides():
    trace = honest(8)
    mute = Party(["truth"] * 3, None, trace)
    assert dispute(trace.claim, trace, mute).reason == "executing the step confirms the claim"
    wrong, mute = replace(trace.claim, after=bytes(32)), Party(["truth"] * 3, None, trace)
    assert dispute(wrong, trace, mute).winner == "challenger"  # the liar's own witness convicts it


def test_wrong_witnesses_are_read_and_paid_for():
    trace = honest(8)
    junk = replace(trace.witness(7), record=bytes(1000))
    verdict = dispute(trace.claim, trace, Party(["truth"] * 3, junk, trace))
    assert verdict.size_bytes == 99 + junk.size_bytes + trace.witness(verdict.step).size_bytes


# What a dispute costs: counted, not timed


@pytest.fixture
def counted(monkeypatch):
    """Count hashes in trees and checks of signatures."""
    count = Counter()

    def counting(module, name, key):
        true = getattr(module, name)

        def call(*args):
            count[key] += 1
            return true(*args)

        monkeypatch.setattr(module, name, call)

    counting(crypto, "sha256", "hashes")
    counting(message, "verify_signature", "signatures")
    counting(ledgers, "verify_signature", "signatures")
    return count


@pytest.mark.parametrize("power", [6, 13])
def test_an_honest_node_answers_a_long_dispute_with_few_hashes(counted, power):
    """The tree of the batch and the history of each account are built once: not for a witness, not for a claim."""
    records = RECORDS * (2**power // STEPS)
    trace = replay(opening(), records)
    claim = trace.claim
    for at in (5, len(records) // 3, len(records) - 1):
        story = [*trace.roots[: at + 1], *[bytes([1]) * 32] * (len(records) - at)]
        liar = Party()
        liar.root = story.__getitem__
        counted.clear()
        verdict = dispute(replace(claim, after=story[-1]), liar, trace)
        assert (verdict.winner, verdict.step) == ("challenger", at)
        # four accounts at most: the tree of all six and four paths of three, made, checked and followed; the record's
        # path; the tree of the referee's small ledger, made and brought up to date
        assert counted["hashes"] <= 11 + 3 * 4 * (1 + 3) + (1 + power) + 7 + 12
        assert counted["signatures"] == 1  # the referee's own
    counted.clear()
    assert trace.claim == claim
    trace.witness(len(records) - 1)
    assert counted["signatures"] == 0
    assert counted["hashes"] <= 11 + 4 * (1 + 3)


def test_each_signature_is_checked_once_in_a_replay(counted):
    ledger = opening()
    counted.clear()
    trace = replay(ledger, RECORDS)
    hashes = counted["hashes"]
    assert counted["signatures"] == sum(bool(trace.witness(i).accounts) for i in range(STEPS))
    changes = sum(a != b for a, b in zip(trace.roots, trace.roots[1:], strict=False))
    # the batch's tree, the accounts' tree, and four leaves and what is above them for each step that changes something
    assert hashes <= 2 * STEPS + 11 + changes * (4 + 3 + 2 + 1)


# The caller's mistakes


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: replay(opening(), []), "replay: there must be records and no account held"),
        (lambda: replay("x", RECORDS), "replay: ledger must be a Ledger"),
        (lambda: replay(opening(), [None]), "replay: records must be "),
        (lambda: dispute("x", LONG, LONG), "dispute: claim must be a Claim, got 'x'"),
        (lambda: dispute(object.__new__(disputes.Claim), LONG, LONG), "dispute: claim must be a Claim"),
        (
            lambda: dispute(replace(LONG.claim, steps=0), LONG, LONG),
            "dispute: steps must be an integer in 1 ... 18446744073709551615, got",
        ),
        (
            lambda: dispute(replace(LONG.claim, steps=2**64), LONG, LONG),
            "dispute: steps must be an integer in 1 ... 18446744073709551615, got",
        ),
        (lambda: execute_step(LONG.claim, -1, LONG.roots[0], LONG.witness(0)), "execute_step: step"),
        (lambda: replace(LONG.claim, after="x"), "Claim: after must be a bytes"),
        (lambda: Witness(b"", [], ()), "Witness: record_path must be "),
    ],
)
def test_bad_input(call, error):
    with pytest.raises(DomainError, match=error):
        call()


def test_a_ledger_that_holds_an_account_is_no_rollup():
    """The referee sees no more than balance and nonce: it would carry out what such a ledger refuses."""
    ledger = opening()
    ledger._held.add(PUBLIC[2])
    with pytest.raises(DomainError, match="no account held, got 64, 1"):
        replay(ledger, RECORDS)
