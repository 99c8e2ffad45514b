"""Ledger, shards, channels, a bridge and a rollup, among strangers who call whatever is public.

Shard 0 of a sharded ledger is the main chain; a bridge joins it to a sidechain; both carry a contract for channels. A
rollup has its contract on the main chain, and Cid is its sequencer. Ann is honest and careful: she reads what is posted
and disputes what is wrong. Cid and Dan know each other's keys, see every message, and may call any public method of any
object with anything that they have seen or can make. After every step money is where it must be.
"""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_type_hints

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers.batches import encode_record
from web3scale.layers.bridges import DEPOSIT, WITHDRAWAL, Bridge, Crossing, Proof, sign_crossing
from web3scale.layers.channels import (
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
from web3scale.layers.crossshard import ShardedLedger, shard_of
from web3scale.layers.disputes import replay
from web3scale.layers.exits import RollupContract, Update, credited, exit_account, opening_ledger
from web3scale.layers.ledger import FEES, AccountProof, Ledger, Transfer, contract_account, sign_transfer
from web3scale.message import Signed, signed
from web3scale.quantities import fits


def key_on(shard, start):
    """A key whose account lies on this shard of two."""
    return next(k for k in (example_key(f"{start} {i}") for i in range(99)) if shard_of(public_key(k), 2) == shard)


ANN, CID, DAN = key_on(0, "Ann"), key_on(0, "Cid"), key_on(1, "Dan")
ann, cid, dan = map(public_key, (ANN, CID, DAN))
# a sidechain whose escrow lies, by its hash, on the shard that is the main chain: payments from the other reach it
SIDE = next(n for n in map("side {}".format, range(9)) if shard_of(contract_account("main", f"bridge to {n}"), 2) == 0)
SIGNERS = [example_key(f"signer {i}") for i in range(4)]
FAULTY = SIGNERS[0]
START = 100
CHALLENGE = 4
WAIT = 6  # blocks until a forced transfer of the rollup is overdue
EXITS = {user: exit_account("rollup", user) for user in (ann, cid)}
REFUSALS = (Rejected, DomainError, StopIteration)
# a fork of the main chain is no act of a party: what it does to a bridge is tested in test_bridges.py
NATURE = {"reorganise_main"}


class Published(RollupContract):
    """What is called on layer 1 everybody can read: the reader is Ann."""

    def post(self, order: Signed[Update], records: Sequence[bytes], proposer: Any):
        super().post(order, records, proposer)
        self.reader.read_batch(records)

    def deposit(self, order: Signed[Transfer], proof: AccountProof):
        super().deposit(order, proof)
        self.reader.read_deposit(order.body)

    def withdraw(self, user: bytes, proof: AccountProof):
        before = self.held
        super().withdraw(user, proof)
        self.reader.read_withdrawal(user, before - self.held)


class Together(RuleBasedStateMachine):
    """Ann among strangers; what must hold stands below as invariants."""

    @initialize()
    def open(self):
        self.sharded = ShardedLedger("main", 2, dict.fromkeys((ann, cid, dan), START))
        self.main = self.sharded.shards[0].ledger
        self.bridge = Bridge(self.main, SIDE, [public_key(s) for s in SIGNERS], faulty=1, finality_depth=1)
        self.side = self.bridge.side
        self.contracts = {ledger.chain: ChannelContract(ledger) for ledger in (self.main, self.side)}
        self.totals = [ledger.total for ledger in self.ledgers]
        self.coordinators = []
        self.seen = [ann, cid, dan, FEES, self.bridge.escrow, self.bridge.reserve, 0, 1, 2, 10, 10**9, "main", SIDE]
        self.seen += [CID, DAN, FAULTY]
        self.channels = []  # what Ann knows of hers: the parties, the states that she has signed, the last one revoked
        self.free = {"main": START, SIDE: 0}  # what Ann must have at least outside of channels and crossings
        self.paid_out = set()
        self.open_channel("main")
        self.open_rollup()

    @property
    def ledgers(self):
        return [*(shard.ledger for shard in self.sharded.shards), self.side]

    def ledger(self, chain):
        return self.main if chain == "main" else self.side

    def attempt(self, step):
        """Try a step of anybody's; Ann looks at both chains before the next one can be made."""
        try:
            result = step()
        except REFUSALS:
            result = None
        for channel in self.channels:
            channel["party"].watch(channel["contract"])
        self.collect()
        self.follow()
        return result

    def open_channel(self, chain):
        contract, ledger = self.contracts[chain], self.ledger(chain)
        terms = Terms(chain, (ann, cid), (10, 10), CHALLENGE, ledger.height + 50, nonce=len(self.channels))
        parties = ChannelParty(ANN, terms), ChannelParty(CID, terms)
        whole = update_together(parties, terms.opening)
        contract.open(terms, whole)
        self.free[chain] -= 10
        known = {"contract": contract, "party": parties[0], "other": parties[1]}
        self.channels.append(known | {"states": [whole.body], "revoked": -1})
        self.seen += [terms, whole, terms.channel]

    def open_rollup(self):
        terms = {"challenge_blocks": CHALLENGE, "forced_blocks": WAIT}
        self.rollup = Published(self.main, "rollup", [ann, cid], cid, **terms)
        self.rollup.reader = self
        self.state = opening_ledger("rollup", [ann, cid])  # Ann's copy, under the last final root
        self.batch = None  # what she makes of the batch that is pending
        self.inside = 0  # what Ann must have in the rollup at least, her exit account included
        self.seen += [self.rollup.account, *EXITS.values(), "rollup", (), (b"nonsense",)]

    def read_batch(self, records):
        """Ann replays what is posted, and disputes it at once if it is wrong."""
        self.batch = replay(self.state, records)
        if self.rollup.pending.claim != self.batch.claim:
            assert self.rollup.challenge(self.batch).winner == "challenger"
            self.batch = None

    def read_deposit(self, transfer):
        amount = dict(transfer.payments)[self.rollup.account]
        self.state = credited(self.state, transfer.sender, amount)
        if transfer.sender == ann:
            self.free["main"] -= amount + transfer.fee
            self.inside += amount

    def read_withdrawal(self, user, amount):
        self.free["main"] += amount if user == ann else 0

    def follow(self):
        """A batch that became final is Ann's state from now on; one that fell leaves it as it was."""
        if self.batch is None or self.rollup.pending is not None:
            return
        if self.rollup.root == self.batch.claim.after:
            states = {}
            for changed in self.batch._states:
                states |= changed
            balances, nonces = {n: b for n, b, _ in states.values()}, {n: k for n, _, k in states.values()}
            self.state = Ledger("rollup", balances, nonces)
        self.batch = None

    def live(self):
        return [c for c in self.channels if not c["party"].leaving]

    def promised(self, channel):
        """The least of Ann's balances in the states that she has signed and not revoked."""
        return min(s.balances[0] for s in channel["states"] if s.sequence > channel["revoked"])

    def collect(self):
        """What the contracts have paid to Ann since is hers, and at least what was promised."""
        for channel in self.channels:
            record = channel["contract"].record(channel["party"].terms.channel)
            if record.payouts is not None and id(channel) not in self.paid_out:
                self.paid_out.add(id(channel))
                assert record.payouts[0] >= self.promised(channel)
                self.free[channel["contract"].ledger.chain] += record.payouts[0]

    # Ann

    @precondition(lambda self: self.live())
    @rule(pick=st.integers(0, 3), amount=st.integers(1, 5), to_ann=st.booleans(), hang=st.booleans())
    def pay_in_channel(self, pick, amount, to_ann, hang):
        channel = self.live()[pick % len(self.live())]
        party = channel["party"]
        if party.pending is not None:
            return
        try:
            state = next_state(party.terms, party.newest.body, cid if to_ann else ann, amount)
        except Rejected:
            return
        mine = party.sign(state)
        channel["states"].append(state)
        whole = Signed(state, (mine, signed(state, CID).signatures[0]))
        self.seen += [state, whole, mine]
        if hang:  # Cid keeps it to himself
            return
        revocation = party.complete(whole)
        channel["revoked"] = revocation.body.sequence
        self.seen.append(revocation)
        party.keep(signed(Revocation(party.terms.channel, cid, state.sequence - 1), CID))

    @rule(chain=st.sampled_from(["main", SIDE]), amount=st.integers(1, 20), deposit=st.booleans())
    def ann_pays(self, chain, amount, deposit):
        ledger = self.ledger(chain)
        if ann not in ledger or ann in ledger._held or ledger.balance(ann) < amount:
            return
        account = self.bridge.escrow if chain == "main" else self.bridge.reserve
        order = sign_transfer(ANN, chain, {account if deposit else cid: amount}, fee=0, nonce=ledger.nonce(ann) + 1)
        self.seen.append(order)
        receipt = self.attempt(lambda: ledger.apply(order))
        if receipt.accepted:
            self.free[chain] -= amount

    @precondition(lambda self: len(self.channels) < 4)
    @rule(chain=st.sampled_from(["main", SIDE]))
    def another_channel(self, chain):
        ledger = self.ledger(chain)
        if all(p in ledger and p not in ledger._held and ledger.balance(p) >= 10 for p in (ann, cid)):
            self.open_channel(chain)

    @precondition(lambda self: self.live())
    @rule(pick=st.integers(0, 3))
    def ann_leaves(self, pick):
        channel = self.live()[pick % len(self.live())]
        order = channel["party"].posting()
        self.seen.append(order)
        self.attempt(lambda: channel["contract"].post(order))

    @rule(key=st.sampled_from([ANN, CID]), amount=st.integers(1, 20))
    def deposit_in_rollup(self, key, amount):
        user = public_key(key)
        order = sign_transfer(key, "main", {self.rollup.account: amount}, fee=0, nonce=self.main.nonce(user) + 1)
        self.seen += [order, self.state.prove(user)]
        self.attempt(lambda: self.rollup.deposit(order, self.state.prove(user)))
        self.attempt(lambda: self.main.apply(order))  # somebody tries it as a plain payment

    @rule(amount=st.integers(1, 9), leave=st.booleans(), force=st.booleans())
    def ann_pays_in_rollup(self, amount, leave, force):
        if self.state.balance(ann) < amount:
            return
        to, nonce = EXITS[ann] if leave else cid, self.state.nonce(ann) + 1
        order = sign_transfer(ANN, "rollup", {to: amount}, fee=0, nonce=nonce)
        self.seen.append(order)
        self.inside -= 0 if leave else amount  # it may happen whenever the sequencer likes
        if force:
            self.hear(self.attempt(lambda: self.rollup.force(order)))

    # Honest signers, coordinators and time

    @rule(withdrawal=st.booleans(), pick=st.integers(0, 9), by=st.sampled_from([cid, ann]))
    def carry(self, withdrawal, pick, by):
        found = list(self.bridge.withdrawals if withdrawal else self.bridge.deposits)
        if not found:
            return
        crossing = found[pick % len(found)]
        try:
            proof = Proof(crossing, tuple(self.bridge.attest(s, crossing) for s in SIGNERS[1:]))
        except Rejected:
            return
        self.seen += [crossing, proof, *proof.attestations]
        ledger, before = (self.main, "main") if withdrawal else (self.side, SIDE)
        held = ledger.balance(ann) if ann in ledger else 0
        self.attempt(lambda: (self.bridge.release if withdrawal else self.bridge.mint)(proof))
        now = ledger.balance(ann) if ann in ledger else 0
        self.free[before] += max(0, now - held) if crossing.recipient == ann else 0

    @rule(
        payer=st.sampled_from([CID, DAN]),
        to=st.sampled_from([ann, cid, dan, "escrow", "rollup"]),
        amount=st.integers(1, 60),
    )
    def send_across(self, payer, to, amount):
        to = {"escrow": self.bridge.escrow, "rollup": self.rollup.account}.get(to, to)
        home = self.sharded.home(public_key(payer)).ledger
        order = sign_transfer(payer, "main", {to: amount}, fee=1, nonce=home.nonce(public_key(payer)) + 1)
        self.seen.append(order)
        self.coordinators.append(self.sharded.steps(order))

    @precondition(lambda self: self.coordinators)
    @rule(pick=st.integers(0, 9), steps=st.integers(1, 4), crash=st.booleans())
    def coordinate(self, pick, steps, crash):
        at = pick % len(self.coordinators)
        for _ in range(steps):
            self.attempt(lambda: next(self.coordinators[at]))
        if crash:
            self.coordinators.pop(at)

    @rule()
    def recover(self):
        self.coordinators.append(self.sharded.recover())

    @rule()
    def time_passes(self):
        self.attempt(self.main.apply_block)
        self.attempt(self.side.apply_block)

    # Strangers

    @rule(data=st.data(), amount=st.integers(1, 30))
    def the_sequencer_posts(self, data, amount):
        """Any transfers in any order, with the true root, or with one under which Cid has money that he never had."""
        own = sign_transfer(CID, "rollup", {EXITS[cid]: amount}, fee=0, nonce=self.state.nonce(cid) + 1)
        known = [s for s in self.seen if fits(s, Signed[Transfer]) and s.body.chain == "rollup"]
        known = [s for s in known if {s.body.sender, *dict(s.body.payments)} <= {*self.rollup.accounts}]
        orders = data.draw(st.lists(st.sampled_from([own, *known]), max_size=3))
        records = tuple(encode_record(order, self.rollup.accounts) for order in orders) or (b"nonsense",)
        honest, rich = replay(self.state, records), credited(self.state, EXITS[cid], amount)
        lie = replay(rich, records)
        after = data.draw(st.sampled_from([honest.claim.after, rich.root, lie.claim.after, self.state.root, bytes(32)]))
        update = signed(Update(self.rollup.posted + 1, replace(honest.claim, after=after)), CID)
        self.seen += [own, records, honest, lie, update, rich.prove(EXITS[cid]), self.state.prove(EXITS[cid])]
        proposer = data.draw(st.sampled_from([honest, lie, None]))
        self.attempt(lambda: self.rollup.post(update, records, proposer))

    @rule(step=st.sampled_from(["settle", "stop"]), user=st.sampled_from([ann, cid]), leave=st.booleans())
    def leave_the_rollup(self, step, user, leave):
        self.attempt(getattr(self.rollup, step))
        self.attempt(lambda: self.rollup.withdraw(user, self.state.prove(EXITS[user] if leave else user)))
        for proof in [s for s in self.seen if fits(s, AccountProof)][-4:]:  # true once, or never
            self.attempt(lambda proof=proof: self.rollup.withdraw(cid, proof))

    @rule(data=st.data())
    def anything_public(self, data):
        party = self.channels[0]["other"]
        things = [self.sharded, *self.ledgers, self.bridge, *self.contracts.values(), party, self.rollup]
        thing = data.draw(st.sampled_from(range(len(things))))
        names = [n for n in dir(things[thing]) if not n.startswith("_") and n not in NATURE]
        names = [n for n in names if callable(getattr(type(things[thing]), n, None))]
        method = getattr(things[thing], data.draw(st.sampled_from(names)))
        kinds = get_type_hints(inspect.unwrap(method), include_extras=True)
        arguments = []
        for name in inspect.signature(method).parameters:
            fitting = [s for s in self.seen if fits(s, kinds.get(name, object))]
            arguments.append(data.draw(st.sampled_from(fitting or self.seen)))
        self.hear(self.attempt(lambda: method(*arguments)))

    @rule(data=st.data())
    def forge(self, data):
        """Make a message of Cid's, Dan's and the faulty signer's own, of parts that were seen."""
        kind = data.draw(st.sampled_from([Posting, Revocation, Closing, State, "proof", "transfer"]))
        if kind == "transfer":
            chain, payer = data.draw(st.sampled_from(["main", SIDE])), data.draw(st.sampled_from([CID, DAN]))
            accounts = [s for s in self.seen if fits(s, bytes) and len(s) == 32]
            to, amount = data.draw(st.sampled_from(accounts)), data.draw(st.integers(0, 120))
            self.seen.append(sign_transfer(payer, chain, {to: amount}, fee=0, nonce=data.draw(st.integers(1, 4))))
        elif kind == "proof":
            there = data.draw(st.booleans())
            way = (DEPOSIT, "main", SIDE) if there else (WITHDRAWAL, SIDE, "main")
            crossing = Crossing(*way, data.draw(st.integers(1, 50)), cid, data.draw(st.integers(1, 9)))
            proof = Proof(crossing, (sign_crossing(FAULTY, crossing),) * data.draw(st.integers(1, 3)))
            self.seen.append(proof)
            self.attempt(lambda: (self.bridge.mint if there else self.bridge.release)(proof))
        else:
            parts = {}
            for name, part in get_type_hints(kind).items():
                fitting = [s for s in self.seen if fits(s, part)]
                if not fitting:
                    return
                parts[name] = data.draw(st.sampled_from(fitting))
            keys = data.draw(st.sampled_from([(CID,), (DAN,), (CID, DAN), (CID, CID)]))
            self.seen.append(signed(kind(**parts), *keys))

    @rule(data=st.data(), pick=st.integers(0, 3))
    def post_and_settle_in_one_breath(self, data, pick):
        channel = self.channels[pick % len(self.channels)]
        contract, own = channel["contract"], channel["party"].terms.channel
        states = [s for s in self.seen if fits(s, Signed[State]) and s.body.channel == own]
        order = signed(Posting(data.draw(st.sampled_from(states)), cid), CID)

        def both():
            contract.post(order)
            contract.settle(own)

        self.attempt(both)

    def hear(self, result):
        if inspect.isgenerator(result):
            self.coordinators.append(result)
        elif isinstance(result, bytes) or hasattr(result, "__dataclass_fields__"):
            self.seen.append(result)

    # What must hold after every step

    @invariant()
    def no_ledger_gains_or_loses(self):
        if hasattr(self, "totals"):
            assert [ledger.total for ledger in self.ledgers] == self.totals
            assert self.sharded.total == 3 * START

    @invariant()
    def minted_never_exceeds_locked(self):
        if hasattr(self, "totals"):
            assert 0 <= self.bridge.minted <= self.bridge.locked

    @invariant()
    def every_deposit_has_a_crossing(self):
        if hasattr(self, "totals"):
            owed = sum(c.amount for c in self.bridge.deposits) - sum(
                c.amount for c in self.bridge.withdrawals if c.nonce in self.bridge._back.used
            )
            assert self.bridge.locked == owed

    @invariant()
    def nothing_is_credited_before_it_is_charged(self):
        if hasattr(self, "totals"):
            assert self.sharded.in_flight >= 0

    @invariant()
    def the_contracts_hold_what_they_owe(self):
        for chain, contract in getattr(self, "contracts", {}).items():
            assert self.ledger(chain).balance(contract.account) >= contract.held

    @invariant()
    def only_what_was_executed_becomes_final(self):
        if hasattr(self, "totals"):
            assert self.rollup.root == self.state.root

    @invariant()
    def the_rollup_holds_all_deposits_that_are_not_paid_out(self):
        if hasattr(self, "totals"):
            assert self.main.balance(self.rollup.account) >= self.rollup.held >= 0
            assert self.rollup.held == self.state.total - sum(self.rollup._paid.values())

    @invariant()
    def ann_has_what_is_hers(self):
        if hasattr(self, "totals"):
            self.collect()
            assert self.state.balance(ann) + self.state.balance(EXITS[ann]) >= self.inside
            for chain, least in self.free.items():
                assert least <= 0 or self.ledger(chain).balance(ann) >= least

    def teardown(self):
        if not hasattr(self, "totals"):
            return
        for _ in self.sharded.recover():  # whatever strangers did, a recovery ends, with nothing pending
            pass
        assert self.sharded.in_flight == 0
        assert not any(shard.ledger._held for shard in self.sharded.shards)
        for channel in self.channels:
            contract, party = channel["contract"], channel["party"]
            record = contract.record(party.terms.channel)
            if record.payouts is None and record.deadline is None:
                contract.post(party.posting())
            party.watch(contract)
            for _ in range(CHALLENGE):
                contract.ledger.apply_block()
            if contract.record(party.terms.channel).payouts is None:
                contract.settle(party.terms.channel)
        self.ann_leaves_the_rollup()
        self.ann_has_what_is_hers()
        for contract in self.contracts.values():
            assert contract.held == 0 or contract.held < 2 * START  # channels that strangers opened with each other

    def ann_leaves_the_rollup(self):
        """The sequencer has gone: Ann forces a transfer, waits, stops the rollup and takes all that is hers."""
        amount, nonce = self.state.balance(ann), self.state.nonce(ann) + 1
        if amount and not self.rollup.stopped:
            order = sign_transfer(ANN, "rollup", {EXITS[ann]: amount}, fee=0, nonce=nonce)
            self.attempt(lambda: self.rollup.force(order))  # refused only if it waits already
        for _ in range(WAIT):
            self.attempt(self.main.apply_block)
        self.attempt(self.rollup.settle)
        self.attempt(self.rollup.stop)
        mine = [account for account in (ann, EXITS[ann]) if self.state.balance(account)]
        for account in mine:
            self.attempt(lambda account=account: self.rollup.withdraw(ann, self.state.prove(account)))
        assert [self.rollup._paid.get(account) for account in mine] == [self.state.balance(a) for a in mine]


TestTogether = Together.TestCase
TestTogether.settings = settings(max_examples=200, stateful_step_count=50, deadline=None, derandomize=True)


def test_the_stranger_reaches_what_is_public_of_a_shard_and_nothing_that_only_coordinators_may_write():
    machine = Together()
    machine.open()
    names = {n for s in machine.sharded.shards for n in dir(s) if not n.startswith("_")}
    assert not {"lock", "prepare", "decide", "commit", "abort", "close", "fence"} & names


pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
