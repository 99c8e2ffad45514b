"""The ledger: each rule has a transfer that breaks it, and nothing else breaks."""

from dataclasses import replace
from itertools import chain
from unittest.mock import ANY

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web3scale.crypto import MerkleTree, encode, example_key, public_key, sign, tagged_hash
from web3scale.errors import DomainError, Rejected
from web3scale.layers import ledger as rules
from web3scale.layers.ledger import FEES, Ledger, Transfer, contract_account, sign_transfer, verify_account
from web3scale.message import Signed, digest, signed

KEYS = [example_key(name) for name in "ABCD"]
A, B, C, D = (public_key(key) for key in KEYS)


def fresh():
    return Ledger("main", {A: 100, B: 50, C: 0})


def pay(nonce=1, fee=2, payments=None, key=KEYS[0], chain="main"):
    return sign_transfer(key, chain, {B: 10} if payments is None else payments, fee=fee, nonce=nonce)


def tampered(**changes):
    """The honest transfer with other fields and the old signature."""
    return replace(pay(), body=replace(pay().body, **changes))


def resigned(**changes):
    """The same, signed by its sender again."""
    return signed(tampered(**changes).body, KEYS[0])


def state(ledger):
    accounts = [(name, ledger.balance(name), ledger.nonce(name)) for name in (A, B, C, FEES)]
    return accounts, ledger.root, len(ledger), ledger.total


def test_an_accepted_transfer_moves_amount_and_fee_and_counts_the_nonce():
    ledger = fresh()
    receipt = ledger.apply(pay(payments={B: 10, C: 5}))
    assert receipt.accepted
    assert receipt.refusal is None
    assert [ledger.balance(x) for x in (A, B, C, FEES)] == [83, 60, 5, 2]
    assert [ledger.nonce(x) for x in (A, B, C)] == [1, 0, 0]
    assert ledger.total == 150


def test_a_transfer_may_spend_everything_and_not_one_more():
    assert fresh().apply(pay(payments={B: 98})).accepted
    refusal = fresh().apply(pay(payments={B: 99})).refusal
    assert refusal.rule == "transfer: balance must cover amounts and fee"
    assert refusal.values == {"balance": 100, "cost": 101}


def test_a_transfer_from_one_account_pays_several_and_the_sum_counts():
    refusal = fresh().apply(pay(payments={B: 50, C: 49})).refusal
    assert refusal.values == {"balance": 100, "cost": 101}


# What a rule refuses has a receipt

BAD_SIGNATURE = "transfer: the sender must sign exactly this"
RECIPIENTS = "transfer: recipients must be one or more, all different"
OPEN = "ledger: account must be open"
REFUSED = {
    "signed for another chain": (replace(resigned(chain="test"), body=pay().body), BAD_SIGNATURE, {"sender": A}),
    "another chain": (resigned(chain="test"), "transfer: chain must be this one", {"chain": "test", "this": "main"}),
    "a chain without an encoding": (
        tampered(chain="\ud800"),
        "transfer: chain must be this one",
        {"chain": "\ud800", "this": "main"},
    ),
    "zero amount": (resigned(payments=((B, 0),)), "transfer: amounts must be positive", {"amount": 0}),
    "zero among others": (resigned(payments=((B, 1), (C, 0))), "transfer: amounts must be positive", {"amount": 0}),
    "to oneself": (resigned(payments=((A, 10),)), "transfer: sender and recipient must differ", {"sender": A}),
    "to oneself too": (
        resigned(payments=((B, 10), (A, 1))),
        "transfer: sender and recipient must differ",
        {"sender": A},
    ),
    "to nobody": (resigned(payments=()), RECIPIENTS, {"recipients": 0}),
    "twice the same": (resigned(payments=((B, 1), (B, 2))), RECIPIENTS, {"recipients": 1}),
    "amount changed": (tampered(payments=((B, 11),)), BAD_SIGNATURE, {"sender": A}),
    "fee changed": (tampered(fee=0), BAD_SIGNATURE, {"sender": A}),
    "recipient changed": (tampered(payments=((C, 10),)), BAD_SIGNATURE, {"sender": A}),
    "nonce changed": (tampered(nonce=2), BAD_SIGNATURE, {"sender": A}),
    "sender changed": (tampered(sender=C), BAD_SIGNATURE, {"sender": C}),
    "sender no key": (tampered(sender=b"short"), BAD_SIGNATURE, {"sender": b"short"}),
    "wrong key": (signed(pay().body, KEYS[1]), BAD_SIGNATURE, {"sender": A}),
    "no signature": (replace(pay(), signatures=()), BAD_SIGNATURE, {"sender": A}),
    "an empty signature": (replace(pay(), signatures=(b"",)), BAD_SIGNATURE, {"sender": A}),
    "one signature too many": (signed(pay().body, KEYS[0], KEYS[1]), BAD_SIGNATURE, {"sender": A}),
    "nonce 0": (resigned(nonce=0), "transfer: nonce must be the next", {"nonce": 0, "next": 1}),
    "nonce gap": (resigned(nonce=3), "transfer: nonce must be the next", {"nonce": 3, "next": 1}),
    "unknown sender": (pay(key=KEYS[3], payments={B: 1}), OPEN, {"account": D}),
    "unknown recipient": (resigned(payments=((D, 10),)), OPEN, {"account": D}),
    "recipient no key": (resigned(payments=((b"x", 10),)), OPEN, {"account": b"x"}),
    "second of two unknown": (resigned(payments=((B, 1), (D, 1))), OPEN, {"account": D}),
    "fee not covered": (
        resigned(payments=((B, 99),)),
        "transfer: balance must cover amounts and fee",
        {"balance": 100, "cost": 101},
    ),
}


@pytest.mark.parametrize(("transfer", "rule", "values"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_its_rule_and_changes_nothing(transfer, rule, values):
    ledger = fresh()
    before = state(ledger)
    receipt = ledger.apply(transfer)
    assert not receipt.accepted
    assert receipt.transfer is transfer
    assert (receipt.refusal.rule, receipt.refusal.values) == (rule, values)
    assert state(ledger) == before
    assert ledger.apply(pay()).accepted, "and the honest transfer still passes"


def test_an_amount_too_long_to_print_is_refused_like_any_other():
    ledger = fresh()
    block = ledger.apply_block([pay(), resigned(payments=((B, 10**5000),), nonce=2), resigned(nonce=2)])
    assert [r.accepted for r in block.receipts] == [True, False, True]
    assert str(block.receipts[1].refusal).endswith("cost=an int too long to print")


# What is malformed cannot be made, and no block is made of it


def nested(depth):
    deep = ()
    for _ in range(depth):
        deep = (deep,)
    return deep


class Disguised(bytes):
    """A key of one, with the hash of another."""

    def __hash__(self):
        return hash(A)

    def __eq__(self, other):
        return other == A


BAD_FIELDS = {
    "chain": [None, 7, b"main", ANY, np.array(["main", "x"])],
    "sender": [None, "\ud800", Disguised(B), bytearray(A)],
    "payments": [None, [(B, 10)], ((1.5, 1),), ((B,),), ((B, -5),), ((B, 1.5),), ((B, True),), ((B, "10"),), {B: 10}],
    "fee": [-1, 0.5, True, "x", None, np.int64(2)],
    "nonce": [-1, "1", 1.0, True, None],
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_a_transfer_with_a_malformed_field_cannot_be_made(field):
    for value in [*BAD_FIELDS[field], nested(100_000)]:
        with pytest.raises(DomainError, match=rf"^Transfer: {field} must be") as fault:
            replace(pay().body, **{field: value})
        assert len(str(fault.value)) < 300


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fee", "x"),
        ("fee", -1),
        ("fee", 1.5),
        ("fee", True),
        ("nonce", None),
        ("nonce", "1"),
        ("payments", [(B, 1)]),
        ("payments", None),
        ("payments", {B: -1}),
        ("payments", {B: 1.5}),
        ("payments", {"B": 1}),
        ("key", bytes(32)),
        ("chain", None),
    ],
)
def test_what_is_malformed_cannot_be_signed(name, value):
    arguments = {"key": KEYS[0], "chain": "main", "payments": {B: 1}, "fee": 0, "nonce": 1}
    with pytest.raises(DomainError, match=rf"^sign_transfer: {name} must be"):
        sign_transfer(**(arguments | {name: value}))


def test_a_chain_without_an_encoding_cannot_be_signed():
    with pytest.raises(DomainError):
        pay(chain="\ud800")


class Forged(Transfer):
    """What only inherits from a transfer may say one thing and have another signed."""

    cost = 0


def hollow():
    """A signed record without fields: no decoder and no constructor makes one."""
    transfer = object.__new__(Signed)
    transfer.__dict__.update(body=object.__new__(Transfer), signatures=pay().signatures)
    return transfer


NO_TRANSFERS = {
    "nothing": None,
    "a number": 1,
    "an unsigned one": pay().body,
    "a record without fields": object.__new__(Transfer),
    "a signed one without fields": object.__new__(Signed),
    "a signed record without fields": hollow(),
    "another message signed": signed(pay(), KEYS[0]),
    "a heir": Signed(Forged("main", A, ((C, 99),), 0, 1), pay().signatures),
    "a block of it": [pay()],
}


@pytest.mark.parametrize("bad", NO_TRANSFERS.values(), ids=NO_TRANSFERS)
def test_a_block_is_refused_wholly_if_one_of_it_is_no_transfer(bad):
    ledger = fresh()
    before = state(ledger)
    for given_ in ([pay(), bad, resigned(nonce=2)], [bad], iter([pay(), bad])):
        with pytest.raises(DomainError):
            ledger.apply_block(given_)
        assert state(ledger) == before
        assert ledger.blocks == []
    with pytest.raises(DomainError):
        ledger.apply(bad)
    assert ledger.height == 0
    assert ledger.apply(pay()).accepted


@pytest.mark.parametrize("bad", [None, 1, pay(), "text", b"bytes"])
def test_a_block_is_a_list_of_transfers(bad):
    ledger = fresh()
    with pytest.raises(DomainError):
        ledger.apply_block(bad)
    assert ledger.blocks == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_a_list_that_breaks_off_makes_no_block(error):
    def broken():
        yield pay()
        raise error

    ledger = fresh()
    before = state(ledger)
    with pytest.raises(error):
        ledger.apply_block(broken())
    assert state(ledger) == before
    assert ledger.blocks == []


def test_every_field_is_signed():
    good = pay().body
    others = {"chain": "test", "sender": C, "payments": ((C, 10),), "fee": 0, "nonce": 2}
    digests = {digest(replace(good, **{field: value})) for field, value in others.items()}
    assert len(digests | {digest(good)}) == 6
    assert set(others) == set(good.__dict__)


def test_the_digest_of_a_transfer_is_its_own():
    fields = encode("main", A, 1, 2, B, 3, 4, 5)  # one payment, a pair
    assert digest(Transfer("main", A, ((B, 3),), 4, 5)) == tagged_hash("web3scale.layers.ledger.Transfer", fields)
    by_hand = sign(KEYS[0], digest(pay().body))
    assert fresh().apply(Signed(pay().body, (by_hand,))).accepted


# Blocks


def test_a_transfer_applies_once():
    ledger = fresh()
    assert ledger.apply(pay()).accepted
    assert ledger.apply(pay()).refusal.rule == "transfer: nonce must be the next"


def test_a_batch_with_a_bad_transfer_keeps_the_good_ones_and_says_which():
    ledger = fresh()
    before = ledger.root
    block = ledger.apply_block(iter([pay(), pay(), resigned(nonce=2)]))
    assert [r.accepted for r in block.receipts] == [True, False, True]
    assert (block.before, block.after, block.height) == (before, ledger.root, 1)
    assert block.after != block.before
    assert ledger.apply_block([]).height == ledger.height == 2


def test_a_ledger_keeps_its_blocks_with_their_receipts():
    ledger = fresh()
    first, second = ledger.apply_block([pay(), pay()]), ledger.apply_block()
    assert ledger.blocks == [first, second]
    assert [r.accepted for r in ledger.blocks[0].receipts] == [True, False]
    assert second.receipts == ()


def test_the_root_is_the_merkle_root_of_all_accounts():
    ledger = fresh()
    ledger.apply(pay())
    ledger.open(D)
    leaves = [rules.account_leaf(x, ledger.balance(x), ledger.nonce(x)) for x in (FEES, A, B, C, D)]
    assert ledger.root == MerkleTree(leaves).root


def test_an_account_can_be_proved_and_a_false_balance_cannot():
    ledger = fresh()
    ledger.apply(pay())
    for account in (A, B, C, FEES):
        proof = ledger.prove(account)
        assert verify_account(ledger.root, proof)
        for false in (
            replace(proof, balance=proof.balance + 1),
            replace(proof, nonce=proof.nonce + 1),
            replace(proof, account=D),
            replace(proof, index=proof.index + 1),
        ):
            assert not verify_account(ledger.root, false)
    old = ledger.prove(A)
    ledger.apply(resigned(nonce=2))
    assert not verify_account(ledger.root, old)


def test_a_proof_of_nonsense_proves_nothing():
    ledger = fresh()
    proof = ledger.prove(A)
    for bad in (None, A, object.__new__(rules.AccountProof)):
        assert verify_account(ledger.root, bad) is False
    for root in (None, b"", "root"):
        assert verify_account(root, proof) is False
    for field, value in {"balance": -1, "nonce": None, "path": None, "index": 1.0}.items():
        with pytest.raises(DomainError, match=rf"^AccountProof: {field} must be"):
            replace(proof, **{field: value})


# Accounts


@pytest.mark.parametrize("chain_name", [None, 7, "\ud800"])
def test_a_chain_has_a_name_that_can_be_signed(chain_name):
    with pytest.raises(DomainError):
        Ledger(chain_name, {})


def test_opening_an_account():
    ledger = fresh()
    ledger.open(D)
    assert (ledger.balance(D), ledger.nonce(D), D in ledger, len(ledger)) == (0, 0, True, 5)
    before = ledger.root
    with pytest.raises(Rejected) as refusal:
        ledger.open(D)
    assert refusal.value.rule == "ledger: account must be new"
    assert ledger.root == before


@pytest.mark.parametrize("bad", [None, "\ud800", 1, Disguised(D)])
def test_an_account_without_bytes_is_not_opened(bad):
    ledger = fresh()
    before = state(ledger)
    with pytest.raises(DomainError):
        ledger.open(bad)
    assert state(ledger) == before


def test_what_is_not_open_has_no_balance():
    for question in (fresh().balance, fresh().nonce, fresh().prove):
        with pytest.raises(Rejected) as refusal:
            question(D)
        assert (refusal.value.rule, refusal.value.values) == (OPEN, {"account": D})


@pytest.mark.parametrize("amount", [-1, 1.5, "1", None, True])
def test_opening_balances_and_nonces_are_natural_numbers(amount):
    assert Ledger("main", {A: 1}, {A: 4}).nonce(A) == 4
    with pytest.raises(DomainError, match=r"^Ledger: balances must be"):
        Ledger("main", {A: amount})
    with pytest.raises(DomainError, match=r"^Ledger: nonces must be"):
        Ledger("main", {A: 1}, {A: amount})


def test_fees_and_contracts_may_have_money_from_the_beginning():
    ledger = Ledger("main", {FEES: 5, contract_account("main", "pot"): 7, A: 1})
    assert ledger.total == 13
    assert ledger.balance(ledger._contract("pot")) == 7


# For the rules of contracts


def test_a_contract_of_a_name_is_given_out_once_a_chain():
    ledger = fresh()
    account = ledger._contract("pot")
    assert account == contract_account("main", "pot")
    assert account != contract_account("test", "pot")
    assert ledger.balance(account) == 0
    with pytest.raises(Rejected) as refusal:
        ledger._contract("pot")
    assert refusal.value.values == {"name": "pot"}
    assert ledger._contract("bowl") != account


def test_a_contract_may_refuse_transfers_to_its_account():
    ledger = fresh()
    pot = ledger._contract("pot")
    assert ledger.apply(pay(payments={pot: 5})).accepted
    ledger._closed.add(pot)
    before = state(ledger), ledger.balance(pot)
    refusal = ledger.apply(pay(payments={B: 1, pot: 5}, nonce=2)).refusal
    assert (refusal.rule, refusal.values) == ("transfer: recipient must take transfers", {"recipient": pot})
    assert (state(ledger), ledger.balance(pot)) == before


def test_money_moves_only_between_open_accounts_and_only_what_is_there():
    ledger = fresh()
    for source, target, amount, rule in [
        (D, A, 1, OPEN),
        (A, D, 1, OPEN),
        (A, B, 101, "ledger: balance must cover the amount"),
    ]:
        with pytest.raises(Rejected) as refusal:
            ledger._move(source, target, amount)
        assert refusal.value.rule == rule
        assert state(ledger) == state(fresh())
    ledger._move(A, B, 100)
    assert (ledger.balance(A), ledger.balance(B), ledger.total) == (0, 150, 150)
    assert ledger.root != fresh().root


def test_what_is_held_is_not_spent_by_a_transfer_nor_by_a_contract_and_may_be_paid():
    ledger = fresh()
    ledger._held.add(A)
    before = state(ledger)
    refusal = ledger.apply(pay()).refusal
    assert refusal.rule == "transfer: sender must have no other transfer under way"
    with pytest.raises(Rejected) as refused:
        ledger._move(A, B, 1)
    assert refused.value.rule == "ledger: what is held for one transfer must not be spent by another"
    assert state(ledger) == before
    assert ledger.apply(pay(key=KEYS[1], payments={A: 10})).accepted
    ledger._held.remove(A)
    assert ledger.apply(pay()).accepted


orders = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 3), st.integers(0, 60), st.integers(0, 3), st.integers(0, 3), st.booleans()
    ),
    max_size=12,
)


@given(orders)
def test_money_is_conserved_and_equal_blocks_have_equal_roots(plans):
    ledgers = [fresh() for _ in range(2)]
    made = []
    for sender, recipient, amount, fee, skip, honest in plans:
        nonce = ledgers[0].nonce((A, B, C)[sender]) + skip
        order = Transfer("main", (A, B, C)[sender], (((A, B, C, D)[recipient], amount),), fee, nonce)
        made.append(signed(order, KEYS[sender if honest else 3]))
        before = state(ledgers[0])
        block = ledgers[0].apply_block(made[-1:])
        expected = honest and skip == 1 and recipient not in (sender, 3) and amount > 0
        expected = expected and amount + fee <= before[0][sender][1]
        assert block.receipts[0].accepted == expected
        assert ledgers[0].total == 150
        if not expected:
            assert state(ledgers[0]) == before
    again = ledgers[1].apply_block(made)
    assert again.after == ledgers[0].root
    before = list(chain.from_iterable(block.receipts for block in ledgers[0].blocks))
    assert [r.accepted for r in again.receipts] == [r.accepted for r in before]


def test_the_total_is_the_same_in_every_state_also_midway(monkeypatch):
    seen, move = [], Ledger._move

    def watched(self, *what):
        move(self, *what)
        seen.append(self.total)

    monkeypatch.setattr(Ledger, "_move", watched)
    fresh().apply_block([pay(payments={B: 1, C: 2}), pay(nonce=2), pay(nonce=9)])
    assert seen == [150] * 5  # a fee and two payments, a fee and one
