"""Chapter 3: what a transaction of a rollup costs, how many its bytes can carry, and how money leaves it."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale import message
from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected, refusal_of
from web3scale.layers import batches, crossshard, disputes, exits, ledger, rollups


def test_the_cost_falls_to_its_floor_and_never_below():
    law = rollups.rollup_cost
    b, c_fix, c_data, s = (law.symbols[n] for n in law.symbols)
    assert sp.limit(law.expr, b, sp.oo) == rollups.rollup_cost_floor(c_data, s)
    assert sp.diff(law.expr, b).is_negative
    assert sp.simplify(b * (law.expr - rollups.rollup_cost_floor(c_data, s)) - c_fix) == 0
    assert rollups.rollup_cost_floor(16, 12) == 192


@given(share=st.floats(0.01, 0.99), fixed=st.floats(1, 1e9), price=st.floats(1e-3, 1e3), size=st.floats(1, 1e3))
def test_the_batch_at_which_the_fixed_part_has_its_share(share, fixed, price, size):
    batch = rollups.batch_for_share(share, fixed, price, size)
    if batch >= 1:
        whole = rollups.rollup_cost(batch, fixed, price, size)
        assert fixed / batch / whole == pytest.approx(share, rel=1e-9)


def test_throughput_of_a_rollup():
    assert rollups.rollup_throughput([32_768, 65_536], 16).tolist() == [2048, 4096]


def test_gas_of_a_groth16_proof():
    """EIP-1108: 45000 + 34000 k for k pairings, 6000 a multiplication, 150 an addition."""
    assert rollups.groth16_gas(0) == 45_000 + 4 * 34_000 == 181_000
    assert rollups.groth16_gas(3) - rollups.groth16_gas(0) == 3 * 6_150
    assert type(rollups.groth16_gas(np.int8(100))) is int  # 100 · 6150 is no int8


@pytest.mark.parametrize("inputs", [-1, 1.0, True, None])
def test_public_inputs_are_counted(inputs):
    with pytest.raises(DomainError, match="groth16_gas: public_inputs must be an integer of at least 0"):
        rollups.groth16_gas(inputs)


@pytest.mark.parametrize("share", [0, 1])
def test_a_fixed_part_of_nothing_or_all_is_of_no_batch(share):
    with pytest.raises(DomainError, match=r"batch_for_share: fixed_share must be a number in \(0, 1\)"):
        rollups.batch_for_share(share, 1, 1, 1)


# The contract: deposits, forced transfers, exits


FLEET = ["Alice", "Bob", "Carol"]
KEYS = [example_key(name) for name in FLEET]
USERS = [public_key(key) for key in KEYS]
SEQUENCER = example_key("sequencer")


class Rollup:
    """A contract, and the ledger of an honest node beside it."""

    def __init__(self, deposits=(50, 50, 50)):
        self.main = ledger.Ledger("main", dict.fromkeys(USERS, 100))
        terms = {"challenge_blocks": 3, "forced_blocks": 5}
        self.contract = exits.RollupContract(self.main, "rollup", USERS, public_key(SEQUENCER), **terms)
        self.state = exits.opening_ledger("rollup", USERS)
        for who, amount in enumerate(deposits):
            self.deposit(who, amount)

    def deposit(self, who, amount, **changes):
        order = {"fee": 0, "nonce": self.main.nonce(USERS[who]) + 1} | changes
        paid = ledger.sign_transfer(KEYS[who], "main", {self.contract.account: amount}, **order)
        self.contract.deposit(paid, self.state.prove(USERS[who]))
        self.state = exits.credited(self.state, USERS[who], amount)

    def pay(self, who, payments, fee=0, nonce=None):
        due = self.state.nonce(USERS[who]) + 1 if nonce is None else nonce
        return ledger.sign_transfer(KEYS[who], "rollup", payments, fee=fee, nonce=due)

    def leave(self, who, amount, **options):
        return self.pay(who, {self.exit_of(who): amount}, **options)

    def exit_of(self, who):
        return exits.exit_account("rollup", USERS[who])

    def post(self, *transfers, after=None, proposer=None):
        records = [batches.encode_record(transfer, self.contract.accounts) for transfer in transfers]
        trace = disputes.replay(self.state, records)
        claim = replace(trace.claim, after=after) if after else trace.claim
        update = message.signed(exits.Update(self.contract.posted + 1, claim), SEQUENCER)
        self.contract.post(update, records, proposer or trace)
        if not after:
            self.state.apply_block(transfers)
        return trace

    def wait(self, blocks):
        for _ in range(blocks):
            self.main.apply_block()

    def finish(self, *transfers):
        self.post(*transfers)
        self.wait(3)
        self.contract.settle()

    def withdraw(self, who, account=None):
        self.contract.withdraw(USERS[who], self.state.prove(account or self.exit_of(who)))

    def refuses(self, rule, step, *arguments, **options):
        before = self.snapshot()
        with pytest.raises(Rejected, match=rule):
            step(*arguments, **options)
        assert self.snapshot() == before

    def snapshot(self):
        own = {name: value for name, value in vars(self.contract).items() if name != "main"}
        return repr(own), self.main.root, self.main.height


def copied(state):
    balances, nonces = ({name: of(name) for name in state._names} for of in (state.balance, state.nonce))
    return ledger.Ledger(state.chain, balances, nonces)


class Liar:
    """States the claimed root at the end, and some other wrong root before it."""

    def root(self, step):
        return bytes(31) + bytes([step % 256])

    def witness(self, step):
        return None


def test_money_goes_in_and_out_and_its_sum_stays():
    rollup = Rollup()
    assert (rollup.contract.held, rollup.state.total, rollup.main.total) == (150, 150, 300)
    assert rollup.contract.root == rollup.state.root
    rollup.finish(rollup.pay(0, {USERS[1]: 20}, fee=1), rollup.leave(1, 65))
    rollup.withdraw(1)
    assert rollup.main.balance(USERS[1]) == 50 + 65
    assert (rollup.contract.held, rollup.state.total, rollup.main.total) == (85, 150, 300)
    rollup.deposit(0, 10)
    assert rollup.contract.root == rollup.state.root


def test_nothing_is_paid_twice_and_only_what_is_new_later():
    rollup = Rollup()
    rollup.finish(rollup.leave(0, 10))
    rollup.withdraw(0)
    rollup.refuses("something that is not paid yet", rollup.withdraw, 0)
    rollup.finish(rollup.leave(0, 5))
    rollup.withdraw(0)
    assert rollup.main.balance(USERS[0]) == 50 + 15
    rollup.refuses("something that is not paid yet", rollup.withdraw, 0)


def test_a_root_that_is_not_final_pays_nothing():
    rollup = Rollup()
    rollup.post(rollup.leave(0, 10))
    for _ in range(3):
        rollup.refuses("under the last final root", rollup.withdraw, 0)
        rollup.refuses("challenge period must be over", rollup.contract.settle)
        rollup.wait(1)
    rollup.refuses("under the last final root", rollup.withdraw, 0)  # over, but not settled
    rollup.contract.settle()
    rollup.withdraw(0)


def test_a_root_that_lost_its_dispute_pays_nothing_and_is_not_posted_again():
    rollup, rich = Rollup(), Rollup(deposits=(100, 50, 50))  # the sequencer pretends a deposit that was none
    lie = rollup.leave(0, 100)
    rich.post(lie)
    honest = rollup.post(lie, after=rich.state.root, proposer=Liar())
    proof = rich.state.prove(rich.exit_of(0))
    update = message.signed(exits.Update(1, rollup.contract.pending.claim), SEQUENCER)
    rollup.wait(2)
    assert rollup.contract.challenge(honest).winner == "challenger"
    rollup.wait(9)
    rollup.refuses("a root must be pending", rollup.contract.settle)
    rollup.refuses("under the last final root", rollup.contract.withdraw, USERS[0], proof)
    rollup.refuses("number must be the next", rollup.contract.post, update, honest.records, Liar())
    assert rollup.main.total == 300


def test_an_honest_root_stands_and_a_late_challenge_is_refused():
    rollup = Rollup()
    trace = rollup.post(rollup.leave(0, 10))
    assert rollup.contract.challenge(Liar()).winner == "proposer"  # it does not answer
    rollup.wait(3)
    rollup.refuses("in time", rollup.contract.challenge, trace)
    rollup.contract.settle()


def test_a_wrong_root_that_nobody_disputes_in_time_takes_the_money_of_others():
    rollup = Rollup()
    thief = ledger.Ledger("rollup", {**dict.fromkeys(USERS, 0)} | dict.fromkeys(map(rollup.exit_of, range(3)), 0))
    thief = exits.credited(thief, rollup.exit_of(0), 150)
    rollup.post(rollup.leave(0, 1), after=thief.root, proposer=Liar())
    rollup.wait(3)
    rollup.contract.settle()
    rollup.contract.withdraw(USERS[0], thief.prove(rollup.exit_of(0)))
    assert (rollup.contract.held, rollup.main.total) == (0, 300)  # the limit of the design: somebody must watch


def test_nobody_withdraws_for_another_or_what_is_still_in_the_rollup():
    rollup = Rollup()
    rollup.finish(rollup.leave(0, 10))
    alices, wrong = rollup.state.prove(rollup.exit_of(0)), "account must be the user's exit"
    rollup.refuses(wrong, rollup.contract.withdraw, USERS[1], alices)
    rollup.refuses(wrong, rollup.contract.withdraw, public_key(SEQUENCER), alices)
    rollup.refuses(wrong, rollup.withdraw, 0, USERS[0])  # the rollup has not stopped
    rollup.refuses(wrong, rollup.withdraw, 0, ledger.FEES)
    for changed in ({"balance": 50}, {"index": 5}, {"size": 6}, {"path": ()}):
        rollup.refuses("under the last final root", rollup.contract.withdraw, USERS[0], replace(alices, **changed))


def test_a_forced_transfer_is_included_or_the_rollup_stops_and_everybody_leaves():
    rollup = Rollup()
    rollup.finish(rollup.pay(0, {USERS[1]: 20}))
    forced = rollup.leave(1, 70)
    rollup.contract.force(forced)
    rollup.refuses("once only", rollup.contract.force, forced)
    rollup.wait(4)
    rollup.refuses("must be overdue", rollup.contract.stop)
    final = rollup.state
    rollup.state = copied(final)
    rollup.post(rollup.pay(2, {USERS[0]: 1}))  # without it
    rollup.wait(1)
    rollup.contract.stop()
    rollup.state = final
    rollup.refuses("stop: once only", rollup.contract.stop)
    rollup.refuses("must not have stopped", rollup.deposit, 0, 1)
    rollup.refuses("must not have stopped", rollup.post, rollup.leave(0, 1))
    rollup.refuses("must not have stopped", rollup.contract.force, forced)
    rollup.refuses("a root must be pending", rollup.contract.settle)
    for who in range(3):
        rollup.withdraw(who, USERS[who])
        rollup.refuses("something that is not paid yet", rollup.withdraw, who, USERS[who])
    assert [rollup.main.balance(user) for user in USERS] == [80, 120, 100]
    assert (rollup.contract.held, rollup.main.total) == (0, 300)


def test_a_forced_transfer_in_a_posted_batch_stops_nothing_unless_the_root_falls():
    rollup = Rollup()
    forced = rollup.leave(0, 10)
    rollup.contract.force(forced)
    rollup.wait(3)
    rollup.finish(forced)
    assert rollup.contract.queue == {}
    rollup.refuses("must be overdue", rollup.contract.stop)
    rollup.withdraw(0)
    again = rollup.leave(0, 10)
    rollup.contract.force(again)
    rollup.wait(3)
    honest = rollup.post(again, after=bytes(32), proposer=Liar())
    rollup.wait(2)
    rollup.refuses("must be overdue", rollup.contract.stop)  # it is in the pending batch
    assert rollup.contract.challenge(honest).winner == "challenger"
    rollup.contract.stop()


def test_a_root_whose_period_is_over_is_not_dropped_by_a_stop():
    rollup = Rollup()
    rollup.contract.force(rollup.leave(1, 5))
    rollup.wait(2)
    rollup.post(rollup.leave(0, 10))
    rollup.wait(3)
    rollup.refuses("must be settled first", rollup.contract.stop)
    rollup.contract.settle()
    rollup.contract.stop()
    rollup.withdraw(0)


def test_deposits_are_transfers_of_their_owner_to_the_contract_alone():
    rollup = Rollup()
    main, contract = rollup.main, rollup.contract
    proof, sign = rollup.state.prove(USERS[0]), ledger.sign_transfer
    two = sign(KEYS[0], "main", {contract.account: 5, USERS[1]: 1}, fee=0, nonce=2)
    none = sign(KEYS[0], "main", {USERS[1]: 1}, fee=0, nonce=2)
    good = sign(KEYS[0], "main", {contract.account: 5}, fee=0, nonce=2)
    for order in (two, none):
        rollup.refuses("pay the contract and nobody else", contract.deposit, order, proof)
    rollup.refuses("must be the user shown", contract.deposit, good, rollup.state.prove(USERS[1]))
    rollup.refuses("under the last final root", contract.deposit, good, replace(proof, balance=500))
    rollup.refuses("sign exactly this", contract.deposit, replace(good, signatures=two.signatures), proof)
    rollup.refuses("chain must be this one", contract.deposit, rollup.pay(0, {USERS[1]: 1}), proof)
    rollup.refuses("balance must cover", rollup.deposit, 0, 51)
    rollup.refuses("nonce must be the next", rollup.deposit, 0, 1, nonce=1)
    assert not main.apply(good).accepted  # a plain payment would be lost
    rollup.deposit(0, 5)
    rollup.refuses("nonce must be the next", contract.deposit, good, rollup.state.prove(USERS[0]))
    rollup.post(rollup.leave(0, 1))
    rollup.refuses("no root must be pending", rollup.deposit, 0, 1)


def test_only_the_sequencer_posts_and_only_what_it_publishes():
    rollup = Rollup()
    records = [batches.encode_record(rollup.leave(0, 1), rollup.contract.accounts)]
    trace = disputes.replay(rollup.state, records)
    post = rollup.contract.post
    for key, number, claim, shown, rule in [
        (KEYS[0], 1, trace.claim, records, "the sequencer must sign it"),
        (SEQUENCER, 2, trace.claim, records, "number must be the next"),
        (SEQUENCER, 1, trace.claim, [b"other"], "claim must be of this batch"),  # the batch is kept back
        (SEQUENCER, 1, trace.claim, [], "claim must be of this batch"),
        (SEQUENCER, 1, replace(trace.claim, before=bytes(32)), records, "claim must be of this batch"),
        (SEQUENCER, 1, replace(trace.claim, accounts=3), records, "claim must be of this batch"),
    ]:
        rollup.refuses(rule, post, message.signed(exits.Update(number, claim), key), shown, trace)


class Reentrant(Liar):
    """Proposes a wrong root; asked for a midpoint, it tries to let time pass, and calls the contract."""

    def __init__(self, rollup):
        self.rollup, self.refused = rollup, []

    def root(self, step):
        contract = self.rollup.contract
        for call in (lambda: self.rollup.wait(6), contract.settle, contract.stop, lambda: contract.challenge(Liar())):
            self.refused.append(str(refusal_of(call)))
        return super().root(step)


def test_a_root_under_dispute_is_neither_settled_nor_dropped_from_within():
    rollup, rich = Rollup(), Rollup(deposits=(100, 50, 50))
    lies = [rollup.leave(0, 100), rollup.leave(0, 1, nonce=2)]
    rich.post(*lies)
    rollup.contract.force(rollup.leave(1, 5))
    thief = Reentrant(rollup)
    honest = rollup.post(*lies, after=rich.state.root, proposer=thief)
    assert rollup.contract.challenge(honest).winner == "challenger"
    assert [refusal.split(": ")[1] for refusal in thief.refused] == ["no dispute must be under way"] * 4
    assert rollup.contract.pending is None
    rollup.refuses("a root must be pending", rollup.contract.settle)
    proof = rich.state.prove(rich.exit_of(0))
    rollup.refuses("under the last final root", rollup.contract.withdraw, USERS[0], proof)
    rollup.wait(5)
    rollup.contract.stop()  # the lock is off again


class Boastful(list):
    """A batch that claims to hold every record."""

    def __contains__(self, record):
        return True


def test_a_forced_transfer_leaves_the_queue_only_by_a_batch_that_holds_it():
    rollup = Rollup()
    forced = rollup.contract.force(rollup.leave(1, 5))
    trace = disputes.replay(rollup.state, [batches.encode_record(rollup.leave(0, 1), rollup.contract.accounts)])
    update = message.signed(exits.Update(1, trace.claim), SEQUENCER)
    rollup.contract.post(update, Boastful(trace.records), trace)
    rollup.wait(3)
    rollup.contract.settle()
    assert forced in rollup.contract.queue
    rollup.wait(2)
    rollup.contract.stop()


def test_nobody_can_stop_a_sequencer_that_includes_what_is_forced_as_soon_as_it_can():
    main, key = ledger.Ledger("main", dict.fromkeys(USERS, 100)), public_key(SEQUENCER)
    for challenge, forced in [(5, 3), (3, 3)]:
        with pytest.raises(Rejected, match="more blocks than a challenge"):
            exits.RollupContract(main, "rollup", USERS, key, challenge_blocks=challenge, forced_blocks=forced)
    rollup, late = Rollup(), []  # 3 and 5
    for _ in range(4):
        rollup.post(rollup.pay(0, {USERS[1]: 1}), *late)
        late = [rollup.leave(1, 1)]  # the attacker forces just after the post
        rollup.contract.force(late[0])
        for _ in range(3):
            rollup.refuses("must be overdue", rollup.contract.stop)
            rollup.wait(1)
        rollup.refuses("must be settled first", rollup.contract.stop)
        rollup.contract.settle()
        rollup.refuses("must be overdue", rollup.contract.stop)
        assert len(rollup.contract.queue) == 1


def test_what_was_paid_before_the_contract_was_made_is_no_deposit():
    main = ledger.Ledger("main", dict.fromkeys(USERS, 100))
    early = ledger.contract_account("main", "rollup rollup")
    main.open(early)
    assert main.apply(ledger.sign_transfer(KEYS[0], "main", {early: 7}, fee=0, nonce=1)).accepted
    terms = {"challenge_blocks": 3, "forced_blocks": 5}
    contract = exits.RollupContract(main, "rollup", USERS, public_key(SEQUENCER), **terms)
    assert (contract.held, main.balance(contract.account)) == (0, 7)
    with pytest.raises(Rejected, match="with accounts on layer 1"):  # nor is a contract a user of another rollup
        exits.RollupContract(main, "other", [*USERS, contract.account], public_key(SEQUENCER), **terms)


def test_a_deposit_cannot_be_carried_to_another_shard():
    """A contract lies on one shard, the one of its ledger, whatever its name: nobody opens its account elsewhere."""
    users = [u for u in (public_key(example_key(f"user {i}")) for i in range(9)) if crossshard.shard_of(u, 2) == 0]
    keys = {public_key(k): k for k in (example_key(f"user {i}") for i in range(9))}
    name = next(n for n in map("r{}".format, range(9)) if on_shard_1(n))
    for opened_early in (False, True):
        shards = crossshard.ShardedLedger("main", 2, dict.fromkeys(users, 100))
        home, other = (shard.ledger for shard in shards.shards)
        early = ledger.contract_account("main", f"rollup {name}")
        if opened_early:
            other.open(early)
        terms = {"challenge_blocks": 3, "forced_blocks": 5}
        contract = exits.RollupContract(home, name, users, public_key(SEQUENCER), **terms)
        assert contract.account != early
        for shard, rule in ((other, "must lie here"), (home, "a contract opens its own")):
            with pytest.raises(Rejected, match=rule):
                shard.open(contract.account)
        order = ledger.sign_transfer(keys[users[0]], "main", {contract.account: 60}, fee=0, nonce=1)
        assert not shards.apply(order).accepted
        contract.deposit(order, exits.opening_ledger(name, users).prove(users[0]))
        assert (contract.held, home.balance(users[0])) == (60, 40)


def on_shard_1(name):
    return crossshard.shard_of(ledger.contract_account("main", f"rollup {name}"), 2) == 1


def test_who_takes_part_is_checked():
    terms = {"challenge_blocks": 3, "forced_blocks": 5}
    main, key = ledger.Ledger("main", dict.fromkeys(USERS, 100)), public_key(SEQUENCER)
    for chain, users, rule in [
        ("main", USERS, "no two chains"),
        ("rollup", USERS + USERS[:1], "all different"),
        ("rollup", [*USERS, key], "with accounts on layer 1"),
    ]:
        with pytest.raises(Rejected, match=rule):
            exits.RollupContract(main, chain, users, key, **terms)
    contract = exits.RollupContract(main, "rollup", USERS, key, **terms)
    stranger = ledger.sign_transfer(KEYS[0], "rollup", {bytes(31) + b"x": 1}, fee=0, nonce=1)
    with pytest.raises(Rejected, match="must have accounts in the rollup"):
        contract.force(stranger)
    with pytest.raises(Rejected, match="no two chains"):
        exits.RollupContract(main, "rollup", USERS, key, **terms)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_whatever_happens_the_contract_holds_what_it_owes(seed):
    rng, rollup = np.random.default_rng(seed), Rollup()
    paid = 0
    for _ in range(12):
        who, amount = int(rng.integers(3)), int(rng.integers(1, 30))
        with suppress(Rejected):
            match rng.integers(4):
                case 0:
                    rollup.deposit(who, amount)
                case 1:
                    rollup.finish(rollup.pay(who, {USERS[who - 1]: amount}, fee=1), rollup.leave(who - 1, amount))
                case 2:
                    before = rollup.main.balance(USERS[who])
                    rollup.withdraw(who)
                    paid += rollup.main.balance(USERS[who]) - before
                case 3:
                    rollup.withdraw(who, USERS[who])
        assert rollup.contract.held + paid == rollup.state.total
        assert (rollup.contract.root, rollup.main.total) == (rollup.state.root, 300)
