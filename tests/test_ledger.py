"""The ledger: each rule has a transfer that breaks it, and nothing else breaks."""

from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from web3scale.crypto import MerkleTree, encode, example_key, public_key, sign, tagged_hash
from web3scale.errors import DomainError, Rejected
from web3scale.layers import ledger as rules
from web3scale.layers.ledger import FEES, Ledger, Transfer, sign_transfer, verify_account

KEYS = [example_key(name) for name in "ABCD"]
A, B, C, D = (public_key(key) for key in KEYS)


def fresh():
    return Ledger("main", {A: 100, B: 50, C: 0})


def pay(**changes):
    return replace(sign_transfer(KEYS[0], "main", {B: 10}, fee=2, nonce=1), **changes)


def resigned(**changes):
    unsigned = replace(pay(), **changes)
    return replace(unsigned, signature=sign(KEYS[0], unsigned.message))


def state(ledger):
    return [(name, ledger.balance(name), ledger.nonce(name)) for name in (A, B, C, FEES)], ledger.root, len(ledger)


def test_an_accepted_transfer_moves_amount_and_fee_and_counts_the_nonce():
    ledger = fresh()
    receipt = ledger.apply(sign_transfer(KEYS[0], "main", {B: 10, C: 5}, fee=2, nonce=1))
    assert receipt.accepted
    assert receipt.refusal is None
    assert [ledger.balance(x) for x in (A, B, C, FEES)] == [83, 60, 5, 2]
    assert [ledger.nonce(x) for x in (A, B, C)] == [1, 0, 0]
    assert ledger.total == 150


def test_a_transfer_may_spend_everything_and_not_one_more():
    assert fresh().apply(sign_transfer(KEYS[0], "main", {B: 98}, fee=2, nonce=1)).accepted
    refusal = fresh().apply(sign_transfer(KEYS[0], "main", {B: 99}, fee=2, nonce=1)).refusal
    assert isinstance(refusal, rules.Overdraft)
    assert refusal.values == {"balance": 100, "cost": 101}


REFUSED = {
    "payments a list": (pay(payments=[(B, 10)]), rules.BadRecipients, {"payments": [(B, 10)]}),
    "no payments": (pay(payments=None), rules.BadRecipients, {"payments": None}),
    "recipient no key": (pay(payments=((1.5, 1),)), rules.BadRecipients, {"payments": ((1.5, 1),)}),
    "a pair of one": (pay(payments=((B,),)), rules.BadRecipients, {"payments": ((B,),)}),
    "sender no key": (pay(sender="\ud800"), rules.BadSignature, {"sender": "\ud800"}),
    "signed for another chain": (replace(resigned(chain="test"), chain="main"), rules.BadSignature, {"sender": A}),
    "another chain": (resigned(chain="test"), rules.WrongChain, {"chain": "test"}),
    "zero amount": (pay(payments=((B, 0),)), rules.BadAmount, {"amount": 0}),
    "negative amount": (pay(payments=((B, -5),)), rules.BadAmount, {"amount": -5}),
    "no integer": (pay(payments=((B, 1.5),)), rules.BadAmount, {"amount": 1.5}),
    "a truth value": (pay(payments=((B, True),)), rules.BadAmount, {"amount": True}),
    "negative fee": (pay(fee=-1), rules.BadAmount, {"fee": -1}),
    "fee no integer": (pay(fee=0.5), rules.BadAmount, {"fee": 0.5}),
    "to oneself": (resigned(payments=((A, 10),)), rules.BadRecipients, {"sender": A}),
    "to nobody": (resigned(payments=()), rules.BadRecipients, {"recipients": 0}),
    "twice the same": (resigned(payments=((B, 1), (B, 2))), rules.BadRecipients, {"recipients": 2}),
    "amount changed": (pay(payments=((B, 11),)), rules.BadSignature, {"sender": A}),
    "fee changed": (pay(fee=0), rules.BadSignature, {"sender": A}),
    "recipient changed": (pay(payments=((C, 10),)), rules.BadSignature, {"sender": A}),
    "nonce changed": (pay(nonce=2), rules.BadSignature, {"sender": A}),
    "wrong key": (pay(signature=sign(KEYS[1], pay().message)), rules.BadSignature, {"sender": A}),
    "no signature": (pay(signature=b""), rules.BadSignature, {"sender": A}),
    "nonce 0": (pay(nonce=0), rules.WrongNonce, {"nonce": 0}),
    "nonce no integer": (pay(nonce="1"), rules.WrongNonce, {"nonce": "1"}),
    "nonce gap": (resigned(nonce=3), rules.WrongNonce, {"nonce": 3}),
    "unknown sender": (sign_transfer(KEYS[3], "main", {B: 1}, fee=0, nonce=1), rules.UnknownAccount, {"account": D}),
    "unknown recipient": (resigned(payments=((D, 10),)), rules.UnknownAccount, {"account": D}),
    "second of two unknown": (resigned(payments=((B, 1), (D, 1))), rules.UnknownAccount, {"account": D}),
    "a truth value for a fee": (pay(fee=True), rules.BadAmount, {"fee": True}),
    "a truth value for a nonce": (pay(nonce=True), rules.WrongNonce, {"nonce": True}),
    "no transfer": (None, rules.NoTransfer, {"given": None}),
    "fee not covered": (resigned(payments=((B, 99),)), rules.Overdraft, {"balance": 100, "cost": 101}),
}


@pytest.mark.parametrize(("transfer", "rule", "values"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_names_its_rule_and_changes_nothing(transfer, rule, values):
    ledger = fresh()
    before = state(ledger)
    receipt = ledger.apply(transfer)
    assert type(receipt.refusal) is rule
    assert not receipt.accepted
    assert receipt.refusal.values == values
    assert all(str(v) in str(receipt.refusal) or isinstance(v, (bytes, str, list, tuple)) for v in values.values())
    assert state(ledger) == before
    assert ledger.apply(pay()).accepted, "and the honest transfer still passes"


def test_an_amount_too_long_to_print_is_refused_like_any_other():
    ledger = fresh()
    block = ledger.apply_block([pay(), resigned(payments=((B, 10**5000),), nonce=2), resigned(nonce=2)])
    assert [r.accepted for r in block.receipts] == [True, False, True]
    assert str(block.receipts[1].refusal).endswith("cost=an int too long to print")


def nested(depth):
    deep = ()
    for _ in range(depth):
        deep = (deep,)
    return deep


@pytest.mark.parametrize("field", ["chain", "sender", "payments", "fee", "nonce", "signature"])
def test_what_cannot_be_printed_is_refused_like_any_other(field):
    ledger = fresh()
    before = state(ledger)
    block = ledger.apply_block([replace(pay(), **{field: nested(100_000)})])
    assert not block.receipts[0].accepted
    assert len(str(block.receipts[0].refusal)) < 200
    assert state(ledger) == before


def test_every_field_is_signed():
    good = pay()
    others = {"chain": "test", "sender": C, "payments": ((C, 10),), "fee": 0, "nonce": 2}
    digests = {replace(good, **{field: value}).message for field, value in others.items()}
    assert len(digests | {good.message}) == 6
    assert replace(good, signature=b"").message == good.message


def test_the_tag_of_a_transfer_is_its_own():
    fields = encode("main", A, 1, 2, B, 3)
    assert Transfer("main", A, ((B, 3),), 1, 2).message == tagged_hash("web3scale/transfer", fields)


def test_fees_may_be_there_from_the_beginning():
    assert Ledger("main", {FEES: 5}).total == 5


class Disguised(bytes):
    """A key of one, with the hash of another."""

    def __hash__(self):
        return hash(A)

    def __eq__(self, other):
        return other == A


def test_messages_are_exactly_of_their_types():
    """What only inherits from a transfer may say one thing and have another signed."""
    old = pay()

    class Forged(Transfer):
        message = property(lambda self: old.message)

    mallory = example_key("Mallory")
    disguised = Transfer("main", Disguised(public_key(mallory)), ((B, 9),), 0, 1)
    disguised = replace(disguised, signature=sign(mallory, disguised.message))
    equal_to_all = [replace(old, chain=thing) for thing in (ANY, np.array(["main", "x"]))]
    ledger = fresh()
    before = state(ledger)
    lies = [Forged("main", A, ((C, 99),), 0, 1, old.signature), disguised, *equal_to_all]
    block = ledger.apply_block(lies)
    assert [receipt.accepted for receipt in block.receipts] == [False] * len(lies)
    assert state(ledger) == before


@pytest.mark.parametrize("chain", [None, 7, "\ud800"])
def test_a_chain_has_a_name_that_can_be_signed(chain):
    with pytest.raises(DomainError):
        Ledger(chain, {})


def test_contracts_see_the_receipts_of_every_block_and_act_within_it():
    ledger, seen = fresh(), []
    ledger.contracts.append(lambda receipts: (seen.append(receipts), ledger.open(D)))
    block = ledger.apply_block([pay(), pay()])
    assert seen == [block.receipts]
    assert block.after == ledger.root
    assert D in ledger


def test_a_transfer_applies_once():
    ledger = fresh()
    assert ledger.apply(pay()).accepted
    assert isinstance(ledger.apply(pay()).refusal, rules.WrongNonce)


def test_a_batch_with_a_bad_transfer_keeps_the_good_ones_and_says_which():
    ledger = fresh()
    before = ledger.root
    block = ledger.apply_block([pay(), pay(), resigned(nonce=2)])
    assert [r.accepted for r in block.receipts] == [True, False, True]
    assert (block.before, block.after, block.height) == (before, ledger.root, 1)
    assert block.after != block.before
    assert ledger.apply_block([]).height == 2


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
    for bad in (None, replace(proof, balance=-1), replace(proof, balance=None), replace(proof, path=None)):
        assert verify_account(ledger.root, bad) is False


def test_an_account_without_bytes_is_not_opened():
    ledger = fresh()
    before = state(ledger)
    for bad in (None, "\ud800"):
        with pytest.raises(DomainError):
            ledger.open(bad)
        assert bad not in ledger
    assert state(ledger) == before


@pytest.mark.parametrize("nonce", [-1, 1.5, None])
def test_an_opening_nonce_is_a_natural_number(nonce):
    assert Ledger("main", {A: 1}, {A: 4}).nonce(A) == 4
    with pytest.raises(DomainError, match="Ledger: nonces must be an integer of at least 0"):
        Ledger("main", {A: 1}, {A: nonce})


def test_opening_an_account():
    ledger = fresh()
    ledger.open(D)
    assert (ledger.balance(D), ledger.nonce(D), D in ledger, len(ledger)) == (0, 0, True, 5)
    before = ledger.root
    with pytest.raises(rules.AccountExists):
        ledger.open(D)
    assert ledger.root == before


@pytest.mark.parametrize("amount", [0, -1, 1.0, True])
def test_credit_and_debit_take_positive_integers(amount):
    ledger = fresh()
    for move in (ledger.credit, ledger.debit):
        with pytest.raises(rules.BadAmount):
            move(A, amount)
        with pytest.raises(rules.UnknownAccount):
            move(D, 1)
    with pytest.raises(rules.Overdraft) as refusal:
        ledger.debit(A, 101)
    assert refusal.value.values == {"balance": 100, "amount": 101}
    assert state(ledger) == state(fresh())


@pytest.mark.parametrize("amount", [-1, 1.5, "1", None])
def test_an_opening_balance_is_a_natural_number(amount):
    with pytest.raises(DomainError, match="Ledger: balances must be an integer of at least 0"):
        Ledger("main", {A: amount})


def test_what_cannot_be_written_cannot_be_signed():
    with pytest.raises(DomainError, match="natural numbers"):
        sign_transfer(KEYS[0], "main", {B: -1}, fee=0, nonce=1)


def test_a_receipt_shows_its_reason():
    refusal = fresh().apply(resigned(nonce=3)).refusal
    assert isinstance(refusal, Rejected)
    assert str(refusal) == "transfer: nonce must be 1, got nonce=3"


orders = st.lists(
    st.tuples(
        st.integers(0, 2), st.integers(0, 3), st.integers(-1, 60), st.integers(0, 3), st.integers(0, 3), st.booleans()
    ),
    max_size=12,
)


@given(orders)
def test_money_is_conserved_and_equal_blocks_have_equal_roots(plans):
    ledgers = [Ledger("main", {A: 100, B: 50, C: 0}) for _ in range(2)]
    for sender, recipient, amount, fee, skip, honest in plans:
        nonce = ledgers[0].nonce((A, B, C)[sender]) + skip
        unsigned = Transfer("main", (A, B, C)[sender], (((A, B, C, D)[recipient], amount),), fee, nonce)
        signature = sign(KEYS[sender if honest else 3], unsigned.message) if amount >= 0 else b""
        transfer = replace(unsigned, signature=signature)
        before = state(ledgers[0])
        block, again = (ledger.apply_block([transfer]) for ledger in ledgers)
        assert block.after == again.after
        expected = honest and skip == 1 and recipient not in (sender, 3) and amount > 0
        expected = expected and amount + fee <= before[0][sender][1]
        assert block.receipts[0].accepted == expected
        assert ledgers[0].total == 150
        if not expected:
            assert state(ledgers[0]) == before
