"""Payments through strangers: promises tied by one hash, and routes with their fees."""

import itertools
from dataclasses import replace
from hashlib import sha256
from unittest.mock import ANY

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers.bridges import Bridge
from web3scale.layers.ledger import Ledger, contract_account, sign_transfer
from web3scale.layers.routes import Edge, Promise, PromiseContract, find_route
from web3scale.message import Signed, signed


def unchecked(body, signatures):
    """Make what `Signed` refuses to make: a program in the same process can."""
    made = object.__new__(Signed)
    made.__dict__.update(body=body, signatures=signatures)
    return made


KEYS = [example_key(name) for name in ("Alice", "Bob", "Carol")]
ALICE, BOB, CAROL = map(public_key, KEYS)
SECRET = b"a random number"
HASH = sha256(SECRET).digest()


# Promises


def chain():
    ledger = Ledger("main", {ALICE: 10, BOB: 10, CAROL: 0})
    return ledger, PromiseContract(ledger)


def promise(payer=0, amount=7, expiry=5, **changes):
    fields = {"chain": "main", "payee": public_key(KEYS[payer + 1]), "hash": HASH} | changes
    return Promise(payer=public_key(KEYS[payer]), amount=amount, expiry=expiry, **fields)


def wait(ledger, blocks):
    for _ in range(blocks):
        ledger.apply_block()


def seen(contract):
    ledger = contract.ledger
    return ledger.height, ledger._names[:], ledger._balance[:], dict(contract._waiting), dict(contract.shown)


def refused(contract, rule, step, **values):
    before = seen(contract)
    with pytest.raises(Rejected) as caught:
        step()
    assert (caught.value.rule, caught.value.values) == (rule, values)
    assert seen(contract) == before


@pytest.mark.parametrize("claimed", [True, False])
def test_a_promise_is_claimed_by_the_preimage_or_returns(claimed):
    ledger, contract = chain()
    body = promise()
    contract.lock(signed(body, KEYS[0]))
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == [3, 10, 7]
    wait(ledger, 4 if claimed else 5)
    if claimed:
        contract.claim(body, SECRET)
    else:
        contract.refund(body)
    assert contract.shown == ({HASH: SECRET} if claimed else {})
    assert [ledger.balance(a) for a in (ALICE, BOB, contract.account)] == ([3, 17, 0] if claimed else [10, 10, 0])
    refused(contract, "lock: promise must be new", lambda: contract.lock(signed(body, KEYS[0])), expiry=5)
    held, late = "promise: its money must be held", "claim: it must come before the expiry"
    if claimed:
        refused(contract, held, lambda: contract.claim(body, SECRET), amount=7)
        wait(ledger, 1)
    refused(contract, held, lambda: contract.refund(body), amount=7)
    refused(contract, late, lambda: contract.claim(body, SECRET), height=5, expiry=5)
    assert ledger.total == 20


def test_refusals_of_a_promise():
    ledger, contract = chain()
    body = promise()
    for wrong, rule, values in [
        (promise(chain="test"), "lock: chain must be this one", {"chain": "test"}),
        (promise(expiry=0), "lock: expiry must be ahead", {"expiry": 0}),
        (promise(amount=11), "ledger: balance must cover the amount", {"balance": 10, "amount": 11}),
    ]:
        refused(contract, rule, lambda w=wrong: contract.lock(signed(w, KEYS[0])), **values)
    for signatures in ((), signed(body, KEYS[1]).signatures, signed(promise(amount=6), KEYS[0]).signatures):
        order = Signed(body, signatures)
        refused(contract, "lock: payer must sign it", lambda o=order: contract.lock(o), payer=ALICE)
    held = "promise: its money must be held"
    refused(contract, held, lambda: contract.claim(body, SECRET), amount=7)
    contract.lock(signed(body, KEYS[0]))
    refused(contract, held, lambda: contract.claim(replace(body, payee=CAROL), SECRET), amount=7)
    for guess in (b"", HASH, SECRET + b"\0"):
        refused(contract, "claim: preimage must be that of the hash", lambda g=guess: contract.claim(body, g))
    wait(ledger, 4)
    refused(contract, "refund: promise must have expired", lambda: contract.refund(body), height=4, expiry=5)
    wait(ledger, 1)
    late = "claim: it must come before the expiry"
    refused(contract, late, lambda: contract.claim(body, SECRET), height=5, expiry=5)
    refused(contract, "lock: expiry must be ahead", lambda: contract.lock(signed(promise(1), KEYS[1])), expiry=5)


def test_of_what_is_held_for_another_transfer_nothing_is_promised():
    ledger, contract = chain()
    ledger._held.add(ALICE)
    rule = "ledger: what is held for one transfer must not be spent by another"
    refused(contract, rule, lambda: contract.lock(signed(promise(), KEYS[0])), account=ALICE)


def test_who_cannot_be_paid_is_promised_nothing():
    """A claim could not pay a payee without an account; and a contract would count the money for nobody."""
    ledger, contract = chain()
    bridge = Bridge(ledger, "side", [ALICE, BOB, CAROL, public_key(example_key("Dan"))], faulty=1, finality_depth=0)
    before = ledger.root
    for payee in (b"nobody" * 5, contract.account, bridge.escrow):
        with pytest.raises(Rejected, match="lock: payee must have an account here, and be no contract"):
            contract.lock(signed(promise(payee=payee), KEYS[0]))
    assert ledger.root == before


def test_a_payee_that_became_a_contract_is_not_paid_and_the_payer_has_it_back():
    ledger, contract = chain()
    escrow = contract_account("main", "bridge to side")
    ledger.open(escrow)  # anybody may, before there is a bridge
    body = promise(payee=escrow)
    contract.lock(signed(body, KEYS[0]))
    Bridge(ledger, "side", [ALICE], faulty=0, finality_depth=0)
    with pytest.raises(Rejected, match="promise: payee must not have become a contract"):
        contract.claim(body, SECRET)
    wait(ledger, body.expiry)
    contract.refund(body)
    assert ledger.balance(ALICE) == 10
    assert ledger.balance(escrow) == 0


def test_money_sent_to_the_contract_is_nobodys():
    ledger, contract = chain()
    assert ledger.apply(sign_transfer(KEYS[1], "main", {contract.account: 9}, fee=0, nonce=1)).accepted
    refused(contract, "promise: its money must be held", lambda: contract.claim(promise(), SECRET), amount=7)
    one = "ledger: a chain has one contract of a name"
    refused(contract, one, lambda: PromiseContract(ledger), name="promises")


@pytest.mark.parametrize(
    "thing", [None, 7, "x", [], ANY, np.array([1, 2]), unchecked(7, ())], ids=lambda t: type(t).__name__
)
def test_what_is_no_promise_is_the_callers_mistake(thing):
    _, contract = chain()
    for step in (
        lambda: contract.lock(thing),
        lambda: contract.claim(thing, SECRET),
        lambda: contract.claim(promise(), thing),
        lambda: contract.refund(thing),
        lambda: PromiseContract(thing),
    ):
        before = seen(contract)
        with pytest.raises(DomainError):
            step()
        assert seen(contract) == before
    with pytest.raises(DomainError, match="Promise: amount must be an integer of at least 0"):
        promise(amount=-1)


def paid_to_bob(first, second, shown):
    """What Bob gains between two promises of these expiries, the preimage being shown when the chain is that high.

    Bob looks at the chain once after each block; Alice has been there before him, Carol comes after him.
    """
    ledger, contract = chain()
    inward, outward = promise(0, 7, first), promise(1, 6, second)
    for key, body in zip(KEYS, (inward, outward), strict=False):
        contract.lock(signed(body, key))

    def attempt(step, *values):
        try:
            step(*values)
        except Rejected:
            assert ledger.total == 20

    for height in range(max(first, second) + 2):
        attempt(contract.refund, inward)
        if HASH in contract.shown:
            attempt(contract.claim, inward, contract.shown[HASH])
        attempt(contract.refund, outward)
        if height == shown:
            attempt(contract.claim, outward, SECRET)
        ledger.apply_block()
    assert ledger.balance(contract.account) == 0
    return ledger.balance(BOB) - 10


def test_the_one_between_is_safe_exactly_if_his_own_promise_expires_later():
    for first, second in itertools.product(range(1, 6), repeat=2):
        gains = {paid_to_bob(first, second, shown) for shown in range(second)}
        assert (min(gains) >= 0) == (first > second)
        assert gains <= {1, -6}


# Vectors from outside: BOLT 7, "Routing Example" (lightning/bolts, CC BY 4.0)

FEES = {"A": (100, 1000, 10), "B": (200, 2000, 20), "C": (300, 3000, 30), "D": (400, 4000, 40)}
BOLT7 = [Edge(*pair, *FEES[pair[0]], 10_000_000) for pair in ("AB", "AD", "BA", "DA", "BC", "DC", "CB", "CD")]


def nodes(route):
    return [route[0].edge.source, *(hop.edge.target for hop in route)]


def test_bolt7_through_b():
    route = find_route(BOLT7, "A", "C", 4_999_999, final_cltv=18, shadow_cltv=42)
    assert nodes(route) == ["A", "B", "C"]
    assert [(hop.amount_msat, hop.cltv) for hop in route] == [(5_010_198, 20 + 18 + 42), (4_999_999, 18 + 42)]


def test_bolt7_through_d():
    without_b = [edge for edge in BOLT7 if "B" not in (edge.source, edge.target)]
    route = find_route(without_b, "A", "C", 4_999_999, final_cltv=18, shadow_cltv=42)
    assert (nodes(route), route[0].amount_msat, route[0].cltv) == (["A", "D", "C"], 5_020_398, 40 + 18 + 42)


def test_bolt7_direct_payment_costs_nothing():
    route = find_route(BOLT7, "B", "C", 4_999_999, final_cltv=9, shadow_cltv=42)
    assert (nodes(route), route[0].amount_msat, route[0].cltv) == (["B", "C"], 4_999_999, 9 + 42)


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
    names = "ABCDE"[: draw(st.integers(2, 5))]
    edges = []
    for pair in itertools.permutations(names, 2):
        for _ in range(draw(st.sampled_from([1, 0, 0, 2]))):
            fee, share, blocks = draw(st.integers(0, 30)), draw(st.integers(0, 400_000)), draw(st.integers(0, 9))
            edges.append(Edge(*pair, fee, share, blocks, draw(st.sampled_from([9_999, 160, 60]))))
    return names, edges


@settings(max_examples=400)
@given(network=networks(), amount=st.integers(1, 150))
def test_routes_are_those_of_brute_force(network, amount):
    """All simple paths are listed by networkx, parallel channels apart."""
    names, edges = network
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(names)
    for number, edge in enumerate(edges):
        graph.add_edge(edge.source, edge.target, key=number)
    ends = names[0], names[-1]
    ways = [[edges[key] for _, _, key in path] for path in nx.all_simple_edge_paths(graph, *ends)]
    found = {tuple(way): paid(way, amount) for way in ways}
    possible = {way: cost for way, cost in found.items() if cost is not None}
    if not possible:
        with pytest.raises(Rejected) as caught:
            find_route(edges, *ends, amount, final_cltv=7)
        assert caught.value.rule == "route: channels must carry the amount"
        assert caught.value.values == {"sender": ends[0], "recipient": ends[1], "amount_msat": amount}
        return
    route = find_route(edges, *ends, amount, final_cltv=7, shadow_cltv=3)
    cost, blocks = possible[tuple(hop.edge for hop in route)]
    assert cost == min(price for price, _ in possible.values()) == route[0].amount_msat
    assert route[0].cltv == blocks + 7 + 3
    assert (route[-1].amount_msat, route[-1].cltv) == (amount, 7 + 3)
    assert (nodes(route)[0], nodes(route)[-1]) == ends
    assert all(hop.amount_msat <= hop.edge.capacity_msat for hop in route)
    for here, ahead in itertools.pairwise(route):
        assert here.edge.target == ahead.edge.source
        assert here.amount_msat - ahead.amount_msat == ahead.edge.fee(ahead.amount_msat)
        assert here.cltv - ahead.cltv == ahead.edge.cltv_delta


def test_a_fee_is_taken_on_the_fees_further_on():
    edges = [Edge(*pair, 100, 500_000, 7, 10_000) for pair in ("AB", "BC", "CD", "DE")]
    route = find_route(edges, "A", "E", 1000, final_cltv=3)
    assert [hop.amount_msat for hop in route] == [3850, 2500, 1600, 1000]
    assert [hop.cltv for hop in route] == [24, 17, 10, 3]


def test_the_delay_of_the_sender_does_not_count():
    edges = [Edge("A", "B", 0, 0, 99, 9), Edge("B", "C", 1, 0, 20, 9), Edge("A", "D", 0, 0, 0, 9)]
    edges.append(Edge("D", "C", 1, 0, 30, 9))
    assert nodes(find_route(edges, "A", "C", 5, final_cltv=0)) == ["A", "B", "C"]


def test_of_two_equally_cheap_routes_the_shorter_wait():
    edges = [Edge("A", "B", 0, 0, 0, 9), Edge("B", "C", 1, 0, 30, 9), Edge("B", "C", 1, 0, 20, 9)]
    assert find_route(edges, "A", "C", 5, final_cltv=0)[0].cltv == 20
    assert find_route(edges[::-1], "A", "C", 5, final_cltv=0)[0].cltv == 20


def test_capacity_is_reached_but_not_passed():
    edges = [Edge("A", "B", 0, 0, 0, 12), Edge("B", "C", 2, 0, 0, 10)]
    assert find_route(edges, "A", "C", 10, final_cltv=0)[0].amount_msat == 12
    for short in (replace(edges[0], capacity_msat=11), edges[1]), (edges[0], replace(edges[1], capacity_msat=9)):
        with pytest.raises(Rejected, match="route: channels must carry the amount"):
            find_route(short, "A", "C", 10, final_cltv=0)


@pytest.mark.parametrize(
    ("ends", "amount", "cltv", "word"),
    [
        (("A", "A"), 1, {"final_cltv": 0}, "recipient"),
        (("A", "C"), 0, {"final_cltv": 0}, "amount_msat"),
        (("A", "C"), 1.0, {"final_cltv": 0}, "amount_msat"),
        (("A", "C"), 1, {"final_cltv": -1}, "final_cltv"),
        (("A", "C"), 1, {"final_cltv": 0, "shadow_cltv": -1}, "shadow_cltv"),
        ((1, "C"), 1, {"final_cltv": 0}, "sender"),
    ],
)
def test_route_arguments(ends, amount, cltv, word):
    with pytest.raises(DomainError, match=word):
        find_route(BOLT7, *ends, amount, **cltv)


def test_a_network_is_of_edges():
    for wrong in (None, [None], "AB", [("A", "B", 0, 0, 0, 9)]):
        with pytest.raises(DomainError, match="edges"):
            find_route(wrong, "A", "B", 1, final_cltv=0)


@pytest.mark.parametrize("field", ["base_fee_msat", "proportional_millionths", "cltv_delta", "capacity_msat"])
def test_edges_hold_natural_numbers(field):
    assert getattr(replace(BOLT7[0], **{field: 0}), field) == 0
    for wrong in (-1, 1.0, float("nan"), True, np.int64(1)):
        with pytest.raises(DomainError, match=field):
            replace(BOLT7[0], **{field: wrong})


def test_a_fee_is_of_a_natural_number_and_does_not_wrap():
    edge = Edge("B", "C", 0, 10**6, 0, 2**62)
    fee = edge.fee(np.int64(10**13))  # times a million it is beyond 64 bits
    assert (fee, type(fee)) == (10**13, int)
    for wrong in (-1, 1.0, float("nan"), np.float64(1), True, "1", None):
        with pytest.raises(DomainError, match=r"Edge\.fee: amount_msat must be an integer of at least 0"):
            edge.fee(wrong)
    route = find_route([Edge("A", "B", 0, 0, 0, 2**62), edge], "A", "C", np.int64(10**13), final_cltv=0)
    assert route[0].amount_msat == 2 * 10**13
