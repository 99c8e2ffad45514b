"""Sidechains and bridges: money locked on one chain stands behind money minted on another. Chapter 3.

Vocabulary: the *escrow* is the account of the main chain that holds what is locked; a *crossing* is one passage of
money, a *deposit* (main chain to sidechain) or a *withdrawal* (back); a *signer* watches both chains and *attests* a
crossing; a *proof* is a crossing with attestations, and takes effect once enough *distinct* signers are in it; the
*finality depth* is the number of blocks that must stand on top of a crossing before an honest signer attests it.

The receiver of a crossing is the key that signed its transfer. So one signature says who pays, how much and who
receives: no second message could be cut off or exchanged. Definition 3.3 and Algorithm 3.3 of the book.

Sources: Zamyatin et al. (2021), SoK: communication across distributed ledgers, Financial Cryptography; Chernoff (1952),
Annals of Mathematical Statistics 23.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import sympy as sp
from nacl.signing import SigningKey

from web3scale.crypto import encode, public_key, sign, tagged_hash, verify_signature
from web3scale.errors import DomainError, Rejected, shown
from web3scale.formula import PositiveRate, Quantity, Rate, Ratio, checked, checked_integer, checked_scalar, formula
from web3scale.layers.ledger import (
    AccountExists,
    BadAmount,
    BadSignature,
    Block,
    Ledger,
    Receipt,
    Transfer,
    WrongChain,
    WrongNonce,
)

MOST_SIGNERS = 10**9  # beyond, the tail of a binomial is not computed to all digits
DEPOSIT = "deposit"
WITHDRAWAL = "withdrawal"

PositiveShare = Annotated[Any, Quantity("1", high=1.0, open="low")]
InnerShare = Annotated[Any, Quantity("1", high=1.0, open="low high")]

_SHARE = Quantity("1", high=1.0)


class BadSigners(Rejected):
    """A bridge has no signers, one of them twice, or one that is no key."""


class BadThreshold(Rejected):
    """A threshold that the faulty signers reach alone, or that the others cannot reach without them."""


class NoProof(Rejected):
    """Something else than a proof, with a crossing and a tuple of attestations in it."""


class NotInChain(Rejected):
    """The chain that the crossing is said to come from has no such crossing."""


class NotFinal(Rejected):
    """Too few blocks stand on top of the crossing."""


class WrongDirection(Rejected):
    """A proof of a deposit was used to release, or one of a withdrawal to mint."""


class Replayed(Rejected):
    """The nonce was used before."""


class UnknownSigner(Rejected):
    """The key is not one of the bridge's signers."""


class RepeatedSigner(Rejected):
    """One signer stands twice in a proof."""


class TooFewSigners(Rejected):
    """The proof has fewer signers than the threshold."""


@dataclass(frozen=True)
class Crossing:
    """One passage of money from a chain to another.

    Attributes
    ----------
    direction : str
        `DEPOSIT` or `WITHDRAWAL`.
    source, target : str
        The chain on which the money was taken, and the one on which it is to be given out.
    amount : int
        How much, base units.
    recipient : bytes
        Who receives on the target chain: the key that paid on the source chain.
    nonce : int
        Its number among the crossings of its direction, from 1.

    Examples
    --------
    >>> from dataclasses import replace
    >>> there = Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1)
    >>> there.message == replace(there, target="other").message
    False
    """

    direction: str
    source: str
    target: str
    amount: int
    recipient: bytes
    nonce: int

    @property
    def message(self) -> bytes:
        """The digest that signers sign: of every field, under a tag of its own."""
        written = encode(self.direction, self.source, self.target, self.amount, self.recipient, self.nonce)
        return tagged_hash("web3scale/bridge/crossing", written)


@dataclass(frozen=True)
class Attestation:
    """One signer's word for a crossing.

    Attributes
    ----------
    signer : bytes
        Public key.
    signature : bytes
        The signer's, on the crossing's message.

    Examples
    --------
    >>> len(Attestation(bytes(32), bytes(64)).signature)
    64
    """

    signer: bytes
    signature: bytes


@dataclass(frozen=True)
class Proof:
    """A crossing and the attestations that are shown for it.

    Attributes
    ----------
    crossing : Crossing
        What is said to have happened.
    attestations : tuple of Attestation
        Who says so.

    Examples
    --------
    >>> Proof(Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1), ()).crossing.amount
    5
    """

    crossing: Crossing
    attestations: tuple[Attestation, ...]


def _is_well_formed(crossing: Crossing) -> bool:
    """Whether every field is exactly of its type: 70.0 would count as 70 in a look-up, and has no bytes to sign."""
    return type(crossing) is Crossing and [type(getattr(crossing, field.name)) for field in fields(Crossing)] == [
        str,
        str,
        str,
        int,
        bytes,
        int,
    ]


def verify_attestation(crossing: Crossing, attestation: Attestation) -> bool:
    """Whether the signer named in an attestation signed exactly this crossing.

    Parameters
    ----------
    crossing
        The crossing.
    attestation
        Anything malformed attests nothing.

    Returns
    -------
    bool
        Never raises.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from web3scale.crypto import example_key
    >>> crossing = Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1)
    >>> attestation = sign_crossing(example_key("signer"), crossing)
    >>> verify_attestation(crossing, attestation), verify_attestation(replace(crossing, amount=6), attestation)
    (True, False)
    """
    try:
        return verify_signature(attestation.signer, crossing.message, attestation.signature)
    except (DomainError, AttributeError, TypeError):  # a field that has no bytes: nobody signed it
        return False


def sign_crossing(key: SigningKey, crossing: Crossing) -> Attestation:
    """Sign a crossing without looking at any chain: what a faulty signer does. An honest one calls `Bridge.attest`.

    Parameters
    ----------
    key
        The signer's secret key.
    crossing
        What is signed.

    Returns
    -------
    Attestation
        Signed.

    Raises
    ------
    DomainError
        If an amount or a nonce is no natural number: such a crossing has no bytes.

    Examples
    --------
    >>> from web3scale.crypto import example_key
    >>> len(sign_crossing(example_key("signer"), Crossing(DEPOSIT, "main", "side", 5, bytes(32), 1)).signature)
    64
    """
    return Attestation(public_key(key), sign(key, crossing.message))


def default_threshold(signers: int) -> int:
    """Signatures that a bridge asks for unless told otherwise: more than two thirds. Proposition 3.5 of the book.

    Parameters
    ----------
    signers
        Number n of signers.

    Returns
    -------
    int
        ⌊2n/3⌋ + 1.

    Raises
    ------
    DomainError
        If there are no signers.

    Examples
    --------
    >>> [default_threshold(n) for n in (1, 4, 9, 19)]
    [1, 3, 7, 13]
    """
    return 2 * checked_integer("default_threshold", "signers", signers, low=1) // 3 + 1


class Bridge:
    """A main chain, a sidechain whose money all comes from there, and the signers between them.

    The bridge is a contract of both ledgers and sees every block of either: a payment to `escrow` is a deposit, one to
    `burner` a withdrawal. Nobody has a key to these two accounts: they are hashes, and the secret
    to a curve point that comes from a hash is a discrete logarithm.

    Parameters
    ----------
    main, side
        The two ledgers. The sidechain's must be empty, and no other contract may hold money of it.
    signers
        Public keys of the signers.
    faulty
        How many of them may be faulty, f.
    finality_depth
        Blocks z that must stand on top of a crossing before an honest signer attests it.
    threshold
        Signatures t that a proof needs; `default_threshold` of the number of signers if not given.

    Raises
    ------
    DomainError
        If the ledgers have one name, there is money on the sidechain, or a number is no natural number.
    Rejected
        BadSigners, BadThreshold; AccountExists if these chains have a bridge already.

    Attributes
    ----------
    escrow, burner : bytes
        The account of the main chain that holds what is locked; that of the sidechain to which money returns.
    crossings : dict of str to dict
        For each direction the crossings in the chain, each with the height of its block.
    consumed : dict of str to set of int
        For each direction the nonces of the proofs that took effect.

    Examples
    --------
    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.ledger import sign_transfer
    >>> alice, signers = example_key("Alice"), [example_key(f"signer {i}") for i in range(4)]
    >>> main, side = Ledger("main", {public_key(alice): 10}), Ledger("side", {})
    >>> bridge = Bridge(main, side, [public_key(s) for s in signers], faulty=1, finality_depth=1)
    >>> _ = bridge.main_block([sign_transfer(alice, "main", {bridge.escrow: 7}, fee=0, nonce=1)])
    >>> (deposit,) = bridge.crossings[DEPOSIT]
    >>> bridge.attest(signers[0], deposit)
    Traceback (most recent call last):
    web3scale.layers.bridges.NotFinal: attest: blocks on top must be 1 or more, got depth=0
    >>> _ = bridge.main_block()
    >>> bridge.mint(Proof(deposit, tuple(bridge.attest(s, deposit) for s in signers[:3])))
    >>> side.balance(public_key(alice)), main.balance(public_key(alice)), bridge.locked
    (7, 3, 7)
    """

    def __init__(
        self,
        main: Ledger,
        side: Ledger,
        signers: Iterable[bytes],
        *,
        faulty: int,
        finality_depth: int,
        threshold: int | None = None,
    ) -> None:
        self.signers = tuple(signers)
        count = len(self.signers)
        if not all(type(signer) is bytes and len(signer) == 32 for signer in self.signers):
            raise BadSigners("Bridge: signers must be keys of 32 bytes", signers=self.signers)
        if not count or len(set(self.signers)) < count:
            raise BadSigners("Bridge: signers must be one or more, all different", signers=count)
        self.faulty = checked_integer("Bridge", "faulty", faulty, low=0)
        self.finality_depth = checked_integer("Bridge", "finality_depth", finality_depth, low=0)
        wanted = default_threshold(count) if threshold is None else threshold
        self.threshold = checked_integer("Bridge", "threshold", wanted, low=0)
        if not self.faulty + 1 <= self.threshold <= count - self.faulty:
            raise BadThreshold("Bridge: t must lie in f + 1 ... n - f", n=count, f=self.faulty, t=self.threshold)
        if main.chain == side.chain:
            raise DomainError(f"Bridge: side must be another chain than main, got {side.chain!r} twice")
        if side.total:
            raise DomainError(f"Bridge: side must be empty, got {shown(side.total)} in it")
        # the escrow is of the pair; the burner of the sidechain alone, so that no second bridge can mint on it
        self.escrow = tagged_hash("web3scale/bridge/escrow", encode(main.chain, side.chain))
        self.burner = tagged_hash("web3scale/bridge/burn", encode(side.chain))
        if self.escrow in main or self.burner in side:
            raise AccountExists("Bridge: its accounts must be new", main=main.chain, side=side.chain)
        main.open(self.escrow)
        side.open(self.burner)
        self.main, self.side = main, side
        self.crossings: dict[str, dict[Crossing, int]] = {DEPOSIT: {}, WITHDRAWAL: {}}
        self.consumed: dict[str, set[int]] = {DEPOSIT: set(), WITHDRAWAL: set()}
        main.contracts.append(self._deposits)
        side.contracts.append(self._withdrawals)

    @property
    def locked(self) -> int:
        """What the escrow holds, base units."""
        return self.main.balance(self.escrow)

    @property
    def minted(self) -> int:
        """What circulates on the sidechain, base units."""
        return self.side.total

    def main_block(self, transfers: Iterable[Transfer] = ()) -> Block:
        """Append a block to the main chain; each accepted payment to the escrow becomes a deposit."""
        return self.main.apply_block(transfers)

    def side_block(self, transfers: Iterable[Transfer] = ()) -> Block:
        """Append a block to the sidechain; each accepted payment to the burner is destroyed: a withdrawal."""
        return self.side.apply_block(transfers)

    def _deposits(self, receipts: tuple[Receipt, ...]) -> None:
        self._record(DEPOSIT, self.main, self.side, self.escrow, receipts)

    def _withdrawals(self, receipts: tuple[Receipt, ...]) -> None:
        self._record(WITHDRAWAL, self.side, self.main, self.burner, receipts)
        if returned := self.side.balance(self.burner):
            self.side.debit(self.burner, returned)

    def _record(
        self, direction: str, source: Ledger, target: Ledger, account: bytes, receipts: tuple[Receipt, ...]
    ) -> None:
        recorded = self.crossings[direction]
        for transfer in (receipt.transfer for receipt in receipts if receipt.accepted):
            if amount := dict(transfer.payments).get(account):
                nonce = len(recorded) + 1
                crossing = Crossing(direction, source.chain, target.chain, amount, transfer.sender, nonce)
                recorded[crossing] = source.height

    def attest(self, key: SigningKey, crossing: Crossing) -> Attestation:
        """Sign a crossing as an honest signer; `UnknownSigner`, `NotInChain`, `NotFinal`."""
        if public_key(key) not in self.signers:
            raise UnknownSigner("attest: key must be a signer's", signer=public_key(key))
        if not _is_well_formed(crossing):
            raise NotInChain("attest: it must be a Crossing, each field of its type", given=crossing)
        recorded = self.crossings.get(crossing.direction, {})
        if crossing not in recorded:
            raise NotInChain("attest: crossing must be in the chain", source=crossing.source, nonce=crossing.nonce)
        source = self.main if crossing.direction == DEPOSIT else self.side
        depth = source.height - recorded[crossing]
        if depth < self.finality_depth:
            raise NotFinal(f"attest: blocks on top must be {self.finality_depth} or more", depth=depth)
        return sign_crossing(key, crossing)

    def check(self, proof: Proof, direction: str) -> None:
        """Check all that the target chain can check of a proof: it cannot see the source chain.

        `NoProof`, `WrongDirection`, `WrongChain`, `BadAmount`, `WrongNonce`, `Replayed`, `UnknownSigner`,
        `RepeatedSigner`, `BadSignature`, `TooFewSigners`.
        """
        if type(proof) is not Proof or type(proof.crossing) is not Crossing:
            raise NoProof("proof: it must be a Proof of a Crossing", given=proof)
        if type(proof.attestations) is not tuple or not all(type(a) is Attestation for a in proof.attestations):
            raise NoProof("proof: attestations must be a tuple of attestations", attestations=proof.attestations)
        crossing = proof.crossing
        for text in (crossing.direction, crossing.source, crossing.target):
            if type(text) is not str:
                raise NoProof("proof: direction and chains must be text", given=text)
        chains = (self.main.chain, self.side.chain) if direction == DEPOSIT else (self.side.chain, self.main.chain)
        if crossing.direction != direction:
            raise WrongDirection(f"proof: direction must be {direction!r}", direction=crossing.direction)
        if (crossing.source, crossing.target) != chains:
            raise WrongChain(
                f"proof: chains must be {chains[0]!r}, {chains[1]!r}", source=crossing.source, target=crossing.target
            )
        if type(crossing.amount) is not int or crossing.amount < 1:
            raise BadAmount("proof: amount must be a positive integer", amount=crossing.amount)
        if type(crossing.nonce) is not int or crossing.nonce < 1:
            raise WrongNonce("proof: nonce must be a positive integer", nonce=crossing.nonce)
        if crossing.nonce in self.consumed[direction]:
            raise Replayed("proof: nonce must be new", nonce=crossing.nonce)
        seen: set[bytes] = set()
        for attestation in proof.attestations:
            if type(attestation.signer) is not bytes or attestation.signer not in self.signers:
                raise UnknownSigner("proof: signer must be the bridge's", signer=attestation.signer)
            if attestation.signer in seen:
                raise RepeatedSigner("proof: signers must differ", signer=attestation.signer)
            if not verify_attestation(crossing, attestation):
                raise BadSignature("proof: signature must be the signer's on this crossing", signer=attestation.signer)
            seen.add(attestation.signer)
        if len(seen) < self.threshold:
            raise TooFewSigners(f"proof: signers must be {self.threshold} or more", signers=len(seen))

    def mint(self, proof: Proof) -> None:
        """Make money on the sidechain for a deposit that is proved, once; raises as `check` does."""
        self.check(proof, DEPOSIT)
        self._pay(self.side, proof.crossing)

    def release(self, proof: Proof) -> None:
        """Pay from the escrow for a withdrawal that is proved, once; raises as `check` does, and `Overdraft`."""
        self.check(proof, WITHDRAWAL)
        self.main.debit(self.escrow, proof.crossing.amount)  # refuses before it writes
        self._pay(self.main, proof.crossing)

    def _pay(self, ledger: Ledger, crossing: Crossing) -> None:
        if crossing.recipient not in ledger:
            ledger.open(crossing.recipient)
        ledger.credit(crossing.recipient, crossing.amount)
        self.consumed[crossing.direction].add(crossing.nonce)

    def reorganise_main(self, depth: int) -> tuple[Crossing, ...]:
        """Replace the last `depth` blocks of the main chain by as many without deposits; return the deposits undone.

        Their senders have their money back, and the count of deposits goes back as the chain does. The rest of those
        blocks is left as it was, deposits into other bridges too: only its own deposits matter to the other chain.
        `Overdraft` if the money is gone.
        """
        last = self.main.height - checked_integer("reorganise_main", "depth", depth, low=1)
        deposits = self.crossings[DEPOSIT]
        undone = tuple(crossing for crossing, height in deposits.items() if height > last)
        if undone:
            self.main.debit(self.escrow, sum(crossing.amount for crossing in undone))  # refuses before it writes
        for crossing in undone:
            self.main.credit(crossing.recipient, crossing.amount)
            del deposits[crossing]
        return undone


@formula(side_throughput="X_side", bridge_throughput="X_bridge", main_throughput="X_main", crossing="q")
def sidechain_throughput(
    side_throughput: PositiveRate,
    bridge_throughput: PositiveRate,
    main_throughput: PositiveRate,
    crossing: PositiveShare,
) -> Rate:
    """Throughput of a sidechain of whose transactions a share crosses the bridge. Definition 3.3 of the book.

    Parameters
    ----------
    side_throughput : float or array
        Throughput of the sidechain alone, per second.
    bridge_throughput : float or array
        Crossings that the bridge carries, per second.
    main_throughput : float or array
        Throughput that the main chain has left for crossings, per second.
    crossing : float or array
        Share q of the transactions that cross, above 0: where none crosses, the sidechain stands alone.

    Returns
    -------
    float or array
        min(X_side, X_bridge/q, X_main/q), transactions per second.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> sidechain_throughput(1000, 20, 15, [0.01, 0.05, 1])
    array([1000., 300., 15.])
    """
    return sp.Min(side_throughput, bridge_throughput / crossing, main_throughput / crossing)


@formula(threshold_share="alpha", compromise="varepsilon")
def decay_rate(threshold_share: InnerShare, compromise: InnerShare) -> Ratio:
    """Relative entropy of two shares: how fast `bridge_failure` falls with each signer. Proposition 3.6 of the book.

    Parameters
    ----------
    threshold_share : float or array
        Share α = t/n of the signers that unlocks.
    compromise : float or array
        Probability ε that one signer is compromised.

    Returns
    -------
    float or array
        D = α ln(α/ε) + (1 − α) ln((1 − α)/(1 − ε)). For α ≥ ε the failure is at most exp(−nD).

    Raises
    ------
    DomainError
        If an argument is outside its range.

    References
    ----------
    Chernoff (1952), Annals of Mathematical Statistics 23.

    Examples
    --------
    >>> round(decay_rate(2 / 3, 0.05), 3)
    1.378
    """
    share, rest = threshold_share, 1 - threshold_share
    return share * sp.log(share / compromise) + rest * sp.log(rest / (1 - compromise))


def bridge_failure(signers: int, threshold: int, compromise: npt.ArrayLike) -> Any:
    """Probability that enough signers are compromised to forge a proof, each independently of the others.

    Parameters
    ----------
    signers
        Number n of signers.
    threshold
        Signatures t that a proof needs, 1 to n.
    compromise : float or array
        Probability ε that one signer is compromised.

    Returns
    -------
    float or array
        P[Bin(n, ε) ≥ t].

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(bridge_failure(9, 5, 0.1), 7)
    0.0008909
    """
    from scipy.stats import binom

    n, t = _counts("bridge_failure", signers, threshold)
    share = checked("bridge_failure", "compromise", compromise, _SHARE)
    chance = binom.sf(t - 1, n, share)
    return float(chance) if np.ndim(chance) == 0 else chance


def bridge_stall(signers: int, threshold: int, compromise: npt.ArrayLike) -> Any:
    """Probability that too few signers are left to sign, if the compromised ones stay silent.

    Parameters
    ----------
    signers
        Number n of signers.
    threshold
        Signatures t that a proof needs, 1 to n.
    compromise : float or array
        Probability ε that one signer is compromised.

    Returns
    -------
    float or array
        P[Bin(n, ε) ≥ n − t + 1]: fewer than t of n are up.

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(bridge_stall(9, 5, 0.1), 7)
    0.0008909
    """
    n, t = _counts("bridge_stall", signers, threshold)
    return bridge_failure(n, n - t + 1, checked("bridge_stall", "compromise", compromise, _SHARE))


def shared_failure(custody: Sequence[int], threshold: int, compromise: float) -> float:
    """Probability that enough keys are compromised when some hands hold several of them.

    Parameters
    ----------
    custody
        Keys in each hand, one or more. Whoever gets at a hand has all its keys.
    threshold
        Signatures t that a proof needs, 1 to the number of keys.
    compromise : float
        Probability ε that one hand is compromised, independently of the others.

    Returns
    -------
    float
        P[keys in compromised hands ≥ t].

    Raises
    ------
    DomainError
        If an argument is outside its range.

    Examples
    --------
    >>> round(shared_failure([4, 1, 1, 1, 1, 1], 5, 0.1), 4), round(shared_failure([1] * 9, 5, 0.1), 4)
    (0.041, 0.0009)
    """
    where = "shared_failure"
    keys = [checked_integer(where, "custody", held, low=1) for held in custody]
    count, t = _counts(where, sum(keys), threshold)
    share = checked_scalar(where, "compromise", compromise, _SHARE)
    chance = np.zeros(count + 1)  # chance[j]: exactly j keys compromised among the hands seen so far
    chance[0] = 1.0
    for held in keys:
        taken = np.concatenate([np.zeros(held), chance[:-held]])
        chance = (1 - share) * chance + share * taken
    return float(chance[t:].sum())


def _counts(where: str, signers: int, threshold: int) -> tuple[int, int]:
    n = checked_integer(where, "signers", signers, low=1)
    if n > MOST_SIGNERS:
        raise DomainError(f"{where}: signers must be at most {MOST_SIGNERS}, got {shown(n)}")
    t = checked_integer(where, "threshold", threshold, low=1)
    if t > n:
        raise DomainError(f"{where}: threshold must be at most the number of signers {n}, got {shown(t)}")
    return n, t
