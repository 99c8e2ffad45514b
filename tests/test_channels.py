"""Chapter 3: payment channels, what the chain makes of them, and routes through many of them."""

import itertools
from dataclasses import replace
from unittest.mock import ANY

import networkx as nx
import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale.crypto import example_key, public_key, sign, verify_signature
from web3scale.errors import DomainError, Rejected
from web3scale.layers import channels
from web3scale.layers.channels import (
    ChannelContract,
    ChannelParty,
    ChannelRecord,
    ChannelState,
    ChannelTerms,
    Edge,
    Posting,
    Revocation,
    SignedState,
    find_route,
    next_state,
    sign_posting,
    sign_revocation,
)
from web3scale.layers.ledger import (
    AccountExists,
    BadAmount,
    BadSignature,
    Ledger,
    Overdraft,
    UnknownAccount,
    WrongChain,
)

KEYS = [example_key(name) for name in ("Alice", "Bob", "Carol")]
ALICE, BOB, CAROL = (public_key(key) for key in KEYS)
STRANGER = example_key("Mallory")
PERIOD = 10


def repr_short(thing):
    return type(thing).__name__


def sign_all(keys, state, closing=False):
    message = state.closing_message if closing else state.message
    return SignedState(state, tuple((public_key(key), sign(key, message)) for key in keys))


def opened(deposits=(6, 4), now_s=0):
    """A contract, terms, keys and parties of an open channel."""
    keys = KEYS[: len(deposits)]
    contract = ChannelContract(Ledger("main", dict.fromkeys(map(public_key, keys), 10)))
    terms = ChannelTerms("main", tuple(map(public_key, keys)), tuple(deposits), PERIOD, nonce=1)
    return contract, terms, keys, channels.open_together(contract, terms, keys, now_s)


def seen(contract):
    """All that a step could change."""
    ledger = contract.ledger
    return contract.now_s, dict(contract._records), [ledger.balance(a) for a in ledger._names]


def refused(contract, refusal, step, **values):
    """A step is refused by exactly this rule, says what broke it, and leaves everything as it was."""
    before = seen(contract)
    with pytest.raises(Rejected) as caught:
        step()
    assert type(caught.value) is refusal
    assert caught.value.values == values
    assert seen(contract) == before


# Vectors from outside: BOLT 7, "Routing Example" (lightning/bolts, CC BY 4.0)

FEES = {"A": (100, 1000, 10), "B": (200, 2000, 20), "C": (300, 3000, 30), "D": (400, 4000, 40)}
BOLT7 = [Edge(*pair, *FEES[pair[0]], 10_000_000) for pair in ("AB", "AD", "BA", "DA", "BC", "DC", "CB", "CD")]


def test_bolt7_through_b():
    route = find_route(BOLT7, "A", "C", 4_999_999, final_cltv=18, shadow_cltv=42)
    assert route.nodes == ("A", "B", "C")
    assert (route.fee_msat, route.amount_msat, route.cltv) == (10_199, 5_010_198, 20 + 18 + 42)
    assert [(hop.amount_msat, hop.cltv) for hop in route.hops] == [(5_010_198, 80), (4_999_999, 60)]


def test_bolt7_through_d():
    without_b = [edge for edge in BOLT7 if "B" not in (edge.source, edge.target)]
    route = find_route(without_b, "A", "C", 4_999_999, final_cltv=18, shadow_cltv=42)
    assert (route.nodes, route.amount_msat, route.cltv) == (("A", "D", "C"), 5_020_398, 40 + 18 + 42)


def test_bolt7_direct_payment_costs_nothing():
    route = find_route(BOLT7, "B", "C", 4_999_999, final_cltv=9, shadow_cltv=42)
    assert (route.nodes, route.amount_msat, route.fee_msat, route.cltv) == (("B", "C"), 4_999_999, 0, 9 + 42)


# Routes


def paid(edges, amount):
    """What the sender of a route pays, and for how many blocks beyond the end; None where it does not fit."""
    blocks = 0
    for edge in reversed(edges[1:]):
        if amount > edge.capacity_msat:
            return None
        amount += edge.base_fee_msat + amount * edge.proportional_millionths // 10**6
        blocks += edge.cltv_delta
    return (amount, blocks) if amount <= edges[0].capacity_msat else None


@st.composite
def networks(draw):
    """Up to two channels each way between any two nodes, some of them too small for the payment."""
    nodes = "ABCDE"[: draw(st.integers(2, 5))]
    edges = []
    for pair in itertools.permutations(nodes, 2):
        for _ in range(draw(st.sampled_from([1, 0, 0, 2]))):
            fee, share, blocks = draw(st.integers(0, 30)), draw(st.integers(0, 400_000)), draw(st.integers(0, 9))
            edges.append(Edge(*pair, fee, share, blocks, draw(st.sampled_from([9_999, 160, 60]))))
    return nodes, edges


@settings(max_examples=400)
@given(network=networks(), amount=st.integers(1, 150))
def test_routes_are_those_of_brute_force(network, amount):
    """All simple paths are listed by networkx, parallel channels apart."""
    nodes, edges = network
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(nodes)
    for number, edge in enumerate(edges):
        graph.add_edge(edge.source, edge.target, key=number)
    ends = nodes[0], nodes[-1]
    ways = [[edges[key] for _, _, key in path] for path in nx.all_simple_edge_paths(graph, *ends)]
    found = {tuple(way): paid(way, amount) for way in ways}
    possible = {way: cost for way, cost in found.items() if cost is not None}
    if not possible:
        with pytest.raises(channels.NoRoute) as caught:
            find_route(edges, *ends, amount, final_cltv=7)
        assert caught.value.values == {"sender": ends[0], "recipient": ends[1], "amount_msat": amount}
        return
    route = find_route(edges, *ends, amount, final_cltv=7, shadow_cltv=3)
    cost, blocks = possible[tuple(hop.edge for hop in route.hops)]
    assert cost == min(price for price, _ in possible.values()) == route.amount_msat
    assert route.cltv == blocks + 7 + 3
    assert route.fee_msat == cost - amount
    assert route.hops[-1].amount_msat == amount
    assert (route.nodes[0], route.nodes[-1]) == ends
    assert all(hop.amount_msat <= hop.edge.capacity_msat for hop in route.hops)
    for here, ahead in itertools.pairwise(route.hops):
        assert here.amount_msat - ahead.amount_msat == ahead.edge.fee(ahead.amount_msat)
        assert here.cltv - ahead.cltv == ahead.edge.cltv_delta


def test_a_fee_is_taken_on_the_fees_further_on():
    edges = [Edge(*pair, 100, 500_000, 7, 10_000) for pair in ("AB", "BC", "CD", "DE")]
    route = find_route(edges, "A", "E", 1000, final_cltv=3)
    assert [hop.amount_msat for hop in route.hops] == [3850, 2500, 1600, 1000]
    assert [hop.cltv for hop in route.hops] == [24, 17, 10, 3]


def test_the_delay_of_the_sender_does_not_count():
    edges = [Edge("A", "B", 0, 0, 99, 9), Edge("B", "C", 1, 0, 20, 9), Edge("A", "D", 0, 0, 0, 9)]
    assert find_route([*edges, Edge("D", "C", 1, 0, 30, 9)], "A", "C", 5, final_cltv=0).nodes == ("A", "B", "C")


def test_of_two_equally_cheap_routes_the_shorter_wait():
    edges = [Edge("A", "B", 0, 0, 0, 9), Edge("B", "C", 1, 0, 30, 9), Edge("B", "C", 1, 0, 20, 9)]
    assert find_route(edges, "A", "C", 5, final_cltv=0).cltv == 20
    assert find_route(edges[::-1], "A", "C", 5, final_cltv=0).cltv == 20


def test_capacity_is_reached_but_not_passed():
    edges = [Edge("A", "B", 0, 0, 0, 12), Edge("B", "C", 2, 0, 0, 10)]
    assert find_route(edges, "A", "C", 10, final_cltv=0).amount_msat == 12
    for short in (replace(edges[0], capacity_msat=11), edges[1]), (edges[0], replace(edges[1], capacity_msat=9)):
        with pytest.raises(channels.NoRoute):
            find_route(short, "A", "C", 10, final_cltv=0)


@pytest.mark.parametrize(
    ("ends", "amount", "cltv", "word"),
    [
        (("A", "A"), 1, {"final_cltv": 0}, "recipient"),
        (("A", "C"), 0, {"final_cltv": 0}, "amount_msat"),
        (("A", "C"), 1.0, {"final_cltv": 0}, "amount_msat"),
        (("A", "C"), 1, {"final_cltv": -1}, "final_cltv"),
        (("A", "C"), 1, {"final_cltv": 0, "shadow_cltv": -1}, "shadow_cltv"),
    ],
)
def test_route_arguments(ends, amount, cltv, word):
    with pytest.raises(DomainError, match=word):
        find_route(BOLT7, *ends, amount, **cltv)


@pytest.mark.parametrize("field", ["base_fee_msat", "proportional_millionths", "cltv_delta", "capacity_msat"])
def test_edges_hold_natural_numbers(field):
    assert getattr(replace(BOLT7[0], **{field: 0}), field) == 0
    for wrong in (-1, 1.0):
        with pytest.raises(DomainError, match=field):
            replace(BOLT7[0], **{field: wrong})


# What is signed


def test_messages_of_different_meaning_differ():
    state = ChannelState(bytes(32), 5, (6, 4))
    signed = SignedState(state, ())
    messages = [
        state.message,
        state.closing_message,
        replace(state, channel=b"1" * 32).message,
        replace(state, sequence=6).message,
        replace(state, balances=(4, 6)).message,
        *(replace(state, balances=(6, *rest)).message for rest in itertools.permutations((1, 3))),
        *(replace(state, balances=(6, *rest)).closing_message for rest in itertools.permutations((1, 3))),
        replace(state, channel=b"1" * 32).closing_message,
        replace(state, sequence=6).closing_message,
        Posting(signed, ALICE).message,
        Posting(signed, BOB).message,
        Posting(replace(signed, state=replace(state, sequence=6)), ALICE).message,
        Revocation(bytes(32), ALICE, 5).message,
        Revocation(bytes(32), BOB, 5).message,
        Revocation(bytes(32), ALICE, 6).message,
        Revocation(b"1" * 32, ALICE, 5).message,
    ]
    assert len(set(messages)) == len(messages)
    assert replace(state, balances=(5, 5)).closing_message != state.closing_message


def test_the_name_of_a_channel_depends_on_every_term():
    terms = ChannelTerms("main", (ALICE, BOB), (6, 4), PERIOD, nonce=1)
    others = [
        replace(terms, chain="test"),
        replace(terms, participants=(BOB, ALICE)),
        replace(terms, deposits=(4, 6)),
        replace(terms, challenge_s=11),
        replace(terms, nonce=2),
    ]
    assert len({t.channel for t in [terms, *others]}) == 6
    assert terms.opening == ChannelState(terms.channel, 0, (6, 4))


# Updates


@given(
    deposits=st.lists(st.integers(1, 20), min_size=2, max_size=4),
    data=st.data(),
)
def test_an_update_moves_money_and_makes_none(deposits, data):
    parties = tuple(public_key(example_key(str(i))) for i in range(len(deposits)))
    terms = ChannelTerms("main", parties, tuple(deposits), PERIOD, nonce=1)
    changes = {party: data.draw(st.integers(-25, 25)) for party in parties[: data.draw(st.integers(0, len(parties)))]}
    balances = [have + changes.get(party, 0) for party, have in zip(parties, deposits, strict=True)]
    if sum(changes.values()) != 0 or min(balances) < 0:
        with pytest.raises(Rejected) as caught:
            next_state(terms, terms.opening, changes)
        total = sum(changes.values())
        rule_broken = (channels.Unbalanced, {"total": total}) if total else (Overdraft, {"balance": min(balances)})
        assert (type(caught.value), caught.value.values) == rule_broken
    else:
        state = next_state(terms, terms.opening, changes)
        assert state == ChannelState(terms.channel, 1, tuple(balances))
        assert sum(state.balances) == terms.total
    assert terms.opening.balances == tuple(deposits)


def test_update_refusals():
    contract, terms, _, _ = opened()
    state = terms.opening
    for refusal, changes, values in [
        (channels.UnknownParticipant, {ALICE: -1, CAROL: 1}, {"party": CAROL}),
        (channels.Unbalanced, {ALICE: -1, BOB: 2}, {"total": 1}),
        (channels.Unbalanced, {ALICE: -1}, {"total": -1}),
        (Overdraft, {ALICE: 5, BOB: -5}, {"balance": -1}),
        (BadAmount, {ALICE: -1.0, BOB: 1.0}, {"change": -1.0}),
        (BadAmount, {ALICE: True, BOB: -1}, {"change": True}),
    ]:
        refused(contract, refusal, lambda c=changes: next_state(terms, state, c), **values)
    assert next_state(terms, state, {ALICE: -6, BOB: 6}).balances == (0, 10)


def test_update_together_signs_nothing_if_refused():
    _, terms, _, parties = opened()
    parties[1].sign_closing()
    with pytest.raises(channels.ChannelClosed):
        channels.update_together(parties, {ALICE: -1, BOB: 1})
    assert parties[0].pending is None
    assert parties[0].newest.state == terms.opening


# Opening


def test_opening_takes_the_deposits():
    contract, terms, _, parties = opened((6, 4, 1))
    assert [contract.ledger.balance(a) for a in (ALICE, BOB, CAROL)] == [4, 6, 9]
    assert contract.held == terms.total == 11
    assert [p.newest.state for p in parties] == [terms.opening] * 3
    assert contract.record(terms.channel) == ChannelRecord(terms, parties[0].newest)


def test_opening_refusals():
    contract, terms, keys, _ = opened(now_s=5)
    good = replace(terms, nonce=2)

    def attempt(terms, keys=keys, state=None):
        signed = sign_all(keys, state or terms.opening)
        return lambda: contract.open(terms, signed, 5)

    for refusal, bad, values in [
        (WrongChain, replace(good, chain="test"), {"chain": "test"}),
        (channels.BadParticipants, replace(good, participants=(), deposits=()), {"parties": 0}),
        (channels.BadParticipants, replace(good, participants=(ALICE,), deposits=(6,)), {"parties": 1}),
        (channels.BadParticipants, replace(good, participants=(ALICE, ALICE)), {"parties": 2}),
        (channels.BadParticipants, replace(good, deposits=(6,)), {"deposits": 1}),
        (BadAmount, replace(good, deposits=(6, 0)), {"deposit": 0}),
        (channels.BadPeriod, replace(good, challenge_s=0), {"challenge_s": 0}),
        (channels.ChannelExists, terms, {"channel": terms.channel}),
        (Overdraft, replace(good, deposits=(5, 1)), {"balance": 4, "deposit": 5}),
        (Overdraft, replace(good, deposits=(1, 7)), {"balance": 6, "deposit": 7}),
    ]:
        refused(contract, refusal, attempt(bad), **values)
    # what has no bytes cannot be signed, but can be sent
    unsigned = SignedState(terms.opening, ())
    for refusal, bad, values in [
        (BadAmount, replace(good, deposits=(6, -1)), {"deposit": -1}),
        (BadAmount, replace(good, deposits=(6, 1.0)), {"deposit": 1.0}),
        (channels.BadPeriod, replace(good, challenge_s=-1), {"challenge_s": -1}),
        (channels.BadPeriod, replace(good, challenge_s=1.0), {"challenge_s": 1.0}),
    ]:
        refused(contract, refusal, lambda b=bad: contract.open(b, unsigned, 5), **values)
    small = replace(good, deposits=(2, 2))
    later = ChannelState(small.channel, 1, small.deposits)
    refused(contract, channels.StaleSequence, attempt(small, state=later), sequence=1)
    refused(contract, channels.MissingSignature, attempt(small, keys[:1]), party=BOB)
    refused(contract, channels.UnknownParticipant, attempt(small, [*keys, STRANGER]), party=public_key(STRANGER))
    poor = replace(good, participants=(ALICE, CAROL), deposits=(1, 1))
    refused(contract, UnknownAccount, attempt(poor, [KEYS[0], KEYS[2]]), account=CAROL)
    attempt(small)()
    assert contract.held == 14
    rest = replace(good, deposits=(2, 4))  # all that is left
    attempt(rest)()
    assert (contract.held, contract.ledger.total) == (20, 0)


def test_an_opening_is_not_replayed_after_the_close():
    contract, terms, keys, parties = opened()
    contract.close(parties[0].posting(), 0)
    contract.settle(terms.channel, PERIOD)
    refused(
        contract,
        channels.ChannelExists,
        lambda: contract.open(terms, sign_all(keys, terms.opening), PERIOD),
        channel=terms.channel,
    )


def test_time_does_not_run_backwards():
    contract, terms, keys, parties = opened(now_s=5)
    closing = sign_all(keys, terms.opening, closing=True)
    before = seen(contract)
    steps = {
        "open": lambda: contract.open(replace(terms, nonce=2), parties[0].newest, 4),
        "close_together": lambda: contract.close_together(closing, 4),
        "close": lambda: contract.close(parties[0].posting(), 4),
        "challenge": lambda: contract.challenge(parties[0].posting(), 4),
        "punish": lambda: contract.punish(sign_revocation(keys[0], terms.channel, 0), 4),
        "settle": lambda: contract.settle(terms.channel, 4),
    }
    for name, step in steps.items():
        with pytest.raises(DomainError, match=f"ChannelContract.{name}: now_s must be an integer of at least 5, got 4"):
            step()
    with pytest.raises(DomainError):
        contract.settle(terms.channel, 5.0)
    assert seen(contract) == before


# Closing


def test_close_together_pays_at_once():
    contract, terms, _, parties = opened()
    channels.update_together(parties, {ALICE: -5, BOB: 5})
    closing = SignedState(parties[0].newest.state, tuple((p.public, p.sign_closing()) for p in parties))
    assert contract.close_together(closing, 3) == (1, 9)
    assert [contract.ledger.balance(a) for a in (ALICE, BOB)] == [5, 15]
    assert (contract.held, contract.now_s, contract.record(terms.channel).payouts) == (0, 3, (1, 9))
    for step in (
        lambda: contract.close_together(closing, 3),
        lambda: contract.close(parties[0].posting(), 3),
        lambda: contract.challenge(parties[0].posting(), 3),
        lambda: contract.punish(sign_revocation(KEYS[0], terms.channel, 1), 3),
        lambda: contract.settle(terms.channel, 3),
    ):
        refused(contract, channels.ChannelClosed, step, payouts=(1, 9))


def test_a_state_is_no_closing_and_a_closing_no_state():
    contract, terms, keys, _ = opened()
    as_state, as_closing = sign_all(keys, terms.opening), sign_all(keys, terms.opening, closing=True)
    refused(contract, BadSignature, lambda: contract.close_together(as_state, 0), party=ALICE)
    refused(contract, BadSignature, lambda: contract.close(sign_posting(keys[0], as_closing), 0), party=ALICE)


def test_once_a_posting_is_seen_nothing_more_is_signed_or_revoked():
    """Bob would ship goods for a payment in a channel that pays by an older state a second later."""
    contract, terms, _, (alice, bob) = opened()
    contract.close(alice.posting(), 0)
    bob.watch(contract, 9)
    state = next_state(terms, terms.opening, {ALICE: -6, BOB: 6})
    with pytest.raises(channels.ChannelClosed):
        bob.sign(state)
    assert contract.settle(terms.channel, 10) == (6, 4)


def test_what_is_completed_after_a_posting_was_seen_is_not_revoked_for():
    contract, terms, keys, (alice, bob) = opened()
    state = next_state(terms, terms.opening, {ALICE: -2, BOB: 2})
    signed = SignedState(state, ((ALICE, sign(keys[0], state.message)), (BOB, bob.sign(state))))
    contract.close(alice.posting(), 0)
    bob.watch(contract, 5)
    assert bob.complete(signed) is None
    bob.watch(contract, 9)
    assert contract.settle(terms.channel, 10) == (4, 6)


def test_two_looks_a_whole_period_apart_are_too_far():
    for gap, paid in ((PERIOD - 1, (0, 10)), (PERIOD, (6, 4))):
        contract, terms, keys, (alice, bob) = opened()
        old = alice.newest
        channels.update_together((alice, bob), {ALICE: -3, BOB: 3})
        bob.watch(contract, 0)
        contract.close(sign_posting(keys[0], old), 0)
        bob.watch(contract, gap)
        assert contract.settle(terms.channel, PERIOD) == paid


def test_what_could_still_change_is_refused():
    contract, terms, keys, (alice, bob) = opened()
    loose = replace(terms.opening, balances=[6, 4])
    posting = sign_posting(keys[0], SignedState(loose, alice.newest.signatures))
    refused(contract, channels.BadForm, lambda: contract.close(posting, 0), balances=[6, 4])
    with pytest.raises(channels.BadForm):
        bob.sign(ChannelState(terms.channel, 1, [5, 5]))
    signed = sign_all(keys, next_state(terms, terms.opening, {ALICE: -1, BOB: 1}))
    bob.sign(signed.state)
    for signatures in (list(signed.signatures), iter(signed.signatures), None, (None,), ((ALICE,),), ([ALICE, b""],)):
        with pytest.raises(channels.BadForm):
            bob.complete(replace(signed, signatures=signatures))
    assert bob.newest.state.sequence == 0
    assert bob.complete(signed) is not None


def test_a_digest_is_of_what_the_state_says_now():
    state = ChannelState(bytes(32), 1, (6, 4))
    other = replace(state, balances=(4, 6))
    vars(other)["message"] = state.message
    assert other.message != state.message


@pytest.mark.parametrize(
    "thing", [None, 7, "state", [], {}, ANY, np.array([1, 2]), object.__new__(Posting)], ids=repr_short
)
def test_what_is_no_message_is_refused(thing):
    contract, terms, keys, (alice, _) = opened()
    signed, posting = alice.newest, alice.posting()
    revocation = sign_revocation(keys[0], terms.channel, 0)
    for step in [
        lambda: contract.close(thing, 0),
        lambda: contract.challenge(thing, 0),
        lambda: contract.punish(thing, 0),
        lambda: contract.settle(thing, 0),
        lambda: contract.record(thing),
        lambda: contract.close_together(thing, 0),
        lambda: contract.open(thing, signed, 0),
        lambda: contract.open(replace(terms, nonce=2), thing, 0),
        lambda: contract.close(replace(posting, signed=thing), 0),
        lambda: contract.close(replace(posting, party=thing), 0),
        lambda: contract.close(replace(posting, signed=replace(signed, state=thing)), 0),
        lambda: contract.close(replace(posting, signed=replace(signed, signatures=thing)), 0),
        lambda: contract.close(replace(posting, signed=replace(signed, state=replace(signed.state, channel=thing))), 0),
        lambda: contract.close(
            replace(posting, signed=replace(signed, state=replace(signed.state, balances=thing))), 0
        ),
        lambda: contract.punish(replace(revocation, party=thing), 0),
        lambda: contract.punish(replace(revocation, channel=thing), 0),
        lambda: alice.keep(replace(revocation, channel=thing)),
        lambda: contract.open(replace(terms, chain=thing, nonce=2), signed, 0),
        lambda: contract.open(replace(terms, nonce=2), replace(signed, state=replace(signed.state, sequence=thing)), 0),
        lambda: channels.check_terms(replace(terms, participants=thing), "main"),
        lambda: channels.check_terms(replace(terms, participants=(thing, BOB)), "main"),
        lambda: channels.check_terms(replace(terms, chain=thing), "main"),
    ]:
        before = seen(contract)
        with pytest.raises(Rejected):
            step()
        assert seen(contract) == before


@pytest.mark.parametrize("nonce", [None, -1, True, 1.5])
def test_the_nonce_of_a_channel_is_a_natural_number(nonce):
    _, terms, _, _ = opened()
    with pytest.raises(channels.BadForm, match="nonce must be a natural number"):
        channels.check_terms(replace(terms, nonce=nonce), "main")


def test_a_truth_value_is_no_number():
    _, terms, _, _ = opened((1, 1))
    with pytest.raises(BadAmount):
        channels.check_state(terms, replace(terms.opening, balances=(True, True)))
    with pytest.raises(channels.StaleSequence):
        channels.check_state(terms, replace(terms.opening, sequence=True))
    with pytest.raises(channels.StaleSequence):
        channels.check_revocation(terms, Revocation(terms.channel, ALICE, True, b""))
    with pytest.raises(BadAmount):
        channels.check_terms(replace(terms, deposits=(True, 1)), "main")
    with pytest.raises(channels.BadPeriod):
        channels.check_terms(replace(terms, challenge_s=True), "main")
    for change in ({"participants": [ALICE, BOB]}, {"deposits": [1, 1]}):
        with pytest.raises(channels.BadParticipants):
            channels.check_terms(replace(terms, **change), "main")


def test_a_period_too_long_to_print_is_refused_in_words():
    contract, terms, keys, _ = opened((2, 2))
    long = replace(terms, challenge_s=10**5000, nonce=2)
    parties = channels.open_together(contract, long, keys, 0)
    contract.close(parties[0].posting(), 0)
    refused(contract, channels.TooEarly, lambda: contract.settle(long.channel, 5), now_s=5)


def test_a_chain_has_one_contract():
    contract, *_ = opened()
    with pytest.raises(AccountExists):
        ChannelContract(contract.ledger)


def test_an_update_needs_all_participants_once_each():
    _, _, _, (alice, bob) = opened()
    for parties in ((), (alice,), (alice, alice)):
        with pytest.raises(channels.BadParticipants, match="all participants"):
            channels.update_together(parties, {ALICE: -1, BOB: 1})
    assert alice.pending is None
    assert channels.update_together((bob, alice), {ALICE: -1, BOB: 1}).state.balances == (5, 5)


def test_a_fee_of_64_bits_does_not_wrap():
    edge = Edge("B", "C", 0, np.int64(10**6), 0, np.int64(2**62))
    assert edge.fee(10**13) == 10**13


def test_state_refusals():
    """All the ways in which a state that is posted, or signed as a closing, is none."""
    contract, terms, keys, _ = opened()
    state = ChannelState(terms.channel, 1, (5, 5))
    good = sign_all(keys, state)
    (alice, bob) = good.signatures
    forged = (BOB, sign(keys[1], b"something else"))
    for refusal, signed, values in [
        (channels.WrongChannel, sign_all(keys, replace(state, channel=bytes(32))), {"channel": bytes(32)}),
        (channels.Unbalanced, sign_all(keys, replace(state, balances=(5, 6))), {"balances": (5, 6)}),
        (channels.Unbalanced, sign_all(keys, replace(state, balances=(5, 4))), {"balances": (5, 4)}),
        (channels.Unbalanced, sign_all(keys, replace(state, balances=(10,))), {"balances": (10,)}),
        (channels.Unbalanced, sign_all(keys, replace(state, balances=(5, 5, 0))), {"balances": (5, 5, 0)}),
        (Overdraft, replace(good, state=replace(state, balances=(11, -1))), {"balance": -1}),
        (BadAmount, replace(good, state=replace(state, balances=(5.0, 5))), {"balance": 5.0}),
        (channels.MissingSignature, replace(good, signatures=(alice,)), {"party": BOB}),
        (channels.MissingSignature, replace(good, signatures=()), {"party": ALICE}),
        (channels.RepeatedSignature, replace(good, signatures=(alice, alice)), {"party": ALICE}),
        (channels.RepeatedSignature, replace(good, signatures=(alice, bob, bob)), {"party": BOB}),
        (BadSignature, replace(good, signatures=(alice, forged)), {"party": BOB}),
        (BadSignature, replace(good, signatures=(alice, (BOB, alice[1]))), {"party": BOB}),
        (BadSignature, replace(good, signatures=(alice, (BOB, b""))), {"party": BOB}),
        (BadSignature, replace(good, state=replace(state, balances=(4, 6))), {"party": ALICE}),
        (BadSignature, replace(good, state=replace(state, sequence=2)), {"party": ALICE}),
    ]:
        with pytest.raises(refusal) as caught:
            channels.check_signed(terms, signed)
        assert (type(caught.value), caught.value.values) == (refusal, values)
        try:
            posting = sign_posting(keys[0], signed)
        except DomainError:  # a number without bytes
            posting = Posting(signed, ALICE, b"")
        refused(contract, refusal, lambda p=posting: contract.close(p, 0), **values)
    stranger = sign_all([*keys, STRANGER], state)
    refused(
        contract,
        channels.UnknownParticipant,
        lambda: contract.close(sign_posting(keys[0], stranger), 0),
        party=public_key(STRANGER),
    )
    for sequence in (-1, 1.0):
        with pytest.raises(channels.StaleSequence) as caught:
            channels.check_state(terms, replace(state, sequence=sequence))
        assert caught.value.values == {"sequence": sequence}
    closing = sign_all(keys, replace(state, balances=(5, 6)), closing=True)
    refused(contract, channels.Unbalanced, lambda: contract.close_together(closing, 0), balances=(5, 6))
    half = sign_all(keys[:1], state, closing=True)
    refused(contract, channels.MissingSignature, lambda: contract.close_together(half, 0), party=BOB)


def test_only_a_participant_posts_and_in_its_own_name():
    contract, terms, keys, _ = opened()
    signed = sign_all(keys, terms.opening)
    stranger = sign_posting(STRANGER, signed)
    refused(contract, channels.UnknownParticipant, lambda: contract.close(stranger, 0), party=public_key(STRANGER))
    framed = replace(sign_posting(keys[1], signed), party=ALICE)
    refused(contract, BadSignature, lambda: contract.close(framed, 0), party=ALICE)
    contract.close(sign_posting(keys[0], signed), 0)
    newer = sign_all(keys, ChannelState(terms.channel, 1, (6, 4)))
    framed = replace(sign_posting(keys[1], newer), party=ALICE)
    refused(contract, BadSignature, lambda: contract.challenge(framed, 0), party=ALICE)


def test_the_challenge_period_from_its_first_to_its_last_second():
    contract, terms, keys, parties = opened()
    states = [sign_all(keys, ChannelState(terms.channel, i, (6 - i, 4 + i))) for i in range(4)]
    newer = sign_posting(keys[1], states[1])
    channel = terms.channel
    refused(contract, channels.NotClosing, lambda: contract.challenge(newer, 2), channel=channel)
    refused(contract, channels.NotClosing, lambda: contract.settle(channel, 2), channel=channel)
    revocation = sign_revocation(keys[0], channel, 0)
    refused(contract, channels.NotClosing, lambda: contract.punish(revocation, 2), channel=channel)
    contract.close(sign_posting(keys[0], states[1]), 2)
    record = contract.record(channel)
    assert (record.deadline_s, record.postings[-1].signed, contract.now_s) == (2 + PERIOD, states[1], 2)
    refused(contract, channels.ChannelClosed, lambda: contract.close(newer, 2), deadline_s=12)
    refused(contract, channels.StaleSequence, lambda: contract.challenge(newer, 3), sequence=1)
    old = sign_posting(keys[1], states[0])
    refused(contract, channels.StaleSequence, lambda: contract.challenge(old, 3), sequence=0)
    contract.challenge(sign_posting(keys[1], states[2]), 11)
    record = contract.record(channel)
    assert (record.deadline_s, len(record.postings), record.postings[-1].signed) == (12, 2, states[2])
    refused(contract, channels.TooEarly, lambda: contract.settle(channel, 11), now_s=11)
    late = sign_posting(keys[1], states[3])
    refused(contract, channels.TooLate, lambda: contract.challenge(late, 12), now_s=12)
    refused(contract, channels.TooLate, lambda: contract.punish(revocation, 12), now_s=12)
    assert contract.settle(channel, 12) == (4, 6)
    assert [contract.ledger.balance(a) for a in (ALICE, BOB)] == [8, 12]
    assert contract.held == 0
    assert parties[0].newest.state == terms.opening


def test_all_may_still_agree_while_one_is_closing():
    contract, terms, keys, parties = opened()
    contract.close(parties[0].posting(), 0)
    assert contract.close_together(sign_all(keys, terms.opening, closing=True), 1) == (6, 4)
    assert contract.held == 0


def test_a_channel_that_is_not_here():
    contract, terms, keys, _ = opened()
    other = replace(terms, nonce=9)
    signed = sign_all(keys, other.opening)
    for step in (
        lambda: contract.close(sign_posting(keys[0], signed), 0),
        lambda: contract.challenge(sign_posting(keys[0], signed), 0),
        lambda: contract.close_together(sign_all(keys, other.opening, closing=True), 0),
        lambda: contract.punish(sign_revocation(keys[0], other.channel, 0), 0),
        lambda: contract.settle(other.channel, 0),
        lambda: contract.record(other.channel),
    ):
        refused(contract, channels.WrongChannel, step, channel=other.channel)


def test_two_channels_keep_their_money_apart():
    contract, terms, keys, parties = opened((2, 2))
    second = replace(terms, nonce=2, deposits=(3, 1))
    others = channels.open_together(contract, second, keys, 0)
    assert contract.held == 8
    contract.close(parties[0].posting(), 0)
    contract.close(others[0].posting(), 1)
    assert contract.settle(terms.channel, 10) == (2, 2)
    assert contract.held == 4
    refused(contract, channels.TooEarly, lambda: contract.settle(second.channel, 10), now_s=10)


# Cheating


def test_who_posts_what_it_revoked_loses_everything():
    """Poon and Dryja (2016), the case of two parties: the other one gets it all."""
    contract, terms, keys, (alice, bob) = opened()
    old = alice.newest
    channels.update_together((alice, bob), {ALICE: -5, BOB: 5})
    contract.close(sign_posting(keys[0], old), 0)
    bob.watch(contract, 9)
    record = contract.record(terms.channel)
    assert (record.punished, record.postings[-1].signed) == ((ALICE,), bob.newest)
    bob.watch(contract, 9)  # once is enough
    assert contract.record(terms.channel) == record
    refused(contract, channels.AlreadyPunished, lambda: contract.punish(bob.revocations[ALICE], 9), party=ALICE)
    assert contract.settle(terms.channel, 10) == (0, 10)


def test_a_watcher_leaves_the_newest_state_alone():
    contract, terms, _, (alice, bob) = opened()
    channels.update_together((alice, bob), {ALICE: -5, BOB: 5})
    contract.close(alice.posting(), 0)
    before = contract.record(terms.channel)
    bob.watch(contract, 9)
    bob.watch(contract, 10)
    assert contract.record(terms.channel) == before
    assert contract.settle(terms.channel, 10) == (1, 9)
    bob.watch(contract, 11)
    assert contract.record(terms.channel).payouts == (1, 9)


def test_honest_but_late_is_not_punished():
    """Alice signed state 1, never saw it completed, and closes with state 0: replaced, not punished."""
    contract, terms, _, (alice, bob) = opened()
    state = next_state(terms, terms.opening, {ALICE: -5, BOB: 5})
    signed = SignedState(state, ((ALICE, alice.sign(state)), (BOB, bob.sign(state))))
    assert bob.complete(signed).sequence == 0
    contract.close(alice.posting(), 0)
    bob.watch(contract, 1)
    assert alice.complete(signed) is None  # what stands on the chain must not be revoked now
    assert alice.newest == signed
    assert contract.settle(terms.channel, 10) == (1, 9)


def test_a_revocation_is_checked():
    contract, terms, keys, (alice, bob) = opened()
    channels.update_together((alice, bob), {ALICE: -1, BOB: 1})
    contract.close(alice.posting(), 0)
    channel = terms.channel
    good = sign_revocation(keys[0], channel, 1)
    forged = replace(sign_revocation(keys[1], channel, 1), party=ALICE)
    stranger = sign_revocation(STRANGER, channel, 1)
    for step in (lambda r: contract.punish(r, 1), lambda r: bob.keep(r)):
        refused(contract, BadSignature, lambda s=step: s(forged), party=ALICE)
        refused(contract, BadSignature, lambda s=step: s(replace(good, sequence=2)), party=ALICE)
        refused(contract, channels.UnknownParticipant, lambda s=step: s(stranger), party=public_key(STRANGER))
        for wrong in (-1, 1.0):
            bad = replace(good, sequence=wrong)
            refused(contract, channels.StaleSequence, lambda s=step, b=bad: s(b), sequence=wrong)
    refused(contract, channels.WrongChannel, lambda: bob.keep(replace(good, channel=b"x")), channel=b"x")
    of_the_one_before = sign_revocation(keys[0], channel, 0)
    refused(contract, channels.NotRevoked, lambda: contract.punish(of_the_one_before, 1), sequence=0)
    of_another = sign_revocation(keys[1], channel, 1)
    refused(contract, channels.NotRevoked, lambda: contract.punish(of_another, 1), sequence=1)
    contract.punish(good, 1)
    assert contract.record(channel).punished == (ALICE,)


def test_a_revocation_does_not_replace_a_later_one():
    _, terms, keys, (_, bob) = opened()
    early, late = (sign_revocation(keys[0], terms.channel, i) for i in (1, 3))
    for revocation in (early, late, early):
        bob.keep(revocation)
    assert bob.revocations == {ALICE: late}


def test_a_revoked_challenge_is_punished_too_and_the_newest_state_decides():
    contract, terms, keys, parties = opened((5, 5, 5))
    states = [parties[0].newest]
    for changes in ({ALICE: -2, BOB: 2}, {BOB: -1, CAROL: 1}):
        states.append(channels.update_together(parties, changes))
    contract.close(sign_posting(keys[0], states[0]), 0)
    contract.challenge(sign_posting(keys[1], states[1]), 1)
    parties[2].watch(contract, 2)
    record = contract.record(terms.channel)
    assert set(record.punished) == {ALICE, BOB}
    assert [p.signed for p in record.postings] == states
    assert contract.settle(terms.channel, 10) == (0, 0, 15)


@given(
    balances=st.lists(st.integers(0, 30), min_size=2, max_size=5).filter(any),
    data=st.data(),
)
def test_what_the_punished_lose_goes_to_the_others(balances, data):
    names = [public_key(example_key(str(i))) for i in range(len(balances))]
    terms = ChannelTerms("main", tuple(names), tuple(balances), PERIOD, nonce=1)
    punished = tuple(data.draw(st.sets(st.sampled_from(names))))
    signed = SignedState(ChannelState(terms.channel, 3, tuple(balances)), ())
    old = SignedState(ChannelState(terms.channel, 1, (0,) * len(balances)), ())
    postings = (Posting(old, names[0]), Posting(signed, names[0]))
    payouts = channels.final_payouts(ChannelRecord(terms, old, postings, PERIOD, punished))
    assert sum(payouts) == sum(balances)
    if len(punished) in (0, len(names)):
        assert payouts == tuple(balances)
        return
    gains = []
    for name, had, gets in zip(names, balances, payouts, strict=True):
        if name in punished:
            assert gets == 0
        else:
            gains.append(gets - had)
    assert min(gains) >= 0
    assert max(gains) - min(gains) <= 1
    assert gains == sorted(gains, reverse=True)


# A participant's own rules


def test_a_participant_signs_one_state_at_a_time():
    contract, terms, keys, (alice, _) = opened()
    first = next_state(terms, terms.opening, {ALICE: -1, BOB: 1})
    other = next_state(terms, terms.opening, {ALICE: -2, BOB: 2})

    def declines(refusal, state, **values):
        before = alice.newest, alice.pending, alice.leaving
        refused(contract, refusal, lambda: alice.sign(state), **values)
        assert (alice.newest, alice.pending, alice.leaving) == before

    declines(channels.StaleSequence, terms.opening, sequence=0)
    declines(channels.StaleSequence, replace(first, sequence=2), sequence=2)
    declines(channels.Unbalanced, replace(first, balances=(5, 6)), balances=(5, 6))
    declines(channels.WrongChannel, replace(first, channel=b"x"), channel=b"x")
    signature = alice.sign(first)
    assert verify_signature(ALICE, first.message, signature)
    assert alice.sign(first) == signature
    declines(channels.AlreadySigned, other, sequence=1)
    refused(contract, channels.AlreadySigned, alice.sign_closing, sequence=1)
    refused(
        contract,
        channels.MissingSignature,
        lambda: alice.complete(SignedState(first, ((ALICE, signature),))),
        party=BOB,
    )
    assert alice.newest.state == terms.opening
    revocation = alice.complete(sign_all(keys, first))
    assert revocation == sign_revocation(keys[0], terms.channel, 0)
    assert (alice.newest.state, alice.pending) == (first, None)
    refused(contract, channels.StaleSequence, lambda: alice.complete(sign_all(keys, first)), sequence=1)
    closing = alice.sign_closing()
    assert verify_signature(ALICE, first.closing_message, closing)
    declines(channels.ChannelClosed, next_state(terms, first, {}), sequence=2)


def test_a_participant_that_posts_signs_no_more():
    contract, terms, _, (alice, _) = opened()
    alice.posting()
    state = next_state(terms, terms.opening, {})
    refused(contract, channels.ChannelClosed, lambda: alice.sign(state), sequence=1)


def test_before_the_opening_nothing_is_risked():
    contract, _, keys, _ = opened()
    terms = ChannelTerms("main", (ALICE, BOB), (1, 1), PERIOD, nonce=2)
    alice = ChannelParty(keys[0], terms)
    refused(contract, channels.NotClosing, alice.posting, channel=terms.channel)
    refused(contract, channels.NotClosing, alice.sign_closing, channel=terms.channel)
    assert not alice.leaving
    unfair = replace(terms.opening, balances=(0, 2))
    refused(contract, channels.Unbalanced, lambda: alice.sign(unfair), balances=(0, 2))
    signature = alice.sign(terms.opening)
    # Bob keeps his signature to himself, but the chain must show it: Alice finds it there
    contract.open(
        terms, SignedState(terms.opening, ((ALICE, signature), (BOB, sign(keys[1], terms.opening.message)))), 0
    )
    alice.watch(contract, 1)
    contract.close(alice.posting(), 1)
    assert contract.settle(terms.channel, 11) == (1, 1)


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


# The game: one participant keeps to the rules, the others do what they like


class _ChannelGame(RuleBasedStateMachine):
    """Whatever the others do, the honest one gets what it agreed to, and no money is made or lost."""

    @initialize(
        deposits=st.lists(st.integers(1, 9), min_size=2, max_size=3), honest=st.integers(0, 2), told=st.booleans()
    )
    def begin(self, deposits, honest, told):
        self.keys = KEYS[: len(deposits)]
        self.at = honest % len(deposits)
        self.cheats = [key for i, key in enumerate(self.keys) if i != self.at]
        names = tuple(map(public_key, self.keys))
        self.contract = ChannelContract(Ledger("main", dict.fromkeys(names, 10)))
        self.terms = ChannelTerms("main", names, tuple(deposits), PERIOD, nonce=1)
        self.honest = ChannelParty(self.keys[self.at], self.terms)
        self.agreed = {}  # every state that the honest one has signed, by then signed by all
        self.closing = None
        self.given_away = []  # revocations of the honest one
        self.seen_postings = []
        self.floor = None
        self.kept = []  # states before the newest that are not revoked, since nothing is revoked once leaving
        signed = self.signed(self.terms.opening)
        if told:
            self.honest.complete(signed)
        self.contract.open(self.terms, signed, 0)
        self.honest.watch(self.contract, 0)

    def signed(self, state):
        signatures = [(public_key(key), sign(key, state.message)) for key in self.cheats]
        own = (self.honest.public, self.honest.sign(state))
        self.agreed[state.sequence, state.balances] = SignedState(state, (own, *signatures))
        return self.agreed[state.sequence, state.balances]

    def attempt(self, step):
        """Try a step of a cheat; refused or not, nothing changes by halves."""
        before = seen(self.contract)
        promised = self.promised()
        try:
            step()
        except Rejected:
            assert seen(self.contract) == before
        self.note_the_end(promised)

    def promised(self):
        states = [*self.kept, self.honest.newest.state, *([self.honest.pending] if self.honest.pending else [])]
        return min(state.balances[self.at] for state in states)

    def note_the_end(self, promised):
        """At the moment of payment, and only then, what was promised falls due."""
        payouts = self.contract.record(self.terms.channel).payouts
        if payouts is not None and self.floor is None:
            self.floor = promised
            assert payouts[self.at] >= promised
            assert sum(payouts) == self.terms.total

    def a_state(self, pick):
        return list(self.agreed.values())[pick % len(self.agreed)]

    @rule(payer=st.integers(0, 2), payee=st.integers(0, 2), amount=st.integers(0, 9))
    def propose(self, payer, payee, amount):
        names = self.terms.participants
        payer, payee = names[payer % len(names)], names[payee % len(names)]
        try:
            changes = {payer: -amount} | ({payee: amount} if payee != payer else {payer: 0})
            self.signed(next_state(self.terms, self.honest.newest.state, changes))
        except Rejected:
            pass

    @rule(pick=st.integers(0, 9), balances=st.permutations([0, 1, 2]), step=st.integers(-1, 2))
    def propose_nonsense(self, pick, balances, step):
        """The honest one must refuse by itself whatever it never agreed to; only the due and balanced may pass."""
        base = self.a_state(pick).state
        odd = replace(base, sequence=max(base.sequence + step, 0), balances=tuple(balances[: len(base.balances)]))
        before = self.honest.newest, self.honest.pending, self.honest.leaving
        if sum(odd.balances) != self.terms.total or odd.sequence != self.honest.newest.state.sequence + 1:
            with pytest.raises(Rejected):
                self.honest.sign(odd)
            assert (self.honest.newest, self.honest.pending, self.honest.leaving) == before

    @precondition(lambda self: self.honest.pending)
    @rule(give=st.booleans())
    def complete(self, give):
        """The cheats hand over their signatures, and perhaps their revocations too."""
        pending, before = self.honest.pending, self.honest.newest.state
        revocation = self.honest.complete(self.agreed[pending.sequence, pending.balances])
        if revocation is None:
            self.kept.append(before)
        else:
            self.given_away.append(revocation)
        if give:
            for key in self.cheats:
                self.honest.keep(sign_revocation(key, self.terms.channel, pending.sequence - 1))

    @rule(pick=st.integers(0, 9), who=st.integers(0, 1), challenge=st.booleans())
    def post_anything(self, pick, who, challenge):
        posting = sign_posting(self.cheats[who % len(self.cheats)], self.a_state(pick))
        step = self.contract.challenge if challenge else self.contract.close
        self.attempt(lambda: step(posting, self.contract.now_s))

    @rule(pick=st.integers(0, 9), how=st.integers(0, 4))
    def forge(self, pick, how):
        """Balances, number, signature, poster or domain are not what was signed."""
        good, cheat = self.a_state(pick), self.cheats[0]
        state = good.state
        if how == 0:
            bad = replace(good, state=replace(state, balances=state.balances[::-1]))
            posting = sign_posting(cheat, bad)
            if bad == good:
                return
        elif how == 1:
            posting = sign_posting(cheat, replace(good, state=replace(state, sequence=state.sequence + 1)))
        elif how == 2:
            posting = sign_posting(cheat, replace(good, signatures=(*good.signatures[1:], good.signatures[1])))
        elif how == 3:
            posting = replace(sign_posting(cheat, good), party=self.honest.public)
        else:
            posting = sign_posting(cheat, sign_all(self.cheats, state))
        before = seen(self.contract)
        for step in (self.contract.close, self.contract.challenge):
            with pytest.raises(Rejected):
                step(posting, self.contract.now_s)
        with pytest.raises(Rejected):  # a state is no closing
            self.contract.close_together(good, self.contract.now_s)
        assert seen(self.contract) == before

    @precondition(lambda self: self.seen_postings)
    @rule(pick=st.integers(0, 9), challenge=st.booleans())
    def replay(self, pick, challenge):
        posting = self.seen_postings[pick % len(self.seen_postings)]
        step = self.contract.challenge if challenge else self.contract.close
        self.attempt(lambda: step(posting, self.contract.now_s))

    @precondition(lambda self: self.given_away)
    @rule(pick=st.integers(0, 9))
    def accuse(self, pick):
        self.attempt(lambda: self.contract.punish(self.given_away[pick % len(self.given_away)], self.contract.now_s))

    @rule()
    def leave(self):
        """The honest one has enough."""
        posting = self.honest.posting()
        self.attempt(lambda: self.contract.close(posting, self.contract.now_s))
        self.seen_postings.append(posting)

    @precondition(lambda self: self.closing is None and not self.honest.pending)
    @rule()
    def agree_to_close(self):
        state = self.honest.newest.state
        own = (self.honest.public, self.honest.sign_closing())
        self.closing = SignedState(
            state, (own, *((public_key(k), sign(k, state.closing_message)) for k in self.cheats))
        )

    @precondition(lambda self: self.closing)
    @rule()
    def close_together(self):
        self.attempt(lambda: self.contract.close_together(self.closing, self.contract.now_s))

    @rule(seconds=st.integers(1, PERIOD - 1), cheat_settles=st.booleans())
    def wait(self, seconds, cheat_settles):
        """Time passes; the honest one looks at the chain at least once a challenge period, the cheats look sooner."""
        now_s = self.contract.now_s + seconds
        if cheat_settles:
            self.attempt(lambda: self.contract.settle(self.terms.channel, now_s))
        self.honest.watch(self.contract, now_s)
        self.contract.now_s = max(self.contract.now_s, now_s)
        self.seen_postings += [
            p
            for p in self.contract.record(self.terms.channel).postings
            if p.party == self.honest.public and p not in self.seen_postings
        ]

    @invariant()
    def no_money_is_made_or_lost(self):
        assert self.contract.ledger.total + self.contract.held == 10 * len(self.keys)
        record = self.contract.record(self.terms.channel)
        assert self.contract.held == (self.terms.total if record.payouts is None else 0)

    @invariant()
    def the_honest_one_is_not_punished(self):
        assert self.honest.public not in self.contract.record(self.terms.channel).punished

    def teardown(self):
        """In the end the honest one gets out alone."""
        if not hasattr(self, "contract"):
            return
        record = self.contract.record(self.terms.channel)
        if record.payouts is None and record.deadline_s is None:
            self.contract.close(self.honest.posting(), self.contract.now_s)
        self.honest.watch(self.contract, self.contract.now_s)
        record = self.contract.record(self.terms.channel)
        if record.payouts is None:
            promised = self.promised()
            self.contract.settle(self.terms.channel, max(self.contract.now_s, record.deadline_s))
            self.note_the_end(promised)
        assert self.floor is not None
        self.no_money_is_made_or_lost()


TestChannelGame = _ChannelGame.TestCase
TestChannelGame.settings = settings(max_examples=500, stateful_step_count=20, deadline=None, derandomize=True)
