"""Shards: all or nothing whatever crashes when, money conserved, and counts on their formulas."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers import ledger as rules
from web3scale.layers import sharding
from web3scale.layers.ledger import FEES, sign_transfer
from web3scale.layers.sharding import ShardedLedger, shard_of

K = 3


def names_on_each_shard():
    """Two keys on each of three shards."""
    found = {i: [] for i in range(K)}
    for number in itertools.count():
        key = example_key(f"user {number}")
        place = shard_of(public_key(key), K)
        if len(found[place]) < 2:
            found[place].append(key)
        if all(len(keys) == 2 for keys in found.values()):
            return [key for keys in found.values() for key in keys]
    return None


KEYS = names_on_each_shard()
NAMES = [public_key(key) for key in KEYS]
STRANGER = public_key(example_key("stranger"))


def fresh(balance=100):
    return ShardedLedger("main", K, dict.fromkeys(NAMES, balance))


def state(sharded):
    return [
        (
            [(n, s.ledger.balance(n), s.ledger.nonce(n)) for n in [*NAMES, FEES] if n in s.ledger],
            dict(s.locks),
            dict(s.prepared),
            dict(s.decided),
        )
        for s in sharded.shards
    ]


def balances(sharded):
    return [sharded.balance(name) for name in NAMES]


def across(nonce=1, amounts=(10, 20), fee=3):
    """From shard 0 to shards 1 and 2."""
    return sign_transfer(KEYS[0], "main", {NAMES[2]: amounts[0], NAMES[4]: amounts[1]}, fee=fee, nonce=nonce)


def test_the_steps_of_a_transfer_across_three_shards():
    sharded = fresh()
    done = list(sharded.steps(across()))
    assert done == [
        "locked at 0",
        "prepared at 1",
        "prepared at 2",
        "decided at 0",
        "committed at 1",
        "committed at 2",
        "closed at 0",
    ]
    assert balances(sharded) == [67, 100, 110, 100, 120, 100]
    assert sharded.shards[0].ledger.balance(FEES) == 3
    assert sharded.visits == [2, 2, 2]
    assert all(not (s.locks or s.prepared or s.decided) for s in sharded.shards)


def test_a_local_transfer_makes_one_visit():
    sharded = fresh()
    assert list(sharded.steps(sign_transfer(KEYS[0], "main", {NAMES[1]: 5}, fee=0, nonce=1))) == ["applied at 0"]
    assert sharded.visits == [1, 0, 0]
    assert balances(sharded)[:2] == [95, 105]


def test_recipients_at_home_and_elsewhere_are_paid_once_each():
    sharded = fresh()
    payments = {NAMES[1]: 1, NAMES[2]: 2, NAMES[3]: 4}
    assert sharded.apply(sign_transfer(KEYS[0], "main", payments, fee=0, nonce=1)).accepted
    assert balances(sharded) == [93, 101, 102, 104, 100, 100]


@pytest.mark.parametrize("crash", range(1, 8))
@pytest.mark.parametrize("second_crash", range(1, 5))
def test_a_crash_after_any_step_ends_in_all_or_nothing(crash, second_crash):
    sharded = fresh()
    before = balances(sharded)
    list(itertools.islice(sharded.steps(across()), crash))
    assert sharded.total == 600
    list(itertools.islice(sharded.recover(), second_crash - 1))  # recovery crashes too
    assert sharded.total == 600
    list(sharded.recover())
    after = [67, 100, 110, 100, 120, 100]
    assert balances(sharded) == (after if crash >= 4 else before)
    assert sharded.home(NAMES[0]).ledger.nonce(NAMES[0]) == (1 if crash >= 4 else 0)
    assert all(not (s.locks or s.prepared or s.decided) for s in sharded.shards)
    assert list(sharded.recover()) == []
    again = sharded.apply(across())
    assert again.accepted == (crash < 4)
    assert balances(sharded) == after, "sent again, it takes effect once"


def test_a_coordinator_that_slept_through_a_recovery_is_fenced_off():
    for asleep in range(1, 7):
        sharded = fresh()
        ghost = sharded.steps(across())
        list(itertools.islice(ghost, asleep))
        list(sharded.recover())
        sharded.apply(across())  # somebody else sends it again
        before = state(sharded)
        with pytest.raises(sharding.Superseded):
            next(ghost)
        assert state(sharded) == before
        assert balances(sharded) == [67, 100, 110, 100, 120, 100]


def test_a_recovery_that_slept_through_another_is_fenced_off():
    """Two transfers of one home, the first recovery asleep after one of them, the second sent again meanwhile."""
    sharded = fresh()
    one = sign_transfer(KEYS[0], "main", {NAMES[2]: 10}, fee=0, nonce=1)
    two = sign_transfer(KEYS[1], "main", {NAMES[4]: 20}, fee=0, nonce=1)
    next(sharded.steps(one))
    next(sharded.steps(two))
    asleep = sharded.recover()
    next(asleep)
    list(sharded.recover())
    again = sharded.steps(two)
    list(itertools.islice(again, 3))
    with pytest.raises(sharding.Superseded):
        next(asleep)
    list(again)
    assert balances(sharded) == [100, 80, 100, 100, 120, 100]
    assert sharded.total == 600


def test_fees_are_those_of_all_shards():
    sharded = fresh()
    sharded.apply(across(fee=3))
    sharded.apply(sign_transfer(KEYS[2], "main", {NAMES[0]: 1}, fee=4, nonce=1))
    assert sharded.balance(FEES) == 7


@pytest.mark.parametrize("payments", [None, (), ((None, 1),), ((5, 1),), [(NAMES[2], 1)], ((NAMES[2],),)])
def test_a_malformed_transfer_has_a_receipt_too(payments):
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(rules.Transfer("main", NAMES[0], payments, 0, 1, bytes(64)))
    assert type(receipt.refusal) is rules.BadRecipients
    assert state(sharded) == before


def test_a_ghost_does_not_decide_for_its_successor():
    sharded = fresh()
    ghost, successor = sharded.steps(across()), sharded.steps(across())
    list(itertools.islice(ghost, 3))
    list(sharded.recover())
    next(successor)
    with pytest.raises(sharding.Superseded):
        next(ghost)
    list(successor)
    assert balances(sharded) == [67, 100, 110, 100, 120, 100]
    assert sharded.total == 600


REFUSED = {
    "unknown on the last shard": ({NAMES[2]: 10, STRANGER: 1}, 0, 1, "main", rules.UnknownAccount),
    "overdraft": ({NAMES[2]: 99}, 2, 1, "main", rules.Overdraft),
    "nonce gap": ({NAMES[2]: 10}, 0, 2, "main", rules.WrongNonce),
    "another chain": ({NAMES[2]: 10}, 0, 1, "test", rules.WrongChain),
    "local, unknown": ({NAMES[1]: 100, NAMES[2]: 1}, 0, 1, "main", rules.Overdraft),
}


@pytest.mark.parametrize(("payments", "fee", "nonce", "chain", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_anywhere_leaves_every_shard_as_it_was(payments, fee, nonce, chain, reason):
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(sign_transfer(KEYS[0], chain, payments, fee=fee, nonce=nonce))
    assert type(receipt.refusal) is reason
    assert state(sharded) == before


def test_an_unknown_recipient_at_home_is_refused_before_anything_is_locked():
    home = shard_of(STRANGER, K)
    key = KEYS[2 * home]
    elsewhere = NAMES[(2 * home + 2) % 6]
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(sign_transfer(key, "main", {STRANGER: 1, elsewhere: 1}, fee=0, nonce=1))
    assert isinstance(receipt.refusal, rules.UnknownAccount)
    assert state(sharded) == before
    assert sum(sharded.visits) == 1


def test_a_transfer_begun_during_a_recovery_is_left_to_its_coordinator():
    for taken in (1, 2, 3):
        sharded = fresh()
        next(sharded.steps(across()))  # its coordinator is dead
        recovery = sharded.recover()
        next(recovery)
        transfer = sign_transfer(KEYS[2], "main", {NAMES[4]: 10}, fee=0, nonce=1)
        live = sharded.steps(transfer)
        list(itertools.islice(live, taken))
        list(recovery)
        list(live)
        assert balances(sharded) == [100, 100, 90, 100, 110, 100]
        assert sharded.total == 600
        assert all(not (s.locks or s.prepared or s.decided) for s in sharded.shards)


def test_home_decides_only_what_it_holds_the_lock_for():
    sharded = fresh()
    before = state(sharded)
    with pytest.raises(sharding.Superseded) as refusal:
        sharded.shards[0].decide(across(), set())
    assert refusal.value.values == {"sender": NAMES[0]}
    assert state(sharded) == before


def test_a_coordinator_asleep_while_it_aborts_leaves_the_lock_of_its_successor():
    sharded = fresh()
    elsewhere = next(i for i in range(K) if i != shard_of(STRANGER, K))
    other = next(i for i in range(K) if i not in (elsewhere, shard_of(STRANGER, K)))
    transfer = sign_transfer(KEYS[2 * elsewhere], "main", {NAMES[2 * other]: 10, STRANGER: 1}, fee=0, nonce=1)
    ghost = sharded.steps(transfer)
    assert list(itertools.islice(ghost, 3))[2].startswith("aborted")
    list(sharded.recover())
    sharded.home(STRANGER).ledger.open(STRANGER)
    successor = sharded.steps(transfer)
    next(successor)
    with pytest.raises(sharding.Superseded):
        list(ghost)
    list(successor)
    assert sharded.balance(STRANGER) == 1
    assert sharded.total == 600


def test_a_recovery_that_sleeps_is_fenced_off_by_the_next():
    for asleep in (1, 2):
        sharded = fresh()
        list(itertools.islice(sharded.steps(across()), 4))
        first = sharded.recover()
        list(itertools.islice(first, asleep))
        list(sharded.recover())
        with pytest.raises(sharding.Superseded):
            next(first)


@pytest.mark.parametrize("crash", range(1, 7))
def test_a_recovery_leaves_a_receipt_of_what_it_settled(crash):
    sharded = fresh()
    list(itertools.islice(sharded.steps(across()), crash))
    list(sharded.recover())
    (receipt,) = sharded.recovered
    assert receipt.transfer == across()
    assert receipt.accepted == (crash >= 4)
    assert receipt.accepted or type(receipt.refusal) is sharding.Interrupted


def test_a_refusal_survives_a_recovery_that_found_nothing_to_settle():
    sharded = fresh()
    payments = {NAMES[2]: 1, STRANGER: 1}
    transfer = sign_transfer(KEYS[0], "main", payments, fee=0, nonce=1)
    steps = sharded.steps(transfer)
    while next(steps) != "aborted at 0":
        pass
    assert list(sharded.recover()) == []
    assert sharded.recovered == []
    with pytest.raises(rules.UnknownAccount):
        next(steps)


def test_the_lock_goes_last():
    """An abort that crashes before it has reached home leaves the lock, and so is found and finished."""
    sharded = fresh()
    list(itertools.islice(sharded.steps(across()), 3))
    assert list(itertools.islice(sharded.recover(), 2)) == ["aborted at 1", "aborted at 2"]
    assert sharded.shards[0].locks
    assert list(sharded.recover()) == ["aborted at 1", "aborted at 2", "aborted at 0"]
    assert not sharded.shards[0].locks


def test_a_sender_has_one_transfer_under_way():
    sharded = fresh()
    first = sharded.steps(across())
    next(first)
    for payments in ({NAMES[1]: 1}, {NAMES[2]: 1}):
        refusal = sharded.apply(sign_transfer(KEYS[0], "main", payments, fee=0, nonce=1)).refusal
        assert type(refusal) is sharding.AccountLocked
        assert refusal.values == {"sender": NAMES[0]}
    assert sharded.apply(sign_transfer(KEYS[2], "main", {NAMES[0]: 9}, fee=0, nonce=1)).accepted, "it may be paid"
    list(first)
    assert balances(sharded) == [76, 100, 101, 100, 120, 100]


@pytest.mark.parametrize("shards", [0, -1, 1.5, True])
def test_a_number_of_shards_is_a_positive_integer(shards):
    with pytest.raises(DomainError, match="shards must be an integer of at least 1"):
        ShardedLedger("main", shards, {})
    with pytest.raises(DomainError, match="shards must be an integer of at least 1"):
        shard_of(bytes(32), shards)


def test_accounts_spread_evenly():
    counts = np.bincount([shard_of(number.to_bytes(32, "big"), 8) for number in range(8000)], minlength=8)
    assert ((counts - 1000) ** 2 / 1000).sum() < 24.3  # chi-square, 7 degrees of freedom: one in a thousand


class Shards(RuleBasedStateMachine):
    """Transfers begun, advanced, abandoned and recovered in any order, against plain dictionaries."""

    def __init__(self):
        super().__init__()
        self.sharded = fresh()
        self.running = []  # [transfer, generator, steps taken]
        self.recoveries = []
        self.model = dict.fromkeys(NAMES, 100)
        self.fees = 0

    def settle(self, transfer):
        self.model[transfer.sender] -= transfer.cost
        self.fees += transfer.fee
        for recipient, amount in transfer.payments:
            self.model[recipient] += amount

    @rule(
        sender=st.integers(0, 5),
        recipients=st.sets(st.integers(0, 6), min_size=1, max_size=3),
        amount=st.integers(1, 60),
        fee=st.integers(0, 2),
        gap=st.sampled_from([1, 1, 1, 1, 2]),
    )
    def begin(self, sender, recipients, amount, fee, gap):
        payments = {([*NAMES, STRANGER])[r]: amount for r in recipients}
        nonce = self.sharded.home(NAMES[sender]).ledger.nonce(NAMES[sender]) + gap
        transfer = sign_transfer(KEYS[sender], "main", payments, fee=fee, nonce=nonce)
        self.running.append([transfer, self.sharded.steps(transfer), 0])

    @rule(which=st.integers(0, 5), times=st.integers(1, 4))
    def advance(self, which, times):
        if not self.running:
            return
        entry = self.running[which % len(self.running)]
        transfer, steps, _ = entry
        for _ in range(times):
            before = state(self.sharded)
            try:
                done = next(steps)
            except StopIteration:
                self.running.remove(entry)
                return
            except Rejected as refusal:
                self.running.remove(entry)
                if entry[2] == 0:
                    assert state(self.sharded) == before
                if not isinstance(refusal, sharding.Superseded):
                    assert transfer.message not in {m for s in self.sharded.shards for m in (*s.prepared, *s.decided)}
                return
            entry[2] += 1
            if done.startswith(("applied", "decided")):
                self.settle(transfer)

    @rule(abandon=st.integers(0, 3))
    def crash_and_recover(self, abandon):
        list(itertools.islice(self.sharded.recover(), abandon))
        list(self.sharded.recover())
        assert all(not (s.locks or s.prepared or s.decided) for s in self.sharded.shards)
        assert balances(self.sharded) == [self.model[name] for name in NAMES]

    @rule()
    def begin_recovery(self):
        self.recoveries.append(self.sharded.recover())

    @rule(which=st.integers(0, 3), times=st.integers(1, 3))
    def advance_recovery(self, which, times):
        """A recovery that takes its time, while transfers begin and other recoveries overtake it."""
        if not self.recoveries:
            return
        recovery = self.recoveries[which % len(self.recoveries)]
        try:
            for _ in range(times):
                next(recovery)
        except (StopIteration, sharding.Superseded):
            self.recoveries.remove(recovery)

    def teardown(self):
        self.crash_and_recover(0)

    @invariant()
    def money_is_conserved(self):
        assert self.sharded.total == 600

    @invariant()
    def senders_have_paid_exactly_what_was_decided(self):
        assert sum(s.ledger.balance(FEES) for s in self.sharded.shards) == self.fees
        assert all(balance >= 0 for balance in balances(self.sharded))
        assert all(self.sharded.balance(name) <= self.model[name] for name in NAMES)


TestShards = Shards.TestCase
TestShards.settings = settings(max_examples=500, stateful_step_count=20, deadline=None, derandomize=True)


# Formulas and counts


def enumerated(k, m, v):
    """Every way to put m accounts on k shards, counted exactly."""
    touched = [len(set(places)) for places in itertools.product(range(k), repeat=m)]
    total = len(touched)
    cross = Fraction(sum(t > 1 for t in touched), total)
    return cross, Fraction(sum(touched), total), Fraction(sum(v * t if t > 1 else 1 for t in touched), total)


@pytest.mark.parametrize(("k", "m", "v"), [(1, 2, 2), (2, 2, 2), (3, 2, 1), (4, 3, 2), (5, 4, 3), (7, 1, 2)])
def test_formulas_equal_the_count_of_all_cases(k, m, v):
    cross, touched, work = enumerated(k, m, v)
    assert sharding.cross_shard_share(k, m) == pytest.approx(float(cross), abs=1e-12)
    assert sharding.shards_touched(k, m) == pytest.approx(float(touched), rel=1e-12)
    assert sharding.shard_work(k, m, v) == pytest.approx(float(work), rel=1e-12)
    assert sharding.sharded_throughput(10, k, m, v) == pytest.approx(float(10 * k / work), rel=1e-12)


def test_each_shard_added_brings_one_part_in_v_m():
    k, m, v, mu = (sharding.sharded_throughput.symbols[n] for n in ("shards", "accounts", "visits", "service_rate"))
    for accounts in (2, 3, 5):
        x = sharding.sharded_throughput.expr.subs(m, accounts)
        assert sp.simplify(sp.limit(x / (k * mu), k, sp.oo) - 1 / (v * accounts)) == 0
        assert x.subs(k, 1) == mu


@pytest.mark.parametrize(("k", "m", "v"), [(2, 2, 2), (8, 2, 2), (8, 3, 1), (32, 4, 2)])
def test_the_simulated_workload_lands_on_the_formulas(k, m, v):
    run = sharding.simulate_workload(k, m, v, transactions=5000, runs=40, rng=np.random.default_rng(7))
    for found, theory in [
        (run.cross_share, sharding.cross_shard_share(k, m)),
        (run.touched.mean(axis=1), sharding.shards_touched(k, m)),
        (run.work, sharding.shard_work(k, m, v)),
    ]:
        error = found.std(ddof=1) / np.sqrt(40)
        assert abs(found.mean() - theory) < 3 * error
    assert np.all(run.busiest >= 1)
    assert np.all(run.busiest < 1.2)


def test_the_protocol_makes_the_visits_that_the_simulation_counts():
    keys = [example_key(f"payer {i}") for i in range(60)]
    names = [public_key(key) for key in keys]
    sharded = ShardedLedger("main", 4, dict.fromkeys(names, 10**6))
    rng, nonces, expected = np.random.default_rng(3), [0] * 60, 0
    for _ in range(300):
        sender, *others = rng.choice(60, size=3, replace=False).tolist()
        nonces[sender] += 1
        transfer = sign_transfer(keys[sender], "main", {names[i]: 1 for i in others}, fee=0, nonce=nonces[sender])
        places = len(sharded.touched(transfer))
        expected += 2 * places if places > 1 else 1
        assert sharded.apply(transfer).accepted
    assert sum(sharded.visits) == expected


@pytest.mark.parametrize("name", ["shards", "accounts", "visits", "transactions", "runs"])
@pytest.mark.parametrize("value", [0, 1.5, None])
def test_a_workload_needs_counts(name, value):
    arguments = {"shards": 2, "accounts": 2, "visits": 2, "transactions": 3, "runs": 2} | {name: value}
    with pytest.raises(DomainError, match=rf"simulate_workload: {name} must be an integer"):
        sharding.simulate_workload(**arguments, rng=np.random.default_rng(1))


def test_a_workload_needs_a_generator():
    with pytest.raises(DomainError, match="rng must be"):
        sharding.simulate_workload(2, 2, 2, transactions=3, runs=2, rng=7)
