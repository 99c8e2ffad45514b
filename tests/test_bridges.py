"""Chapter 3: bridges that forge, replay and lose nothing, and how likely enough keys are to be stolen."""

import math
import pickle
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale import limits
from web3scale.crypto import example_key, public_key, sign, verify_signature
from web3scale.errors import DomainError
from web3scale.layers import bridges
from web3scale.layers.bridges import DEPOSIT, WITHDRAWAL, Attestation, Bridge, Crossing, Proof, sign_crossing
from web3scale.layers.ledger import (
    AccountExists,
    BadAmount,
    BadSignature,
    Ledger,
    Overdraft,
    WrongChain,
    WrongNonce,
    sign_transfer,
)

KEYS = [example_key(f"signer {i}") for i in range(7)]
USERS = [example_key(name) for name in ("Alice", "Bob", "Carol")]
ALICE, BOB, CAROL = (public_key(key) for key in USERS)
STRANGER = example_key("stranger")
STRANGER_NAME = public_key(STRANGER)


def new_bridge(n=5, faulty=1, z=2, **options):
    main, side = Ledger("main", {ALICE: 100, BOB: 50}), Ledger("side", {})
    return Bridge(main, side, [public_key(key) for key in KEYS[:n]], faulty=faulty, finality_depth=z, **options)


def state(bridge):
    """Everything that lives: both ledgers, accounts and nonces included, and the bridge's records."""
    ledgers = [(x.height, x.root, len(x)) for x in (bridge.main, bridge.side)]
    return ledgers, [list(x.items()) for x in bridge.crossings.values()], [set(x) for x in bridge.consumed.values()]


def refused(bridge, reason, step, **values):
    """The step is refused for this reason, with these values, and changes nothing."""
    before = state(bridge)
    with pytest.raises(reason) as caught:
        step()
    assert type(caught.value) is reason
    assert caught.value.values == values
    assert state(bridge) == before


def pay(key, ledger, account, amount, fee=0):
    return sign_transfer(key, ledger.chain, {account: amount}, fee=fee, nonce=ledger.nonce(public_key(key)) + 1)


def lock(bridge, key, amount, bury=True):
    bridge.main_block([pay(key, bridge.main, bridge.escrow, amount)])
    for _ in range(bridge.finality_depth * bury):
        bridge.main_block()
    return list(bridge.crossings[DEPOSIT])[-1]


def burn(bridge, key, amount):
    bridge.side_block([pay(key, bridge.side, bridge.burner, amount)])
    for _ in range(bridge.finality_depth):
        bridge.side_block()
    return list(bridge.crossings[WITHDRAWAL])[-1]


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
    bridge.side_block([pay(USERS[0], bridge.side, ALICE[::-1], 1)])  # nobody there: refused, and no crossing
    assert bridge.crossings[WITHDRAWAL] == {}
    withdrawal = burn(bridge, USERS[0], 20)
    assert withdrawal == Crossing(WITHDRAWAL, "side", "main", 20, ALICE, 1)
    assert (bridge.side.balance(ALICE), bridge.side.balance(bridge.burner), bridge.minted) == (50, 0, 50)
    bridge.release(prove(bridge, withdrawal))
    assert (bridge.main.balance(ALICE), bridge.locked, bridge.main.total) == (50, 50, 150)
    assert bridge.consumed == {DEPOSIT: {1}, WITHDRAWAL: {1}}


def test_one_block_may_hold_several_crossings_and_other_payments():
    bridge = new_bridge()
    both = sign_transfer(USERS[0], "main", {BOB: 5, bridge.escrow: 7}, fee=2, nonce=1)
    unfunded = pay(USERS[1], bridge.main, bridge.escrow, 500)
    block = bridge.main_block([both, unfunded, pay(USERS[1], bridge.main, bridge.escrow, 9)])
    assert [receipt.accepted for receipt in block.receipts] == [True, False, True]
    found = [(c.amount, c.recipient, c.nonce, height) for c, height in bridge.crossings[DEPOSIT].items()]
    assert found == [(7, ALICE, 1, 1), (9, BOB, 2, 1)]
    assert bridge.locked == 16


def test_a_block_that_burns_commits_to_the_state_without_what_was_burnt():
    bridge = new_bridge()
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    block = bridge.side_block([pay(USERS[0], bridge.side, bridge.burner, 20)])
    assert block.after == bridge.side.root
    assert (block.height, len(block.receipts)) == (1, 1)


def test_money_that_returns_to_a_key_without_an_account_opens_one():
    bridge = new_bridge()
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    bridge.side.open(CAROL)
    bridge.side_block([pay(USERS[0], bridge.side, CAROL, 30)])
    assert CAROL not in bridge.main
    bridge.release(prove(bridge, burn(bridge, USERS[2], 30)))
    assert bridge.main.balance(CAROL) == 30


def test_nobody_signs_for_escrow_and_burner_and_every_pair_of_chains_has_its_own():
    bridge = new_bridge()
    for account in (bridge.escrow, bridge.burner):
        assert not verify_signature(account, b"pay me", bytes(64))
        assert not verify_signature(account, b"pay me", sign(STRANGER, b"pay me"))
    other = Bridge(bridge.main, Ledger("other", {}), bridge.signers, faulty=1, finality_depth=2)
    assert len({bridge.escrow, bridge.burner, other.escrow, other.burner}) == 4


# Making a bridge


@pytest.mark.parametrize(
    ("n", "f", "t"), [(4, 1, 1), (4, 1, 4), (4, 2, None), (3, 1, None), (5, 2, 2), (1, 1, None), (1, 0, 0)]
)
def test_a_threshold_outside_its_range_is_refused(n, f, t):
    asked = bridges.default_threshold(n) if t is None else t
    main, side = Ledger("main", {}), Ledger("side", {})
    with pytest.raises(bridges.BadThreshold) as caught:
        Bridge(main, side, [public_key(k) for k in KEYS[:n]], faulty=f, finality_depth=0, threshold=t)
    assert caught.value.values == {"n": n, "f": f, "t": asked}
    assert (len(main), len(side)) == (1, 1)  # only the account of fees: nothing was opened


@pytest.mark.parametrize(("n", "f", "t"), [(4, 1, 2), (4, 1, 3), (3, 1, 2), (1, 0, 1), (7, 2, None), (5, 0, 5)])
def test_a_threshold_at_the_ends_of_its_range_is_accepted(n, f, t):
    bridge = new_bridge(n, f, threshold=t)
    assert bridge.threshold == (5 if t is None else t)


def test_a_threshold_exists_exactly_from_two_f_plus_one_on():
    for n, f in product(range(1, 60), range(30)):
        thresholds = [t for t in range(1, n + 1) if f + 1 <= t <= n - f]
        assert bool(thresholds) == (n >= 2 * f + 1)
    for n in range(1, 201):
        t = bridges.default_threshold(n)
        assert Fraction(2 * n, 3) < t <= Fraction(2 * n, 3) + 1
    assert bridges.default_threshold(19) == 13  # Wormhole's 19 guardians


@pytest.mark.parametrize("signers", [[], [KEYS[0], KEYS[0], KEYS[1]]])
def test_no_signers_or_one_twice(signers):
    with pytest.raises(bridges.BadSigners) as caught:
        Bridge(Ledger("main", {}), Ledger("side", {}), map(public_key, signers), faulty=0, finality_depth=0)
    assert caught.value.values == {"signers": len(signers)}


def test_a_second_bridge_between_the_same_chains_is_refused():
    bridge = new_bridge()
    for main, side in ((bridge.main, Ledger("side", {})), (Ledger("main", {}), bridge.side)):
        sizes = len(main), len(side)
        with pytest.raises(AccountExists) as caught:
            Bridge(main, side, bridge.signers, faulty=1, finality_depth=2)
        assert caught.value.values == {"main": "main", "side": "side"}
        assert (len(main), len(side)) == sizes


# What a signer refuses


def test_a_crossing_is_attested_from_the_finality_depth_on():
    bridge = new_bridge(z=2)
    deposit = lock(bridge, USERS[0], 10, bury=False)
    for depth in (0, 1):
        refused(bridge, bridges.NotFinal, lambda: bridge.attest(KEYS[0], deposit), depth=depth)
        bridge.main_block()
    assert bridges.verify_attestation(deposit, bridge.attest(KEYS[0], deposit))


def test_a_withdrawal_waits_for_blocks_of_the_sidechain():
    bridge = new_bridge(z=1)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 10)))
    bridge.side_block([pay(USERS[0], bridge.side, bridge.burner, 4)])
    (withdrawal,) = bridge.crossings[WITHDRAWAL]
    for _ in range(3):
        bridge.main_block()  # of no avail
    refused(bridge, bridges.NotFinal, lambda: bridge.attest(KEYS[0], withdrawal), depth=0)
    bridge.side_block()
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
    refused(bridge, bridges.NotInChain, attest, source=claim.source, nonce=claim.nonce)


def test_only_signers_attest():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 10)
    step = lambda: bridge.attest(STRANGER, deposit)  # noqa: E731
    refused(bridge, bridges.UnknownSigner, step, signer=public_key(STRANGER))


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
    return Proof(true, tuple(Attestation(public_key(key), signature) for key in KEYS[:4]))


NAME = [public_key(key) for key in KEYS]
GALLERY = [
    (lambda true: Proof(true, ()), bridges.TooFewSigners, {"signers": 0}),
    (forged({}, KEYS[:3]), bridges.TooFewSigners, {"signers": 3}),
    (repeated, bridges.RepeatedSigner, {"signer": NAME[0]}),
    (borrowed, BadSignature, {"signer": NAME[0]}),
    (forged({}, [*KEYS[:4], STRANGER]), bridges.UnknownSigner, {"signer": public_key(STRANGER)}),
    (forged({}, KEYS[3:7]), bridges.UnknownSigner, {"signer": NAME[5]}),
    (swapped({"amount": 71}), BadSignature, {"signer": NAME[0]}),
    (swapped({"recipient": BOB}), BadSignature, {"signer": NAME[0]}),
    (swapped({"nonce": 2}), BadSignature, {"signer": NAME[0]}),
    (forged({"target": "other"}, KEYS[:4]), WrongChain, {"source": "main", "target": "other"}),
    (forged({"source": "other"}, KEYS[:4]), WrongChain, {"source": "other", "target": "side"}),
    (swapped({"target": "other"}), WrongChain, {"source": "main", "target": "other"}),
    (forged({"amount": 0}, KEYS[:4]), BadAmount, {"amount": 0}),
    (swapped({"amount": -1}), BadAmount, {"amount": -1}),
    (swapped({"amount": True}), BadAmount, {"amount": True}),
    (swapped({"nonce": -1}), WrongNonce, {"nonce": -1}),
    (swapped({"recipient": None}), BadSignature, {"signer": NAME[0]}),
    (forged({"direction": WITHDRAWAL}, KEYS[:4]), bridges.WrongDirection, {"direction": WITHDRAWAL}),
]


@pytest.mark.parametrize(("attack", "reason", "values"), GALLERY)
def test_an_attack_on_the_mint_is_refused(attack, reason, values):
    bridge = new_bridge()
    true = lock(bridge, USERS[0], 70)
    refused(bridge, reason, lambda: bridge.mint(attack(true)), **values)
    bridge.mint(prove(bridge, true))  # the attack did not spoil it for its owner


@pytest.mark.parametrize("nonce", [0, -1, 1.0, True, None, [], "1"])
def test_a_nonce_is_a_positive_integer(nonce):
    bridge = new_bridge()
    true = lock(bridge, USERS[0], 70)
    proof = Proof(replace(true, nonce=nonce), prove(bridge, true).attestations)
    refused(bridge, WrongNonce, lambda: bridge.mint(proof), nonce=nonce)


@pytest.mark.parametrize("attestations", [None, 7, "four", [], (None,), ("word",)])
def test_attestations_are_a_tuple_of_attestations(attestations):
    bridge = new_bridge()
    proof = Proof(lock(bridge, USERS[0], 70), attestations)
    refused(bridge, bridges.NoProof, lambda: bridge.mint(proof), attestations=attestations)


@pytest.mark.parametrize("given", [None, 7, Proof(None, ()), Proof("crossing", ())])
def test_what_is_no_proof_is_refused(given):
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    for way in (bridge.mint, bridge.release):
        refused(bridge, bridges.NoProof, lambda way=way: way(given), given=given)


def test_what_is_no_crossing_is_not_attested():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    changes = [{"amount": 70.0}, {"nonce": True}, {"amount": []}, {"direction": []}, {"recipient": bytearray(ALICE)}]
    for thing in [None, *(replace(deposit, **change) for change in changes)]:
        refused(bridge, bridges.NotInChain, lambda thing=thing: bridge.attest(KEYS[0], thing), given=thing)


def test_a_signer_is_a_key_and_its_name_bytes():
    bridge = new_bridge()
    good = prove(bridge, lock(bridge, USERS[0], 70))
    name = bytearray(good.attestations[0].signer)
    bad = Proof(good.crossing, (Attestation(name, good.attestations[0].signature), *good.attestations[1:]))
    refused(bridge, bridges.UnknownSigner, lambda: bridge.mint(bad), signer=name)
    for signers in ([None], "abc", [b"x"]):
        with pytest.raises(bridges.BadSigners, match="keys of 32 bytes"):
            Bridge(Ledger("a", {}), Ledger("b", {}), signers, faulty=0, finality_depth=0)


def test_a_digest_does_not_travel_with_the_object_that_it_was_made_of():
    bridge = new_bridge()
    good = prove(bridge, lock(bridge, USERS[0], 70))
    lie = replace(good.crossing, amount=7000)
    lie.__dict__["message"] = good.crossing.message  # as a pickle from a stranger could have it
    bad = Proof(pickle.loads(pickle.dumps(lie)), good.attestations)
    refused(bridge, BadSignature, lambda: bridge.mint(bad), signer=public_key(KEYS[0]))


def test_a_block_through_one_bridge_is_seen_by_all_bridges_of_the_chain():
    one = new_bridge()
    two = Bridge(one.main, Ledger("other", {}), one.signers, faulty=1, finality_depth=2)
    transfer = sign_transfer(USERS[0], "main", {one.escrow: 30, two.escrow: 40}, fee=0, nonce=1)
    one.main_block([transfer])
    for bridge, amount in ((one, 30), (two, 40)):
        assert bridge.locked == amount
        assert [c.amount for c in bridge.crossings[DEPOSIT]] == [amount]


def test_proofs_are_exactly_of_their_types():
    """What only inherits from a crossing or an attestation may be read one way and checked another."""
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 1)
    good = prove(bridge, deposit)

    class Forged(Crossing):
        message = property(lambda self: deposit.message)

        def __hash__(self):
            return hash(deposit)

        def __eq__(self, other):
            return True

    class Sly(Attestation):
        pass

    forged = Forged(DEPOSIT, "main", "side", 1000, ALICE, 1)
    for bad in (
        Proof(forged, good.attestations),
        Proof(deposit, tuple(Sly(a.signer, a.signature) for a in good.attestations)),
        Proof(replace(deposit, direction=np.array(["deposit", "x"])), good.attestations),
        Proof(replace(deposit, source=np.array(["main", "x"])), good.attestations),
    ):
        before = state(bridge)
        with pytest.raises(bridges.NoProof):
            bridge.mint(bad)
        assert state(bridge) == before
    with pytest.raises(bridges.NotInChain):
        bridge.attest(KEYS[0], forged)


def test_a_malformed_neighbour_does_not_stop_a_deposit():
    deep = ()
    for _ in range(100_000):
        deep = (deep,)
    bridge = new_bridge()
    deposit = pay(USERS[0], bridge.main, bridge.escrow, 70)
    block = bridge.main_block([None, replace(deposit, chain=deep), deposit])
    assert [receipt.accepted for receipt in block.receipts] == [False, False, True]
    assert [c.amount for c in bridge.crossings[DEPOSIT]] == [70]


def test_no_second_bridge_mints_on_the_same_sidechain():
    bridge = new_bridge()
    with pytest.raises(AccountExists):
        Bridge(Ledger("main2", {}), bridge.side, bridge.signers, faulty=1, finality_depth=2)


def test_a_proof_mints_once():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    bridge.mint(prove(bridge, deposit))
    refused(bridge, bridges.Replayed, lambda: bridge.mint(prove(bridge, deposit)), nonce=1)
    refused(bridge, bridges.Replayed, lambda: bridge.mint(prove(bridge, deposit, 5)), nonce=1)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 30)))  # the next nonce is free
    assert bridge.minted == 100


def test_attacks_on_the_release_are_refused():
    bridge = new_bridge()
    deposit = lock(bridge, USERS[0], 70)
    bridge.mint(prove(bridge, deposit))
    refused(bridge, bridges.WrongDirection, lambda: bridge.release(prove(bridge, deposit)), direction=DEPOSIT)
    withdrawal = burn(bridge, USERS[0], 20)
    refused(bridge, bridges.WrongDirection, lambda: bridge.mint(prove(bridge, withdrawal)), direction=WITHDRAWAL)
    refused(bridge, bridges.TooFewSigners, lambda: bridge.release(prove(bridge, withdrawal, 3)), signers=3)
    swap = replace(withdrawal, source="main", target="side")
    proof = Proof(swap, tuple(sign_crossing(key, swap) for key in KEYS[:4]))
    refused(bridge, WrongChain, lambda: bridge.release(proof), source="main", target="side")
    bridge.release(prove(bridge, withdrawal))  # nonce 1, as the deposit's: each direction counts for itself
    refused(bridge, bridges.Replayed, lambda: bridge.release(prove(bridge, withdrawal)), nonce=1)
    assert bridge.locked == bridge.minted == 50


def test_more_than_the_escrow_holds_is_not_released_even_to_a_quorum():
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    theft = Crossing(WITHDRAWAL, "side", "main", 71, CAROL, 1)
    proof = Proof(theft, tuple(sign_crossing(key, theft) for key in KEYS[:4]))
    refused(bridge, Overdraft, lambda: bridge.release(proof), balance=70, amount=71)
    assert CAROL not in bridge.main


def test_a_quorum_of_stolen_keys_takes_everything_and_no_more():
    bridge = new_bridge()
    lock(bridge, USERS[0], 70)
    theft = Crossing(WITHDRAWAL, "side", "main", 70, CAROL, 1)
    bridge.release(Proof(theft, tuple(sign_crossing(key, theft) for key in KEYS[:4])))
    assert (bridge.main.balance(CAROL), bridge.locked, bridge.main.balance(BOB)) == (70, 0, 50)


@pytest.mark.parametrize(
    ("crossing", "attestation"),
    [
        (Crossing(DEPOSIT, "main", "side", -1, ALICE, 1), Attestation(NAME[0], bytes(64))),
        (Crossing(DEPOSIT, "main", "\ud800", 1, ALICE, 1), Attestation(NAME[0], bytes(64))),
        (Crossing(DEPOSIT, "main", "side", 1, ALICE, 1), Attestation(NAME[0], b"")),
        (Crossing(DEPOSIT, "main", "side", 1, ALICE, 1), None),
        (None, Attestation(NAME[0], bytes(64))),
    ],
)
def test_anything_malformed_attests_nothing(crossing, attestation):
    assert bridges.verify_attestation(crossing, attestation) is False


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
    assert len({true.message, *(replace(true, **change).message for change in changes)}) == len(changes) + 1
    transfer = sign_transfer(USERS[0], "main", {BOB: 5}, fee=0, nonce=1)
    assert transfer.message != true.message


# Reorganisations


def test_a_deposit_attested_too_early_mints_what_is_not_locked():
    bridge = new_bridge(z=2)
    deposit = lock(bridge, USERS[0], 70, bury=False)
    bridge.main_block()
    early = Proof(deposit, tuple(sign_crossing(key, deposit) for key in KEYS[:4]))  # after one block instead of two
    assert bridge.reorganise_main(2) == (deposit,)
    assert (bridge.main.balance(ALICE), bridge.locked, bridge.crossings[DEPOSIT]) == (100, 0, {})
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
    refused(bridge, bridges.NotFinal, lambda: bridge.attest(KEYS[0], lost), depth=0)
    assert bridge.reorganise_main(1) == (lost,)
    attest = lambda: bridge.attest(KEYS[0], lost)  # noqa: E731
    refused(bridge, bridges.NotInChain, attest, source="main", nonce=2)
    assert lock(bridge, USERS[1], 7).nonce == 2
    assert bridge.main.height == 5


def test_a_reorganisation_that_the_escrow_cannot_repay_changes_nothing():
    bridge = new_bridge(z=0)
    bridge.mint(prove(bridge, lock(bridge, USERS[0], 70)))
    bridge.release(prove(bridge, burn(bridge, USERS[0], 20)))
    refused(bridge, Overdraft, lambda: bridge.reorganise_main(1), balance=50, amount=70)


def test_a_depth_chosen_by_the_chance_of_a_double_spend():
    """Chapter 2: with a tenth of the blocks, an adversary undoes six with probability 0.0005914."""
    z = next(z for z in range(100) if limits.double_spend(0.1, z) < 1e-3)
    assert z == 6


# Any play


class Play(RuleBasedStateMachine):
    """Users, a chain that reorganises, honest signers and corrupt ones, in any order."""

    @initialize(n=st.integers(4, 7), share=st.integers(0, 3), z=st.integers(0, 2), data=st.data())
    def begin(self, n, share, z, data):
        """Any size, and any threshold that it allows."""
        self.f = min(share, (n - 1) // 2)
        t = data.draw(st.integers(self.f + 1, n - self.f))
        self.main, self.side = Ledger("main", {ALICE: 60, BOB: 40}), Ledger("side", {ALICE: 0, CAROL: 0})
        self.keys = KEYS[:n]
        self.corrupt, self.honest = self.keys[: self.f], self.keys[self.f :]
        names = [public_key(key) for key in self.keys]
        self.bridge = Bridge(self.main, self.side, names, faulty=self.f, finality_depth=z, threshold=t)
        self.minted = self.burned = self.locked = self.released = 0
        self.used, self.pool, self.proofs = set(), [], []
        for who, amount in zip(USERS, data.draw(st.lists(st.integers(1, 30), max_size=2)), strict=False):
            lock(self.bridge, who, amount)  # some plays begin with money on the other side
            self.locked += amount
            deposit = list(self.bridge.crossings[DEPOSIT])[-1]
            assert self.submit(Proof(deposit, tuple(self.bridge.attest(key, deposit) for key in self.honest)))

    def step(self, act):
        """Take a step; if it is refused, all is as before."""
        before = state(self.bridge)
        try:
            act()
        except bridges.Rejected:
            assert state(self.bridge) == before
            return False
        return True

    @rule(who=st.sampled_from(USERS), amount=st.integers(1, 30), to=st.sampled_from([ALICE, BOB, CAROL]))
    def transfer(self, who, amount, to):
        """Ordinary life on both chains."""
        for ledger, block in ((self.main, self.bridge.main_block), (self.side, self.bridge.side_block)):
            if public_key(who) in ledger:
                total = ledger.total
                block([pay(who, ledger, to, amount, fee=1)])
                assert ledger.total == total

    @rule(who=st.sampled_from(USERS[:2]), amount=st.integers(1, 30))
    def lock(self, who, amount):
        """A deposit really takes the money, or is refused."""
        before, count = self.main.balance(public_key(who)), len(self.bridge.crossings[DEPOSIT])
        (receipt,) = self.bridge.main_block([pay(who, self.main, self.bridge.escrow, amount)]).receipts
        assert receipt.accepted == (before >= amount)
        assert self.main.balance(public_key(who)) == before - amount * receipt.accepted
        assert len(self.bridge.crossings[DEPOSIT]) == count + receipt.accepted
        self.locked += amount * receipt.accepted

    @precondition(lambda self: self.side.total)
    @rule(amount=st.integers(1, 30), data=st.data())
    def burn(self, amount, data):
        """A withdrawal, if there is the money for it."""
        rich = [key for key in USERS if public_key(key) in self.side and self.side.balance(public_key(key))]
        if rich:
            who = data.draw(st.sampled_from(rich))
            (receipt,) = self.bridge.side_block([pay(who, self.side, self.bridge.burner, amount)]).receipts
            self.burned += amount * receipt.accepted

    @rule(count=st.integers(1, 2))
    def wait(self, count):
        """Blocks on top."""
        for _ in range(count):
            self.bridge.main_block()
            self.bridge.side_block()

    @precondition(lambda self: self.bridge.finality_depth)
    @rule(data=st.data())
    def reorganise(self, data):
        """As deep as the finality depth at most: an honest attestation is out once z blocks stand on top."""
        depth = data.draw(st.integers(1, self.bridge.finality_depth))
        last = self.main.height - depth
        late = [crossing for crossing, height in self.bridge.crossings[DEPOSIT].items() if height > last]
        assert self.bridge.reorganise_main(depth) == tuple(late)
        self.locked -= sum(crossing.amount for crossing in late)

    @rule(data=st.data())
    def attest(self, data):
        """Every honest signer is asked about something that happened."""
        known = [c for recorded in self.bridge.crossings.values() for c in recorded]
        if known:
            crossing = data.draw(st.sampled_from(known))
            source = self.main if crossing.direction == DEPOSIT else self.side
            depth = source.height - self.bridge.crossings[crossing.direction][crossing]
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
        known = [c for recorded in self.bridge.crossings.values() for c in recorded]
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
        assert proof.crossing in self.bridge.crossings[direction]
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
            self.bridge.main_block()
            self.bridge.side_block()
        for direction, recorded in self.bridge.crossings.items():
            waiting = [c for c in recorded if c.nonce not in self.bridge.consumed[direction]]
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
        assert self.main.total == 100
        assert bridge.minted == self.side.total == self.minted - self.burned
        assert bridge.locked == self.main.balance(bridge.escrow) == self.locked - self.released
        assert bridge.locked >= bridge.minted
        assert self.side.balance(bridge.burner) == 0
        for direction, recorded in bridge.crossings.items():
            assert [c.nonce for c in recorded] == list(range(1, len(recorded) + 1))
            assert {n for d, n in self.used if d == direction} == bridge.consumed[direction]


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


# Bad input


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bridges.default_threshold(0), "default_threshold: signers must be an integer of at least 1, got 0"),
        (lambda: bridges.bridge_failure(0, 1, 0.1), "bridge_failure: signers"),
        (lambda: bridges.bridge_failure(5, 0, 0.1), "bridge_failure: threshold must be an integer of at least 1"),
        (lambda: bridges.bridge_failure(5, 6, 0.1), "bridge_failure: threshold must be at most .* 5, got 6"),
        (lambda: bridges.bridge_failure(5, 3, 1.1), "bridge_failure: compromise"),
        (lambda: bridges.bridge_stall(5, 6, 0.1), "bridge_stall: threshold"),
        (lambda: bridges.bridge_stall(5, 3, -0.1), "bridge_stall: compromise"),
        (lambda: bridges.shared_failure([], 1, 0.1), "shared_failure: signers"),
        (lambda: bridges.shared_failure([1, 0], 1, 0.1), "shared_failure: custody"),
        (lambda: bridges.shared_failure([2], 3, 0.1), "shared_failure: threshold"),
        (lambda: bridges.shared_failure([2], 1, [0.1]), "shared_failure: compromise"),
        (lambda: bridges.decay_rate(1, 0.1), "decay_rate: threshold_share"),
        (lambda: bridges.decay_rate(0.5, 0), "decay_rate: compromise"),
        (lambda: new_bridge(faulty=-1), "Bridge: faulty"),
        (lambda: new_bridge(z=-1), "Bridge: finality_depth"),
        (lambda: new_bridge(threshold=2.0), "Bridge: threshold"),
        (lambda: new_bridge().reorganise_main(0), "reorganise_main: depth must be an integer of at least 1, got 0"),
        (
            lambda: Bridge(Ledger("a", {}), Ledger("a", {}), [ALICE], faulty=0, finality_depth=0),
            "Bridge: side must be another chain than main, got 'a' twice",
        ),
        (
            lambda: Bridge(Ledger("a", {}), Ledger("b", {BOB: 1}), [ALICE], faulty=0, finality_depth=0),
            "Bridge: side must be empty, got 1 in it",
        ),
        (lambda: sign_crossing(KEYS[0], Crossing(DEPOSIT, "a", "b", -1, ALICE, 1)), "encode: fields"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(DomainError, match=message):
        call()
