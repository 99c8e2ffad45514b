"""Chapter 3: bridges that forge, replay and lose nothing, and how likely enough keys are to be stolen."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product
from time import process_time

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale.crypto import example_key, public_key, sign, verify_signature
from web3scale.errors import DomainError, Rejected, refusal_of
from web3scale.layers import bridges
from web3scale.layers.bridges import DEPOSIT, WITHDRAWAL, Attestation, Bridge, Crossing, Proof, sign_crossing
from web3scale.layers.crossshard import ShardedLedger, shard_of
from web3scale.layers.ledger import FEES, Ledger, contract_account, sign_transfer
from web3scale.message import digest

KEYS = [example_key(f"signer {i}") for i in range(7)]
NAME = [public_key(key) for key in KEYS]
USERS = [example_key(name) for name in ("Alice", "Bob", "Carol")]
ALICE, BOB, CAROL = (public_key(key) for key in USERS)
STRANGER = example_key("stranger")
STRANGER_NAME = public_key(STRANGER)

# The rules, as a refusal states them
T_RANGE = "Bridge: t must lie in f + 1 ... n - f"
ARE_KEYS = "Bridge: signers must be one or more keys, all different"
OWN_KEY = "attest: key must be a signer's"
IN_CHAIN = "attest: crossing must be in the chain"
DEEP = "attest: blocks on top must reach the finality depth"
WAY = "proof: direction must be the step's"
CHAINS = "proof: chains must be the bridge's"
POSITIVE = "proof: amount and nonce must be positive"
NEW = "proof: nonce must be new"
KNOWN = "proof: signers must be the bridge's"
DIFFER = "proof: signers must differ"
SIGNED = "proof: signatures must be the signers' on this crossing"
ENOUGH = "proof: signers must reach the threshold"
COVERED = "proof: the bridge's account must cover the amount"
REPAID = "reorganise: the escrow must cover the deposits"
ALONE = "reorganise: a deposit must pay nobody else"


def new_bridge(n=5, faulty=1, z=2, side_chain="side", main=None, **options):
    main = main or Ledger("main", {ALICE: 100, BOB: 50})
    return Bridge(main, side_chain, NAME[:n], faulty=faulty, finality_depth=z, **options)


def state(bridge):
    """Everything that lives: both ledgers, accounts, nonces and blocks included, and the bridge's records."""
    ledgers = [(list(x.blocks), x.root, len(x)) for x in (bridge.main, bridge.side)]
    used = [set(way.used) for way in (bridge._there, bridge._back)]
    return ledgers, list(bridge.deposits.items()), list(bridge.withdrawals.items()), used


def refused(bridge, reason, step, **values):
    """The step is refused for this reason, with these values, and changes nothing."""
    before = state(bridge)
    with pytest.raises(Rejected) as caught:
        step()
    assert caught.value.rule == reason
    assert caught.value.values == values
    assert state(bridge) == before


def malformed(bridge, step, match):
    """The step is the caller's mistake, and changes nothing."""
    before = state(bridge)
    with pytest.raises(DomainError, match=match):
        step()
    assert state(bridge) == before


def order(key, ledger, payments, fee=0):
    return sign_transfer(key, ledger.chain, payments, fee=fee, nonce=ledger.nonce(public_key(key)) + 1)


def pay(key, ledger, account, amount, fee=0):
    return order(key, ledger, {account: amount}, fee)


def lock(bridge, key, amount, bury=True):
    assert bridge.main.apply(pay(key, bridge.main, bridge.escrow, amount)).accepted
    for _ in range(bridge.finality_depth * bury):
        bridge.main.apply_block()
    return list(bridge.deposits)[-1]


def burn(bridge, key, amount):
    assert bridge.side.apply(pay(key, bridge.side, bridge.reserve, amount)).accepted
    for _ in range(bridge.finality_depth):
        bridge.side.apply_block()
    return list(bridge.withdrawals)[-1]


def prove(bridge, crossing, count=None):
    keys = KEYS[: bridge.threshold if count is None else count]
    return Proof(crossing, tuple(bridge.attest(key, crossing) for key in keys))


# The whole way and back


def test_there_and_back():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    assert deposit == Crossing(DEPOSIT, "main", "side", 70, ALICE, 1)
    assert (bridge.main.balance(ALICE), bridge.locked, bridge.minted) == (30, 70, 0)
    bridge.mint(prove(bridge, deposit))
    assert (bridge.side.balance(ALICE), bridge.locked, bridge.minted) == (70, 70, 70)
    assert not bridge.side.apply(pay(USERS[0], bridge.side, ALICE[::-1], 1)).accepted  # nobody there: no crossing
    assert bridge.withdrawals == {}
    withdrawal = burn(bridge, USERS[0], 20)
    assert withdrawal == Crossing(WITHDRAWAL, "side", "main", 20, ALICE, 1)
    assert (bridge.side.balance(ALICE), bridge.side.balance(bridge.reserve), bridge.minted) == (50, 100, 50)
    bridge.release(prove(bridge, withdrawal))
    assert (bridge.main.balance(ALICE), bridge.locked) == (50, 50)
    assert (bridge.main.total, bridge.side.total) == (150, 150)


def test_the_sidechain_begins_with_all_its_money_in_the_reserve():
    bridge = new_bridge()
    assert (bridge.side.total, bridge.side.balance(bridge.reserve)) == (150, 150)
    assert (bridge.minted, bridge.locked) == (0, 0)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 100)))
    bridge.mint(prove(bridge, lock(bridge, USERS[1], 50)))  # all there is can cross
    assert (bridge.minted, bridge.locked, bridge.side.balance(bridge.reserve)) == (150, 150, 0)


def test_one_block_may_hold_several_crossings_and_other_payments():
    bridge = new_bridge()
    both = sign_transfer(USERS[0], "main", {BOB: 5, bridge.escrow: 7}, fee=2, nonce=1)
    unfunded = pay(USERS[1], bridge.main, bridge.escrow, 500)
    block = bridge.main.apply_block([both, unfunded, pay(USERS[1], bridge.main, bridge.escrow, 9)])
    assert [receipt.accepted for receipt in block.receipts] == [True, False, True]
    found = [(c.amount, c.recipient, c.nonce, height) for c, height in bridge.deposits.items()]
    assert found == [(7, ALICE, 1, 1), (9, BOB, 2, 1)]
    assert bridge.locked == 16


def test_every_payment_into_the_escrow_is_a_deposit_however_it_came_there():
    """Through the ledger itself too: once, a payment by `apply` locked money for which no deposit was counted."""
    main = Ledger("main", {ALICE: 100, BOB: 50})
    escrow = contract_account("main", "bridge to side")
    main.open(escrow)
    assert main.apply(pay(USERS[0], main, escrow, 1)).accepted  # before there is a bridge
    bridge = new_bridge(main=main)
    assert bridge.escrow == escrow
    assert main.apply(pay(USERS[0], main, escrow, 20)).accepted
    main.apply_block([pay(USERS[1], main, escrow, 3)])
    assert [(c.amount, c.recipient, c.nonce) for c in bridge.deposits] == [(1, ALICE, 1), (20, ALICE, 2), (3, BOB, 3)]
    assert list(bridge.deposits.values()) == [1, 2, 3]
    main.apply_block()
    main.apply_block()
    for deposit in bridge.deposits:
        bridge.mint(prove(bridge, deposit))
    assert bridge.side.apply(pay(USERS[0], bridge.side, bridge.reserve, 20)).accepted
    assert [c.amount for c in bridge.withdrawals] == [20]
    assert (bridge.locked, bridge.minted) == (24, 4)


def test_blocks_are_read_once():
    """A call looks at the blocks that came since the last one: old ones are not touched again."""
    bridge = new_bridge()
    lock(bridge, USERS[0], 10)
    assert len(bridge.deposits) == 1
    bridge.main.blocks[:] = [None] * bridge.main.height  # whoever looks at one of them fails
    assert bridge.main.apply(pay(USERS[0], bridge.main, bridge.escrow, 5)).accepted
    assert [c.amount for c in bridge.deposits] == [10, 5]


def test_the_record_of_crossings_is_a_copy():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    bridge.deposits[replace(deposit, amount=700, nonce=2)] = 1
    bridge.deposits.clear()
    assert list(bridge.deposits) == [deposit]


def test_money_in_another_contract_of_the_sidechain_is_in_circulation():
    """Once, money inside a channel was no part of the ledger's sum, so a sidechain that held some passed as empty.

    By construction that cannot happen: the bridge makes the sidechain, all of whose money is in its ledger, in some
    account; what is not in the reserve is in circulation, in whatever account.
    """
    bridge = new_bridge()
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    channels = bridge.side._contract("channels")
    bridge.side._move(ALICE, channels, 70)
    assert (bridge.side.total, bridge.minted, bridge.locked) == (150, 70, 70)
    assert bridge.side.balance(ALICE) == 0
    refused(
        bridge,
        IN_CHAIN,
        lambda: bridge.attest(KEYS[0], Crossing(WITHDRAWAL, "side", "main", 70, ALICE, 1)),
        source="side",
        nonce=1,
    )
    bridge.side._move(channels, ALICE, 70)
    bridge.release(prove(bridge, burn(bridge, USERS[0], 70)))
    assert (bridge.main.balance(ALICE), bridge.minted, bridge.locked) == (100, 0, 0)


def test_fees_of_the_sidechain_stay_in_circulation():
    bridge = new_bridge()
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    bridge.side.open(BOB)
    assert bridge.side.apply(pay(USERS[0], bridge.side, BOB, 10, fee=4)).accepted
    assert (bridge.side.balance(FEES), bridge.minted, bridge.locked) == (4, 70, 70)


def test_a_sidechain_of_a_sidechain():
    first = new_bridge()
    first.mint(prove(first, lock(first, USERS[0], 70)))
    second = new_bridge(side_chain="third", main=first.side)
    second.mint(prove(second, lock(second, USERS[0], 30)))
    assert second.side.balance(ALICE) == 30
    assert (second.minted, second.locked, first.minted, first.locked) == (30, 30, 70, 70)
    assert first.main.total == first.side.total == second.side.total == 150


NAMES_DIFFER = "Bridge: no two chains may have one name"


def test_no_two_chains_that_bridges_join_have_one_name():
    """A proof, and a transfer, say for which chain they are by its name: so a name must stand for one chain."""
    there = new_bridge(n=4)
    with pytest.raises(Rejected, match=NAMES_DIFFER):
        new_bridge(n=4, side_chain="main", main=there.side)  # a circle
    other = new_bridge(n=4, side_chain="other", main=there.main)
    new_bridge(n=4, side_chain="third", main=other.side)
    with pytest.raises(Rejected, match=NAMES_DIFFER):
        new_bridge(n=4, side_chain="third", main=there.side)  # a cousin


def test_two_shards_have_no_two_bridges_to_one_name():
    """All shards are one chain: a proof for the bridge of one of them would be as good for the other's."""
    shards = [shard.ledger for shard in ShardedLedger("main", 2, dict.fromkeys(NAME, 100)).shards]
    Bridge(shards[0], "side", NAME[:4], faulty=1, finality_depth=0)
    with pytest.raises(Rejected, match=NAMES_DIFFER):
        Bridge(shards[1], "side", NAME[:4], faulty=1, finality_depth=0)


def test_on_a_shard_only_those_at_home_there_have_money_beyond_the_bridge():
    """Whoever could not be paid back must not come to own money of the sidechain."""
    sharded = ShardedLedger("main", 2, dict.fromkeys(NAME, 100))
    bridge = Bridge(sharded.shards[0].ledger, "side", NAME[:4], faulty=1, finality_depth=0)
    away = next(name for name in NAME if sharded.home(name) is sharded.shards[1])
    with pytest.raises(Rejected, match="account must lie here"):
        bridge.side.open(away)


def test_money_that_returns_to_a_key_without_an_account_opens_one():
    bridge = new_bridge()
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    bridge.side.open(CAROL)
    bridge.side.apply(pay(USERS[0], bridge.side, CAROL, 30))
    assert CAROL not in bridge.main
    bridge.release(prove(bridge, burn(bridge, USERS[2], 30)))
    assert bridge.main.balance(CAROL) == 30


def test_nobody_signs_for_escrow_and_reserve_and_every_pair_of_chains_has_its_own():
    bridge = new_bridge()
    for account in (bridge.escrow, bridge.reserve):
        assert not verify_signature(account, b"pay me", bytes(64))
        assert not verify_signature(account, b"pay me", sign(STRANGER, b"pay me"))
    other = new_bridge(side_chain="other", main=bridge.main)
    assert len({bridge.escrow, bridge.reserve, other.escrow, other.reserve}) == 4


# Making a bridge


@pytest.mark.parametrize(
    ("n", "f", "t"), [(4, 1, 1), (4, 1, 4), (4, 2, None), (3, 1, None), (5, 2, 2), (1, 1, None), (1, 0, 0)]
)
def test_a_threshold_outside_its_range_is_refused(n, f, t):
    asked = bridges.default_threshold(n) if t is None else t
    main = Ledger("main", {})
    with pytest.raises(Rejected) as caught:
        Bridge(main, "side", NAME[:n], faulty=f, finality_depth=0, threshold=t)
    assert (caught.value.rule, caught.value.values) == (T_RANGE, {"n": n, "f": f, "t": asked})
    assert len(main) == 1  # only the account of fees: nothing was opened


@pytest.mark.parametrize(("n", "f", "t"), [(4, 1, 2), (4, 1, 3), (3, 1, 2), (1, 0, 1), (7, 2, None), (5, 0, 5)])
def test_a_threshold_at_the_ends_of_its_range_is_accepted(n, f, t):
    bridge = new_bridge(n, f, threshold=t)
    assert bridge.threshold == (5 if t is None else t)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_faulty_signers_steal_or_stop_exactly_as_proposition_3_5_says(n):
    def paid(t, hands, lie):
        bridge = new_bridge(n=n, faulty=0, z=1, threshold=t)
        deposit = lock(bridge, USERS[0], 70)
        shown, word = (replace(deposit, amount=99), sign_crossing) if lie else (deposit, bridge.attest)
        proof = Proof(shown, tuple(word(key, shown) for key in KEYS[:hands]))
        return refusal_of(bridge.mint, proof) is None

    for f, t in product(range(n + 1), range(1, n + 1)):
        assert paid(t, f, lie=True) == (t <= f)
        assert paid(t, n - f, lie=False) == (t <= n - f)


def test_without_blocks_or_a_relayer_a_deposit_waits_and_is_not_lost():
    bridge = new_bridge(z=2)
    deposit = lock(bridge, USERS[0], 70, bury=False)
    for depth in range(2):  # as long as the chain stands still, nobody signs
        refused(bridge, DEEP, lambda: bridge.attest(KEYS[0], deposit), depth=depth)
        bridge.main.apply_block()
    proof = prove(bridge, deposit)
    for _ in range(9):
        bridge.main.apply_block(), bridge.side.apply_block()
    assert (bridge.locked, bridge.minted) == (70, 0)  # nobody carried the proof
    bridge.mint(proof)
    assert (bridge.locked, bridge.minted) == (70, 70)


def test_a_threshold_exists_exactly_from_two_f_plus_one_on():
    for n, f in product(range(1, 60), range(30)):
        thresholds = [t for t in range(1, n + 1) if f + 1 <= t <= n - f]
        assert bool(thresholds) == (n >= 2 * f + 1)
    for n in range(1, 201):
        t = bridges.default_threshold(n)
        assert Fraction(2 * n, 3) < t <= Fraction(2 * n, 3) + 1
    assert bridges.default_threshold(19) == 13  # Wormhole's 19 guardians


@pytest.mark.parametrize("signers", [[], [NAME[0], NAME[0], NAME[1]], [NAME[0], b"x"], [b""]])
def test_signers_are_keys_and_different(signers):
    main = Ledger("main", {})
    with pytest.raises(Rejected) as caught:
        Bridge(main, "side", signers, faulty=0, finality_depth=0)
    assert (caught.value.rule, caught.value.values) == (ARE_KEYS, {"signers": len(signers)})
    assert len(main) == 1


def test_a_chain_has_one_bridge_to_a_sidechain():
    bridge = new_bridge()
    before = state(bridge)
    with pytest.raises(Rejected, match=NAMES_DIFFER):
        new_bridge(main=bridge.main)
    assert state(bridge) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"main": "x"}, "Bridge: main must be a Ledger, got 'x'"),
        ({"side_chain": 7}, "Bridge: side_chain must be a str, got 7"),
        ({"side_chain": "\ud800"}, "encode: text must have an encoding"),
        ({"signers": "abc"}, "Bridge: signers must be"),
        ({"signers": [None]}, "Bridge: signers must be"),
        ({"signers": [bytearray(32)]}, "Bridge: signers must be"),
        ({"signers": 7}, "Bridge: signers must be"),
        ({"faulty": -1}, "Bridge: faulty must be an integer of at least 0, got -1"),
        ({"faulty": True}, "Bridge: faulty must be"),
        ({"finality_depth": -1}, "Bridge: finality_depth must be"),
        ({"finality_depth": 1.0}, "Bridge: finality_depth must be"),
        ({"threshold": 2.0}, "Bridge: threshold must be"),
        ({"threshold": True}, "Bridge: threshold must be"),
    ],
)
def test_a_bridge_of_wrong_types_is_the_callers_mistake_and_leaves_the_chain_as_it_was(change, message):
    main = Ledger("main", {ALICE: 1})
    given = {"main": main, "side_chain": "side", "signers": NAME[:4], "faulty": 1, "finality_depth": 1} | change
    with pytest.raises(DomainError, match=message):
        Bridge(**given)
    assert len(main) == 2
    assert Bridge(main, "side", NAME[:4], faulty=1, finality_depth=1).locked == 0  # the place is still free


def test_integers_of_numpy_are_integers():
    one = np.int64(1)
    bridge = new_bridge(n=4, faulty=one, z=one, threshold=np.int32(3))
    assert [type(x) for x in (bridge.faulty, bridge.finality_depth, bridge.threshold)] == [int, int, int]
    deposit = lock(bridge, USERS[0], 10)
    assert bridge.reorganise_main(np.int8(2)) == (deposit,)
    assert bridges.default_threshold(np.uint8(200)) == 134  # 400 is no number of eight bits
    assert bridges.bridge_failure(np.int8(9), np.int8(5), np.float64(0.1)) == bridges.bridge_failure(9, 5, 0.1)
    custody = np.array([4, 1, 1, 1, 1, 1], dtype=np.int8)
    assert bridges.shared_failure(custody, np.int16(5), 0.1) == bridges.shared_failure(custody.tolist(), 5, 0.1)


# What a signer refuses


def test_a_crossing_is_attested_from_the_finality_depth_on():
    bridge = new_bridge(z=2)
    deposit = lock(bridge, USERS[0], 10, bury=False)
    for depth in (0, 1):
        refused(bridge, DEEP, lambda: bridge.attest(KEYS[0], deposit), depth=depth)
        bridge.main.apply_block()
    assert bridge.attest(KEYS[0], deposit) == sign_crossing(KEYS[0], deposit)


def test_a_withdrawal_waits_for_blocks_of_the_sidechain():
    bridge = new_bridge(z=1)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 10)))
    bridge.side.apply(pay(USERS[0], bridge.side, bridge.reserve, 4))
    (withdrawal,) = bridge.withdrawals
    for _ in range(3):
        bridge.main.apply_block()  # of no avail
    refused(bridge, DEEP, lambda: bridge.attest(KEYS[0], withdrawal), depth=0)
    bridge.side.apply_block()
    bridge.release(prove(bridge, withdrawal))
    assert bridge.locked == bridge.minted == 6


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 11},
        {"recipient": BOB},
        {"nonce": 2},
        {"target": "other"},
        {"source": "side"},
        {"direction": WITHDRAWAL},
        {"direction": "sideways"},
    ],
)
def test_what_is_not_in_the_chain_is_not_attested(change):
    bridge = new_bridge()
    claim = replace(lock(bridge, USERS[0], 10), **change)
    attest = lambda: bridge.attest(KEYS[0], claim)  # noqa: E731
    refused(bridge, IN_CHAIN, attest, source=claim.source, nonce=claim.nonce)


def test_only_signers_attest():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 10)
    refused(bridge, OWN_KEY, lambda: bridge.attest(STRANGER, deposit), signer=STRANGER_NAME)


# What a chain refuses: the gallery of attacks


def forged(change, signers):
    """A crossing in which something was changed, really signed by these keys."""
    return lambda true: Proof(new := replace(true, **change), tuple(sign_crossing(key, new) for key in signers))


def swapped(change):
    """A true proof in which something was changed afterwards."""
    return lambda true: Proof(replace(true, **change), tuple(sign_crossing(key, true) for key in KEYS[:4]))


def repeated(true):
    return Proof(true, (sign_crossing(KEYS[0], true),) * 4)


def borrowed(true):
    """Signers named who did not sign: their names over a stranger's signature."""
    signature = sign_crossing(STRANGER, true).signature
    return Proof(true, tuple(Attestation(name, signature) for name in NAME[:4]))


def elsewhere(true):
    """A signature of the same bytes, made for another purpose than a crossing."""
    return Proof(
        true, tuple(Attestation(public_key(k), sign(k, b"web3scale/Crossing" + digest(true))) for k in KEYS[:4])
    )


GALLERY = [
    (lambda true: Proof(true, ()), ENOUGH, {"signers": 0}),
    (forged({}, KEYS[:3]), ENOUGH, {"signers": 3}),
    (repeated, DIFFER, {"signer": NAME[0]}),
    (borrowed, SIGNED, {"signer": NAME[0]}),
    (elsewhere, SIGNED, {"signer": NAME[0]}),
    (forged({}, [*KEYS[:4], STRANGER]), KNOWN, {"signer": STRANGER_NAME}),
    (forged({}, KEYS[3:7]), KNOWN, {"signer": NAME[5]}),
    (
        lambda true: Proof(true, (*forged({}, KEYS[:4])(true).attestations, Attestation(NAME[4], b""))),
        SIGNED,
        {"signer": NAME[4]},
    ),
    (swapped({"amount": 71}), SIGNED, {"signer": NAME[0]}),
    (swapped({"recipient": BOB}), SIGNED, {"signer": NAME[0]}),
    (swapped({"nonce": 2}), SIGNED, {"signer": NAME[0]}),
    (forged({"target": "other"}, KEYS[:4]), CHAINS, {"chains": ("main", "other")}),
    (forged({"source": "other"}, KEYS[:4]), CHAINS, {"chains": ("other", "side")}),
    (swapped({"target": "other"}), CHAINS, {"chains": ("main", "other")}),
    (swapped({"target": "\ud800"}), CHAINS, {"chains": ("main", "\ud800")}),
    (forged({"amount": 0}, KEYS[:4]), POSITIVE, {"amount": 0, "nonce": 1}),
    (forged({"nonce": 0}, KEYS[:4]), POSITIVE, {"amount": 70, "nonce": 0}),
    (forged({"amount": 151}, KEYS[:4]), COVERED, {"balance": 150, "amount": 151}),
    (forged({"amount": 10**5000, "recipient": CAROL}, KEYS[:4]), COVERED, {"balance": 150, "amount": 10**5000}),
    (forged({"direction": WITHDRAWAL}, KEYS[:4]), WAY, {"given": WITHDRAWAL}),
]


@pytest.mark.parametrize(("attack", "reason", "values"), GALLERY)
def test_an_attack_on_the_mint_is_refused(attack, reason, values):
    bridge = new_bridge()
    true = lock(bridge, USERS[0], 70)
    refused(bridge, reason, lambda: bridge.mint(attack(true)), **values)
    bridge.mint(prove(bridge, true))  # the attack did not spoil it for its owner


@pytest.mark.parametrize("given", [None, 7, (), Crossing(DEPOSIT, "main", "side", 70, ALICE, 1)])
def test_what_is_no_proof_is_the_callers_mistake(given):
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    malformed(bridge, lambda: bridge.mint(given), "Bridge.mint: proof must be a Proof")
    malformed(bridge, lambda: bridge.release(given), "Bridge.release: proof must be a Proof")


@pytest.mark.parametrize(
    "change",
    [
        {"amount": -1},
        {"amount": 70.0},
        {"amount": True},
        {"amount": "x"},
        {"amount": np.int64(70)},
        {"nonce": -1},
        {"nonce": None},
        {"nonce": []},
        {"direction": []},
        {"source": np.array(["main", "x"])},
        {"target": b"side"},
        {"recipient": None},
        {"recipient": bytearray(ALICE)},
    ],
)
def test_a_crossing_cannot_be_made_wrong(change):
    """Once, signers signed such a thing, and every rule had to ask for types again."""
    with pytest.raises(DomainError, match=f"Crossing: {next(iter(change))} must be"):
        replace(Crossing(DEPOSIT, "main", "side", 70, ALICE, 1), **change)


@pytest.mark.parametrize("attestations", [None, 7, "four", [], (None,), ("word",)])
def test_a_proof_cannot_be_made_wrong(attestations):
    true = Crossing(DEPOSIT, "main", "side", 70, ALICE, 1)
    with pytest.raises(DomainError, match="Proof: attestations must be"):
        Proof(true, attestations)
    with pytest.raises(DomainError, match="Proof: crossing must be"):
        Proof(attestations, ())


@pytest.mark.parametrize("parts", [(None, bytes(64)), (NAME[0], "x"), (bytearray(32), bytes(64))])
def test_an_attestation_cannot_be_made_wrong(parts):
    with pytest.raises(DomainError, match="Attestation: "):
        Attestation(*parts)


def test_messages_are_exactly_of_their_types():
    """What only inherits from a crossing or an attestation could be read one way and checked another."""
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 1)
    good = prove(bridge, deposit)

    class Forged(Crossing):
        def __hash__(self):
            return hash(deposit)

        def __eq__(self, other):
            return True

    class Sly(Attestation):
        pass

    lie = Forged(DEPOSIT, "main", "side", 1000, ALICE, 1)
    for make in (
        lambda: Proof(lie, good.attestations),
        lambda: Proof(deposit, tuple(Sly(a.signer, a.signature) for a in good.attestations)),
        lambda: bridge.attest(KEYS[0], lie),
        lambda: sign_crossing(KEYS[0], lie),
    ):
        malformed(bridge, make, "must be")


@pytest.mark.parametrize("thing", [None, 7, "crossing", Attestation(NAME[0], bytes(64))])
def test_what_is_no_crossing_is_not_signed(thing):
    bridge = new_bridge()
    malformed(bridge, lambda: bridge.attest(KEYS[0], thing), "Bridge.attest: crossing must be a Crossing")
    malformed(bridge, lambda: sign_crossing(KEYS[0], thing), "sign_crossing: crossing must be a Crossing")
    true = lock(bridge, USERS[0], 7)
    malformed(bridge, lambda: bridge.attest(NAME[0], true), "Bridge.attest: key must be a SigningKey")
    malformed(bridge, lambda: sign_crossing("key", true), "sign_crossing: key must be a SigningKey")


def test_two_bridges_of_one_chain_each_take_what_is_theirs():
    one = new_bridge()
    two = new_bridge(side_chain="other", main=one.main)
    one.main.apply(sign_transfer(USERS[0], "main", {one.escrow: 30, two.escrow: 40}, fee=0, nonce=1))
    one.main.apply_block()
    one.main.apply_block()
    for bridge, amount in ((one, 30), (two, 40)):
        assert bridge.locked == amount
        assert [c.amount for c in bridge.deposits] == [amount]
    (first,), (second,) = one.deposits, two.deposits
    refused(two, CHAINS, lambda: two.mint(prove(one, first)), chains=("main", "side"))
    renamed = Proof(replace(first, target="other"), prove(one, first).attestations)
    refused(two, SIGNED, lambda: two.mint(renamed), signer=NAME[0])
    one.mint(prove(one, first))
    two.mint(prove(two, second))
    assert (one.minted, two.minted) == (30, 40)


def test_a_malformed_neighbour_is_no_block_and_a_refused_one_does_not_stop_a_deposit():
    bridge = new_bridge()
    deposit = pay(USERS[0], bridge.main, bridge.escrow, 70)
    malformed(bridge, lambda: bridge.main.apply_block([None, deposit]), "must be a signed Transfer")
    forged = replace(deposit, signatures=(bytes(64),))
    block = bridge.main.apply_block([forged, deposit])
    assert [receipt.accepted for receipt in block.receipts] == [False, True]
    assert [c.amount for c in bridge.deposits] == [70]


def test_a_proof_mints_once():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    bridge.mint(prove(bridge, deposit))
    refused(bridge, NEW, lambda: bridge.mint(prove(bridge, deposit)), nonce=1)
    refused(bridge, NEW, lambda: bridge.mint(prove(bridge, deposit, 5)), nonce=1)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 30)))  # the next nonce is free
    assert bridge.minted == 100


def test_attacks_on_the_release_are_refused():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    bridge.mint(prove(bridge, deposit))
    refused(bridge, WAY, lambda: bridge.release(prove(bridge, deposit)), given=DEPOSIT)
    withdrawal = burn(bridge, USERS[0], 20)
    refused(bridge, WAY, lambda: bridge.mint(prove(bridge, withdrawal)), given=WITHDRAWAL)
    refused(bridge, ENOUGH, lambda: bridge.release(prove(bridge, withdrawal, 3)), signers=3)
    swap = replace(withdrawal, source="main", target="side")
    proof = Proof(swap, tuple(sign_crossing(key, swap) for key in KEYS[:4]))
    refused(bridge, CHAINS, lambda: bridge.release(proof), chains=("main", "side"))
    bridge.release(prove(bridge, withdrawal))  # nonce 1, as the deposit's: each direction counts for itself
    refused(bridge, NEW, lambda: bridge.release(prove(bridge, withdrawal)), nonce=1)
    assert bridge.locked == bridge.minted == 50


def test_more_than_the_escrow_holds_is_not_released_even_to_a_quorum():
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    theft = Crossing(WITHDRAWAL, "side", "main", 71, CAROL, 1)
    proof = Proof(theft, tuple(sign_crossing(key, theft) for key in KEYS[:4]))
    refused(bridge, COVERED, lambda: bridge.release(proof), balance=70, amount=71)
    assert CAROL not in bridge.main


def test_a_quorum_of_stolen_keys_takes_everything_and_no_more():
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    theft = Crossing(WITHDRAWAL, "side", "main", 70, CAROL, 1)
    bridge.release(Proof(theft, tuple(sign_crossing(key, theft) for key in KEYS[:4])))
    assert (bridge.main.balance(CAROL), bridge.locked, bridge.main.balance(BOB)) == (70, 0, 50)


def test_every_field_is_signed():
    true = Crossing(DEPOSIT, "main", "side", 5, ALICE, 1)
    changes = [
        {"direction": WITHDRAWAL},
        {"source": "other"},
        {"target": "other"},
        {"amount": 6},
        {"recipient": BOB},
        {"nonce": 2},
        {"source": "side", "target": "main"},
    ]
    assert len({digest(true), *(digest(replace(true, **change)) for change in changes)}) == len(changes) + 1


# Reorganisations


def test_a_deposit_attested_too_early_mints_what_is_not_locked():
    bridge = new_bridge(z=2)
    deposit = lock(bridge, USERS[0], 70, bury=False)
    bridge.main.apply_block()
    early = Proof(deposit, tuple(sign_crossing(key, deposit) for key in KEYS[:4]))  # after one block instead of two
    assert bridge.reorganise_main(2) == (deposit,)
    assert (bridge.main.balance(ALICE), bridge.locked, bridge.deposits) == (100, 0, {})
    bridge.mint(early)  # the sidechain cannot see the main chain
    assert (bridge.minted, bridge.locked) == (70, 0)


@pytest.mark.parametrize("z", [0, 1, 3])
def test_a_reorganisation_no_deeper_than_the_finality_depth_undoes_nothing_attested(z):
    bridge = new_bridge(z=z)
    deposit = lock(bridge, USERS[0], 70)
    proof = prove(bridge, deposit)
    late = lock(bridge, USERS[1], 5, bury=False)  # now the first has z + 1 blocks on top
    assert bridge.reorganise_main(z + 1) == (late,)
    bridge.mint(proof)
    assert (bridge.minted, bridge.locked, bridge.main.balance(BOB)) == (70, 70, 50)
    assert bridge.reorganise_main(z + 2) == (deposit,)  # one deeper, and the money is gone
    assert (bridge.minted, bridge.locked, bridge.main.balance(ALICE)) == (70, 0, 100)


def test_the_count_of_deposits_goes_back_with_the_chain():
    bridge = new_bridge(z=1)
    lock(bridge, USERS[0], 10)
    lost = lock(bridge, USERS[0], 20, bury=False)
    refused(bridge, DEEP, lambda: bridge.attest(KEYS[0], lost), depth=0)
    assert bridge.reorganise_main(1) == (lost,)
    attest = lambda: bridge.attest(KEYS[0], lost)  # noqa: E731
    refused(bridge, IN_CHAIN, attest, source="main", nonce=2)
    assert lock(bridge, USERS[1], 7).nonce == 2
    assert bridge.main.height == 5
    assert len(bridge.reorganise_main(10**30)) == 2  # deeper than the chain is: all of it
    assert (bridge.deposits, bridge.locked, bridge.main.height) == ({}, 0, 5)


def test_what_was_undone_is_in_the_blocks_no_more_and_all_else_is():
    bridge = new_bridge()
    other = new_bridge(side_chain="other", main=bridge.main)
    kept = lock(bridge, USERS[0], 10)
    neighbours = [pay(USERS[0], bridge.main, BOB, 1, fee=1), pay(USERS[1], bridge.main, other.escrow, 6)]
    refused_one = pay(USERS[1], bridge.main, bridge.escrow, 500)
    deposit = sign_transfer(USERS[0], "main", {bridge.escrow: 20}, fee=2, nonce=3)
    bridge.main.apply_block([*neighbours, refused_one, deposit])
    before = [block.height for block in bridge.main.blocks]
    (lost,) = bridge.reorganise_main(2)  # one empty block besides
    assert (lost.amount, list(bridge.deposits)) == (20, [kept])
    assert [receipt.transfer for receipt in bridge.main.blocks[-1].receipts] == [*neighbours, refused_one]
    assert [block.height for block in bridge.main.blocks] == before
    assert bridge.main.balance(ALICE) == 100 - 10 - 1 - 1 - 2  # the fee is gone
    assert bridge.main.nonce(ALICE) == 3
    assert (bridge.main.total, bridge.locked, other.locked) == (150, 10, 6)
    assert [c.amount for c in other.deposits] == [6]
    assert not bridge.main.apply(deposit).accepted  # nor can it be played again
    assert new_reader(bridge) == [kept]


def new_reader(bridge):
    """Deposits found by whoever reads the whole chain from its first block on."""
    return list(bridges._Way(DEPOSIT, bridge.main, bridge.escrow, bridge.side, bridge.reserve).crossings())


def test_a_reorganisation_that_the_escrow_cannot_repay_changes_nothing():
    bridge = new_bridge(z=0)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    bridge.release(prove(bridge, burn(bridge, USERS[0], 20)))
    refused(bridge, REPAID, lambda: bridge.reorganise_main(1), balance=50, amount=70)


def test_a_transfer_that_pays_others_too_cannot_be_undone():
    bridge = new_bridge(z=0)
    lock(bridge, USERS[1], 5)
    bridge.main.apply(sign_transfer(USERS[0], "main", {BOB: 5, bridge.escrow: 7}, fee=0, nonce=1))
    bridge.main.apply(pay(USERS[1], bridge.main, CAROL, 5))  # refused, as Carol has no account
    refused(bridge, ALONE, lambda: bridge.reorganise_main(3), payees=[1, 2])
    unfunded = order(USERS[1], bridge.main, {ALICE: 500, bridge.escrow: 500})
    last = bridge.main.apply_block([unfunded, pay(USERS[1], bridge.main, bridge.escrow, 3)])
    assert [receipt.accepted for receipt in last.receipts] == [False, True]
    assert [c.amount for c in bridge.reorganise_main(1)] == [3]  # what was refused is no deposit


@pytest.mark.parametrize("depth", [0, -1, 1.0, True, "1", None])
def test_a_depth_is_a_positive_integer(depth):
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    malformed(bridge, lambda: bridge.reorganise_main(depth), "reorganise_main: depth must be an integer of at least 1")


# Any play


class Play(RuleBasedStateMachine):
    """Users, a contract, a chain that reorganises, honest signers and corrupt ones, in any order."""

    @initialize(n=st.integers(4, 7), share=st.integers(0, 3), z=st.integers(0, 2), data=st.data())
    def begin(self, n, share, z, data):
        """Any size, and any threshold that it allows."""
        self.f = min(share, (n - 1) // 2)
        t = data.draw(st.integers(self.f + 1, n - self.f))
        self.main = Ledger("main", {ALICE: 60, BOB: 40})
        self.keys = KEYS[:n]
        self.corrupt, self.honest = self.keys[: self.f], self.keys[self.f :]
        self.bridge = Bridge(self.main, "side", NAME[:n], faulty=self.f, finality_depth=z, threshold=t)
        self.side = self.bridge.side
        self.vault = self.side._contract("vault")
        self.minted = self.burned = self.locked = self.released = 0
        self.used, self.pool, self.proofs = set(), [], []
        for who, amount in zip(USERS, data.draw(st.lists(st.integers(1, 30), max_size=2)), strict=False):
            self.locked += amount  # some plays begin with money on the other side
            deposit = lock(self.bridge, who, amount)
            assert self.submit(Proof(deposit, tuple(self.bridge.attest(key, deposit) for key in self.honest)))

    def recorded(self, direction):
        """The crossings of one direction, each with its height."""
        return self.bridge.deposits if direction == DEPOSIT else self.bridge.withdrawals

    def step(self, act):
        """Take a step; if it is refused, all is as before."""
        before = state(self.bridge)
        try:
            act()
        except Rejected:
            assert state(self.bridge) == before
            return False
        return True

    @rule(who=st.sampled_from(USERS), amount=st.integers(1, 30), to=st.sampled_from([ALICE, BOB, CAROL]))
    def transfer(self, who, amount, to):
        """Ordinary life on both chains."""
        for ledger in (self.main, self.side):
            if public_key(who) in ledger:
                ledger.apply(pay(who, ledger, to, amount, fee=1))

    @rule(who=st.sampled_from(USERS), amount=st.integers(1, 30), back=st.booleans())
    def contract(self, who, amount, back):
        """Another contract of the sidechain takes money, or gives it back."""
        name = public_key(who)
        source, target = (self.vault, name) if back else (name, self.vault)
        if name in self.side:
            self.step(lambda: self.side._move(source, target, amount))

    @rule(who=st.sampled_from(USERS[:2]), amount=st.integers(1, 30), alone=st.booleans(), extra=st.integers(0, 2))
    def lock(self, who, amount, alone, extra):
        """A deposit really takes the money, or is refused; by `apply`, or in a block with an attempt beside it."""
        name = public_key(who)
        before, count = self.main.balance(name), len(self.bridge.deposits)
        payments = {self.bridge.escrow: amount} | ({CAROL: extra} if extra and CAROL in self.main else {})
        deposit = order(who, self.main, payments)
        if alone:
            receipt = self.main.apply(deposit)
        else:
            receipt = self.main.apply_block([replace(deposit, signatures=(bytes(64),)), deposit]).receipts[1]
        assert receipt.accepted == (before >= sum(payments.values()))
        assert self.main.balance(name) == before - sum(payments.values()) * receipt.accepted
        assert len(self.bridge.deposits) == count + receipt.accepted
        self.locked += amount * receipt.accepted

    @precondition(lambda self: self.bridge.minted)
    @rule(amount=st.integers(1, 30), data=st.data())
    def burn(self, amount, data):
        """A withdrawal, if there is the money for it."""
        rich = [key for key in USERS if public_key(key) in self.side and self.side.balance(public_key(key))]
        if rich:
            who = data.draw(st.sampled_from(rich))
            receipt = self.side.apply(pay(who, self.side, self.bridge.reserve, amount))
            self.burned += amount * receipt.accepted

    @rule(count=st.integers(1, 2))
    def wait(self, count):
        """Blocks on top."""
        for _ in range(count):
            self.main.apply_block()
            self.side.apply_block()

    @precondition(lambda self: self.bridge.finality_depth)
    @rule(data=st.data())
    def reorganise(self, data):
        """As deep as the finality depth at most: an honest attestation is out once z blocks stand on top."""
        depth = data.draw(st.integers(1, self.bridge.finality_depth))
        late = [c for c, height in self.bridge.deposits.items() if height > self.main.height - depth]
        undone = []
        if self.step(lambda: undone.extend(self.bridge.reorganise_main(depth))):
            assert undone == late
            self.locked -= sum(crossing.amount for crossing in late)
        else:
            payees = [r.transfer.body.payments for b in self.main.blocks[-depth:] for r in b.receipts if r.accepted]
            assert any(self.bridge.escrow in dict(paid) and len(paid) > 1 for paid in payees)

    @rule(data=st.data())
    def attest(self, data):
        """Every honest signer is asked about something that happened."""
        known = [*self.bridge.deposits, *self.bridge.withdrawals]
        if known:
            crossing = data.draw(st.sampled_from(known))
            source = self.main if crossing.direction == DEPOSIT else self.side
            depth = source.height - self.recorded(crossing.direction)[crossing]
            for key in self.honest:
                done = self.step(lambda key=key: self.pool.append((crossing, self.bridge.attest(key, crossing))))
                assert done == (depth >= self.bridge.finality_depth)

    @precondition(lambda self: self.f)
    @rule(
        way=st.sampled_from(
            [
                (DEPOSIT, "main", "side"),
                (WITHDRAWAL, "side", "main"),
                (DEPOSIT, "main", "other"),
                (WITHDRAWAL, "main", "side"),
            ]
        ),
        amount=st.integers(1, 60),
        who=st.sampled_from([ALICE, BOB, CAROL]),
        nonce=st.integers(1, 4),
        data=st.data(),
    )
    def corrupt_attest(self, way, amount, who, nonce, data):
        """The corrupt ones sign anything, lies and truths."""
        known = [*self.bridge.deposits, *self.bridge.withdrawals]
        lie = Crossing(*way, amount, who, nonce)
        crossing = data.draw(st.sampled_from([lie, *known]))
        self.pool += [(crossing, sign_crossing(key, crossing)) for key in self.corrupt]

    def submit(self, proof, turned=False):
        """Hand in a proof, at its own end of the bridge or at the other; if it takes effect, it must have been true."""
        direction = proof.crossing.direction
        if turned:
            assert not self.step(lambda: (self.bridge.release if direction == DEPOSIT else self.bridge.mint)(proof))
        if not self.step(lambda: (self.bridge.mint if direction == DEPOSIT else self.bridge.release)(proof)):
            return False
        assert (direction, proof.crossing.nonce) not in self.used
        self.used.add((direction, proof.crossing.nonce))
        # what took effect was in the source chain, word for word, and stood there deep enough
        assert proof.crossing in self.recorded(direction)
        assert len({a.signer for a in proof.attestations}) >= self.bridge.threshold
        self.minted += proof.crossing.amount * (direction == DEPOSIT)
        self.released += proof.crossing.amount * (direction == WITHDRAWAL)
        self.proofs.append(proof)
        return True

    @precondition(lambda self: self.pool)
    @rule(data=st.data())
    def any_proof(self, data):
        """Attestations of anything, in any number, under a crossing that they may not belong to."""
        crossing, _ = data.draw(st.sampled_from(self.pool))
        chosen = data.draw(st.lists(st.sampled_from(self.pool), max_size=8))
        self.submit(Proof(crossing, tuple(attestation for _, attestation in chosen)))

    @precondition(lambda self: self.pool)
    @rule(data=st.data(), extra=st.sampled_from(["", "repeat", "foreign", "forge", "drop"]))
    def nearly_right_proof(self, data, extra):
        """All attestations of one crossing, and one thing wrong."""
        crossing, _ = data.draw(st.sampled_from(self.pool))
        found = {a.signer: a for c, a in self.pool if c == crossing}
        chosen = list(found.values())
        if extra == "repeat":
            chosen = [*chosen[: self.bridge.threshold - 1], *chosen[:1]]
        elif extra == "foreign":
            chosen = [*chosen[: self.bridge.threshold - 1], sign_crossing(STRANGER, crossing)]
        elif extra == "forge":
            signature = sign_crossing(STRANGER, crossing).signature
            rest = [public_key(key) for key in self.keys if public_key(key) not in found]
            chosen += [Attestation(name, signature) for name in rest]
        elif extra == "drop":
            chosen = chosen[: self.bridge.threshold - 1]
        done = self.submit(Proof(crossing, tuple(chosen)))
        assert not (done and extra in ("repeat", "foreign", "drop"))

    @precondition(lambda self: self.proofs)
    @rule(data=st.data())
    def replay(self, data):
        """A proof that took effect, as it was and turned round."""
        proof = data.draw(st.sampled_from(self.proofs))
        other = WITHDRAWAL if proof.crossing.direction == DEPOSIT else DEPOSIT
        for again in (proof, Proof(replace(proof.crossing, direction=other), proof.attestations)):
            assert not self.submit(again, turned=True)

    @rule(data=st.data())
    def complete(self, data):
        """Liveness: whatever is in the chain, and then buried, the honest signers alone bring across."""
        for _ in range(self.bridge.finality_depth):
            self.main.apply_block()
            self.side.apply_block()
        for direction in (DEPOSIT, WITHDRAWAL):
            waiting = [c for c in self.recorded(direction) if (direction, c.nonce) not in self.used]
            if waiting:
                crossing = data.draw(st.sampled_from(waiting))
                words = tuple(self.bridge.attest(key, crossing) for key in self.honest)
                changes = [{"amount": crossing.amount + 1}, {"recipient": STRANGER_NAME}, {"nonce": crossing.nonce + 9}]
                altered = replace(crossing, **data.draw(st.sampled_from(changes)))
                assert not self.submit(Proof(altered, words))
                assert not self.submit(Proof(crossing, words[: self.bridge.threshold - 1]))
                assert self.submit(Proof(crossing, words), turned=True)

    @invariant()
    def money(self):
        """Nothing is made or lost, all that circulates is locked, and no nonce counts twice."""
        bridge = self.bridge
        assert self.main.total == self.side.total == 100
        assert bridge.minted == self.minted - self.burned
        assert bridge.locked == self.main.balance(bridge.escrow) == self.locked - self.released
        assert bridge.locked >= bridge.minted
        assert sum(self.side.balance(name) for name in (*self.holders(), bridge.reserve)) == 100
        for direction, way in ((DEPOSIT, bridge._there), (WITHDRAWAL, bridge._back)):
            recorded = self.recorded(direction)
            assert [c.nonce for c in recorded] == list(range(1, len(recorded) + 1))
            assert {n for d, n in self.used if d == direction} == way.used
        assert new_reader(bridge) == list(bridge.deposits)

    def holders(self):
        """All accounts of the sidechain in which its money can be, but the reserve."""
        return [name for name in (ALICE, BOB, CAROL, STRANGER_NAME, FEES, self.vault) if name in self.side]


TestPlay = Play.TestCase
TestPlay.settings = settings(max_examples=500, stateful_step_count=20, deadline=None, derandomize=True)


# Formulas


def test_the_bounds_of_a_sidechain():
    law = bridges.sidechain_throughput
    side, bridge, main, q = law.symbols.values()
    assert sp.simplify(law.expr - sp.Min(side, bridge / q, main / q)) == 0
    table = law([[1000], [10]], 20, 15, [0.01, 0.05, 1])
    assert table.tolist() == pytest.approx(np.array([[1000, 300, 15], [10, 10, 10]]))
    assert law(1000, 20, 30, 0.1) == pytest.approx(200)
    assert law(1000, 30, 20, 0.1) == pytest.approx(200)
    with pytest.raises(DomainError, match=r"sidechain_throughput: crossing must be a number in \(0, 1\], got 0"):
        law(1000, 20, 15, 0)


@given(
    capacity=st.tuples(*[st.floats(1e-3, 1e6)] * 3),
    q=st.floats(1e-4, 1),
)
def test_at_the_bound_no_station_is_overloaded_and_one_is_full(capacity, q):
    rate = bridges.sidechain_throughput(*capacity, q)
    utilisation = [rate / capacity[0], rate * q / capacity[1], rate * q / capacity[2]]
    assert max(utilisation) == pytest.approx(1, rel=1e-12)


def exact_tail(n, t, share):
    """P[Bin(n, share) ≥ t] in whole numbers."""
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(t, n + 1))


@settings(deadline=None)  # the first call imports scipy.stats
@given(n=st.integers(1, 60), data=st.data(), percent=st.integers(0, 100))
def test_failure_and_stall_are_exact_tails(n, data, percent):
    t = data.draw(st.integers(1, n))
    share = Fraction(percent, 100)
    assert bridges.bridge_failure(n, t, percent / 100) == pytest.approx(float(exact_tail(n, t, share)), rel=1e-9)
    up = sum(math.comb(n, k) * (1 - share) ** k * share ** (n - k) for k in range(t))
    assert bridges.bridge_stall(n, t, percent / 100) == pytest.approx(float(up), rel=1e-9)


def test_a_tail_far_below_rounding():
    assert bridges.bridge_failure(19, 13, 0.01) == pytest.approx(float(exact_tail(19, 13, Fraction(1, 100))), rel=1e-9)
    assert bridges.bridge_failure(19, 13, 0.01) < 1e-20


def test_arrays_of_compromise():
    chance = bridges.bridge_failure(5, 3, [0.0, 0.5, 1.0])
    assert chance.tolist() == pytest.approx([0, 0.5, 1])
    assert bridges.bridge_stall(5, 5, np.array([0.0, 1.0])).tolist() == [0, 1]
    assert isinstance(bridges.bridge_failure(5, 3, 0.5), float)


@settings(deadline=None)
@given(n=st.integers(2, 300), data=st.data(), share=st.floats(0.01, 0.9))
def test_chernoffs_bound_holds(n, data, share):
    t = data.draw(st.integers(1, n - 1))
    if t / n >= share:
        assert bridges.bridge_failure(n, t, share) <= math.exp(-n * bridges.decay_rate(t / n, share)) * (1 + 1e-9)


def test_the_decay_rate_is_the_limit():
    rate = bridges.decay_rate(2 / 3, 0.1)
    found = [-math.log(bridges.bridge_failure(n, 2 * n // 3, 0.1)) / n for n in (30, 300, 600)]
    assert found[0] > found[1] > found[2] > rate
    assert found[2] == pytest.approx(rate, rel=0.01)
    alpha, share = bridges.decay_rate.symbols.values()
    slope = sp.diff(bridges.decay_rate.expr, alpha)
    assert sp.simplify(bridges.decay_rate.expr.subs(alpha, share)) == 0
    assert sp.simplify(slope.subs(alpha, share)) == 0
    assert sp.simplify(sp.diff(slope, alpha) - 1 / alpha / (1 - alpha)) == 0


@settings(deadline=None)
@given(custody=st.lists(st.integers(1, 4), min_size=1, max_size=7), data=st.data(), percent=st.integers(0, 100))
def test_shared_hands_by_listing_all_cases(custody, data, percent):
    t = data.draw(st.integers(1, sum(custody)))
    share = Fraction(percent, 100)
    total = Fraction(0)
    for taken in product([0, 1], repeat=len(custody)):
        if sum(held for held, bad in zip(custody, taken, strict=True) if bad) >= t:
            total += math.prod(share if bad else 1 - share for bad in taken)
    assert bridges.shared_failure(custody, t, percent / 100) == pytest.approx(float(total), rel=1e-9)
    ones = [1] * sum(custody)
    assert bridges.shared_failure(ones, t, 0.2) == pytest.approx(bridges.bridge_failure(len(ones), t, 0.2), rel=1e-9)


def test_stolen_keys_drawn():
    rng = np.random.default_rng(31)
    runs, custody, t, share = 20_000, np.array([4, 1, 1, 1, 1, 1]), 5, 0.2
    keys = (rng.random((runs, 6)) < share) @ custody
    found = np.mean(keys >= t)
    theory = bridges.shared_failure(custody.tolist(), t, share)
    assert abs(found - theory) < 3 * math.sqrt(theory * (1 - theory) / runs)


# Sizes


@pytest.mark.parametrize(
    "call",
    [
        lambda: bridges.bridge_failure(10**9, 5 * 10**8, 0.499),
        lambda: bridges.bridge_stall(10**9, 10**8, 0.9),
        lambda: bridges.shared_failure([1] * 10**4, 5000, 0.5),
        lambda: bridges.shared_failure([1] * 10**4, 10, 1e-4),
    ],
)
def test_the_largest_sizes_take_no_time(call):
    import scipy.stats  # noqa: F401  its import is not what is timed

    start = process_time()
    assert 0 <= call() <= 1
    assert process_time() - start < 3


@pytest.mark.parametrize("custody", [[10**9], [10**4, 1], [1] * 10_001, [10**5000]])
def test_more_keys_than_can_be_summed_over_are_refused(custody):
    """Once, a thousand million keys took all memory."""
    with pytest.raises(DomainError, match=r"shared_failure: the sum of custody must be an integer in 1 \.\.\. 10000"):
        bridges.shared_failure(custody, 1, 0.1)


# Published numbers


def test_ronins_nine_keys():
    """Five of nine independent keys at a tenth, and as they were held (Ronin 2022: four and one in the same hands)."""
    tenth = Fraction(1, 10)
    assert bridges.bridge_failure(9, 5, 0.1) == pytest.approx(float(exact_tail(9, 5, tenth)), rel=1e-12)
    assert round(bridges.bridge_failure(9, 5, 0.1), 8) == 0.00089092  # 89092 of 10^8, by hand
    assert bridges.shared_failure([5, 1, 1, 1, 1], 5, 0.1) == pytest.approx(0.1, rel=1e-12)
    assert bridges.shared_failure([4, 1, 1, 1, 1, 1], 5, 0.1) == pytest.approx(0.1 * (1 - 0.9**5) + 0.9 * 0.1**5)


def test_a_table_of_the_binomial_distribution():
    """P[Bin(20, 0.25) >= x] as in every printed table: 1 - 0.6172 for x = 6, 1 - 0.9861 for x = 10."""
    assert round(bridges.bridge_failure(20, 6, 0.25), 4) == 0.3828
    assert round(bridges.bridge_failure(20, 10, 0.25), 4) == 0.0139
    assert round(bridges.bridge_stall(20, 15, 0.25), 4) == 0.3828  # six silent of twenty leave fourteen


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bridges.default_threshold(0), "default_threshold: signers must be an integer of at least 1, got 0"),
        (lambda: bridges.default_threshold(3.0), "default_threshold: signers"),
        (lambda: bridges.bridge_failure(0, 1, 0.1), "bridge_failure: signers"),
        (lambda: bridges.bridge_failure(10**9 + 1, 1, 0.1), "bridge_failure: signers must be an integer in 1"),
        (lambda: bridges.bridge_failure(5, 0, 0.1), "bridge_failure: threshold must be an integer of at least 1"),
        (
            lambda: bridges.bridge_failure(5, 6, 0.1),
            r"bridge_failure: threshold must be an integer in 1 \.\.\. 5, got 6",
        ),
        (lambda: bridges.bridge_failure(5, 3, 1.1), "bridge_failure: compromise"),
        (lambda: bridges.bridge_failure(5, 3, "x"), "bridge_failure: compromise"),
        (lambda: bridges.bridge_stall(5, 6, 0.1), "bridge_stall: threshold"),
        (lambda: bridges.bridge_stall(5, 3, -0.1), "bridge_stall: compromise"),
        (lambda: bridges.shared_failure([], 1, 0.1), "shared_failure: the sum of custody must be"),
        (lambda: bridges.shared_failure([1, 0], 1, 0.1), "shared_failure: custody must be an integer of at least 1"),
        (lambda: bridges.shared_failure([1.0], 1, 0.1), "shared_failure: custody"),
        (lambda: bridges.shared_failure("11", 1, 0.1), "shared_failure: custody"),
        (lambda: bridges.shared_failure(3, 1, 0.1), "shared_failure: custody"),
        (lambda: bridges.shared_failure([2], 3, 0.1), "shared_failure: threshold"),
        (lambda: bridges.shared_failure([2], 1, [0.1]), "shared_failure: compromise"),
        (lambda: bridges.decay_rate(1, 0.1), "decay_rate: threshold_share"),
        (lambda: bridges.decay_rate(0.5, 0), "decay_rate: compromise"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()


def test_a_payment_from_another_shard_to_a_contract_is_refused_on_all_of_them():
    """The depositor could not own money of the sidechain, so the deposit must not lock any."""
    side = next(
        n for n in map("side {}".format, range(9)) if shard_of(contract_account("main", f"bridge to {n}"), 2) == 0
    )
    sharded = ShardedLedger("main", 2, {public_key(key): 100 for key in KEYS + USERS})
    bridge = Bridge(sharded.shards[0].ledger, side, NAME[:4], faulty=1, finality_depth=0)
    far = next(key for key in KEYS + USERS if sharded.home(public_key(key)) is sharded.shards[1])
    near = next(key for key in KEYS + USERS if sharded.home(public_key(key)) is sharded.shards[0])
    for key, payments in [(far, {bridge.escrow: 10}), (near, {bridge.escrow: 10, public_key(far): 1})]:
        receipt = sharded.apply(sign_transfer(key, "main", payments, fee=0, nonce=1))
        assert receipt.refusal.rule == "transfer: recipient must take transfers"
        assert sharded.balance(public_key(key)) == 100
    assert (bridge.locked, bridge.deposits, sharded.in_flight) == (0, {}, 0)
    assert sharded.apply(sign_transfer(near, "main", {bridge.escrow: 10}, fee=0, nonce=1)).accepted
    assert (bridge.locked, len(bridge.deposits)) == (10, 1)


def test_decay_near_its_zero_is_right_to_its_stated_error():
    for epsilon in (0.3 + 1e-9, 0.3 - 1e-12, float(np.nextafter(0.3, 1))):
        assert abs(bridges.decay_rate(0.3, epsilon)) < 1e-15
