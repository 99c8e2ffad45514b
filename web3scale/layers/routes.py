"""Payments through the channels of strangers: promises tied together by a hash, and what a route costs.

A *promise* locks money for a payee who shows the *preimage* of a hash before an *expiry*, a height of the chain; after
it the money returns. A payer promises it to the first node of a route, each node to the next one, all with one hash:
the preimage that pays the last shows the one before how to be paid, if its own promise expires *later*. Each takes a
*fee*. In a network the promises are part of a channel's states; here a contract holds them. Sources: BOLT 2, 3 and 7.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from heapq import heappop, heappush
from itertools import count

from web3scale.errors import DomainError, Rejected, require
from web3scale.layers.ledger import Ledger
from web3scale.message import Signed, digest, message
from web3scale.quantities import Positive, validated


@message
class Promise:
    """To pay the payee once somebody shows the preimage; signed by the payer. A new payment takes a new preimage."""

    chain: str
    payer: bytes
    payee: bytes
    amount: int  # base units
    hash: bytes
    expiry: int  # height of the chain from which on the preimage comes too late


@validated
class PromiseContract:
    """Holds what was promised in an account of its own; the blocks of the `ledger` are its clock.

    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.message import signed
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> contract = PromiseContract(Ledger("main", {public_key(alice): 10, bob: 0}))
    >>> promise = Promise("main", public_key(alice), bob, 7, sha256(b"secret").digest(), expiry=3)
    >>> contract.lock(signed(promise, alice))
    >>> contract.claim(promise, b"secret")
    >>> contract.ledger.balance(bob), contract.shown[promise.hash]
    (7, b'secret')
    >>> another = Promise("main", public_key(alice), bob, 3, promise.hash, expiry=1)
    >>> contract.lock(signed(another, alice))
    >>> _ = contract.ledger.apply_block()
    >>> contract.refund(another)
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.account = ledger, ledger._contract("promises")
        self.shown: dict[bytes, bytes] = {}  # the preimages that everybody can read on the chain, by their hashes
        self._waiting: dict[bytes, bool] = {}  # of every promise, by its digest: whether its money is still held

    def lock(self, order: Signed[Promise]) -> None:
        """Take the amount from the payer."""
        promise = order.body
        require(promise.chain == self.ledger.chain, "lock: chain must be this one", chain=promise.chain)
        require(digest(promise) not in self._waiting, "lock: promise must be new", expiry=promise.expiry)
        require(self.ledger.height < promise.expiry, "lock: expiry must be ahead", expiry=promise.expiry)
        require(order.holds(Promise, [promise.payer]), "lock: payer must sign it", payer=promise.payer)
        payable = promise.payee in self.ledger and promise.payee not in self.ledger._contracts
        require(payable, "lock: payee must have an account here, and be no contract", payee=promise.payee)
        self.ledger._move(promise.payer, self.account, promise.amount)
        self._waiting[digest(promise)] = True

    def claim(self, promise: Promise, preimage: bytes) -> None:
        """Pay the payee, in time, for the preimage: whoever shows it. On Bitcoin a late claim races the refund."""
        height = self.ledger.height
        require(sha256(preimage).digest() == promise.hash, "claim: preimage must be that of the hash")
        require(height < promise.expiry, "claim: it must come before the expiry", height=height, expiry=promise.expiry)
        self._pay(promise, promise.payee)
        self.shown[promise.hash] = preimage

    def refund(self, promise: Promise) -> None:
        """Pay the payer back once the promise has expired; anybody may ask for that."""
        height = self.ledger.height
        require(height >= promise.expiry, "refund: promise must have expired", height=height, expiry=promise.expiry)
        self._pay(promise, promise.payer)

    def _pay(self, promise: Promise, account: bytes) -> None:
        require(self._waiting.get(digest(promise), False), "promise: its money must be held", amount=promise.amount)
        require(account not in self.ledger._contracts, "promise: payee must not have become a contract", payee=account)
        self.ledger._move(self.account, account, promise.amount)
        self._waiting[digest(promise)] = False


@message
@validated
class Edge:
    """One direction of a channel, as its source announces it."""

    source: str
    target: str
    base_fee_msat: int  # for forwarding anything, millisatoshi
    proportional_millionths: int  # for each million that is forwarded
    cltv_delta: int  # blocks by which the promise to the source must outlast the one from it
    capacity_msat: int  # the most it forwards at once

    def fee(self, amount_msat: int) -> int:
        """Fee for forwarding an amount, in whole millisatoshi, rounded down."""
        return self.base_fee_msat + amount_msat * self.proportional_millionths // 1_000_000


@dataclass(frozen=True)
class Hop:
    """One channel of a route, and the promise in it."""

    edge: Edge
    amount_msat: int
    cltv: int  # blocks from now until it expires


@validated
def find_route(
    edges: Sequence[Edge], sender: str, recipient: str, amount_msat: Positive, *, final_cltv: int, shadow_cltv: int = 0
) -> tuple[Hop, ...]:
    """Find the cheapest route, sender's hop first, by Dijkstra's algorithm from the recipient backwards.

    A fee depends on the amount that is forwarded, and this on all fees further on: so only the recipient's end is known
    to begin with. To forward less never costs more, so the cheapest rest of a route stays the cheapest. The recipient
    asks for `final_cltv` blocks; `shadow_cltv` more hide where the route ends. The sender's own channel is free.

    >>> edges = [Edge("A", "B", 100, 1000, 10, 10_000_000), Edge("B", "C", 200, 2000, 20, 10_000_000)]
    >>> [(hop.amount_msat, hop.cltv) for hop in find_route(edges, "A", "C", 4_999_999, final_cltv=60)]
    [(5010198, 80), (4999999, 60)]
    """
    if sender == recipient:
        raise DomainError(f"find_route: recipient must differ from the sender, got {recipient!r}")
    number, done = count(), set[str]()
    # what a node must receive, how long before the end, a number so that ties never compare routes, the hops from it on
    queue = [(amount_msat, final_cltv + shadow_cltv, next(number), recipient, tuple[Hop, ...]())]
    while queue:
        needed, cltv, _, node, hops = heappop(queue)
        if node == sender:
            return hops
        if node in done:
            continue
        done.add(node)
        for edge in edges:
            if edge.target == node and needed <= edge.capacity_msat:
                fee, delta = (0, 0) if edge.source == sender else (edge.fee(needed), edge.cltv_delta)
                ahead = (Hop(edge, needed, cltv), *hops)
                heappush(queue, (needed + fee, cltv + delta, next(number), edge.source, ahead))
    raise Rejected("route: channels must carry the amount", sender=sender, recipient=recipient, amount_msat=amount_msat)
