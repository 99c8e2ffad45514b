"""Ledger, shards, channels and a bridge on one pair of chains, among strangers who call whatever is public.

Shard 0 of a sharded ledger is the main chain; a bridge joins it to a sidechain; both carry a contract for channels.
Ann is honest and careful. Cid and Dan know each other's keys, see every message, and may call any public method of any
object with anything that they have seen or can make. After every step money is where it must be.
"""

import inspect
from typing import get_type_hints

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
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
from web3scale.layers.ledger import FEES, contract_account, sign_transfer
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
REFUSALS = (Rejected, DomainError, StopIteration)
# a fork of the main chain is no act of a party: what it does to a bridge is tested in test_bridges.py
NATURE = {"reorganise_main"}


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

    @rule(payer=st.sampled_from([CID, DAN]), to=st.sampled_from([ann, cid, dan, "escrow"]), amount=st.integers(1, 60))
    def send_across(self, payer, to, amount):
        to = self.bridge.escrow if to == "escrow" else to
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

    @rule(data=st.data())
    def anything_public(self, data):
        party = self.channels[0]["other"]
        things = [self.sharded, *self.ledgers, self.bridge, *self.contracts.values(), party]
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
    def ann_has_what_is_hers(self):
        if hasattr(self, "totals"):
            self.collect()
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
        self.ann_has_what_is_hers()
        for contract in self.contracts.values():
            assert contract.held == 0 or contract.held < 2 * START  # channels that strangers opened with each other


TestTogether = Together.TestCase
TestTogether.settings = settings(max_examples=150, stateful_step_count=40, deadline=None, derandomize=True)


def test_the_stranger_reaches_what_is_public_of_a_shard_and_nothing_that_only_coordinators_may_write():
    machine = Together()
    machine.open()
    names = {n for s in machine.sharded.shards for n in dir(s) if not n.startswith("_")}
    assert not {"lock", "prepare", "decide", "commit", "abort", "close", "fence"} & names


pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")
