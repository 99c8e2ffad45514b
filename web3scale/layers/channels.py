"""Payment channels: two parties lock money once, pay by signatures, and settle once. Algorithm 3.2 and Theorem 3.1.

The *terms* say who takes part, who deposits what, and how many blocks a challenge may take. A *state* is a number and
two balances; it counts once both have signed it. To *post* is to close with a state, alone; until the *deadline*, which
the first posting sets and nothing moves, either may post a newer one. To *revoke* is to sign away all states up to a
number: a party that has posted one of them is *punished*, and its balance goes to the other.

First the rules, from what the chain knows to what it knows next: a refused step has changed nothing. Then the contract,
whose account holds the money, and a party that keeps to the algorithm. Time is the height of the chain: nobody states
it. Source: Poon and Dryja (2016), The Bitcoin Lightning Network.
"""

from dataclasses import dataclass, replace

import sympy as sp
from nacl.signing import SigningKey

from web3scale import quantities as q
from web3scale.crypto import public_key
from web3scale.errors import Rejected, refusal_of, require
from web3scale.formula import formula
from web3scale.layers.ledger import Ledger
from web3scale.message import Signed, digest, message, signed
from web3scale.quantities import validated


@validated
@message
class Terms:
    """What the two agree on before they lock anything."""

    chain: str  # that holds the deposits
    participants: tuple[bytes, bytes]  # public keys
    deposits: tuple[int, int]  # base units
    challenge_blocks: int  # from the first posting to the deadline
    open_before: int  # height from which on it is too late to open: a state 0 that somebody withholds expires
    nonce: int  # keeps two channels of the same terms apart

    @property
    def channel(self) -> bytes:
        """The channel's name."""
        return digest(self)

    @property
    def opening(self) -> "State":
        """State 0: each has its deposit."""
        return State(self.channel, 0, self.deposits)

    def check(self, state: "State") -> None:
        """Check that a state is of this channel, and shares out what was deposited: no more, no less."""
        require(state.channel == self.channel, "state: channel must be this one", channel=state.channel)
        fair = sum(state.balances) == sum(self.deposits)
        require(fair, "state: balances must add up to the deposits", balances=state.balances)

    def check_signed(self, state: "Signed[State]") -> None:
        """Check a state, and that two different participants have signed it."""
        self.check(state.body)
        require(state.holds(State, self.participants), "state: both participants must sign it")

    def check_opening(self, opening: "Signed[State]", height: int) -> None:
        """Check that before anything is locked, both have signed a state that gives each its money back."""
        require(self.challenge_blocks > 0, "open: challenge period must be a block or more")
        require(height < self.open_before, "open: it must come in time", height=height, before=self.open_before)
        self.check_signed(opening)
        require(opening.body == self.opening, "open: state 0 must return the deposits", sequence=opening.body.sequence)

    def check_revocation(self, evidence: "Signed[Revocation]") -> None:
        """Check that a revocation is of this channel, and signed by the party it names."""
        body = evidence.body
        require(body.channel == self.channel, "revocation: channel must be this one", channel=body.channel)
        require(evidence.holds(Revocation, [body.party]), "revocation: its party must sign it", party=body.party)


@message
class State:
    """Who has what; the higher number is the newer."""

    channel: bytes
    sequence: int
    balances: tuple[int, int]  # in the order of the participants, base units


@message
class Closing:
    """Pay by this state at once: a message of its own, so that no state stands for it.

    >>> digest(Closing(State(b"name", 1, (6, 4)))) == digest(State(b"name", 1, (6, 4)))
    False
    """

    state: State


@message
class Posting:
    """Close with this state: the poster signs, and answers for it."""

    state: Signed[State]
    party: bytes


@message
class Revocation:
    """The promise of a party never to post a state up to a number."""

    channel: bytes
    party: bytes
    sequence: int


@validated
def next_state(terms: Terms, state: State, payer: bytes, amount: int) -> State:
    """Return the state in which one participant has paid an amount, in base units, to the other.

    >>> terms = Terms("main", (b"a", b"b"), (6, 4), challenge_blocks=3, open_before=9, nonce=1)
    >>> next_state(terms, terms.opening, payer=b"a", amount=7)
    Traceback (most recent call last):
    web3scale.errors.Rejected: update: balance must cover the amount, got balance=6, amount=7
    """
    terms.check(state)
    require(payer in terms.participants, "update: payer must take part", payer=payer)
    place = terms.participants.index(payer)
    balance, other = state.balances[place], state.balances[1 - place]
    require(amount <= balance, "update: balance must cover the amount", balance=balance, amount=amount)
    paid = balance - amount, other + amount
    return State(state.channel, state.sequence + 1, paid if place == 0 else paid[::-1])


@validated
@dataclass(frozen=True)
class Channel:
    """What the chain knows of a channel. Each rule returns what it knows next, or refuses.

    >>> terms = Terms("main", (b"a", b"b"), (6, 4), challenge_blocks=3, open_before=9, nonce=1)
    >>> Channel(terms, Signed(terms.opening, ()), deadline=3).is_challengeable(height=3)
    False
    """

    terms: Terms
    opened: Signed[State]
    postings: tuple[Posting, ...] = ()  # each newer than the one before
    deadline: int | None = None  # height from which on it is too late to challenge; None while nothing is posted
    punished: tuple[bytes, ...] = ()
    payouts: tuple[int, int] | None = None  # None while the money is held

    def is_challengeable(self, height: int) -> bool:
        """Whether a challenge or a revocation still comes in time."""
        return self.payouts is None and self.deadline is not None and height < self.deadline

    def shows_breach(self, revocation: Revocation) -> bool:
        """Whether the party that revoked has posted a state which the revocation covers."""
        return any(p.party == revocation.party and p.state.body.sequence <= revocation.sequence for p in self.postings)

    def post(self, order: Signed[Posting], height: int) -> "Channel":
        """Close with a state, alone; or challenge the posted one with a newer one. The deadline stays."""
        posting, party = order.body, order.body.party
        require(self.payouts is None, "post: channel must not be paid out")
        require(party in self.terms.participants, "post: poster must take part", party=party)
        self.terms.check_signed(posting.state)
        require(order.holds(Posting, [party]), "post: poster must sign it", party=party)
        if self.deadline is None:
            return replace(self, postings=(posting,), deadline=height + self.terms.challenge_blocks)
        require(self.is_challengeable(height), "challenge: it must be in time", height=height, deadline=self.deadline)
        posted, sequence = self.postings[-1].state.body.sequence, posting.state.body.sequence
        require(sequence > posted, "challenge: state must be newer than the posted", sequence=sequence, posted=posted)
        return replace(self, postings=(*self.postings, posting))

    def punish(self, evidence: Signed[Revocation], height: int) -> "Channel":
        """Take the balance of a party that has posted what it revoked."""
        party = evidence.body.party
        require(self.is_challengeable(height), "punish: it must be in time", height=height, deadline=self.deadline)
        self.terms.check_revocation(evidence)
        require(self.shows_breach(evidence.body), "punish: party must have posted what it revoked", party=party)
        require(party not in self.punished, "punish: once only", party=party)
        return replace(self, punished=(*self.punished, party))

    def close_together(self, agreed: Signed[Closing]) -> "Channel":
        """Pay at once what both have signed as the end."""
        require(self.payouts is None, "close: channel must not be paid out")
        self.terms.check(agreed.body.state)
        require(agreed.holds(Closing, self.terms.participants), "close: both participants must sign the closing")
        return replace(self, payouts=agreed.body.state.balances)

    def settle(self, height: int) -> "Channel":
        """Pay by the newest posted state once the challenge period is over; of two punished, neither loses."""
        require(self.payouts is None, "settle: channel must not be paid out")
        over = self.deadline is not None and height >= self.deadline
        require(over, "settle: a state must be posted, and the deadline past", height=height, deadline=self.deadline)
        payouts = self.postings[-1].state.body.balances
        if len(self.punished) == 1:  # its balance goes to the other
            payouts = (0, sum(payouts)) if self.punished[0] == self.terms.participants[0] else (sum(payouts), 0)
        return replace(self, payouts=payouts)


@validated
class ChannelContract:
    """Holds the deposits in an account of its own, and pays them out. The blocks of the `ledger` are its clock."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.account = ledger, ledger._contract("channels")
        self._channels: dict[bytes, Channel] = {}

    @property
    def held(self) -> int:
        """All deposits that are not paid out, in base units."""
        return sum(sum(channel.terms.deposits) for channel in self._channels.values() if channel.payouts is None)

    def record(self, channel: bytes) -> Channel:
        """What the chain knows of a channel."""
        require(channel in self._channels, "contract: channel must have been opened here", channel=channel)
        return self._channels[channel]

    def open(self, terms: Terms, opening: Signed[State]) -> None:
        """Take the deposits of both, or of none."""
        require(terms.chain == self.ledger.chain, "open: chain must be this one", chain=terms.chain)
        require(terms.channel not in self._channels, "open: channel must be new", channel=terms.channel)
        terms.check_opening(opening, self.ledger.height)
        (first, second), (deposit, other) = terms.participants, terms.deposits
        self.ledger._move(first, self.account, deposit)
        if refusal := refusal_of(self.ledger._move, second, self.account, other):
            self.ledger._move(self.account, first, deposit)
            raise refusal
        self._channels[terms.channel] = Channel(terms, opening)

    def post(self, order: Signed[Posting]) -> None:
        """Close with a state, alone, or challenge the posted one."""
        self._write(self.record(order.body.state.body.channel).post(order, self.ledger.height))

    def punish(self, evidence: Signed[Revocation]) -> None:
        """Take the balance of a party that has posted what it revoked; anybody may show that."""
        self._write(self.record(evidence.body.channel).punish(evidence, self.ledger.height))

    def close_together(self, agreed: Signed[Closing]) -> None:
        """Pay at once what both have signed as the end."""
        self._write(self.record(agreed.body.state.channel).close_together(agreed))

    def settle(self, channel: bytes) -> None:
        """Pay by the newest posted state, after the deadline; anybody may ask for that."""
        self._write(self.record(channel).settle(self.ledger.height))

    def _write(self, channel: Channel) -> None:
        for party, payout in zip(channel.terms.participants, channel.payouts or (), strict=False):
            self.ledger._move(self.account, party, payout)
        self._channels[channel.terms.channel] = channel


@validated
class ChannelParty:
    """One participant, who keeps to Algorithm 3.2 and so is paid what Theorem 3.1 promises, whatever the other does.

    Its owner must let it `watch` so often that successive looks are fewer than `challenge_blocks` blocks apart, lose
    none of its attributes, and count a payment as received once `complete` has returned the revocation of what was
    before.
    """

    def __init__(self, key: SigningKey, terms: Terms) -> None:
        self._key, self.public, self.terms = key, public_key(key), terms
        self.newest: Signed[State] | None = None  # signed by both
        self.pending: State | None = None  # signed, and not seen completed
        self.leaving = False  # has signed a closing or a posting, or seen one posted
        self.evidence: Signed[Revocation] | None = None  # the other's latest revocation

    @property
    def held(self) -> Signed[State]:
        """The newest state signed by both; refused before the opening."""
        if self.newest is None:
            raise Rejected("party: the opening must be signed by both first")
        return self.newest

    def check_next(self, state: State) -> None:
        """Refuse what must not be signed now; whether the balances are those agreed on is for the owner to say."""
        self.terms.check(state)
        due = 0 if self.newest is None else self.newest.body.sequence + 1
        require(not self.leaving, "party: nothing is signed after a closing or a posting", sequence=state.sequence)
        require(state.sequence == due, "party: sequence must be the next", sequence=state.sequence, next=due)
        require(due > 0 or state == self.terms.opening, "party: state 0 must return the deposits")
        require(self.pending in (None, state), "party: another state is signed and not completed", sequence=due)

    def sign(self, state: State) -> bytes:
        """Agree to the next state, one at a time."""
        self.check_next(state)
        self.pending = state
        return signed(state, self._key).signatures[0]

    def complete(self, state: Signed[State]) -> Signed[Revocation] | None:
        """Take a state signed by both as the newest, and revoke those before it: unless leaving, or there is none."""
        self.terms.check_signed(state)
        sequence = state.body.sequence
        newer = self.newest is None or sequence > self.newest.body.sequence
        require(newer, "party: state must be newer than the newest", sequence=sequence)
        self.newest, self.pending = state, None
        if self.leaving or sequence == 0:
            return None
        return signed(Revocation(self.terms.channel, self.public, sequence - 1), self._key)

    def keep(self, evidence: Signed[Revocation]) -> None:
        """Remember the other's revocation, if it is the latest."""
        self.terms.check_revocation(evidence)
        others = set(self.terms.participants) - {self.public}
        require(evidence.body.party in others, "party: revocation must be the other's", party=evidence.body.party)
        if self.evidence is None or self.evidence.body.sequence < evidence.body.sequence:
            self.evidence = evidence

    def sign_closing(self) -> bytes:
        """Agree to be paid by the newest state at once; from now on nothing more is signed."""
        closing = Closing(self.held.body)
        require(self.pending is None, "party: another state is signed and not completed")
        self.leaving = True
        return signed(closing, self._key).signatures[0]

    def posting(self) -> Signed[Posting]:
        """Return the order to close with the newest state; from now on nothing more is signed, and nothing revoked."""
        order = signed(Posting(self.held, self.public), self._key)
        self.leaving = True
        return order

    def watch(self, contract: ChannelContract) -> None:
        """Look at the chain: punish what was revoked, challenge what is old, and sign no more if anything is posted."""
        record = contract.record(self.terms.channel)
        if self.newest is None:
            self.complete(record.opened)
        self.leaving |= record.deadline is not None or record.payouts is not None
        if record.is_challengeable(contract.ledger.height):
            known = self.evidence
            if known is not None and known.body.party not in record.punished and record.shows_breach(known.body):
                contract.punish(known)
            if record.postings[-1].state.body.sequence < self.held.body.sequence:
                contract.post(self.posting())


@validated
def update_together(parties: tuple[ChannelParty, ChannelParty], state: State) -> Signed[State]:
    """Let both sign a state, then revoke what was before: for two who keep to the rules. A refusal leaves no trace.

    >>> from web3scale.crypto import example_key
    >>> keys = example_key("Alice"), example_key("Bob")
    >>> alice, bob = map(public_key, keys)
    >>> main = Ledger("main", {alice: 10, bob: 10})
    >>> contract = ChannelContract(main)
    >>> terms = Terms("main", (alice, bob), (6, 4), challenge_blocks=1, open_before=9, nonce=1)
    >>> A, B = parties = ChannelParty(keys[0], terms), ChannelParty(keys[1], terms)
    >>> old = update_together(parties, terms.opening)
    >>> contract.open(terms, old)
    >>> new = update_together(parties, next_state(terms, old.body, payer=alice, amount=5))
    >>> contract.post(signed(Posting(old, alice), keys[0]))  # Alice would rather have her 6 back
    >>> B.watch(contract)  # Bob challenges, and shows that she revoked it
    >>> B.evidence.body == Revocation(terms.channel, alice, 0), main.apply_block().height
    (True, 1)
    >>> contract.settle(terms.channel)
    >>> contract.record(terms.channel).payouts, main.balance(bob), main.total
    ((0, 10), 16, 20)
    >>> terms = Terms("main", (alice, bob), (2, 3), challenge_blocks=1, open_before=9, nonce=2)
    >>> A, B = parties = ChannelParty(keys[0], terms), ChannelParty(keys[1], terms)
    >>> contract.open(terms, update_together(parties, terms.opening))
    >>> contract.close_together(Signed(Closing(terms.opening), (A.sign_closing(), B.sign_closing())))
    >>> contract.record(terms.channel).payouts
    (2, 3)
    """
    first, second = parties
    require((first.public, second.public) == first.terms.participants, "update: both must take part, in their order")
    for party in parties:
        party.check_next(state)
    whole = Signed(state, (first.sign(state), second.sign(state)))
    for party, other in (first, second), (second, first):
        if revocation := party.complete(whole):
            other.keep(revocation)
    return whole


@formula(data_rate="C", payments="M", open_size=r"s_{\mathrm{open}}", close_size=r"s_{\mathrm{close}}")
def channel_throughput(
    data_rate: q.PositiveDataRate, payments: q.Ratio, open_size: q.PositiveBytes, close_size: q.PositiveBytes
) -> q.Rate:
    """Payments per second if layer 1 does nothing but open and close channels of so many payments. Definition 3.2.

    >>> channel_throughput(1500, 1000, 150, 150)
    5000.0
    """
    return data_rate * payments / (open_size + close_size)


@formula(
    open_cost=r"c_{\mathrm{open}}",
    close_cost=r"c_{\mathrm{close}}",
    interest_rate="r",
    locked="V",
    lifetime="T",
    onchain_cost=r"c_{\mathrm{on}}",
    offchain_cost=r"c_{\mathrm{off}}",
)
def break_even_payments(
    open_cost: q.Money,
    close_cost: q.Money,
    interest_rate: q.Rate,
    locked: q.Money,
    lifetime: q.Seconds,
    onchain_cost: q.Money,
    offchain_cost: q.Money,
) -> q.Ratio:
    """Payments from which on a channel costs less than layer 1, not rounded. Proposition 3.2.

    Where a payment in the channel is no cheaper, no number is enough: the quotient has no finite value.

    >>> break_even_payments(150, 180, 0, 1_000_000, 0, 140, 30)
    3.0
    """
    return (open_cost + close_cost + interest_rate * locked * lifetime) / sp.Max(onchain_cost - offchain_cost, 0)
