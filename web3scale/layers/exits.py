"""Exits: the contract that holds a rollup's money on layer 1, and gives it back without the sequencer's help.

The *sequencer* alone may post a batch and the state root after it; the root becomes *final* when its challenge period
is over and nobody has won a dispute against it. Money comes in by a *deposit*. It goes out through the *exit account*
that every user has in the rollup: no key signs for it, so what is paid into it stays, and the contract pays out once
what it holds under a final root. A user whom the sequencer ignores *forces* a transfer; if no batch that is posted
later holds it in time, anybody may *stop* the rollup, and then all balances under the last final root can be withdrawn.

Kept small: users are fixed at the start, one root is pending at a time, deposits wait until none is, a dispute takes no
block, nobody leaves a bond, fees stay with the contract, and who calls it pays no gas. `post` is the sequencer's own
call: the program that it hands in stands for the answers that it would sign, and both parties' programs return. A
deposit changes the root that a claim starts from, so the sequencer signs anew, and whoever wins every race for a block
with a deposit keeps it from posting. Definition 3.2 of the book, for the payments under a final root.
Sources: Kalodner et al. (2018), USENIX Security; Buterin (2021), An incomplete guide to rollups.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from web3scale import quantities as q
from web3scale.crypto import MerkleTree, leaf_hash, root_from_proof
from web3scale.errors import Rejected, require
from web3scale.layers.batches import encode_record
from web3scale.layers.disputes import Claim, Verdict, dispute
from web3scale.layers.ledger import AccountProof, Ledger, Transfer, check_form, contract_account, verify_account
from web3scale.message import Signed, message
from web3scale.quantities import validated


@message
class Update:
    """What the sequencer signs: a claim, and the number of its posting, so that nobody posts it a second time."""

    number: int  # from 1
    claim: Claim


@dataclass(frozen=True)
class Pending:
    """A root that is posted and not final."""

    claim: Claim
    deadline: int  # the height from which on it can be settled
    forced: tuple[bytes, ...]  # which records of the queue its batch holds
    proposer: Any  # the program that answers for the sequencer in a dispute


@validated
def exit_account(chain: str, user: bytes) -> bytes:
    """Return the account of a rollup, `chain`, through which a user takes money out.

    >>> len(exit_account("rollup", bytes(32)))
    32
    """
    return contract_account(chain, f"exit {user.hex()}")


@validated
def opening_ledger(chain: str, users: Sequence[bytes]) -> Ledger:
    """Make the ledger with which a rollup begins: each user has an account and an exit account, all are empty.

    >>> opening_ledger("rollup", [b"a" * 32, b"b" * 32]).total
    0
    """
    return Ledger(chain, dict.fromkeys([*users, *(exit_account(chain, user) for user in users)], 0))


@validated
def credited(state: Ledger, user: bytes, amount: q.Positive) -> Ledger:
    """Return a rollup's ledger after a deposit: what every node does when it sees one on layer 1.

    >>> credited(opening_ledger("rollup", [b"a" * 32]), b"a" * 32, 7).total
    7
    """
    before = [state._state(index) for index in range(len(state))]
    balances = {name: balance for name, balance, _ in before}
    return Ledger(state.chain, balances | {user: state.balance(user) + amount}, {name: n for name, _, n in before})


@validated
class RollupContract:
    """Holds the deposits of a rollup's users on the `main` ledger, whose blocks are its clock.

    >>> from web3scale.crypto import example_key, public_key
    >>> from web3scale.layers.disputes import replay
    >>> from web3scale.layers.ledger import sign_transfer
    >>> from web3scale.message import signed
    >>> alice, sequencer = example_key("Alice"), example_key("sequencer")
    >>> user = public_key(alice)
    >>> main, state = Ledger("main", {user: 10}), opening_ledger("rollup", [user])
    >>> contract = RollupContract(main, "rollup", [user], public_key(sequencer), challenge_blocks=2, forced_blocks=5)
    >>> contract.deposit(sign_transfer(alice, "main", {contract.account: 7}, fee=0, nonce=1), state.prove(user))
    >>> state = credited(state, user, 7)
    >>> leaving = sign_transfer(alice, "rollup", {exit_account("rollup", user): 4}, fee=0, nonce=1)
    >>> trace = replay(state, [contract.force(leaving)])
    >>> contract.post(signed(Update(1, trace.claim), sequencer), trace.records, trace)
    >>> contract.challenge(trace).winner
    'proposer'
    >>> _ = state.apply(leaving), main.apply_block(), main.apply_block()
    >>> contract.settle()
    >>> contract.withdraw(user, state.prove(exit_account("rollup", user)))
    >>> main.balance(user), contract.held, state.balance(user), main.total
    (7, 3, 3, 10)
    """

    def __init__(
        self,
        main: Ledger,
        chain: str,
        users: Sequence[bytes],
        sequencer: bytes,
        *,
        challenge_blocks: q.Positive,
        forced_blocks: q.Positive,
    ) -> None:
        users = tuple(users)
        require(chain not in main._family, "RollupContract: no two chains may have one name", chain=chain)
        opening = opening_ledger(chain, users)
        self.accounts = tuple(opening._names)  # by index
        distinct = len(self.accounts) == 2 * len(users) + 1
        distinct = distinct and all(user in main and user not in main._contracts for user in users)
        require(distinct, "RollupContract: users must be all different, with accounts on layer 1", users=len(users))
        # else a transfer forced just after a post would be overdue before the sequencer can post again
        patient = forced_blocks > challenge_blocks
        require(
            patient, "RollupContract: forced transfers must have more blocks than a challenge", blocks=forced_blocks
        )
        self.main, self.account = main, main._contract(f"rollup {chain}")
        main._closed.add(self.account)  # money that is paid in without a deposit would belong to nobody
        main._family.add(chain)
        self.chain, self.users, self.sequencer = chain, users, sequencer
        self.challenge_blocks, self.forced_blocks = challenge_blocks, forced_blocks
        self.root = opening.root  # the last final root
        self.pending: Pending | None = None
        self.posted, self.stopped = 0, False
        self.queue: dict[bytes, int] = {}  # forced records, each with the height at which it is overdue
        self._taken = 0  # all deposits
        self._paid: dict[bytes, int] = {}  # what was paid out for each account of the rollup so far

    @property
    def held(self) -> int:
        """All deposits that are not paid out, in base units."""
        return self._taken - sum(self._paid.values())  # not its balance: anybody may have paid in before it was made

    def deposit(self, order: Signed[Transfer], proof: AccountProof) -> None:
        """Take money by a transfer of layer 1 that its owner signed, and credit the same key under the final root."""
        self._idle("deposit")
        check_form(order, self.main.chain)
        sender, amount = order.body.sender, dict(order.body.payments).get(self.account, 0)
        alone = len(order.body.payments) == 1 and amount > 0
        require(alone, "deposit: transfer must pay the contract and nobody else", amount=amount)
        require(sender in self.users and proof.account == sender, "deposit: sender must be the user shown", user=sender)
        self._check(proof)
        self.main._check_state(order.body)
        self.main._charge(order.body, order.body.payments)
        self._taken += amount
        leaf = leaf_hash(replace(proof, balance=proof.balance + amount).leaf)
        self.root = root_from_proof(leaf, proof.index, proof.size, proof.path) or self.root  # the path fits: never None

    def post(self, order: Signed[Update], records: Sequence[bytes], proposer: Any) -> None:
        """Publish a batch and claim the root after it; the `proposer` answers if it is disputed."""
        self._idle("post")
        records = tuple(records)
        claim, due, steps = order.body.claim, self.posted + 1, len(records)
        require(order.holds(Update, [self.sequencer]), "post: the sequencer must sign it", number=order.body.number)
        require(order.body.number == due, "post: number must be the next", number=order.body.number, next=due)
        batch_root = MerkleTree(records).root  # layer 1 hashes what it publishes: no batch, no claim
        own = Claim(self.chain, batch_root, steps, len(self.accounts), self.root, claim.after)
        require(steps > 0 and claim == own, "post: claim must be of this batch, after the last final root", steps=steps)
        published = {*records}
        forced = tuple(record for record in self.queue if record in published)
        self.pending = Pending(claim, self.main.height + self.challenge_blocks, forced, proposer)
        self.posted = due

    def challenge(self, challenger: Any) -> Verdict:
        """Dispute the pending root, in time; if the challenger wins, it is gone."""
        pending, height, deadline = self._posted("challenge")
        require(height < deadline, "challenge: it must be in time", height=height, deadline=deadline)
        self.main._halted = True  # the parties' programs may call anything: neither this contract nor time moves
        try:
            verdict = dispute(pending.claim, pending.proposer, challenger)
        finally:
            self.main._halted = False
        if verdict.winner == "challenger":
            self.pending = None
        return verdict

    def settle(self) -> None:
        """Make the pending root final after its challenge period; anybody may ask for that."""
        pending, height, deadline = self._posted("settle")
        require(height >= deadline, "settle: the challenge period must be over", height=height, deadline=deadline)
        self.root, self.pending = pending.claim.after, None
        for record in pending.forced:
            del self.queue[record]

    def force(self, order: Signed[Transfer]) -> bytes:
        """Put a transfer of the rollup into the queue on layer 1, past the sequencer; return its record."""
        require(not self.stopped, "force: rollup must not have stopped")
        check_form(order, self.chain)
        known = {order.body.sender, *dict(order.body.payments)} <= {*self.accounts}
        require(known, "force: sender and recipients must have accounts in the rollup", sender=order.body.sender)
        record = encode_record(order, self.accounts)
        require(record not in self.queue, "force: once only")
        self.queue[record] = self.main.height + self.forced_blocks
        return record

    def stop(self) -> None:
        """End the rollup if a forced transfer is overdue and in no posted batch; a pending root is dropped."""
        require(not self.stopped, "stop: once only")
        height, pending = self.main.height, self.pending
        require(not self.main._halted, "stop: no dispute must be under way")
        settled = pending is None or height < pending.deadline
        require(settled, "stop: a root whose challenge period is over must be settled first", height=height)
        missing = {*self.queue} - {*(pending.forced if pending else ())}
        overdue = any(height >= self.queue[record] for record in missing)
        require(overdue, "stop: a forced transfer must be overdue", height=height, waiting=len(missing))
        self.stopped, self.pending = True, None

    def withdraw(self, user: bytes, proof: AccountProof) -> None:
        """Pay a user what the exit account holds under the last final root; after a stop, what the account holds."""
        theirs = {exit_account(self.chain, user)} | ({user} if self.stopped else set())
        mine = user in self.users and proof.account in theirs and user not in self.main._contracts
        require(mine, "withdraw: account must be the user's exit, or own after a stop")
        self._check(proof)
        due = proof.balance - self._paid.get(proof.account, 0)
        require(due > 0, "withdraw: there must be something that is not paid yet", balance=proof.balance)
        self.main._move(self.account, user, due)
        self._paid[proof.account] = proof.balance

    def _check(self, proof: AccountProof) -> None:
        """Check a proof against the final root, and the number of accounts, which a root does not bind."""
        holds = proof.size == len(self.accounts) and verify_account(self.root, proof)
        require(holds, "proof: account must be under the last final root", index=proof.index)

    def _idle(self, step: str) -> None:
        require(not self.stopped, f"{step}: rollup must not have stopped")
        require(self.pending is None, f"{step}: no root must be pending")

    def _posted(self, step: str) -> tuple[Pending, int, int]:
        if self.pending is None:
            raise Rejected(f"{step}: a root must be pending")
        require(not self.main._halted, f"{step}: no dispute must be under way")
        return self.pending, self.main.height, self.pending.deadline
