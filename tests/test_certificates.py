"""Certificates: strangers carry transfers between shards, and neither forgery, replay nor a bad member makes money."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from web3scale.consensus.certificates import (
    ABORTED,
    COMMITTED,
    LOCKED,
    PREPARED,
    CertifiedLedger,
    Decision,
    certify,
    double_signers,
)
from web3scale.consensus.committees import draw_message
from web3scale.consensus.votes import Members, Said
from web3scale.consensus.vrf import prove
from web3scale.crypto import example_key, public_key
from web3scale.errors import Rejected
from web3scale.layers.crossshard import ShardedLedger, shard_of
from web3scale.layers.ledger import sign_transfer
from web3scale.message import digest

KEYS = {public_key(key): key for key in (example_key(f"validator {i}") for i in range(60))}
PEOPLE = [example_key(f"person {i}") for i in range(12)]
NAMES = [public_key(key) for key in PEOPLE]
HOME = shard_of(NAMES[0], 4)
AWAY = next(name for name in NAMES if shard_of(name, 4) != HOME)
PROOFS = {
    epoch: {public: prove(key, draw_message("main", "committee", epoch, bytes(32))) for public, key in KEYS.items()}
    for epoch in (1, 2)
}


def new():
    shards = ShardedLedger("main", 4, dict.fromkeys(NAMES, 100))
    return CertifiedLedger(shards, list(KEYS), 4, bytes(32), PROOFS[1])


def pay(amount=30, nonce=1, payer=0, to=AWAY):
    return sign_transfer(PEOPLE[payer], "main", {to: amount}, fee=1, nonce=nonce)


def members(ledger, at):
    return [KEYS[public] for public in ledger.committees[at].keys]


def shown(ledger, at, transfer):
    return certify(ledger.committees[at], ledger.decision(at, transfer), members(ledger, at))


def money(ledger):
    return ledger.ledger.total


def test_a_stranger_carries_a_transfer():
    ledger, transfer = new(), pay()
    before, there = money(ledger), shard_of(AWAY, 4)
    assert list(ledger.steps(transfer, KEYS)) == [
        f"locked at {HOME}",
        f"prepared at {there}",
        f"committed at {HOME}",
        f"paid at {there}",
    ]
    assert (ledger.ledger.balance(NAMES[0]), ledger.ledger.balance(AWAY)) == (69, 130)
    assert (money(ledger), ledger.ledger.in_flight) == (before, 0)


def test_nothing_is_executed_before_its_certificate():
    ledger, transfer, there = new(), pay(), shard_of(AWAY, 4)
    ledger.lock(transfer)
    said, committee = ledger.decision(HOME, transfer), ledger.committees[HOME]
    good, stranger = certify(committee, said, members(ledger, HOME)), example_key("stranger")
    outsiders = Members("main", tuple(public_key(k) for k in [stranger, *PEOPLE[:3]]))
    other = Members("other", committee.keys)
    forgeries = {
        "too few": certify(committee, said, members(ledger, HOME)[:2]),
        "strangers": certify(outsiders, said, [stranger, *PEOPLE[:3]]),
        "one twice": Said(said, (0, 0, 1), (good.signatures[0], good.signatures[0], good.signatures[1])),
        "another chain": certify(other, said, members(ledger, HOME)),
        "signatures of another decision": Said(
            said, good.replicas, certify(committee, replace(said, verdict=ABORTED), members(ledger, HOME)).signatures
        ),
        "of another shard's committee": certify(ledger.committees[there], said, members(ledger, there)),
        "of no place": Said(said, (0, 1, 9), good.signatures),
        "another epoch": certify(committee, replace(said, epoch=2), members(ledger, HOME)),
        "another shard": certify(committee, replace(said, shard=there), members(ledger, HOME)),
        "another verdict": certify(committee, replace(said, verdict=COMMITTED), members(ledger, HOME)),
        "another transfer": certify(committee, replace(said, transfer=digest(pay(1))), members(ledger, HOME)),
    }
    before = [shard.ledger.root for shard in ledger.ledger.shards]
    for why, forged in forgeries.items():
        with pytest.raises(Rejected, match="certificate"):
            assert ledger.prepare(there, transfer, forged) == why
    assert [shard.ledger.root for shard in ledger.ledger.shards] == before
    assert ledger.prepare(there, transfer, good) == PREPARED


def test_no_step_is_taken_twice():
    ledger, transfer, there = new(), pay(), shard_of(AWAY, 4)
    ledger.lock(transfer)
    with pytest.raises(Rejected, match="due for this step"):
        ledger.lock(transfer)
    locked = shown(ledger, HOME, transfer)
    ledger.prepare(there, transfer, locked)
    with pytest.raises(Rejected, match="due for this step"):
        ledger.prepare(there, transfer, locked)
    prepared = shown(ledger, there, transfer)
    ledger.decide(transfer, [prepared])
    with pytest.raises(Rejected, match="due for this step"):
        ledger.decide(transfer, [prepared])
    decided = shown(ledger, HOME, transfer)
    ledger.follow(there, transfer, decided)
    with pytest.raises(Rejected, match="due for this step"):
        ledger.follow(there, transfer, decided)
    assert ledger.ledger.balance(AWAY) == 130


def test_who_cannot_pay_gets_nothing_moved():
    ledger, transfer = new(), pay(1000)
    before = money(ledger)
    with pytest.raises(Rejected):
        list(ledger.steps(transfer, KEYS))
    assert (money(ledger), ledger.ledger.in_flight, ledger.ledger.balance(AWAY)) == (before, 0, 100)


def test_certificates_end_with_their_epoch():
    ledger, transfer, there = new(), pay(), shard_of(AWAY, 4)
    ledger.lock(transfer)
    old = shown(ledger, HOME, transfer)
    ledger.rotate(bytes(32), PROOFS[2])
    with pytest.raises(Rejected, match="epoch must be the one in question"):
        ledger.prepare(there, transfer, old)
    assert ledger.prepare(there, transfer, shown(ledger, HOME, transfer)) == PREPARED, "the new committee signs anew"


def test_proofs_of_strangers_do_not_rotate():
    ledger, stranger = new(), example_key("stranger")
    more = {public_key(stranger): prove(stranger, draw_message("main", "committee", 2, bytes(32)))}
    with pytest.raises(Rejected, match="registered"):
        ledger.rotate(bytes(32), PROOFS[2] | more)
    assert ledger.epoch == 1


def test_two_certificates_that_contradict_name_who_signed_both():
    ledger, transfer = new(), pay()
    ledger.lock(transfer)
    committee, keys = ledger.committees[HOME], members(ledger, HOME)
    base = Decision(HOME, 1, digest(transfer), COMMITTED)
    first = certify(committee, base, keys[:3])
    second = certify(committee, replace(base, verdict=ABORTED), keys[1:])
    assert double_signers(committee, first, second) == {public_key(key) for key in keys[1:3]}
    assert len(double_signers(committee, first, second)) > committee.faults
    for innocent in (replace(base, epoch=2, verdict=ABORTED), replace(base, verdict=LOCKED), base):
        assert double_signers(committee, first, certify(committee, innocent, keys[1:])) == frozenset()
    framed = Said(second.body, (0, 1, 2), second.signatures)  # signatures of others under the first three names
    assert double_signers(committee, first, framed) == frozenset()


def test_strangers_in_any_order_make_no_money():
    """Random steps with any certificates that were ever shown: money stays, and nobody is paid twice."""
    rng, completed = np.random.default_rng(5), 0
    for _ in range(15):
        ledger = new()
        before = money(ledger)
        transfers = [
            pay(int(rng.integers(1, 130)), 1, payer, NAMES[(payer + 1 + int(rng.integers(11))) % 12])
            for payer in range(6)
        ]
        transfers = [t for t in transfers if len(ledger.ledger.touched(t.body)) > 1]
        seen = []
        for _ in range(120):
            transfer = transfers[int(rng.integers(len(transfers)))]
            home, *others = ledger.ledger.touched(transfer.body)
            for at in (home, *others):
                with suppress(Rejected):
                    seen.append(shown(ledger, at, transfer))
            some, at = [seen[int(rng.integers(len(seen)))]] if seen else [], int(rng.integers(4))
            steps = [(ledger.lock, transfer), (ledger.decide, transfer, some)]
            for one in some:
                steps += [(step, at, transfer, one) for step in (ledger.prepare, ledger.abort, ledger.follow)]
            for number in rng.permutation(len(steps)):
                step, *arguments = steps[int(number)]
                with suppress(Rejected):
                    step(*arguments)
                assert money(ledger) == before
        expected = dict.fromkeys(NAMES, 100)
        for transfer in transfers:
            home, *others = ledger.ledger.touched(transfer.body)
            ((recipient, amount),) = transfer.body.payments
            if ledger._said[home].get(digest(transfer)) == COMMITTED:
                expected[transfer.body.sender] -= transfer.body.cost
            if any(ledger._said[at].get(digest(transfer)) == "paid" for at in others):
                expected[recipient] += amount
                completed += 1
        assert {name: ledger.ledger.balance(name) for name in NAMES} == expected
    assert completed > 10, "else nothing was tried"
