"""Payment channels: lock money once, pay many times by signatures, settle once. Chapter 3 of the book.

Vocabulary: the *terms* of a channel say who takes part, who deposits what and how long a challenge may take; a *state*
is a sequence number with one balance for each participant, and counts once *all* have signed it; to *revoke* is to
sign away all states up to a sequence number; to *post* a state is to close with it alone; until the *deadline* any
participant may *challenge* with a newer one; who posts what it has itself revoked is *punished*, by whoever shows the
revocation: its balance goes to the others.
A *route* leads a payment through the channels of strangers, who each take a *fee*. Algorithm 3.2 of the book.

The deadline is set once, by the first posting, and never moves. No second period is needed: who posts the newest state
it holds has nothing newer to fear but what it signed itself.

Sources: Poon and Dryja (2016), The Bitcoin Lightning Network; BOLT 2, 3 and 7 of the Lightning specification.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import Annotated, Any

import sympy as sp
from nacl.signing import SigningKey

from web3scale.crypto import encode, public_key, sign, tagged_hash, verify_signature
from web3scale.errors import DomainError, Rejected, shown
from web3scale.formula import Quantity, Rate, Ratio, Seconds, checked_integer, formula
from web3scale.layers.ledger import BadAmount, BadSignature, Ledger, Overdraft, WrongChain

MILLION = 1_000_000  # a proportional fee is given in millionths

Money = Annotated[Any, Quantity("money")]
PerSecond = Annotated[Any, Quantity("1/s")]
PositiveBytes = Annotated[Any, Quantity("byte", open="low")]
PositiveDataRate = Annotated[Any, Quantity("byte/s", open="low")]


class BadParticipants(Rejected):
    """Fewer than two participants, one of them twice, or not one deposit for each."""


class BadPeriod(Rejected):
    """The challenge period is not a positive whole number of seconds."""


class BadForm(Rejected):
    """A message, or a part of it, is of another type: a list, say, could still change after its digest was taken."""


class ChannelExists(Rejected):
    """A channel of these terms was opened before."""


class ChannelClosed(Rejected):
    """The channel is closing or closed already."""


class NotClosing(Rejected):
    """Nobody has posted a state yet."""


class WrongChannel(Rejected):
    """The message was signed for another channel, or there is none of this name."""


class UnknownParticipant(Rejected):
    """No participant of this channel."""


class MissingSignature(Rejected):
    """A participant has not signed."""


class RepeatedSignature(Rejected):
    """A participant's signature is listed twice."""


class StaleSequence(Rejected):
    """The sequence number is not the one that is due, or not newer than what is posted."""


class AlreadySigned(Rejected):
    """Another state is signed and not completed: to sign a second one would make two newest states."""


class Unbalanced(Rejected):
    """Changes do not add up to zero, or balances not to the deposits."""


class TooEarly(Rejected):
    """The challenge period is still running."""


class TooLate(Rejected):
    """The challenge period is over."""


class NotRevoked(Rejected):
    """The revocation does not cover a state that its signer posted."""


class AlreadyPunished(Rejected):
    """The participant has lost its balance already."""


class NoRoute(Rejected):
    """No chain of channels carries this amount."""


@dataclass(frozen=True)
class ChannelTerms:
    """What the participants of a channel agree on before they lock anything.

    Attributes
    ----------
    chain : str
        The chain that holds the deposits.
    participants : tuple of bytes
        Public keys, two or more.
    deposits : tuple of int
        What each participant locks, base units.
    challenge_s : int
        Length of the challenge period, seconds.
    nonce : int
        Keeps two channels of the same terms apart.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> terms.total, terms.channel == replace(terms, nonce=2).channel
    (10, False)
    """

    chain: str
    participants: tuple[bytes, ...]
    deposits: tuple[int, ...]
    challenge_s: int
    nonce: int

    @property
    def channel(self) -> bytes:
        """The channel's name: the digest of its terms."""
        fields = encode(self.chain, len(self.participants), *self.participants, *self.deposits)
        return tagged_hash("web3scale/channel", fields + encode(self.challenge_s, self.nonce))

    @property
    def total(self) -> int:
        """All deposits, base units."""
        return sum(self.deposits)

    @property
    def opening(self) -> "ChannelState":
        """State 0: everybody has its deposit."""
        return ChannelState(self.channel, 0, self.deposits)


@dataclass(frozen=True)
class ChannelState:
    """Who has what, and the number that says which of two states is newer.

    Attributes
    ----------
    channel : bytes
        The channel's name.
    sequence : int
        0 at the opening, one more with each update.
    balances : tuple of int
        In the order of the participants, base units.

    Examples
    --------
    >>> state = ChannelState(bytes(32), 5, (6, 4))
    >>> state.message == state.closing_message
    False
    """

    channel: bytes
    sequence: int
    balances: tuple[int, ...]

    @property
    def message(self) -> bytes:
        """What is signed to make this the newest state."""
        return tagged_hash("web3scale/channel-state", encode(self.channel, self.sequence, *self.balances))

    @property
    def closing_message(self) -> bytes:
        """What is signed to be paid by this state at once: of another domain, so that neither stands for the other."""
        return tagged_hash("web3scale/channel-closing", encode(self.channel, self.sequence, *self.balances))


@dataclass(frozen=True)
class SignedState:
    """A state, and the signatures of those who agreed to it.

    Attributes
    ----------
    state : ChannelState
        The state.
    signatures : tuple of (bytes, bytes)
        Public key and signature: on the state's message, or on its closing message.

    Examples
    --------
    >>> SignedState(ChannelState(bytes(32), 0, (6, 4)), ()).state.sequence
    0
    """

    state: ChannelState
    signatures: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Posting:
    """A participant's order to close with a state: signed by itself as well, so that nobody posts in its name.

    Attributes
    ----------
    signed : SignedState
        The state, signed by all.
    party : bytes
        Who posts it.
    signature : bytes
        The poster's.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> signed = SignedState(ChannelState(bytes(32), 0, (6, 4)), ())
    >>> len(sign_posting(example_key("Alice"), signed).signature)
    64
    """

    signed: SignedState
    party: bytes
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """What the poster signs."""
        return tagged_hash("web3scale/channel-posting", encode(self.signed.state.message, self.party))


@dataclass(frozen=True)
class Revocation:
    """A participant's promise never to post the states up to a sequence number.

    Attributes
    ----------
    channel : bytes
        The channel's name.
    party : bytes
        Who promises.
    sequence : int
        The last state that is revoked.
    signature : bytes
        The promiser's.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> sign_revocation(example_key("Alice"), bytes(32), 4).sequence
    4
    """

    channel: bytes
    party: bytes
    sequence: int
    signature: bytes = b""

    @property
    def message(self) -> bytes:
        """What is signed."""
        return tagged_hash("web3scale/channel-revocation", encode(self.channel, self.party, self.sequence))


@dataclass(frozen=True)
class ChannelRecord:
    """What the chain knows of a channel.

    Attributes
    ----------
    terms : ChannelTerms
        Its terms.
    opened : SignedState
        State 0, signed by all: who did not see it completed finds it here.
    postings : tuple of Posting
        What was posted, each newer than the one before.
    deadline_s : int or None
        Time from which it is too late to challenge; None while nobody has posted.
    punished : tuple of bytes
        Who has lost its balance.
    payouts : tuple of int or None
        What each participant was paid, base units; None while the money is held.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> ChannelRecord(terms, SignedState(terms.opening, ()), deadline_s=3600).is_challengeable(3600)
    False
    """

    terms: ChannelTerms
    opened: SignedState
    postings: tuple[Posting, ...] = ()
    deadline_s: int | None = None
    punished: tuple[bytes, ...] = ()
    payouts: tuple[int, ...] | None = None

    def is_challengeable(self, now_s: int) -> bool:
        """Whether a challenge or a revocation still comes in time."""
        return self.payouts is None and self.deadline_s is not None and now_s < self.deadline_s


def _check_types(what: str, given: object, kind: type, **parts: type) -> None:
    """Check that a stranger's message is what it should be, and has parts of exactly their types."""
    if type(given) is not kind:
        raise BadForm(f"{what}: it must be a {kind.__name__}", given=given)
    for name, part in parts.items():
        value = getattr(given, name, None)  # None too where the object was made without its fields
        if type(value) is not part:
            raise BadForm(f"{what}: {name} must be of type {part.__name__}", **{name: value})


def is_broken(revocation: Revocation, record: ChannelRecord) -> bool:
    """Whether who signed a revocation has posted a state that it covers.

    Parameters
    ----------
    revocation
        Of any participant.
    record
        Of the channel.

    Returns
    -------
    bool
        Says nothing of the signature.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> opened = SignedState(terms.opening, ())
    >>> posted = ChannelRecord(terms, opened, (Posting(opened, b"a" * 32),), 3600)
    >>> [is_broken(Revocation(terms.channel, party, 0), posted) for party in terms.participants]
    [True, False]
    """
    return any(p.party == revocation.party and p.signed.state.sequence <= revocation.sequence for p in record.postings)


def check_terms(terms: ChannelTerms, chain: str) -> None:
    """Check the terms of a channel without regard to accounts.

    Parameters
    ----------
    terms
        The channel's terms.
    chain
        The chain that checks them.

    Raises
    ------
    Rejected
        If a rule is broken: BadForm, WrongChain, BadParticipants, BadAmount, BadPeriod.

    Examples
    --------
    >>> check_terms(ChannelTerms("main", (b"a" * 32,), (6,), 3600, nonce=1), "main")
    Traceback (most recent call last):
    web3scale.layers.channels.BadParticipants: channel: participants must be two or more, all different, got parties=1
    """
    _check_types("channel", terms, ChannelTerms, chain=str)
    if terms.chain != chain:
        raise WrongChain(f"channel: chain must be {chain!r}", chain=terms.chain)
    if type(terms.participants) is not tuple or type(terms.deposits) is not tuple:
        raise BadParticipants("channel: participants and deposits must be tuples", deposits=terms.deposits)
    parties = len(terms.participants)
    for party in terms.participants:
        if type(party) is not bytes:
            raise BadParticipants("channel: participant must be a key", party=party)
    if parties < 2 or len(set(terms.participants)) < parties:
        raise BadParticipants("channel: participants must be two or more, all different", parties=parties)
    if len(terms.deposits) != parties:
        raise BadParticipants(f"channel: deposits must be {parties}", deposits=len(terms.deposits))
    for deposit in terms.deposits:
        if type(deposit) is not int or deposit < 1:
            raise BadAmount("channel: deposit must be a positive integer", deposit=deposit)
    if type(terms.challenge_s) is not int or terms.challenge_s < 1:
        raise BadPeriod("channel: challenge period must be a positive integer", challenge_s=terms.challenge_s)
    if type(terms.nonce) is not int or terms.nonce < 0:
        raise BadForm("channel: nonce must be a natural number", nonce=terms.nonce)


def check_state(terms: ChannelTerms, state: ChannelState) -> None:
    """Check that a state is of this channel and gives away what the deposits are: no more, no less.

    Parameters
    ----------
    terms
        The channel's terms.
    state
        The state in question.

    Raises
    ------
    Rejected
        If a rule is broken: BadForm, WrongChannel, StaleSequence, BadAmount, Overdraft, Unbalanced.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> check_state(terms, ChannelState(terms.channel, 1, (6, 5)))
    Traceback (most recent call last):
    web3scale.layers.channels.Unbalanced: state: balances must be 2 that add up to 10, got balances=(6, 5)
    """
    _check_types("state", state, ChannelState, channel=bytes, balances=tuple)
    if state.channel != terms.channel:
        raise WrongChannel("state: channel must be this one", channel=state.channel)
    if type(state.sequence) is not int or state.sequence < 0:
        raise StaleSequence("state: sequence must be a natural number", sequence=state.sequence)
    for balance in state.balances:
        if type(balance) is not int:
            raise BadAmount("state: balance must be an integer", balance=balance)
        if balance < 0:
            raise Overdraft("state: balance must not be negative", balance=balance)
    if len(state.balances) != len(terms.participants) or sum(state.balances) != terms.total:
        rule = f"state: balances must be {len(terms.participants)} that add up to {shown(terms.total)}"
        raise Unbalanced(rule, balances=state.balances)


def check_signatures(terms: ChannelTerms, message: bytes, signatures: tuple[tuple[bytes, bytes], ...]) -> None:
    """Check that every participant has signed a message, once.

    Parameters
    ----------
    terms
        The channel's terms.
    message
        What is to be signed.
    signatures
        Public key and signature of each.

    Raises
    ------
    Rejected
        If a rule is broken: BadForm, UnknownParticipant, RepeatedSignature, MissingSignature, BadSignature.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> check_signatures(terms, terms.opening.message, ((b"a" * 32, b""),))
    Traceback (most recent call last):
    web3scale.layers.channels.MissingSignature: state: every participant must sign, got party=62626262…
    """
    if type(signatures) is not tuple or not all(type(pair) is tuple and len(pair) == 2 for pair in signatures):
        raise BadForm("state: signatures must be a tuple of pairs", signatures=signatures)
    given: dict[bytes, bytes] = {}
    for party, signature in signatures:
        if type(party) is not bytes or party not in terms.participants:
            raise UnknownParticipant("state: signer must take part in the channel", party=party)
        if party in given:
            raise RepeatedSignature("state: every participant signs once", party=party)
        given[party] = signature
    for party in terms.participants:
        if party not in given:
            raise MissingSignature("state: every participant must sign", party=party)
    for party, signature in given.items():
        if not verify_signature(party, message, signature):
            raise BadSignature("state: signature must be the participant's on this message", party=party)


def check_signed(terms: ChannelTerms, signed: SignedState) -> None:
    """Check a state and that all have signed it, as a state and not as a closing.

    Parameters
    ----------
    terms
        The channel's terms.
    signed
        The state and its signatures.

    Raises
    ------
    Rejected
        If a rule of `check_state` or `check_signatures` is broken.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> check_signed(terms, SignedState(terms.opening, ((b"c" * 32, b""),)))
    Traceback (most recent call last):
    web3scale.layers.channels.UnknownParticipant: state: signer must take part in the channel, got party=63636363…
    """
    _check_types("state", signed, SignedState)
    check_state(terms, signed.state)
    check_signatures(terms, signed.state.message, signed.signatures)


def check_revocation(terms: ChannelTerms, revocation: Revocation) -> None:
    """Check that a participant of this channel has signed a revocation.

    Parameters
    ----------
    terms
        The channel's terms.
    revocation
        The revocation in question.

    Raises
    ------
    Rejected
        If a rule is broken: BadForm, WrongChannel, UnknownParticipant, StaleSequence, BadSignature.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> check_revocation(terms, Revocation(terms.channel, b"a" * 32, 0))
    Traceback (most recent call last):
    web3scale.layers.ledger.BadSignature: revocation: signature must be the participant's, got party=61616161…
    """
    _check_types("revocation", revocation, Revocation, channel=bytes, party=bytes)
    if revocation.channel != terms.channel:
        raise WrongChannel("revocation: channel must be this one", channel=revocation.channel)
    if revocation.party not in terms.participants:
        raise UnknownParticipant("revocation: signer must take part in the channel", party=revocation.party)
    if type(revocation.sequence) is not int or revocation.sequence < 0:
        raise StaleSequence("revocation: sequence must be a natural number", sequence=revocation.sequence)
    if not verify_signature(revocation.party, revocation.message, revocation.signature):
        raise BadSignature("revocation: signature must be the participant's", party=revocation.party)


def sign_posting(key: SigningKey, signed: SignedState) -> Posting:
    """Order the close of a channel with a state.

    Parameters
    ----------
    key
        Secret key of who closes.
    signed
        The state to close with.

    Returns
    -------
    Posting
        Signed; whether it is valid is for the contract to say.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> posting = sign_posting(example_key("Alice"), SignedState(ChannelState(bytes(32), 0, (6, 4)), ()))
    >>> verify_signature(posting.party, posting.message, posting.signature)
    True
    """
    unsigned = Posting(signed, public_key(key))
    return replace(unsigned, signature=sign(key, unsigned.message))


def sign_revocation(key: SigningKey, channel: bytes, sequence: int) -> Revocation:
    """Revoke all states of a channel up to a sequence number.

    Parameters
    ----------
    key
        Secret key of who revokes.
    channel
        Name of the channel.
    sequence
        The last state revoked.

    Returns
    -------
    Revocation
        Signed. Who signs it must hold a newer state that all have signed.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> revocation = sign_revocation(example_key("Alice"), bytes(32), 4)
    >>> verify_signature(revocation.party, revocation.message, revocation.signature)
    True
    """
    unsigned = Revocation(channel, public_key(key), sequence)
    return replace(unsigned, signature=sign(key, unsigned.message))


def next_state(terms: ChannelTerms, state: ChannelState, changes: Mapping[bytes, int]) -> ChannelState:
    """Apply changes of balances to a state: all of them, or none.

    Parameters
    ----------
    terms
        The channel's terms.
    state
        The newest state; it stays as it is.
    changes
        The change δ of each participant's balance, base units; who is left out keeps its balance.

    Returns
    -------
    ChannelState
        With the next sequence number.

    Raises
    ------
    Rejected
        If a rule is broken: UnknownParticipant, BadAmount, Unbalanced, Overdraft.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32), (6, 4), 3600, nonce=1)
    >>> next_state(terms, terms.opening, {b"a" * 32: -5, b"b" * 32: 5}).balances
    (1, 9)
    """
    for party, change in changes.items():
        if party not in terms.participants:
            raise UnknownParticipant("update: party must take part in the channel", party=party)
        if type(change) is not int:
            raise BadAmount("update: change must be an integer", change=change)
    if sum(changes.values()) != 0:
        raise Unbalanced("update: changes must add up to zero", total=sum(changes.values()))
    pairs = zip(terms.participants, state.balances, strict=True)
    balances = tuple(balance + changes.get(party, 0) for party, balance in pairs)
    if min(balances) < 0:
        raise Overdraft("update: no balance may become negative", balance=min(balances))
    return ChannelState(state.channel, state.sequence + 1, balances)


def final_payouts(record: ChannelRecord) -> tuple[int, ...]:
    """Return what each participant is paid by the newest posted state, once the punished have lost their balances.

    Parameters
    ----------
    record
        A channel in which a state is posted.

    Returns
    -------
    tuple of int
        In the order of the participants, base units. What the punished lose is split evenly among the others; of a
        remainder, those named first get a unit each. If nobody else is left, the state is paid as it stands.

    Examples
    --------
    >>> terms = ChannelTerms("main", (b"a" * 32, b"b" * 32, b"c" * 32), (5, 5, 5), 3600, nonce=1)
    >>> opened = SignedState(terms.opening, ())
    >>> posted = ChannelRecord(terms, opened, (Posting(opened, b"a" * 32),), 3600)
    >>> final_payouts(replace(posted, punished=(b"a" * 32,)))
    (0, 8, 7)
    """
    payouts = list(record.postings[-1].signed.state.balances)
    lost = [party in record.punished for party in record.terms.participants]
    heirs = [i for i, loses in enumerate(lost) if not loses]
    if heirs:
        pot = sum(payout for payout, loses in zip(payouts, lost, strict=True) if loses)
        share, rest = divmod(pot, len(heirs))
        payouts = [0 if loses else payout for payout, loses in zip(payouts, lost, strict=True)]
        for place, i in enumerate(heirs):
            payouts[i] += share + (place < rest)
    return tuple(payouts)


def _channel_of(posting: Posting) -> bytes:
    _check_types("posting", posting, Posting, signed=SignedState, party=bytes)
    _check_types("posting", posting.signed, SignedState, state=ChannelState)
    return posting.signed.state.channel


class ChannelContract:
    """The part of a channel that lives on the chain: holds the deposits, and judges who gets what.

    Time is an argument of every step, and may not run backwards. A refused step changes nothing.

    Parameters
    ----------
    ledger
        The accounts from which deposits are taken and to which they return.

    Attributes
    ----------
    now_s : int
        Time of the last step that was accepted, seconds.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Alice", "Bob")]
    >>> alice, bob = map(public_key, keys)
    >>> contract = ChannelContract(Ledger("main", {alice: 10, bob: 10}))
    >>> terms = ChannelTerms("main", (alice, bob), (6, 4), 3600, nonce=1)
    >>> parties = open_together(contract, terms, keys, now_s=0)
    >>> paid = update_together(parties, {alice: -5, bob: 5})
    >>> contract.close(parties[1].posting(), now_s=10)
    >>> contract.settle(terms.channel, now_s=3610)
    (1, 9)
    """

    def __init__(self, ledger: Ledger) -> None:
        # one contract a chain: a second one would take old signatures for new
        ledger.open(tagged_hash("web3scale/channels/contract", ledger.chain.encode()))
        self.ledger = ledger
        self.now_s = 0
        self._records: dict[bytes, ChannelRecord] = {}

    @property
    def held(self) -> int:
        """All deposits that are not paid out, base units."""
        return sum(record.terms.total for record in self._records.values() if record.payouts is None)

    def record(self, channel: bytes) -> ChannelRecord:
        """What the chain knows of a channel; `WrongChannel` if there is none of this name."""
        if type(channel) is not bytes or channel not in self._records:
            raise WrongChannel("contract: channel must have been opened here", channel=channel)
        return self._records[channel]

    def open(self, terms: ChannelTerms, signed: SignedState, now_s: int) -> None:
        """Take the deposits, given state 0 signed by all: before anything is locked, everybody can get it back.

        Raises
        ------
        Rejected
            If the terms or the state are refused, the channel exists, or a balance does not cover its deposit.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("open", now_s)
        check_terms(terms, self.ledger.chain)
        if terms.channel in self._records:
            raise ChannelExists("contract: channel must be new", channel=terms.channel)
        check_signed(terms, signed)
        if signed.state != terms.opening:
            raise StaleSequence("contract: a channel opens with its state 0", sequence=signed.state.sequence)
        for party, deposit in zip(terms.participants, terms.deposits, strict=True):
            if (balance := self.ledger.balance(party)) < deposit:
                raise Overdraft("contract: balance must cover the deposit", balance=balance, deposit=deposit)
        for party, deposit in zip(terms.participants, terms.deposits, strict=True):
            self.ledger.debit(party, deposit)
        self._records[terms.channel] = ChannelRecord(terms, signed)
        self.now_s = now_s

    def close_together(self, signed: SignedState, now_s: int) -> tuple[int, ...]:
        """Pay at once what all have signed as the closing balances, and return it.

        Raises
        ------
        Rejected
            If the channel is closed, or the state or a signature on its closing message is refused.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("close_together", now_s)
        _check_types("state", signed, SignedState, state=ChannelState)
        record = self._unpaid(signed.state.channel)
        check_state(record.terms, signed.state)
        check_signatures(record.terms, signed.state.closing_message, signed.signatures)
        return self._pay(record, signed.state.balances, now_s)

    def close(self, posting: Posting, now_s: int) -> None:
        """Begin to close with a state, alone: the challenge period starts.

        Raises
        ------
        Rejected
            If the channel is closing or closed, or the posting is refused.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("close", now_s)
        record = self._unpaid(_channel_of(posting))
        if record.deadline_s is not None:
            raise ChannelClosed("contract: channel must be open", deadline_s=record.deadline_s)
        self._check_posting(record.terms, posting)
        deadline_s = now_s + record.terms.challenge_s
        self._write(replace(record, postings=(posting,), deadline_s=deadline_s), now_s)

    def challenge(self, posting: Posting, now_s: int) -> None:
        """Replace the posted state by a newer one; the deadline stays.

        Raises
        ------
        Rejected
            If the channel is not closing or it is too late, the state is not newer, or the posting is refused.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("challenge", now_s)
        record = self._challengeable(_channel_of(posting), now_s)
        self._check_posting(record.terms, posting)
        newest, sequence = record.postings[-1].signed.state.sequence, posting.signed.state.sequence
        if sequence <= newest:
            raise StaleSequence(f"contract: sequence must be above {newest}", sequence=sequence)
        self._write(replace(record, postings=(*record.postings, posting)), now_s)

    def punish(self, revocation: Revocation, now_s: int) -> None:
        """Take the balance of who has posted what it revoked; the newest state still says how large that is.

        Raises
        ------
        Rejected
            If the channel is not closing or it is too late, or the revocation is refused, covers nothing that its
            signer posted, or has been used.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("punish", now_s)
        _check_types("revocation", revocation, Revocation)
        record = self._challengeable(revocation.channel, now_s)
        check_revocation(record.terms, revocation)
        if not is_broken(revocation, record):
            raise NotRevoked("contract: its signer must have posted what it revoked", sequence=revocation.sequence)
        if revocation.party in record.punished:
            raise AlreadyPunished("contract: punished once only", party=revocation.party)
        self._write(replace(record, punished=(*record.punished, revocation.party)), now_s)

    def settle(self, channel: bytes, now_s: int) -> tuple[int, ...]:
        """Pay by the newest posted state once the challenge period is over, and return what each is paid.

        Raises
        ------
        Rejected
            If the channel is not closing, or it is too early.
        DomainError
            If time ran backwards.
        """
        now_s = self._time("settle", now_s)
        record = self._unpaid(channel)
        if record.deadline_s is None:
            raise NotClosing("contract: a state must be posted first", channel=channel)
        if now_s < record.deadline_s:
            raise TooEarly(f"contract: challenges are open until {shown(record.deadline_s)} s", now_s=now_s)
        return self._pay(record, final_payouts(record), now_s)

    def _time(self, where: str, now_s: int) -> int:
        return checked_integer(f"ChannelContract.{where}", "now_s", now_s, low=self.now_s)

    def _unpaid(self, channel: bytes) -> ChannelRecord:
        record = self.record(channel)
        if record.payouts is not None:
            raise ChannelClosed("contract: channel must not be closed", payouts=record.payouts)
        return record

    def _challengeable(self, channel: bytes, now_s: int) -> ChannelRecord:
        record = self._unpaid(channel)
        if record.deadline_s is None:
            raise NotClosing("contract: a state must be posted first", channel=channel)
        if not record.is_challengeable(now_s):
            raise TooLate(f"contract: challenges end before {shown(record.deadline_s)} s", now_s=now_s)
        return record

    def _check_posting(self, terms: ChannelTerms, posting: Posting) -> None:
        if posting.party not in terms.participants:
            raise UnknownParticipant("posting: poster must take part in the channel", party=posting.party)
        check_signed(terms, posting.signed)
        if not verify_signature(posting.party, posting.message, posting.signature):
            raise BadSignature("posting: signature must be the poster's", party=posting.party)

    def _write(self, record: ChannelRecord, now_s: int) -> None:
        self._records[record.terms.channel] = record
        self.now_s = now_s

    def _pay(self, record: ChannelRecord, payouts: tuple[int, ...], now_s: int) -> tuple[int, ...]:
        for party, payout in zip(record.terms.participants, payouts, strict=True):
            if payout:
                self.ledger.credit(party, payout)
        self._write(replace(record, payouts=payouts), now_s)
        return payouts


class ChannelParty:
    """What one participant remembers of a channel, and the rules that keep its money safe whatever the others do.

    It signs one state at a time, the next one only; revokes only once it holds a newer state signed by all; signs no
    state and revokes nothing once it has begun to close or has seen a posting; and posts and challenges with the newest
    state it holds. Its owner must let it `watch` so often that two looks are always less than a challenge period apart,
    and count no state as paid for which `complete` gave no revocation: until the payout he may get that or the one
    before.

    Parameters
    ----------
    key
        The participant's secret key.
    terms
        The channel's terms.

    Attributes
    ----------
    public : bytes
        Its public key.
    newest : SignedState or None
        The newest state signed by all; None before the opening.
    pending : ChannelState or None
        What it has signed and not seen completed.
    leaving : bool
        Whether it has signed a closing or a posting, or seen one posted.
    revocations : dict of bytes to Revocation
        The latest of each other participant.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Alice", "Bob")]
    >>> terms = ChannelTerms("main", tuple(map(public_key, keys)), (6, 4), 3600, nonce=1)
    >>> alice = ChannelParty(keys[0], terms)
    >>> len(alice.sign(terms.opening))
    64
    >>> alice.sign(ChannelState(terms.channel, 0, (10, 0)))
    Traceback (most recent call last):
    web3scale.layers.channels.Unbalanced: party: state 0 must return the deposits, got balances=(10, 0)
    """

    def __init__(self, key: SigningKey, terms: ChannelTerms) -> None:
        self._key = key
        self.terms = terms
        self.public = public_key(key)
        self.newest: SignedState | None = None
        self.pending: ChannelState | None = None
        self.leaving = False
        self.revocations: dict[bytes, Revocation] = {}

    @property
    def held(self) -> SignedState:
        """The newest state signed by all; `NotClosing` before the opening, when there is nothing to close."""
        if self.newest is None:
            raise NotClosing("party: the opening state must be signed by all first", channel=self.terms.channel)
        return self.newest

    def check(self, state: ChannelState) -> None:
        """Refuse what must not be signed now; whether the balances are those agreed on is for its owner to say."""
        check_state(self.terms, state)
        if self.leaving:
            raise ChannelClosed("party: nothing is signed after a closing or a posting", sequence=state.sequence)
        due = 0 if self.newest is None else self.newest.state.sequence + 1
        if state.sequence != due:
            raise StaleSequence(f"party: sequence must be {due}", sequence=state.sequence)
        if due == 0 and state != self.terms.opening:
            raise Unbalanced("party: state 0 must return the deposits", balances=state.balances)
        if self.pending not in (None, state):
            raise AlreadySigned("party: another state is signed and not completed", sequence=due)

    def sign(self, state: ChannelState) -> bytes:
        """Agree to a state; refused as `check` says."""
        self.check(state)
        self.pending = state
        return sign(self._key, state.message)

    def complete(self, signed: SignedState) -> Revocation | None:
        """Take a state signed by all as the newest, and revoke those before it.

        None is returned for state 0, which has none before it, and once leaving: what is posted must not be revoked.
        """
        check_signed(self.terms, signed)
        sequence = signed.state.sequence
        if self.newest is not None and sequence <= self.newest.state.sequence:
            raise StaleSequence(f"party: sequence must be above {self.newest.state.sequence}", sequence=sequence)
        self.newest, self.pending = signed, None
        if sequence == 0 or self.leaving:
            return None
        return sign_revocation(self._key, self.terms.channel, sequence - 1)

    def keep(self, revocation: Revocation) -> None:
        """Remember another participant's revocation, if it is its latest; refused if it is not signed by it."""
        check_revocation(self.terms, revocation)
        known = self.revocations.get(revocation.party)
        if known is None or known.sequence < revocation.sequence:
            self.revocations[revocation.party] = revocation

    def sign_closing(self) -> bytes:
        """Agree to be paid by the newest state at once; from now on no further state is signed."""
        closing = self.held.state.closing_message
        if self.pending is not None:
            raise AlreadySigned("party: another state is signed and not completed", sequence=self.pending.sequence)
        self.leaving = True
        return sign(self._key, closing)

    def posting(self) -> Posting:
        """The order to close with the newest state; from now on no further state is signed, and nothing revoked."""
        signed = self.held
        self.leaving = True
        return sign_posting(self._key, signed)

    def watch(self, contract: ChannelContract, now_s: int) -> None:
        """Look at the chain: challenge what is old, punish what was revoked, and sign no more if anything is posted."""
        record = contract.record(self.terms.channel)
        if self.newest is None:
            self.complete(record.opened)
        if record.deadline_s is not None or record.payouts is not None:
            self.leaving = True
        if not record.is_challengeable(now_s):
            return
        for party, revocation in self.revocations.items():
            if party not in record.punished and is_broken(revocation, record):
                contract.punish(revocation, now_s)
        if record.postings[-1].signed.state.sequence < self.held.state.sequence:
            contract.challenge(self.posting(), now_s)


def _sign_all(parties: Sequence[ChannelParty], state: ChannelState) -> SignedState:
    """All check before the first one signs, so that a refusal leaves no half-signed state behind."""
    for party in parties:
        party.check(state)
    signed = SignedState(state, tuple((party.public, party.sign(state)) for party in parties))
    revocations = [party.complete(signed) for party in parties]
    for party in parties:
        for revocation in revocations:
            if revocation is not None and revocation.party != party.public:
                party.keep(revocation)
    return signed


def open_together(
    contract: ChannelContract, terms: ChannelTerms, keys: Sequence[SigningKey], now_s: int
) -> tuple[ChannelParty, ...]:
    """Open a channel among participants who keep to the rules: all sign state 0, then the deposits are taken.

    Parameters
    ----------
    contract
        Holds the deposits.
    terms
        The terms.
    keys
        Secret key of each participant, in the order of the terms.
    now_s
        Time, seconds.

    Returns
    -------
    tuple of ChannelParty
        One for each participant, in the order of the terms.

    Raises
    ------
    Rejected
        If the contract or a participant refuses.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Alice", "Bob")]
    >>> contract = ChannelContract(Ledger("main", {public_key(key): 10 for key in keys}))
    >>> terms = ChannelTerms("main", tuple(map(public_key, keys)), (6, 4), 3600, nonce=1)
    >>> parties = open_together(contract, terms, keys, now_s=0)
    >>> contract.held, contract.ledger.total
    (10, 10)
    """
    check_terms(terms, contract.ledger.chain)
    parties = tuple(ChannelParty(key, terms) for key in keys)
    contract.open(terms, _sign_all(parties, terms.opening), now_s)
    return parties


def update_together(parties: Sequence[ChannelParty], changes: Mapping[bytes, int]) -> SignedState:
    """Make one update among participants who keep to the rules: all sign, then all revoke what was before.

    Parameters
    ----------
    parties
        All participants.
    changes
        The change δ of each participant's balance, base units.

    Returns
    -------
    SignedState
        The new state, signed by all.

    Raises
    ------
    Rejected
        If not all participants are there, or `next_state` or one of them refuses; then nothing is signed.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> keys = [example_key(name) for name in ("Alice", "Bob")]
    >>> alice, bob = map(public_key, keys)
    >>> contract = ChannelContract(Ledger("main", {alice: 10, bob: 10}))
    >>> parties = open_together(contract, ChannelTerms("main", (alice, bob), (6, 4), 3600, nonce=1), keys, now_s=0)
    >>> update_together(parties, {alice: -5, bob: 5}).state.balances
    (1, 9)
    """
    if not parties or sorted(p.public for p in parties) != sorted(parties[0].terms.participants):
        raise BadParticipants("update: parties must be all participants, once each", parties=len(parties))
    return _sign_all(parties, next_state(parties[0].terms, parties[0].held.state, changes))


@dataclass(frozen=True)
class Edge:
    """One direction of a channel, as its source announces it.

    Attributes
    ----------
    source, target : str
        From whom to whom.
    base_fee_msat : int
        Fee for forwarding anything, millisatoshi.
    proportional_millionths : int
        Fee for each million that is forwarded.
    cltv_delta : int
        Blocks that the source asks for between the expiry of what it receives and of what it forwards.
    capacity_msat : int
        The most it forwards at once, millisatoshi.

    Examples
    --------
    >>> Edge("B", "C", 200, 2000, 20, capacity_msat=10_000_000).fee(4_999_999)
    10199
    """

    source: str
    target: str
    base_fee_msat: int
    proportional_millionths: int
    cltv_delta: int
    capacity_msat: int

    def __post_init__(self) -> None:
        for name in ("base_fee_msat", "proportional_millionths", "cltv_delta", "capacity_msat"):
            # a negative fee would mislead the search, and an integer of 64 bits may become one
            object.__setattr__(self, name, checked_integer("Edge", name, getattr(self, name), low=0))

    def fee(self, amount_msat: int) -> int:
        """Fee for forwarding an amount, in whole millisatoshi, rounded down."""
        return self.base_fee_msat + amount_msat * self.proportional_millionths // MILLION


@dataclass(frozen=True)
class Hop:
    """One channel of a route, and what passes through it.

    Attributes
    ----------
    edge : Edge
        The channel.
    amount_msat : int
        What passes, millisatoshi.
    cltv : int
        Blocks from now until this part of the payment expires.

    Examples
    --------
    >>> Hop(Edge("B", "C", 200, 2000, 20, 10_000_000), 4_999_999, 60).cltv
    60
    """

    edge: Edge
    amount_msat: int
    cltv: int


@dataclass(frozen=True)
class Route:
    """The hops of a payment, sender's first.

    Attributes
    ----------
    hops : tuple of Hop
        One or more.

    Examples
    --------
    >>> Route((Hop(Edge("B", "C", 200, 2000, 20, 10_000_000), 4_999_999, 60),)).fee_msat
    0
    """

    hops: tuple[Hop, ...]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Everybody on the way, sender and recipient included."""
        return (self.hops[0].edge.source, *(hop.edge.target for hop in self.hops))

    @property
    def amount_msat(self) -> int:
        """What the sender pays."""
        return self.hops[0].amount_msat

    @property
    def fee_msat(self) -> int:
        """What stays with those in between."""
        return self.hops[0].amount_msat - self.hops[-1].amount_msat

    @property
    def cltv(self) -> int:
        """Blocks for which the sender's money may be locked."""
        return self.hops[0].cltv


def find_route(
    edges: Iterable[Edge], sender: str, recipient: str, amount_msat: int, *, final_cltv: int, shadow_cltv: int = 0
) -> Route:
    """Find the cheapest route by Dijkstra's algorithm, from the recipient backwards.

    A fee depends on the amount that is forwarded, and this on all fees further on: so only the recipient's end is known
    to begin with. Less to forward never costs more, so the cheapest rest of a route stays the cheapest.

    Parameters
    ----------
    edges
        The network; two nodes may share several channels.
    sender, recipient
        Who pays whom. The sender takes no fee and asks for no delay in its own channel.
    amount_msat
        What the recipient shall get, millisatoshi.
    final_cltv
        Blocks that the recipient asks for.
    shadow_cltv
        Blocks added to hide where the route ends.

    Returns
    -------
    Route
        Of all with the least fee, one.

    Raises
    ------
    NoRoute
        If no route carries the amount.
    DomainError
        If sender and recipient are the same, the amount is not positive, or a number of blocks is negative.

    References
    ----------
    BOLT 7, sections "HTLC Fees" and "Routing Example".

    Examples
    --------
    >>> edges = [Edge("A", "B", 100, 1000, 10, 10_000_000), Edge("B", "C", 200, 2000, 20, 10_000_000)]
    >>> route = find_route(edges, "A", "C", 4_999_999, final_cltv=18, shadow_cltv=42)
    >>> route.amount_msat, route.fee_msat, route.cltv
    (5010198, 10199, 80)
    """
    amount = checked_integer("find_route", "amount_msat", amount_msat, low=1)
    blocks = checked_integer("find_route", "final_cltv", final_cltv, low=0)
    blocks += checked_integer("find_route", "shadow_cltv", shadow_cltv, low=0)
    if sender == recipient:
        raise DomainError(f"find_route: recipient must differ from the sender, got {recipient!r}")
    into: dict[str, list[Edge]] = {}
    for edge in edges:
        into.setdefault(edge.target, []).append(edge)
    done: set[str] = set()
    # what a node must receive, how long before the end, a number so that ties never compare routes, the hops from it on
    queue: list[tuple[int, int, int, str, tuple[Hop, ...]]] = [(amount, blocks, 0, recipient, ())]
    pushed = 0
    while queue:
        needed, cltv, _, node, hops = heappop(queue)
        if node == sender:
            return Route(hops)
        if node in done:
            continue
        done.add(node)
        for edge in into.get(node, []):
            if edge.source not in done and needed <= edge.capacity_msat:
                own = edge.source == sender
                fee, delta = (0, 0) if own else (edge.fee(needed), edge.cltv_delta)
                pushed += 1
                ahead = (Hop(edge, needed, cltv), *hops)
                heappush(queue, (needed + fee, cltv + delta, pushed, edge.source, ahead))
    raise NoRoute("find_route: no channels carry the amount", sender=sender, recipient=recipient, amount_msat=amount)


@formula(data_rate="C", payments="M", open_size=r"s_{\mathrm{open}}", close_size=r"s_{\mathrm{close}}")
def channel_throughput(
    data_rate: PositiveDataRate, payments: Ratio, open_size: PositiveBytes, close_size: PositiveBytes
) -> Rate:
    """Payments per second if layer 1 does nothing but open and close channels. Definition 3.2 of the book.

    Parameters
    ----------
    data_rate : float or array
        Layer-1 bytes per second, C.
    payments : float or array
        Payments over the life of a channel, M.
    open_size, close_size : float or array
        Layer-1 bytes to open and to close a channel.

    Returns
    -------
    float or array
        C·M/(s_open + s_close), payments per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
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
    open_cost: Money,
    close_cost: Money,
    interest_rate: PerSecond,
    locked: Money,
    lifetime: Seconds,
    onchain_cost: Money,
    offchain_cost: Money,
) -> Ratio:
    """Payments from which on a channel costs less than layer 1. Proposition 3.2 of the book.

    Parameters
    ----------
    open_cost, close_cost : float or array
        Cost of opening and of closing the channel, money.
    interest_rate : float or array
        Interest rate on locked money, per second.
    locked : float or array
        Money locked in the channel.
    lifetime : float or array
        Lifetime of the channel, seconds.
    onchain_cost, offchain_cost : float or array
        Cost of one payment on layer 1 and in the channel, money. Where the channel saves nothing, max(c_on − c_off, 0)
        is 0, no number of payments is enough, and the call is refused.

    Returns
    -------
    float or array
        M* = (c_open + c_close + r·V·T)/max(c_on − c_off, 0), not rounded.

    Raises
    ------
    DomainError
        If an argument is outside its range, or `onchain_cost` is not above `offchain_cost`.

    Examples
    --------
    >>> break_even_payments(150, 180, 0, 1_000_000, 0, 140, 30)
    3.0
    """
    fixed = open_cost + close_cost + interest_rate * locked * lifetime
    return fixed / sp.Max(onchain_cost - offchain_cost, 0)
