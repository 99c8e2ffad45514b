"""Disputes: a game that finds the one wrong step of a batch, and a referee that executes this step alone.

A *proposer* posts a batch and the state root after it; a *challenger* disputes the root; the *referee* is the contract
on layer 1 that decides. A *step* is one record of the batch, executed; the state roots before and after every step are
the *trace*. A *witness* is what the referee needs to execute a step: the record and the accounts that it touches, with
their paths to the roots. Proposition 3.4 of the book. Source: Kalodner et al. (2018), USENIX Security.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from web3scale.crypto import MerkleTree, leaf_hash, root_from_proof, verify_inclusion
from web3scale.errors import DomainError, Rejected, refusal_of, require
from web3scale.layers.batches import read_record
from web3scale.layers.ledger import AccountProof, Ledger, account_leaf, check_form, verify_account
from web3scale.message import message
from web3scale.quantities import Whole, checked, fits, validated

State = tuple[bytes, int, int]  # an account with its balance and its nonce


@message
class Claim:
    """What the contract on layer 1 knows of a batch. Only `after` is the proposer's; the rest is layer 1's own.

    >>> before = Ledger("rollup", {}).root
    >>> replay(Ledger("rollup", {}), [b"one"]).claim == Claim("rollup", leaf_hash(b"one"), 1, 1, before, before)
    True
    """

    chain: str
    batch_root: bytes  # Merkle root of the records
    steps: int  # number of records, and of accounts: a Merkle root does not say how many leaves it has
    accounts: int
    before: bytes  # the last state root that is settled
    after: bytes  # the state root that is claimed


@message
class Witness:
    """All that the referee needs to execute one step.

    >>> Witness(b"12345", (bytes(32),), ()).size_bytes
    37
    """

    record: bytes  # the transfer as it stands in the batch
    record_path: tuple[bytes, ...]  # its inclusion proof in the batch
    # what it touches, by ascending index, each as before the step; the path of each is in the tree in which those
    # before it have changed already
    accounts: tuple[AccountProof, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes that the referee reads."""
        digests = len(self.record_path) + sum(len(proof.path) for proof in self.accounts)
        return len(self.record) + 32 * digests + sum(len(proof.leaf) for proof in self.accounts)


@dataclass(frozen=True)
class Verdict:
    """How a dispute ended.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])
    >>> dispute(replace(trace.claim, after=bytes(32)), trace, trace)
    Verdict(winner='challenger', reason='executing the step refutes the claim', step=0, rounds=0, size_bytes=8)
    """

    winner: str  # "proposer" or "challenger"
    reason: str  # what decided it
    step: int | None  # the step that was executed, counted from 0; None if it did not come to that
    rounds: int  # midpoints that were stated and answered
    size_bytes: int  # what layer 1 had to read


# Executing


def _copy(chain: str, states: Sequence[State]) -> Ledger:
    """Make a ledger of a few accounts, or of all."""
    return Ledger(chain, {name: balance for name, balance, _ in states}, {name: nonce for name, _, nonce in states})


@validated
@dataclass(frozen=True)
class Trace:
    """Every step of a batch, executed by `replay`: what an honest node knows. It plays both sides of a dispute.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])
    >>> trace.agrees(1, trace.root(0)), trace.agrees(1, bytes(32)), trace.witness(0).size_bytes
    (True, False, 8)
    """

    claim: Claim  # the honest one
    records: tuple[bytes, ...]  # the transfers as they stand in the batch
    roots: tuple[bytes, ...]  # the state root before the first step and after each
    _batch: MerkleTree = field(repr=False)
    _states: list[dict[int, State]] = field(repr=False)  # by index: all accounts, then after each step those it touched

    def root(self, step: int) -> bytes:
        """State the root after so many steps."""
        checked("Trace.root", "step", step, Annotated[int, Whole(0, len(self.records))])
        return self.roots[step]

    def agrees(self, step: int, root: bytes) -> bool:
        """Say whether this is the root after so many steps."""
        return root == self.root(step)

    def witness(self, step: int) -> Witness:
        """Show what is needed to execute a step."""
        record_path = self._batch.inclusion_proof(step)
        states: dict[int, State] = {}
        for changed in self._states[: step + 1]:
            states |= changed
        tree, proofs = MerkleTree(account_leaf(*state) for state in states.values()), []
        for index, state in self._states[step + 1].items():
            proofs.append(AccountProof(*states[index], index, len(states), tree.inclusion_proof(index)))
            tree.update({index: account_leaf(*state)})
        return Witness(self.records[step], record_path, tuple(proofs))


@validated
def replay(ledger: Ledger, records: Sequence[bytes]) -> Trace:
    """Execute a batch after the state of a `ledger`, which stays as it is, and keep the root after every step.

    The `records` are from `encode_record`; anything else is a step that changes nothing.

    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.batches import encode_record
    >>> from web3scale.layers.ledger import FEES, sign_transfer
    >>> alice, bob = example_key("Alice"), public_key(example_key("Bob"))
    >>> paid = [sign_transfer(alice, "rollup", {bob: 2}, fee=0, nonce=n) for n in (1, 2, 3)]
    >>> records = [encode_record(transfer, [FEES, public_key(alice), bob]) for transfer in paid]
    >>> trace = replay(Ledger("rollup", {public_key(alice): 5, bob: 0}), records)
    >>> len(set(trace.roots))  # the third is not covered: the root stays
    3
    """
    if not records or ledger._held:  # a rollup holds nothing: its referee would not know
        raise DomainError(f"replay: there must be records and no account held, got {len(records)}, {len(ledger._held)}")
    opening = [ledger._state(index) for index in range(len(ledger))]
    names = [name for name, *_ in opening]
    now = _copy(ledger.chain, opening)
    roots, states = [now.root], [dict(enumerate(opening))]
    for written in records:
        if record := read_record(written, len(names)):
            transfer = record._transfer(names, now.chain)
            if not refusal_of(check_form, transfer, now.chain):  # no block, which would keep every transfer in memory
                refusal_of(now._apply, transfer.body)
        states.append({index: now._state(index) for index in (record.touched if record else [])})
        roots.append(now.root)
    batch = MerkleTree(records)
    claim = Claim(ledger.chain, batch.root, len(records), len(names), roots[0], roots[-1])
    return Trace(claim, tuple(records), tuple(roots), batch, states)


def _whole(witness: Any) -> Witness:
    """A stranger's witness made again, and so checked again: all its parts are exactly of their types."""
    if not (fits(witness, Witness) and fits(witness.accounts, tuple[AccountProof, ...])):
        raise DomainError(f"execute_step: witness must be a Witness, and whole, got a {type(witness).__name__}")
    return replace(witness, accounts=tuple(map(replace, witness.accounts)))  # type: ignore[no-any-return]


@validated
def execute_step(claim: Claim, step: int, before: bytes, witness: Witness) -> bytes:
    """Execute one step of a batch without the state: from a root, a record and a few accounts to the next root.

    Each account's path is checked with the old leaf and followed again with the new one. So the second path leads to
    the root in which the first leaf has changed, and so on: the last root is the one after the step. Nothing in a
    `witness` is trusted; one that does not lead to the batch of the `claim` and to the root `before` is `Rejected`.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])  # nonsense is a step that changes nothing
    >>> execute_step(trace.claim, 0, trace.roots[0], trace.witness(0)) == trace.roots[1]
    True
    """
    given = _whole(witness)
    at_step = verify_inclusion(claim.batch_root, given.record, step, claim.steps, given.record_path)
    require(at_step, "witness: record must stand at this step of the batch", step=step)
    record = read_record(given.record, claim.accounts)  # None is a step that changes nothing and touches no account
    places = [(index, claim.accounts) for index in record.touched] if record else []
    found = [(proof.index, proof.size) for proof in given.accounts]
    require(found == places, "witness: accounts must be those that the record touches", shown=found, touched=places)
    if not record:
        return before
    ledger = _copy(claim.chain, [(proof.account, proof.balance, proof.nonce) for proof in given.accounts])
    names = {proof.index: proof.account for proof in given.accounts}
    ledger.apply(record._transfer(names, claim.chain))  # by the ledger's own rules
    for proof in given.accounts:
        require(verify_account(before, proof), "witness: account must be under the root", index=proof.index)
        leaf = leaf_hash(account_leaf(proof.account, ledger.balance(proof.account), ledger.nonce(proof.account)))
        before = root_from_proof(leaf, proof.index, proof.size, proof.path) or before  # the path fits: never None
    return before


# The game


def _ask(party: object, question: str, *values: object) -> Any:
    """Ask a party: whatever its program raises, or its witness when it is looked at, is silence."""
    try:
        answer = getattr(party, question)(*values)
        return _whole(answer) if question == "witness" else answer
    except BaseException:  # SystemExit too, and even an interrupt from the keyboard: no stranger ends the referee
        return None


@validated
def dispute(claim: Claim, proposer: Any, challenger: Any) -> Verdict:
    """Decide between a proposer and a challenger by executing one step. Proposition 3.4 of the book.

    All steps up to `low` are agreed on, the root after `high` is not. The proposer states the root halfway between;
    the challenger's answer moves one end there. One step remains, and the referee executes it.

    The parties are programs that answer as `Trace` does: `root` and `witness` of the `proposer`, `agrees` and `witness`
    of the `challenger`. Nothing they say is trusted; whatever else they do, or None, is silence. A silent party loses,
    and if nobody shows a witness the claim stands: who disputes must prove.

    >>> trace = replay(Ledger("rollup", {}), [b"nonsense"])
    >>> dispute(trace.claim, proposer=trace, challenger=trace).winner
    'proposer'
    >>> dispute(replace(trace.claim, after=bytes(32)), proposer=trace, challenger=trace).winner
    'challenger'
    """
    checked("dispute", "steps", claim.steps, Annotated[int, Whole(1, 2**64 - 1)])  # as many as a Merkle proof can count
    low, high = 0, claim.steps
    before, after, rounds, size = claim.before, claim.after, 0, 0
    while high - low > 1:
        middle = (low + high) // 2
        stated = _ask(proposer, "root", middle)
        if type(stated) is not bytes or len(stated) != 32:
            return Verdict("challenger", "the proposer is silent", None, rounds, size)
        answer = _ask(challenger, "agrees", middle, stated)
        if type(answer) is not bool:
            return Verdict("proposer", "the challenger is silent", None, rounds, size + 32)
        rounds, size = rounds + 1, size + 33  # a root and a yes or no
        if answer:
            low, before = middle, stated
        else:
            high, after = middle, stated
    for witness in filter(None, (_ask(party, "witness", low) for party in (challenger, proposer))):
        size += witness.size_bytes
        try:
            holds = execute_step(claim, low, before, witness) == after
        except (DomainError, Rejected):
            continue  # it proves nothing, for neither side
        reason = f"executing the step {'confirms' if holds else 'refutes'} the claim"
        return Verdict("proposer" if holds else "challenger", reason, low, rounds, size)
    return Verdict("proposer", "nobody shows a witness", None, rounds, size)
