"""Payment channels: each rule has a step that breaks it, and one honest party keeps its money among cheats."""

from dataclasses import replace
from unittest.mock import ANY

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale.crypto import example_key, public_key, verify_signature
from web3scale.errors import DomainError, Rejected
from web3scale.layers import channels
from web3scale.layers.channels import (
    Channel,
    ChannelContract,
    ChannelParty,
    Closing,
    Posting,
    Revocation,
    State,
    Terms,
    next_state,
    update_together,
)
from web3scale.layers.ledger import Ledger, sign_transfer
from web3scale.message import Signed, digest, signed

KEYS = example_key("Alice"), example_key("Bob")
ALICE, BOB = map(public_key, KEYS)
STRANGER = example_key("Mallory")
MALLORY = public_key(STRANGER)
PERIOD = 10
TERMS = Terms("main", (ALICE, BOB), (6, 4), PERIOD, open_before=100, nonce=1)


def posted(key, state):
    return signed(Posting(state, public_key(key)), key)


def revoked(key, sequence, channel=TERMS.channel):
    return signed(Revocation(channel, public_key(key), sequence), key)


def opened(terms=TERMS, height=0):
    """A ledger, its contract and the two parties of an open channel."""
    ledger = Ledger("main", {ALICE: 10, BOB: 10, MALLORY: 10})
    contract = ChannelContract(ledger)
    wait(ledger, height)
    parties = tuple(ChannelParty(key, terms) for key in KEYS)
    contract.open(terms, update_together(parties, terms.opening))
    return ledger, contract, *parties


def wait(ledger, blocks):
    for _ in range(blocks):
        ledger.apply_block()


def pay(A, B, amount):
    """Alice pays Bob, who are both awake."""
    return update_together((A, B), next_state(A.terms, A.newest.body, ALICE, amount))


def seen(contract):
    """All that a step could change."""
    ledger = contract.ledger
    return ledger.height, ledger._names[:], ledger._balance[:], ledger._nonce[:], dict(contract._channels)


def inside(party):
    return party.newest, party.pending, party.leaving, party.evidence


def refused(contract, rule_broken, step, **values):
    """A step is refused by this rule, says what broke it, and leaves everything as it was."""
    before = seen(contract)
    with pytest.raises(Rejected) as caught:
        step()
    assert (caught.value.rule, caught.value.values) == (rule_broken, values)
    assert seen(contract) == before


def payouts(contract, terms=TERMS):
    return contract.record(terms.channel).payouts


# What is signed


def test_messages_of_different_meaning_differ():
    state, other = State(bytes(32), 5, (6, 4)), Signed(State(bytes(32), 6, (6, 4)), ())
    states = [state, replace(state, channel=b"1"), replace(state, sequence=6), replace(state, balances=(4, 6))]
    messages = [*states, *map(Closing, states)]
    messages += [Posting(Signed(state, ()), ALICE), Posting(Signed(state, ()), BOB), Posting(other, ALICE)]
    messages += [Posting(Signed(state, (b"1",)), ALICE), Revocation(b"1", ALICE, 5)]
    messages += [Revocation(bytes(32), party, number) for party in (ALICE, BOB) for number in (5, 6)]
    assert len(set(map(digest, messages))) == len(messages)


def test_the_name_of_a_channel_depends_on_every_term():
    changes = [
        {"chain": "test"},
        {"participants": (BOB, ALICE)},
        {"deposits": (4, 6)},
        {"challenge_blocks": 11},
        {"open_before": 101},
        {"nonce": 2},
    ]
    assert len({TERMS.channel, *(replace(TERMS, **change).channel for change in changes)}) == 7
    assert TERMS.opening == State(TERMS.channel, 0, (6, 4))


GOOD = {
    Terms: TERMS.__dict__,
    State: TERMS.opening.__dict__,
    Posting: {"state": Signed(TERMS.opening, ()), "party": ALICE},
    Revocation: {"channel": TERMS.channel, "party": ALICE, "sequence": 0},
    Closing: {"state": TERMS.opening},
}
BAD = {
    int: [-1, 1.0, True, None, "1", np.int64(1)],
    bytes: ["x", None, 1, bytearray(b"x")],
    tuple: [[6, 4], (6.0, 4), (True, 4), (11, -1), (6,), (6, 4, 0), None, ANY],
    str: [None, b"main"],
    Signed: [None, TERMS.opening, Signed(Closing(TERMS.opening), ()), ANY],
    State: [None, Signed(TERMS.opening, ()), ANY],
}


@pytest.mark.parametrize("kind", GOOD)
def test_a_message_cannot_be_made_wrong(kind):
    kind(**GOOD[kind])
    for field, good in GOOD[kind].items():
        for bad in BAD[type(good)]:
            with pytest.raises(DomainError, match=f"{kind.__name__}: {field} must be"):
                kind(**GOOD[kind] | {field: bad})


THINGS = [None, 7, "state", b"x", [], {}, ANY, np.array([1, 2]), object.__new__(Posting)]


@pytest.mark.parametrize("thing", THINGS, ids=lambda thing: type(thing).__name__)
def test_what_is_no_message_is_the_callers_mistake(thing):
    _, contract, A, B = opened()
    steps = [
        lambda: contract.open(thing, A.newest),
        lambda: contract.open(replace(TERMS, nonce=2), thing),
        lambda: contract.post(thing),
        lambda: contract.punish(thing),
        lambda: contract.close_together(thing),
        lambda: A.check_next(thing),
        lambda: A.sign(thing),
        lambda: A.complete(thing),
        lambda: A.keep(thing),
        lambda: A.watch(thing),
        lambda: ChannelContract(thing),
        lambda: ChannelParty(thing, TERMS),
        lambda: ChannelParty(KEYS[0], thing),
        lambda: next_state(thing, TERMS.opening, ALICE, 1),
        lambda: next_state(TERMS, thing, ALICE, 1),
        lambda: update_together(thing, TERMS.opening),
        lambda: update_together((A, thing), TERMS.opening),
        lambda: update_together((A, B), thing),
    ]
    if not isinstance(thing, bytes):  # a name that no channel has is refused, like any other
        steps += [lambda: contract.settle(thing), lambda: contract.record(thing)]
        steps += [lambda: next_state(TERMS, TERMS.opening, thing, 1)]
    for step in steps:
        before = seen(contract), inside(A), inside(B)
        with pytest.raises(DomainError):
            step()
        assert (seen(contract), inside(A), inside(B)) == before


def test_a_closing_is_no_state_and_a_posting_no_revocation():
    _, contract, A, _ = opened()
    for wrong in (Signed(Closing(TERMS.opening), A.newest.signatures), revoked(KEYS[0], 0)):
        with pytest.raises(DomainError, match=r"ChannelContract\.post: order must be"):
            contract.post(wrong)
    with pytest.raises(DomainError, match=r"ChannelContract\.punish: evidence must be"):
        contract.punish(A.posting())


# Updates


@given(deposits=st.tuples(*[st.integers(0, 20)] * 2), payer=st.sampled_from([ALICE, BOB]), amount=st.integers(0, 25))
def test_an_update_moves_money_and_makes_none(deposits, payer, amount):
    terms = replace(TERMS, deposits=deposits)
    place = terms.participants.index(payer)
    if amount > deposits[place]:
        with pytest.raises(Rejected) as caught:
            next_state(terms, terms.opening, payer, amount)
        assert caught.value.rule == "update: balance must cover the amount"
        assert caught.value.values == {"balance": deposits[place], "amount": amount}
    else:
        state = next_state(terms, terms.opening, payer, amount)
        change = amount if place else -amount
        assert state == State(terms.channel, 1, (deposits[0] + change, deposits[1] - change))


def test_update_refusals():
    _, contract, A, B = opened()
    state = TERMS.opening
    refused(contract, "update: payer must take part", lambda: next_state(TERMS, state, MALLORY, 1), payer=MALLORY)
    foreign, rich = replace(state, channel=b"x"), replace(state, balances=(6, 5))
    refused(contract, "state: channel must be this one", lambda: next_state(TERMS, foreign, ALICE, 1), channel=b"x")
    balanced = "state: balances must add up to the deposits"
    refused(contract, balanced, lambda: next_state(TERMS, rich, ALICE, 1), balances=(6, 5))
    for amount in (-1, 1.0, True, None):
        with pytest.raises(DomainError, match="next_state: amount must be an integer of at least 0"):
            next_state(TERMS, state, ALICE, amount)
    assert next_state(TERMS, state, ALICE, np.int64(6)).balances == (0, 10)
    for parties in ((B, A), (A, A)):
        refused(
            contract,
            "update: both must take part, in their order",
            lambda p=parties: update_together(p, next_state(TERMS, state, ALICE, 1)),
        )


@pytest.mark.parametrize("unwilling", [0, 1])
def test_an_update_that_one_refuses_is_signed_by_neither(unwilling):
    *_, A, B = opened()
    (A, B)[unwilling].sign_closing()
    before = inside(A), inside(B)
    with pytest.raises(Rejected, match="nothing is signed after"):
        pay(A, B, 1)
    assert (inside(A), inside(B)) == before


# Opening


def test_opening_moves_the_deposits_to_the_contract():
    ledger, contract, A, B = opened()
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == [4, 6, 10]
    assert (contract.held, ledger.total) == (10, 30)
    assert A.newest == B.newest == Signed(TERMS.opening, A.newest.signatures)
    assert contract.record(TERMS.channel) == Channel(TERMS, A.newest)


def test_opening_refusals():
    ledger, contract, *_ = opened(height=5)
    good = replace(TERMS, nonce=2)

    def attempt(terms, keys=KEYS, state=None):
        return lambda: contract.open(terms, signed(state or terms.opening, *keys))

    everyone = "state: both participants must sign it"
    for rule_broken, terms, values in [
        ("open: chain must be this one", replace(good, chain="test"), {"chain": "test"}),
        ("open: channel must be new", TERMS, {"channel": TERMS.channel}),
        ("open: challenge period must be a block or more", replace(good, challenge_blocks=0), {}),
        ("open: it must come in time", replace(good, open_before=5), {"height": 5, "before": 5}),
        ("open: it must come in time", replace(good, open_before=0), {"height": 5, "before": 0}),
        ("ledger: balance must cover the amount", replace(good, deposits=(5, 1)), {"balance": 4, "amount": 5}),
        ("ledger: balance must cover the amount", replace(good, deposits=(1, 7)), {"balance": 6, "amount": 7}),
    ]:
        refused(contract, rule_broken, attempt(terms), **values)
    for keys in (KEYS[:1], KEYS[:1] * 2, KEYS[::-1], (*KEYS, STRANGER)):
        refused(contract, everyone, attempt(good, keys))
    alone = replace(good, participants=(ALICE, ALICE))
    refused(contract, everyone, attempt(alone, KEYS[:1] * 2))
    for state, rule_broken, values in [
        (replace(good.opening, sequence=1), "open: state 0 must return the deposits", {"sequence": 1}),
        (replace(good.opening, balances=(4, 6)), "open: state 0 must return the deposits", {"sequence": 0}),
        (TERMS.opening, "state: channel must be this one", {"channel": TERMS.channel}),
    ]:
        refused(contract, rule_broken, attempt(good, state=state), **values)
    nobody = example_key("nobody")
    for keys in ((KEYS[0], nobody), (nobody, KEYS[0])):
        poor = replace(good, participants=tuple(map(public_key, keys)), deposits=(1, 1))
        refused(contract, "ledger: account must be open", attempt(poor, keys), account=public_key(nobody))
    attempt(replace(good, deposits=(4, 6), open_before=6))()  # all that is left, at the last moment
    assert (contract.held, ledger.balance(contract.account), ledger.total) == (20, 20, 30)


@pytest.mark.parametrize("spender", [ALICE, BOB])
def test_what_is_held_for_another_transfer_is_no_deposit(spender):
    ledger = Ledger("main", {ALICE: 10, BOB: 10})
    contract = ChannelContract(ledger)
    ledger._held.add(spender)
    held = "ledger: what is held for one transfer must not be spent by another"
    refused(contract, held, lambda: contract.open(TERMS, signed(TERMS.opening, *KEYS)), account=spender)
    ledger._held.clear()
    contract.open(TERMS, signed(TERMS.opening, *KEYS))


def test_a_state_0_that_was_withheld_expires():
    """Alice signed, Bob never answered: once the time to open is over, her money is hers again for good."""
    ledger = Ledger("main", {ALICE: 10, BOB: 10})
    contract, terms = ChannelContract(ledger), replace(TERMS, open_before=3)
    alice = ChannelParty(KEYS[0], terms)
    whole = Signed(terms.opening, (alice.sign(terms.opening), signed(terms.opening, KEYS[1]).signatures[0]))
    wait(ledger, 3)
    refused(contract, "open: it must come in time", lambda: contract.open(terms, whole), height=3, before=3)
    assert ledger.balance(ALICE) == 10


def test_an_opening_is_not_replayed_after_the_close():
    ledger, contract, A, _ = opened()
    contract.post(A.posting())
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    again = signed(TERMS.opening, *KEYS)
    refused(contract, "open: channel must be new", lambda: contract.open(TERMS, again), channel=TERMS.channel)


def test_a_chain_has_one_contract():
    ledger, contract, *_ = opened()
    one = "ledger: a chain has one contract of a name"
    refused(contract, one, lambda: ChannelContract(ledger), name="channels")


def test_a_channel_that_is_not_here():
    _, contract, *_ = opened()
    other = replace(TERMS, nonce=9)
    state = signed(other.opening, *KEYS)
    for step in (
        lambda: contract.post(posted(KEYS[0], state)),
        lambda: contract.close_together(signed(Closing(other.opening), *KEYS)),
        lambda: contract.punish(revoked(KEYS[0], 0, other.channel)),
        lambda: contract.settle(other.channel),
        lambda: contract.record(other.channel),
        lambda: ChannelParty(KEYS[0], other).watch(contract),
    ):
        refused(contract, "contract: channel must have been opened here", step, channel=other.channel)


def test_two_channels_keep_their_money_apart():
    ledger, contract, A, _ = opened(replace(TERMS, deposits=(2, 2)))
    second = replace(TERMS, nonce=2, deposits=(3, 1))
    others = ChannelParty(KEYS[0], second), ChannelParty(KEYS[1], second)
    contract.open(second, update_together(others, second.opening))
    assert contract.held == ledger.balance(contract.account) == 8
    contract.post(A.posting())
    wait(ledger, 1)
    contract.post(others[0].posting())
    wait(ledger, PERIOD - 1)
    contract.settle(A.terms.channel)
    assert contract.held == ledger.balance(contract.account) == 4
    with pytest.raises(Rejected, match="settle: a state must be posted, and the deadline past"):
        contract.settle(second.channel)


# Closing


def test_close_together_pays_at_once_and_for_good():
    ledger, contract, A, B = opened()
    state = pay(A, B, 5)
    closing = Signed(Closing(state.body), (A.sign_closing(), B.sign_closing()))
    contract.close_together(closing)
    assert payouts(contract) == (1, 9)
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == [5, 15, 0]
    assert (contract.held, ledger.height) == (0, 0)
    over = "channel must not be paid out"
    refused(contract, f"close: {over}", lambda: contract.close_together(closing))
    refused(contract, f"post: {over}", lambda: contract.post(A.posting()))
    refused(contract, f"settle: {over}", lambda: contract.settle(TERMS.channel))
    late = "punish: it must be in time"
    refused(contract, late, lambda: contract.punish(revoked(KEYS[0], 0)), height=0, deadline=None)


def test_both_may_still_agree_while_one_is_closing():
    _, contract, A, _ = opened()
    contract.post(A.posting())
    contract.close_together(signed(Closing(TERMS.opening), *KEYS))
    assert (payouts(contract), contract.held) == ((6, 4), 0)


def test_a_closing_is_signed_by_both_for_this_channel():
    _, contract, A, _ = opened()
    both, body = "close: both participants must sign the closing", Closing(TERMS.opening)
    whole = signed(body, *KEYS).signatures
    for signatures in (A.newest.signatures, whole[:1], whole[::-1], whole[:1] * 2, (*whole, whole[0])):
        refused(contract, both, lambda s=signatures: contract.close_together(Signed(body, s)))
    rich = signed(Closing(State(TERMS.channel, 1, (9, 9))), *KEYS)
    balanced = "state: balances must add up to the deposits"
    refused(contract, balanced, lambda: contract.close_together(rich), balances=(9, 9))
    as_state = posted(KEYS[0], Signed(TERMS.opening, whole))
    refused(contract, "state: both participants must sign it", lambda: contract.post(as_state))


def test_state_refusals():
    """All the ways in which a state that is posted is none."""
    _, contract, *_ = opened()
    state = State(TERMS.channel, 1, (5, 5))
    good = signed(state, *KEYS)
    first, second = good.signatures
    everyone = "state: both participants must sign it"
    for balances in ((5, 6), (5, 4), (0, 0), (10, 10)):
        rich = posted(KEYS[0], signed(replace(state, balances=balances), *KEYS))
        rule_broken = "state: balances must add up to the deposits"
        refused(contract, rule_broken, lambda r=rich: contract.post(r), balances=balances)
    for signatures in ((first,), (), (first, first), (second, first), (first, second, second), (first, b"")):
        order = posted(KEYS[0], Signed(state, signatures))
        refused(contract, everyone, lambda o=order: contract.post(o))
    for change in ({"balances": (4, 6)}, {"sequence": 2}):
        order = posted(KEYS[0], Signed(replace(state, **change), good.signatures))
        refused(contract, everyone, lambda o=order: contract.post(o))
    contract.post(posted(KEYS[0], good))


def test_only_a_participant_posts_and_in_its_own_name():
    _, contract, A, _ = opened()
    stranger = posted(STRANGER, A.newest)
    refused(contract, "post: poster must take part", lambda: contract.post(stranger), party=MALLORY)
    newer = signed(State(TERMS.channel, 1, (5, 5)), *KEYS)
    for state in (A.newest, newer):
        framed = Signed(Posting(state, ALICE), posted(KEYS[1], state).signatures)
        refused(contract, "post: poster must sign it", lambda f=framed: contract.post(f), party=ALICE)
        if state is A.newest:
            contract.post(posted(KEYS[0], state))


def test_the_challenge_period_from_its_first_to_its_last_block():
    ledger, contract, A, _ = opened(height=2)
    states = [signed(State(TERMS.channel, i, (6 - i, 4 + i)), *KEYS) for i in range(4)]
    unposted, deadline = "settle: a state must be posted, and the deadline past", 2 + PERIOD
    punish, settle = lambda: contract.punish(revoked(KEYS[0], 1)), lambda: contract.settle(TERMS.channel)
    refused(contract, unposted, settle, height=2, deadline=None)
    refused(contract, "punish: it must be in time", punish, height=2, deadline=None)
    contract.post(posted(KEYS[0], states[1]))
    refused(contract, unposted, settle, height=2, deadline=deadline)  # back to back: nobody could have answered
    record = contract.record(TERMS.channel)
    assert (record.deadline, record.postings) == (deadline, (Posting(states[1], ALICE),))
    for old in (0, 1):
        order = posted(KEYS[1], states[old])
        newer = "challenge: state must be newer than the posted"
        refused(contract, newer, lambda o=order: contract.post(o), sequence=old, posted=1)
    wait(ledger, PERIOD - 1)
    contract.post(posted(KEYS[1], states[2]))
    record = contract.record(TERMS.channel)
    assert (record.deadline, [p.state for p in record.postings]) == (deadline, states[1:3])
    refused(contract, unposted, settle, height=11, deadline=deadline)
    wait(ledger, 1)
    late = posted(KEYS[1], states[3])
    refused(contract, "challenge: it must be in time", lambda: contract.post(late), height=12, deadline=12)
    refused(contract, "punish: it must be in time", punish, height=12, deadline=12)
    contract.settle(TERMS.channel)
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == [8, 12, 0]
    assert (contract.held, A.newest.body) == (0, TERMS.opening)


def test_a_stranger_locks_nobody_out():
    """Whatever a stranger calls, and however late: a deadline is not passed by it, and the next step is still taken."""
    ledger, contract, A, B = opened()
    old = A.newest
    pay(A, B, 5)
    contract.post(posted(KEYS[0], old))
    before = seen(contract)
    strange = [
        lambda: contract.settle(TERMS.channel),
        lambda: contract.post(posted(STRANGER, B.newest)),
        lambda: contract.punish(revoked(STRANGER, 10**9)),
        lambda: contract.open(replace(TERMS, nonce=7, open_before=10**9), signed(TERMS.opening, STRANGER)),
        lambda: contract.settle(b"nothing"),
    ]
    for step in strange:
        with pytest.raises(Rejected):
            step()
        with pytest.raises(TypeError, match="now"):
            contract.settle(TERMS.channel, now_s=10**9)
    assert seen(contract) == before
    B.watch(contract)
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    assert payouts(contract) == (0, 10)


def test_money_sent_to_the_contract_is_nobodys_deposit():
    ledger, contract, A, _ = opened()
    assert ledger.apply(sign_transfer(STRANGER, "main", {contract.account: 3}, fee=0, nonce=1)).accepted
    contract.post(A.posting())
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    assert (payouts(contract), contract.held, ledger.balance(contract.account)) == ((6, 4), 0, 3)


def test_a_contract_finds_its_account_opened_by_a_stranger():
    ledger = Ledger("main", {ALICE: 10, BOB: 10, MALLORY: 10})
    account = ChannelContract(Ledger("main", {})).account
    ledger.open(account)
    ledger.apply(sign_transfer(STRANGER, "main", {account: 3}, fee=0, nonce=1))
    contract = ChannelContract(ledger)
    contract.open(TERMS, signed(TERMS.opening, *KEYS))
    assert (contract.account, contract.held, ledger.balance(account), ledger.total) == (account, 10, 13, 30)


# Cheating


def test_a_party_that_posts_what_it_revoked_loses_everything():
    """Poon and Dryja (2016): the other one gets it all."""
    ledger, contract, A, B = opened()
    old = A.newest
    pay(A, B, 5)
    contract.post(posted(KEYS[0], old))
    wait(ledger, PERIOD - 1)
    B.watch(contract)
    record = contract.record(TERMS.channel)
    assert (record.punished, record.postings[-1].state) == ((ALICE,), B.newest)
    B.watch(contract)  # once is enough
    assert contract.record(TERMS.channel) == record
    refused(contract, "punish: once only", lambda: contract.punish(B.evidence), party=ALICE)
    wait(ledger, 1)
    contract.settle(TERMS.channel)
    assert payouts(contract) == (0, 10)


@pytest.mark.parametrize(
    ("punished", "paid"), [((), (1, 9)), ((ALICE,), (0, 10)), ((BOB,), (10, 0)), ((BOB, ALICE), (1, 9))]
)
def test_what_the_punished_lose_goes_to_the_other(punished, paid):
    """Each posts a state that it revoked: where both are punished, the newest posted state is paid as it stands."""
    ledger, contract, *_ = opened()
    states = [signed(State(TERMS.channel, i, (6 - 5 * i, 4 + 5 * i)), *KEYS) for i in (0, 1)]
    for key, state in zip(KEYS, states, strict=True):
        contract.post(posted(key, state))
    for party in punished:
        contract.punish(revoked(KEYS[(ALICE, BOB).index(party)], 1))
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    assert payouts(contract) == paid
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == [4 + paid[0], 6 + paid[1], 0]


def test_anybody_may_show_a_revocation():
    """So one who cannot watch hands over the other's revocation: whoever then posts an old state loses all."""
    ledger, contract, A, B = opened()
    old = A.newest
    pay(A, B, 5)
    contract.post(posted(KEYS[0], old))
    contract.punish(B.evidence)  # by a guard, while Bob sleeps
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    assert payouts(contract) == (0, 10)


def test_a_watcher_leaves_the_newest_state_alone():
    ledger, contract, A, B = opened()
    pay(A, B, 5)
    contract.post(A.posting())
    before = contract.record(TERMS.channel)
    for blocks in (PERIOD - 1, 1, 1):
        wait(ledger, blocks)
        B.watch(contract)
        assert contract.record(TERMS.channel) == before
    contract.settle(TERMS.channel)
    B.watch(contract)
    assert payouts(contract) == (1, 9)


def test_honest_but_late_is_not_punished():
    """Alice signed state 1, never saw it completed, and closes with state 0: replaced, not punished."""
    ledger, contract, A, B = opened()
    state = next_state(TERMS, TERMS.opening, ALICE, 5)
    whole = Signed(state, (A.sign(state), B.sign(state)))
    assert B.complete(whole).body == Revocation(TERMS.channel, BOB, 0)
    contract.post(A.posting())
    B.watch(contract)
    assert A.complete(whole) is None  # what stands on the chain must not be revoked now
    assert A.newest == whole
    wait(ledger, PERIOD)
    contract.settle(TERMS.channel)
    assert (payouts(contract), contract.record(TERMS.channel).punished) == ((1, 9), ())


def test_a_state_completed_after_a_posting_may_still_be_closed_together():
    """Alice signed state 1 and posted state 0; once she holds state 1, both may close with it, unrevoked."""
    _, contract, A, B = opened()
    state = next_state(TERMS, TERMS.opening, ALICE, 5)
    whole = Signed(state, (A.sign(state), B.sign(state)))
    B.complete(whole)
    contract.post(A.posting())
    refused(contract, "party: another state is signed and not completed", A.sign_closing)
    assert A.complete(whole) is None
    contract.close_together(Signed(Closing(state), (A.sign_closing(), B.sign_closing())))
    assert payouts(contract) == (1, 9)


def test_once_a_posting_is_seen_nothing_more_is_signed_or_revoked():
    """Bob would ship goods for a payment in a channel that pays by an older state a moment later."""
    _, contract, A, B = opened()
    state = next_state(TERMS, TERMS.opening, ALICE, 6)
    whole = Signed(state, (signed(state, KEYS[0]).signatures[0], B.sign(state)))
    contract.post(A.posting())
    B.watch(contract)
    assert B.complete(whole) is None
    refused(
        contract,
        "party: nothing is signed after a closing or a posting",
        lambda: B.sign(next_state(TERMS, state, BOB, 1)),
        sequence=2,
    )
    B.watch(contract)
    assert contract.record(TERMS.channel).postings[-1].state == whole


def test_once_a_channel_is_paid_nothing_more_is_signed():
    _, contract, _, B = opened()
    contract.close_together(signed(Closing(TERMS.opening), *KEYS))
    B.watch(contract)
    with pytest.raises(Rejected, match="nothing is signed after"):
        B.sign(next_state(TERMS, TERMS.opening, ALICE, 1))


def test_two_looks_a_whole_period_apart_are_too_far():
    for gap, paid in ((PERIOD - 1, (0, 10)), (PERIOD, (6, 4))):
        ledger, contract, A, B = opened()
        old = A.newest
        pay(A, B, 3)
        B.watch(contract)
        contract.post(posted(KEYS[0], old))
        wait(ledger, gap)
        B.watch(contract)
        wait(ledger, PERIOD - gap)
        contract.settle(TERMS.channel)
        assert payouts(contract) == paid


def test_a_revocation_is_checked():
    _, contract, A, B = opened()
    pay(A, B, 1)
    contract.post(A.posting())
    good = revoked(KEYS[0], 1)
    forged = Signed(good.body, revoked(KEYS[1], 1).signatures)
    moved = Signed(replace(good.body, sequence=2), good.signatures)
    for step in (contract.punish, B.keep):
        for bad in (forged, moved, Signed(good.body, ()), Signed(good.body, good.signatures * 2)):
            rule_broken = "revocation: its party must sign it"
            refused(contract, rule_broken, lambda s=step, b=bad: s(b), party=ALICE)
    for own_or_strange in (revoked(KEYS[1], 1), revoked(STRANGER, 1)):
        party, rule_broken = own_or_strange.body.party, "party: revocation must be the other's"
        refused(contract, rule_broken, lambda r=own_or_strange: B.keep(r), party=party)
    elsewhere = revoked(KEYS[0], 1, b"x")
    refused(contract, "revocation: channel must be this one", lambda: B.keep(elsewhere), channel=b"x")
    never = "punish: party must have posted what it revoked"
    for evidence in (revoked(KEYS[0], 0), revoked(KEYS[1], 1), revoked(STRANGER, 1)):
        party = evidence.body.party
        refused(contract, never, lambda e=evidence: contract.punish(e), party=party)
    contract.punish(good)
    assert contract.record(TERMS.channel).punished == (ALICE,)


def test_a_revocation_does_not_replace_a_later_one():
    *_, B = opened()
    early, late = (revoked(KEYS[0], i) for i in (1, 3))
    for evidence in (early, late, early):
        B.keep(evidence)
    assert B.evidence == late


# A participant's own rules


def test_a_participant_signs_one_state_at_a_time():
    _, contract, A, _ = opened()
    first, other = (next_state(TERMS, TERMS.opening, ALICE, n) for n in (1, 2))

    def declines(rule_broken, state, **values):
        before = inside(A)
        refused(contract, rule_broken, lambda: A.sign(state), **values)
        assert inside(A) == before

    for sequence in (0, 2):
        state = replace(first, sequence=sequence)
        declines("party: sequence must be the next", state, sequence=sequence, next=1)
    rich = replace(first, balances=(5, 6))
    declines("state: balances must add up to the deposits", rich, balances=(5, 6))
    declines("state: channel must be this one", replace(first, channel=b"x"), channel=b"x")
    signature = A.sign(first)
    assert verify_signature(ALICE, digest(first), signature)
    assert A.sign(first) == signature
    another = "party: another state is signed and not completed"
    declines(another, other, sequence=1)
    refused(contract, another, A.sign_closing)
    assert not A.leaving
    half = Signed(first, (signature,))
    refused(contract, "state: both participants must sign it", lambda: A.complete(half))
    assert A.newest.body == TERMS.opening
    whole = signed(first, *KEYS)
    assert A.complete(whole) == revoked(KEYS[0], 0)
    assert (A.newest, A.pending) == (whole, None)
    refused(contract, "party: state must be newer than the newest", lambda: A.complete(whole), sequence=1)
    assert verify_signature(ALICE, digest(Closing(first)), A.sign_closing())
    declines("party: nothing is signed after a closing or a posting", next_state(TERMS, first, BOB, 0), sequence=2)


def test_a_participant_that_posts_signs_no_more():
    _, contract, A, _ = opened()
    A.posting()
    state, rule_broken = (
        next_state(TERMS, TERMS.opening, ALICE, 0),
        "party: nothing is signed after a closing or a posting",
    )
    refused(contract, rule_broken, lambda: A.sign(state), sequence=1)


def test_before_the_opening_nothing_is_risked():
    ledger, contract, *_ = opened()
    terms = replace(TERMS, deposits=(1, 1), nonce=2)
    A = ChannelParty(KEYS[0], terms)
    for step in (A.posting, A.sign_closing):
        refused(contract, "party: the opening must be signed by both first", step)
    assert not A.leaving
    unfair = replace(terms.opening, balances=(0, 2))
    refused(contract, "party: state 0 must return the deposits", lambda: A.sign(unfair))
    # Bob keeps his signature to himself, but the chain must show it: Alice finds it there
    contract.open(terms, Signed(terms.opening, (A.sign(terms.opening), signed(terms.opening, KEYS[1]).signatures[0])))
    A.watch(contract)
    contract.post(A.posting())
    wait(ledger, PERIOD)
    contract.settle(terms.channel)
    assert payouts(contract, terms) == (1, 1)


# Formulas


def test_break_even_is_where_both_ways_cost_the_same():
    formula = channels.break_even_payments
    c_open, c_close, r, V, T, c_on, c_off = formula.symbols.values()
    M, saving = sp.symbols("M saving", positive=True)
    (equal,) = sp.solve(sp.Eq(c_open + c_close + r * V * T + M * c_off, M * c_on), M)
    assert sp.simplify((equal - formula.expr).subs(c_on, c_off + saving)) == 0
    assert sp.limit(formula.expr.subs(c_on, c_off + saving), saving, 0, "+") == sp.oo


@pytest.mark.parametrize("onchain", [30, 29.999, 0, [30, 200]])
def test_no_number_of_payments_pays_where_nothing_is_saved(onchain):
    with pytest.raises(DomainError, match=r"onchain_cost.*offchain_cost"):
        channels.break_even_payments(150, 180, 1e-9, 1e6, 1e6, onchain, 30)


@given(payments=st.floats(1, 1e6), rate=st.floats(1, 1e9), size=st.floats(1, 1e6), share=st.floats(0.01, 0.99))
def test_a_channel_of_one_payment_is_a_bad_channel(payments, rate, size, share):
    throughput = channels.channel_throughput(rate, payments, size * share, size * (1 - share))
    assert throughput == pytest.approx(payments * channels.channel_throughput(rate, 1, size / 2, size / 2), rel=1e-9)
    assert throughput * size == pytest.approx(rate * payments, rel=1e-9)


# The game: one participant keeps to the rules, the other and a stranger call whatever is public

WINDOW, LAST = 4, 6  # blocks of a challenge; height from which on it is too late to open


class _ChannelGame(RuleBasedStateMachine):
    """The honest one is paid what it has signed and not revoked, and money only moves.

    What it has signed and revoked is written down here, as the others see it: not read from its own memory.
    """

    @initialize(
        deposits=st.tuples(*[st.integers(0, 9)] * 2),
        at=st.integers(0, 1),
        withheld=st.integers(0, 3),
        past=st.lists(st.tuples(st.integers(-9, 9), st.booleans()), max_size=3),
    )
    def begin(self, deposits, at, withheld, past):
        self.at, self.cheat = at, KEYS[1 - at]
        self.ledger = Ledger("main", {ALICE: 10, BOB: 10, MALLORY: 10})
        self.contract = ChannelContract(self.ledger)
        self.terms = Terms("main", (ALICE, BOB), deposits, WINDOW, LAST, nonce=1)
        self.honest, self.looked = ChannelParty(KEYS[at], self.terms), 0
        self.states, self.revoked, self.closing = [], -1, None  # signed by both; the last one revoked
        self.messages = []  # postings and revocations of the honest one
        self.left = False  # has signed a closing or a posting, or seen one posted
        self.due = None  # what it had to be paid when it was paid
        self.ask(self.terms.opening)
        if withheld != 1:
            self.open(0)
        if withheld != 2:
            self.complete(0)
            for change, keeps in past:
                self.trade(change, keeps, -change // 2)

    # What the honest one has promised, and was promised

    @property
    def record(self):
        return self.contract._channels.get(self.terms.channel)

    def promised(self):
        return min(s.body.balances[self.at] for s in self.states if s.body.sequence > self.revoked)

    def ask(self, state):
        own = self.honest.sign(state)
        other = signed(state, self.cheat).signatures[0]
        whole = Signed(state, (other, own) if self.at else (own, other))
        if whole not in self.states:
            self.states.append(whole)

    def attempt(self, step):
        """Let anybody try a step: refused, it has changed nothing; and if it pays, it pays what was promised."""
        before, promised = seen(self.contract), self.promised()
        paid_before = self.record is not None and self.record.payouts is not None
        try:
            step()
        except Rejected:
            assert seen(self.contract) == before
        if not paid_before and self.record is not None and self.record.payouts is not None:
            self.due = promised
            assert self.record.payouts[self.at] >= promised
            assert sum(self.record.payouts) == sum(self.terms.deposits)

    def state(self, pick):
        return self.states[-1 - pick % len(self.states)]

    # What anybody may ask the honest one

    @rule(change=st.integers(-9, 9), skew=st.sampled_from([0, 0, 0, 1, -1]), jump=st.sampled_from([1, 1, 1, 0, 2]))
    def propose(self, change, skew, jump):
        newest = self.honest.newest or self.states[0]
        first, second = newest.body.balances
        balances = max(first - change, 0), max(second + change + skew, 0)
        state = State(self.terms.channel, newest.body.sequence + jump, balances)
        pending = [s.body for s in self.states if s.body.sequence > newest.body.sequence]
        fair = sum(balances) == sum(self.terms.deposits) and jump == 1 and self.honest.newest is not None
        if not self.left and ((fair and pending in ([], [state])) or state == self.honest.pending):
            self.ask(state)
        else:
            before = inside(self.honest)
            with pytest.raises(Rejected):
                self.honest.sign(state)
            assert inside(self.honest) == before

    @precondition(lambda self: self.honest.newest and not self.left)
    @rule(change=st.integers(-9, 9), keeps=st.booleans(), again=st.integers(-9, 9))
    def trade(self, change, keeps, again):
        """Two payments as they should be, but for a cheat that may keep its revocations to itself."""
        for amount in (change, again):
            self.propose(amount, 0, 1)
            self.complete(0)
            if not keeps:
                self.hand_over(max(self.revoked, 0), 0)

    @rule(pick=st.integers(0, 3))
    def complete(self, pick):
        state, before = self.state(pick), self.honest.newest
        try:
            revocation = self.honest.complete(state)
        except Rejected:
            assert before is not None
            assert state.body.sequence <= before.body.sequence
            return
        if revocation is not None:
            assert revocation.body.sequence < state.body.sequence
            self.revoked = max(self.revoked, revocation.body.sequence)
            self.messages.append(revocation)

    @rule(sequence=st.integers(0, 4), whose=st.sampled_from([0, 0, 0, 1, 2]))
    def hand_over(self, sequence, whose):
        """A revocation of the cheat's own, or one that is none."""
        key = (self.cheat, STRANGER, self.cheat)[whose]
        evidence = revoked(key, sequence, self.terms.channel)
        if whose == 2:
            evidence = Signed(replace(evidence.body, party=self.honest.public), evidence.signatures)
        if whose == 0:
            self.honest.keep(evidence)
        else:
            with pytest.raises(Rejected):
                self.honest.keep(evidence)

    @rule(rarely=st.integers(0, 3))
    def leave(self, rarely=0):
        if self.honest.newest is not None and not rarely:
            self.left = True
            self.messages.append(self.honest.posting())
            self.propose(0, 0, 1)
            self.attempt(lambda: self.contract.post(self.messages[-1]))

    @precondition(lambda self: self.closing is None)
    @rule(rarely=st.integers(0, 3))
    def agree_to_close(self, rarely):
        if rarely:
            return
        pending = [s for s in self.states if self.honest.newest and s.body.sequence > self.honest.newest.body.sequence]
        if pending or self.honest.newest is None:
            with pytest.raises(Rejected):
                self.honest.sign_closing()
            return
        self.left = True
        closing, own = Closing(self.honest.newest.body), self.honest.sign_closing()
        other = signed(closing, self.cheat).signatures[0]
        self.closing = Signed(closing, (other, own) if self.at else (own, other))
        self.propose(0, 0, 1)  # asked at once for another payment, it declines

    # What anybody may try on the chain

    @rule(pick=st.integers(0, 3))
    def open(self, pick):
        before = self.record
        self.attempt(lambda: self.contract.open(self.terms, self.state(pick)))
        if before is None and self.record is not None:
            assert self.ledger.height < LAST
            assert self.record.opened.body == self.terms.opening

    @rule(pick=st.integers(0, 5), seen=st.booleans(), blocks=st.integers(0, WINDOW))
    def post(self, pick, seen, blocks):
        """Perhaps just after the honest one has looked; accuse it, and settle as soon as the contract allows it."""
        if seen:
            self.look()
        self.attempt(lambda: self.contract.post(posted(self.cheat, self.state(pick))))
        revocations = [m for m in self.messages if isinstance(m.body, Revocation)]
        if revocations:
            self.attempt(lambda: self.contract.punish(revocations[-1]))
        self.settle()
        self.wait(blocks, True)

    @rule(pick=st.integers(0, 3), how=st.integers(0, 5))
    def forge(self, pick, how):
        good, body = self.state(pick), self.state(pick).body
        bad = [
            Signed(replace(body, balances=body.balances[::-1]), good.signatures),
            Signed(replace(body, sequence=body.sequence + 1), good.signatures),
            Signed(body, good.signatures[1 - self.at :] * 2),
            signed(body, self.cheat, self.cheat),
        ]
        if how < 4:
            order = posted(self.cheat, bad[how])
        elif how == 4:
            order = Signed(Posting(good, self.honest.public), posted(self.cheat, good).signatures)
        else:
            order = posted(STRANGER, good)
        if how < 4 and bad[how] == good:
            return
        before = seen(self.contract)
        with pytest.raises(Rejected):
            self.contract.post(order)
        with pytest.raises(Rejected):  # a state is no closing
            self.contract.close_together(Signed(Closing(body), good.signatures))
        assert seen(self.contract) == before

    @precondition(lambda self: self.messages)
    @rule(pick=st.integers(0, 9))
    def use_what_the_honest_one_signed(self, pick):
        message = self.messages[pick % len(self.messages)]
        step = self.contract.post if isinstance(message.body, Posting) else self.contract.punish
        self.attempt(lambda: step(message))

    @precondition(lambda self: self.closing)
    @rule()
    def close_together(self):
        self.attempt(lambda: self.contract.close_together(self.closing))

    @rule()
    def settle(self):
        self.attempt(lambda: self.contract.settle(self.terms.channel))

    @rule(
        key=st.sampled_from([STRANGER, *KEYS]),
        to=st.sampled_from(["contract", "honest", "new"]),
        amount=st.integers(0, 9),
    )
    def transfer(self, key, to, amount):
        """Money may be sent to the contract, but no transfer takes any from it, or from the honest one."""
        if key is KEYS[self.at]:
            order = sign_transfer(self.cheat, "main", {MALLORY: amount}, fee=0, nonce=1)
            stolen = replace(order.body, sender=self.contract.account)
            receipt = self.ledger.apply(Signed(stolen, order.signatures))
            assert not receipt.accepted
        else:
            target = {"contract": self.contract.account, "honest": self.honest.public, "new": bytes([7] * 32)}[to]
            if to == "new" and target not in self.ledger:
                self.ledger.open(target)
            nonce = self.ledger.nonce(public_key(key)) + 1
            self.ledger.apply(sign_transfer(key, "main", {target: amount}, fee=0, nonce=nonce))
        self.look_in_time()

    @rule(blocks=st.integers(1, WINDOW), settles=st.booleans())
    def wait(self, blocks, settles):
        for _ in range(blocks):
            self.ledger.apply_block()
            if settles:
                self.settle()
            self.look_in_time()

    def look_in_time(self):
        """Two looks of the honest one are fewer than WINDOW blocks apart."""
        if self.ledger.height - self.looked >= WINDOW - 1:
            self.look()

    @rule()
    def look(self):
        self.looked = self.ledger.height
        try:
            self.honest.watch(self.contract)
        except Rejected:
            assert self.record is None
        if self.record is not None:
            self.left |= self.record.deadline is not None or self.record.payouts is not None
            posted_by_it = [p for p in self.record.postings if p.party == self.honest.public]
            self.messages += [signed(p, KEYS[self.at]) for p in posted_by_it]

    # What holds after every step

    @invariant()
    def money_only_moves(self):
        assert self.ledger.total == 30
        held = sum(self.terms.deposits) if self.record is not None and self.record.payouts is None else 0
        assert self.contract.held == held <= self.ledger.balance(self.contract.account)

    @invariant()
    def the_honest_one_is_not_punished(self):
        assert self.record is None or self.honest.public not in self.record.punished

    def teardown(self):
        """In the end the honest one gets out alone."""
        if not hasattr(self, "contract") or self.record is None:
            return
        self.look()
        if self.record.payouts is None:
            if self.record.deadline is None:
                self.leave()
            wait(self.ledger, WINDOW)
            self.settle()
        assert self.due is not None
        self.money_only_moves()
        assert self.ledger.balance(self.honest.public) >= 10 - self.terms.deposits[self.at] + self.due


TestChannelGame = _ChannelGame.TestCase
TestChannelGame.settings = settings(max_examples=400, stateful_step_count=25, deadline=None, derandomize=True)
