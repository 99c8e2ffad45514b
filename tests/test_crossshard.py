"""Transfers across shards: all or nothing whatever crashes when, money conserved, sleepers fenced off."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected
from web3scale.layers.crossshard import Shard, ShardedLedger, shard_of
from web3scale.layers.ledger import FEES, Ledger, Transfer, contract_account, sign_transfer
from web3scale.message import Signed, signed

K = 3
OUTLIVED = "shard: coordinator must not outlive a recovery"
INTERRUPTED = "transfer: home must decide before a crash"
UNDER_WAY = "transfer: sender must have no other transfer under way"
OPEN = "ledger: account must be open"


def keys_on_each_shard():
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


KEYS = keys_on_each_shard()
NAMES = [public_key(key) for key in KEYS]
STRANGER = public_key(example_key("stranger"))
CLEARING = contract_account("main", "clearing")
PAID = [67, 100, 110, 100, 120, 100]  # what all hold after `across()`
NOTHING = [100] * 6


def fresh():
    return ShardedLedger("main", K, dict.fromkeys(NAMES, 100))


def accounts(sharded):
    return [
        [(n, s.ledger.balance(n), s.ledger.nonce(n)) for n in [*NAMES, STRANGER, FEES, CLEARING] if n in s.ledger]
        for s in sharded.shards
    ]


def state(sharded):
    return accounts(sharded), [
        (dict(s.locked), dict(s.prepared), dict(s.decided), set(s.ledger._held), list(s.recovered))
        for s in sharded.shards
    ]


def pending(sharded):
    return any(s.locked or s.prepared or s.decided or s.ledger._held for s in sharded.shards)


def hollow():
    """A signed record without fields: no decoder and no constructor makes one."""
    transfer = object.__new__(Signed)
    transfer.__dict__.update(body=object.__new__(Transfer), signatures=())
    return transfer


def balances(sharded):
    return [sharded.balance(name) for name in NAMES]


def conserved(sharded):
    """No ledger's total has changed, and only what is pending is in flight."""
    assert [s.ledger.total for s in sharded.shards] == [600 + 200] * K
    assert sharded.total == 600
    assert sharded.in_flight >= 0
    assert sharded.in_flight == 0 or any(s.decided for s in sharded.shards)
    owed = [
        sum(sum(s.prepared[t].values()) for s in sharded.shards if t in s.prepared)
        for t in itertools.chain.from_iterable(s.decided for s in sharded.shards)
    ]
    assert sharded.in_flight == sum(owed)


def pay(sender, payments, nonce=1, fee=0, chain="main"):
    return sign_transfer(KEYS[sender], chain, payments, fee=fee, nonce=nonce)


def across(nonce=1, amounts=(10, 20), fee=3):
    """From shard 0 to shards 1 and 2."""
    return pay(0, {NAMES[2]: amounts[0], NAMES[4]: amounts[1]}, nonce, fee)


def first(steps, count):
    return list(itertools.islice(steps, count))


def unless_outlived(steps):
    """Go on to the end, or until a shard says that a recovery has begun."""
    try:
        yield from steps
    except Rejected as refusal:
        if refusal.rule != OUTLIVED:
            raise


def refused(call):
    with pytest.raises(Rejected) as refusal:
        call()
    return refusal.value.rule


# What a transfer writes, where


def test_the_steps_of_a_transfer_across_three_shards():
    sharded, flying, done = fresh(), [], []
    for step in sharded.steps(across()):
        done.append(step)
        flying.append(sharded.in_flight)
        conserved(sharded)
    assert done == [
        "locked at 0",
        "prepared at 1",
        "prepared at 2",
        "decided at 0",
        "committed at 1",
        "committed at 2",
        "closed at 0",
    ]
    assert flying == [0, 0, 0, 30, 20, 0, 0]
    assert balances(sharded) == PAID
    assert sharded.shards[0].ledger.balance(FEES) == 3
    assert sharded.visits == [2, 2, 2]
    assert not pending(sharded)
    assert sharded.recovered == []


def test_a_local_transfer_makes_one_visit():
    sharded = fresh()
    assert list(sharded.steps(pay(0, {NAMES[1]: 5}))) == ["applied at 0"]
    assert sharded.visits == [1, 0, 0]
    assert balances(sharded)[:2] == [95, 105]
    assert sharded.shards[0].ledger.height == 1


def test_recipients_at_home_and_elsewhere_are_paid_once_each():
    sharded = fresh()
    assert sharded.apply(pay(0, {NAMES[1]: 1, NAMES[2]: 2, NAMES[3]: 4})).accepted
    assert balances(sharded) == [93, 101, 102, 104, 100, 100]
    conserved(sharded)


def test_money_passes_through_the_clearing_accounts_of_both_shards():
    sharded = fresh()
    sharded.apply(across())
    assert [s.ledger.balance(CLEARING) for s in sharded.shards] == [630, 590, 580]


def test_a_shard_can_pay_whatever_the_others_own():
    """All money of all shards goes to one account, there and back, time and again."""
    sharded = ShardedLedger("main", K, dict.fromkeys(NAMES, 0) | {NAMES[0]: 600})
    for nonce in range(1, 6):
        assert sharded.apply(pay(0, {NAMES[2]: 600}, nonce)).accepted
        assert sharded.apply(pay(2, {NAMES[4]: 600}, nonce)).accepted
        assert sharded.apply(pay(4, {NAMES[0]: 600}, nonce)).accepted
    assert [s.ledger.balance(CLEARING) for s in sharded.shards] == [600] * K
    for sender, amount in ((0, 1), (1, 0)):
        other = ShardedLedger("main", K, dict.fromkeys(NAMES, 0) | {NAMES[sender]: 600})
        assert other.apply(pay(sender, {NAMES[2]: 600 - amount})).accepted
        assert other.shards[1].ledger.balance(CLEARING) == amount


def test_fees_are_those_of_all_shards():
    sharded = fresh()
    sharded.apply(across(fee=3))
    sharded.apply(pay(2, {NAMES[0]: 1}, fee=4))
    assert sharded.balance(FEES) == 7


# Crashes


@pytest.mark.parametrize("crash", range(1, 8))
@pytest.mark.parametrize("second_crash", range(8))
def test_a_crash_after_any_step_ends_in_all_or_nothing(crash, second_crash):
    sharded = fresh()
    first(sharded.steps(across()), crash)
    conserved(sharded)
    for _ in first(sharded.recover(), second_crash):  # recovery crashes too
        conserved(sharded)
    for _ in first(sharded.recover(), second_crash):  # and the next
        conserved(sharded)
    for _ in sharded.recover():
        conserved(sharded)
    assert balances(sharded) == (PAID if crash >= 4 else NOTHING)
    assert sharded.home(NAMES[0]).ledger.nonce(NAMES[0]) == (1 if crash >= 4 else 0)
    assert not pending(sharded)
    assert sharded.in_flight == 0
    assert [r.accepted for r in sharded.recovered] == ([crash >= 4] if crash < 7 else [])
    assert list(sharded.recover()) == ["fenced at 0", "fenced at 1", "fenced at 2"]
    again = sharded.apply(across())
    assert again.accepted == (crash < 4)
    assert balances(sharded) == PAID, "sent again, it takes effect once"


@pytest.mark.parametrize("crash", range(1, 7))
def test_a_recovery_leaves_a_receipt_of_what_it_settled(crash):
    sharded = fresh()
    first(sharded.steps(across()), crash)
    list(sharded.recover())
    (receipt,) = sharded.recovered
    assert receipt.transfer == across()
    assert receipt.accepted == (crash >= 4)
    assert receipt.accepted or receipt.refusal.rule == INTERRUPTED
    list(sharded.recover())
    assert len(sharded.recovered) == 1


def test_the_lock_goes_last():
    """An abort that crashes before it has reached home leaves the lock, and so is found and finished."""
    sharded = fresh()
    first(sharded.steps(across()), 3)
    fences, aborts = [f"fenced at {i}" for i in range(K)], ["aborted at 1", "aborted at 2", "aborted at 0"]
    assert first(sharded.recover(), 5) == fences + aborts[:2]
    assert sharded.shards[0].locked
    assert list(sharded.recover()) == fences + aborts
    assert not pending(sharded)


# Sleepers: the shards refuse them, whatever they believe


def test_a_coordinator_that_slept_through_a_recovery_is_fenced_off():
    for asleep in range(1, 7):
        sharded = fresh()
        ghost = sharded.steps(across())
        first(ghost, asleep)
        list(sharded.recover())
        sharded.apply(across())  # somebody else sends it again
        before = state(sharded)
        assert refused(lambda ghost=ghost: next(ghost)) == OUTLIVED
        assert state(sharded) == before
        assert balances(sharded) == PAID


@pytest.mark.parametrize("asleep", range(1, 8))
@pytest.mark.parametrize("waking", range(7))
def test_a_coordinator_may_wake_between_any_two_steps_of_a_recovery(asleep, waking):
    sharded = fresh()
    ghost, recovery = sharded.steps(across()), sharded.recover()
    done = first(ghost, asleep)
    first(recovery, waking)
    before = state(sharded)
    for step in unless_outlived(ghost):
        done.append(step)
        conserved(sharded)
    assert waking < K or state(sharded) == before, "no write, from the last fence on"
    for _ in recovery:
        conserved(sharded)
    assert not pending(sharded)
    assert balances(sharded) == (PAID if "decided at 0" in done else NOTHING)
    assert len(sharded.recovered) == ("closed at 0" not in done)


@pytest.mark.parametrize("write", ["lock", "prepare", "decide", "commit", "close", "abort", "fence"])
def test_every_write_of_an_older_epoch_is_refused_by_the_storage(write):
    sharded = fresh()
    list(sharded.recover())
    first(sharded.steps(across()), 4)
    before, at = state(sharded), sharded.shards[1 if write in ("prepare", "commit") else 0]
    payments = {"lock": [{}], "prepare": [{NAMES[3]: 1}], "decide": [{}]}.get(write, [])
    arguments = [] if write == "fence" else [pay(0, {NAMES[3]: 1}, 2) if write == "lock" else across(), *payments]
    with pytest.raises(Rejected) as refusal:
        getattr(at, f"_{write}")(0, *arguments)
    assert (refusal.value.rule, refusal.value.values) == (OUTLIVED, {"epoch": 0, "seen": 1})
    assert state(sharded) == before
    assert at.epoch == 1


def test_a_recovery_raises_the_epoch_on_all_shards_before_it_settles_anything():
    sharded = fresh()
    first(sharded.steps(across()), 5)
    before = state(sharded)
    for at, step in enumerate(first(sharded.recover(), K)):
        assert step == f"fenced at {at}"
    assert state(sharded) == before
    assert [s.epoch for s in sharded.shards] == [1] * K


def test_a_recovery_that_slept_through_another_is_fenced_off():
    """Two transfers of one home, the first recovery asleep after one of them, the second sent again meanwhile."""
    sharded = fresh()
    one, two = pay(0, {NAMES[2]: 10}), pay(1, {NAMES[4]: 20})
    next(sharded.steps(one))
    next(sharded.steps(two))
    asleep = sharded.recover()
    first(asleep, K + 1)
    list(sharded.recover())
    again = sharded.steps(two)
    first(again, 3)
    assert refused(lambda: next(asleep)) == OUTLIVED
    list(again)
    assert balances(sharded) == [100, 80, 100, 100, 120, 100]
    assert len(sharded.recovered) == 2
    conserved(sharded)


@pytest.mark.parametrize("crash", [2, 4, 5])
@pytest.mark.parametrize("asleep", range(1, 6))
@pytest.mark.parametrize("waking", range(7))
def test_two_recoveries_may_overlap(crash, asleep, waking):
    sharded = fresh()
    first(sharded.steps(across()), crash)
    older, newer = sharded.recover(), sharded.recover()
    first(older, asleep)
    first(newer, waking)
    for _ in unless_outlived(older) if waking else older:
        conserved(sharded)
    for _ in newer:
        conserved(sharded)
    assert balances(sharded) == (PAID if crash >= 4 else NOTHING)
    assert not pending(sharded)
    assert len(sharded.recovered) == 1


def test_a_ghost_does_not_decide_for_its_successor():
    sharded = fresh()
    ghost, successor = sharded.steps(across()), sharded.steps(across())
    first(ghost, 3)
    list(sharded.recover())
    next(successor)
    assert refused(lambda: next(ghost)) == OUTLIVED
    list(successor)
    assert balances(sharded) == PAID
    conserved(sharded)


def test_a_coordinator_asleep_while_it_aborts_leaves_the_lock_of_its_successor():
    sharded = fresh()
    there = shard_of(STRANGER, K)
    elsewhere, other = (i for i in range(K) if i != there)
    transfer = pay(2 * elsewhere, {NAMES[2 * other]: 10, STRANGER: 1})
    ghost = sharded.steps(transfer)
    assert first(ghost, 3)[2].startswith("aborted")
    list(sharded.recover())
    sharded.home(STRANGER).ledger.open(STRANGER)
    successor = sharded.steps(transfer)
    next(successor)
    assert refused(lambda: list(ghost)) == OUTLIVED
    list(successor)
    assert sharded.balance(STRANGER) == 1
    conserved(sharded)


def test_a_transfer_begun_during_a_recovery_is_left_to_its_coordinator():
    for begun, taken in itertools.product(range(1, 5), (1, 2, 3)):
        sharded = fresh()
        next(sharded.steps(across()))  # its coordinator is dead
        recovery = sharded.recover()
        first(recovery, begun)
        live = sharded.steps(pay(2, {NAMES[4]: 10}))
        first(live, taken)
        list(recovery)
        list(live)
        assert balances(sharded) == [100, 100, 90, 100, 110, 100]
        assert len(sharded.recovered) == 1
        assert not pending(sharded)
        conserved(sharded)


def test_what_began_during_a_recovery_and_died_is_settled_by_the_next():
    sharded = fresh()
    recovery = sharded.recover()
    next(recovery)
    first(sharded.steps(across()), 4)
    list(recovery)
    assert pending(sharded)
    list(sharded.recover())
    assert not pending(sharded)
    assert balances(sharded) == PAID


def test_a_refusal_survives_a_recovery_that_found_nothing_to_settle():
    sharded = fresh()
    steps = sharded.steps(pay(0, {NAMES[2]: 1, STRANGER: 1}))
    while next(steps) != "aborted at 0":
        pass
    assert list(sharded.recover()) == ["fenced at 0", "fenced at 1", "fenced at 2"]
    assert sharded.recovered == []
    assert refused(lambda: next(steps)) == OPEN


def test_home_decides_only_what_it_holds_the_lock_for():
    sharded = fresh()
    before = state(sharded)
    with pytest.raises(Rejected) as refusal:
        sharded.shards[0]._decide(0, across(), {})
    assert refusal.value.rule == "transfer: home must hold its lock"
    assert refusal.value.values == {"sender": NAMES[0]}
    assert state(sharded) == before


def test_a_stranger_reaches_no_write_of_the_protocol():
    """A shard takes its coordinators' word, so nobody else may speak: nothing of it is public."""
    assert not {name for name, thing in vars(Shard).items() if callable(thing) and not name.startswith("_")}


def test_a_payment_across_shards_is_in_the_blocks_of_every_shard_it_touches():
    """Whoever reads one chain's blocks, as a bridge does, sees the payments that came from another."""
    sharded = fresh()
    transfer = across()
    heights = [shard.ledger.height for shard in sharded.shards]
    assert sharded.apply(transfer).accepted
    touched = sharded.touched(transfer.body)
    for at, shard in enumerate(sharded.shards):
        assert shard.ledger.height == heights[at] + (at in touched)
        if at in touched:
            assert [receipt.transfer for receipt in shard.ledger.blocks[-1].receipts] == [transfer]
            assert shard.ledger.blocks[-1].after == shard.ledger.root


# What is locked cannot be spent


@pytest.mark.parametrize("taken", [1, 2, 3])
def test_what_is_locked_cannot_be_spent_on_its_own_ledger_either(taken):
    sharded = fresh()
    live, ledger = sharded.steps(across()), sharded.shards[0].ledger
    first(live, taken)
    before = state(sharded)
    receipt = ledger.apply(pay(0, {NAMES[1]: 90}))
    assert receipt.refusal.rule == UNDER_WAY
    with pytest.raises(Rejected) as refusal:  # as the rules of a contract would, a channel's say
        ledger._move(NAMES[0], ledger._contract("channels"), 90)
    assert refusal.value.rule == "ledger: what is held for one transfer must not be spent by another"
    assert state(sharded) == before
    list(live)
    assert balances(sharded) == PAID
    assert sharded.total == 600
    assert ledger.apply(pay(0, {NAMES[1]: 1}, nonce=2)).accepted, "and afterwards it is free again"


def test_a_sender_has_one_transfer_under_way():
    sharded = fresh()
    live = sharded.steps(across())
    next(live)
    for payments in ({NAMES[1]: 1}, {NAMES[2]: 1}):
        refusal = sharded.apply(pay(0, payments)).refusal
        assert (refusal.rule, refusal.values) == (UNDER_WAY, {"sender": NAMES[0]})
    assert sharded.apply(pay(2, {NAMES[0]: 9})).accepted, "it may be paid"
    list(live)
    assert balances(sharded) == [76, 100, 101, 100, 120, 100]


def test_an_abort_changes_nothing_and_frees_the_sender():
    sharded = fresh()
    before = accounts(sharded)
    first(sharded.steps(across()), 3)
    list(sharded.recover())
    assert accounts(sharded) == before
    assert not pending(sharded)
    assert sharded.shards[0].ledger.apply(pay(0, {NAMES[1]: 90})).accepted


def test_no_transfer_pays_a_clearing_account():
    """What would lie there would seem to be in flight for ever."""
    sharded = fresh()
    before = state(sharded)
    at_home = next(i for i in range(6) if shard_of(NAMES[i], K) == shard_of(CLEARING, K))
    for sender in (at_home, (at_home + 2) % 6):
        assert sharded.apply(pay(sender, {CLEARING: 5})).refusal.rule == "transfer: recipient must take transfers"
        assert sharded.apply(pay(sender, {CLEARING: 5, NAMES[(sender + 2) % 6]: 5})).refusal is not None
        ledger = sharded.home(NAMES[sender]).ledger
        assert ledger.apply(pay(sender, {CLEARING: 5})).refusal.rule == "transfer: recipient must take transfers"
    assert state(sharded) == before


def test_an_account_is_opened_on_its_own_shard_or_a_transfer_would_count_twice():
    sharded = fresh()
    astray = sharded.shards[1].ledger
    assert refused(lambda: astray.open(NAMES[0])) == "ledger: account must lie here"
    astray.apply(pay(2, {NAMES[3]: 50}))
    assert refused(lambda: astray._move(NAMES[3], NAMES[0], 50)) == OPEN
    transfer = pay(0, {NAMES[2]: 10})
    assert sharded.apply(transfer).accepted
    assert astray.apply(transfer).refusal.rule == OPEN
    sharded.home(STRANGER).ledger.open(STRANGER)
    for at, shard in enumerate(sharded.shards):
        shard.ledger._contract(f"pot {at}")  # nobody signs for a contract: it may lie anywhere


# Refusals


REFUSED = {
    "unknown on the last shard": ({NAMES[2]: 10, STRANGER: 1}, 0, 1, "main", OPEN),
    "overdraft": ({NAMES[2]: 99}, 2, 1, "main", "transfer: balance must cover amounts and fee"),
    "nonce gap": ({NAMES[2]: 10}, 0, 2, "main", "transfer: nonce must be the next"),
    "another chain": ({NAMES[2]: 10}, 0, 1, "test", "transfer: chain must be this one"),
    "at home and elsewhere": (
        {NAMES[1]: 100, NAMES[2]: 1},
        0,
        1,
        "main",
        "transfer: balance must cover amounts and fee",
    ),
    "zero elsewhere": ({NAMES[1]: 1, NAMES[2]: 0}, 0, 1, "main", "transfer: amounts must be positive"),
    "to oneself too": ({NAMES[0]: 1, NAMES[2]: 1}, 0, 1, "main", "transfer: sender and recipient must differ"),
}


@pytest.mark.parametrize(("payments", "fee", "nonce", "chain", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_anywhere_leaves_every_shard_as_it_was(payments, fee, nonce, chain, reason):
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(pay(0, payments, nonce, fee, chain))
    assert receipt.refusal.rule == reason
    assert state(sharded) == before
    assert sharded.apply(across()).accepted


@pytest.mark.parametrize(
    ("payments", "reason"),
    [
        ((), "transfer: recipients must be one or more, all different"),
        (((NAMES[2], 1), (NAMES[2], 5)), "transfer: recipients must be one or more, all different"),
    ],
)
def test_recipients_are_counted_before_they_are_sorted_by_shard(payments, reason):
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(signed(Transfer("main", NAMES[0], payments, 0, 1), KEYS[0]))
    assert receipt.refusal.rule == reason
    assert state(sharded) == before


def test_a_transfer_that_its_sender_did_not_sign_is_refused_at_home():
    sharded = fresh()
    before = state(sharded)
    for forged in (
        signed(across().body, KEYS[1]),
        replace(across(), body=across(amounts=(10, 21)).body),
        Signed(across().body, ()),
    ):
        assert sharded.apply(forged).refusal.rule == "transfer: the sender must sign exactly this"
    assert state(sharded) == before


@pytest.mark.parametrize(
    "bad",
    [
        None,
        1,
        across().body,
        object.__new__(Signed),
        hollow(),
        signed(across(), KEYS[0]),
        [across()],
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_is_no_signed_transfer_is_the_callers_mistake(bad):
    sharded = fresh()
    before = state(sharded)
    for call in (sharded.apply, sharded.steps):
        with pytest.raises(DomainError, match="transfer must be"):
            call(bad)
    assert state(sharded) == before
    assert sharded.visits == [0, 0, 0]


def test_an_unknown_recipient_at_home_is_refused_before_anything_is_locked():
    home = shard_of(STRANGER, K)
    sharded = fresh()
    before = state(sharded)
    receipt = sharded.apply(pay(2 * home, {STRANGER: 1, NAMES[(2 * home + 2) % 6]: 1}))
    assert receipt.refusal.rule == OPEN
    assert state(sharded) == before
    assert sum(sharded.visits) == 1


# How many shards, and what lies on them


@pytest.mark.parametrize("shards", [0, -1, 1.5, True, 1025, 2**63, None])
def test_a_number_of_shards_is_an_integer_from_1_to_1024(shards):
    for call in (lambda: ShardedLedger("main", shards, {}), lambda: shard_of(bytes(32), shards)):
        with pytest.raises(DomainError, match=r"shards must be an integer in 1 \.\.\. 1024"):
            call()


@pytest.mark.parametrize("balances", [None, {NAMES[0]: -1}, {NAMES[0]: 1.5}, {"name": 1}, {CLEARING: 1}])
def test_opening_balances_are_natural_numbers_and_leave_the_clearing_to_the_shards(balances):
    with pytest.raises(DomainError, match="ShardedLedger: balances must"):
        ShardedLedger("main", 2, balances)


@pytest.mark.parametrize("chain", [None, "\ud800"])
def test_a_chain_has_a_name_that_can_be_signed(chain):
    with pytest.raises(DomainError):
        ShardedLedger(chain, 2, {})


def test_fees_and_contracts_may_have_money_from_the_beginning():
    pot = contract_account("main", "pot")
    sharded = ShardedLedger("main", K, {FEES: 5, pot: 7, NAMES[0]: 10})
    assert (sharded.total, sharded.in_flight) == (22, 0)
    assert (sharded.balance(FEES), sharded.balance(pot)) == (5, 7)
    assert sharded.home(pot).ledger._contract("pot") == pot


def test_a_ledger_becomes_a_shard_once():
    ledger = Ledger("main", {})
    Shard(ledger)
    with pytest.raises(Rejected, match="a chain has one contract of a name"):
        Shard(ledger)


def test_accounts_spread_evenly():
    counts = np.bincount([shard_of(number.to_bytes(32, "big"), 8) for number in range(8000)], minlength=8)
    assert ((counts - 1000) ** 2 / 1000).sum() < 24.3  # chi-square, 7 degrees of freedom: one in a thousand


def test_the_protocol_makes_two_visits_to_each_shard_that_a_transfer_crosses():
    keys = [example_key(f"payer {i}") for i in range(60)]
    names = [public_key(key) for key in keys]
    sharded = ShardedLedger("main", 4, dict.fromkeys(names, 10**6))
    rng, nonces, expected = np.random.default_rng(3), [0] * 60, 0
    for _ in range(300):
        sender, *others = rng.choice(60, size=3, replace=False).tolist()
        nonces[sender] += 1
        transfer = sign_transfer(keys[sender], "main", {names[i]: 1 for i in others}, fee=0, nonce=nonces[sender])
        places = len({shard_of(names[i], 4) for i in (sender, *others)})
        expected += 2 * places if places > 1 else 1
        assert sharded.apply(transfer).accepted
    assert sum(sharded.visits) == expected
    assert sharded.in_flight == 0


class Shards(RuleBasedStateMachine):
    """Transfers begun, advanced, abandoned and recovered in any order, and others on the ledgers themselves."""

    def __init__(self):
        super().__init__()
        self.sharded = fresh()
        self.running = []  # [transfer, generator, steps taken]
        self.recoveries = []
        self.model = dict.fromkeys(NAMES, 100)
        self.fees = 0

    def settle(self, order):
        self.model[order.sender] -= order.cost
        self.fees += order.fee
        for recipient, amount in order.payments:
            self.model[recipient] += amount

    def next_nonce(self, sender, gap=1):
        return self.sharded.home(NAMES[sender]).ledger.nonce(NAMES[sender]) + gap

    @rule(
        sender=st.integers(0, 5),
        recipients=st.sets(st.integers(0, 6), min_size=1, max_size=3),
        amount=st.integers(1, 60),
        fee=st.integers(0, 2),
        gap=st.sampled_from([1, 1, 1, 1, 2]),
    )
    def begin(self, sender, recipients, amount, fee, gap):
        payments = {([*NAMES, STRANGER])[r]: amount for r in recipients}
        transfer = pay(sender, payments, self.next_nonce(sender, gap), fee)
        self.running.append([transfer, self.sharded.steps(transfer), 0])

    @rule(
        plans=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 60)), min_size=1, max_size=3),
        at=st.integers(0, 2),
    )
    def pay_on_a_ledger(self, plans, at):
        """Owners who go past the coordinators, to the ledger of a shard, whether their accounts lie there or not."""
        ledger, held = self.sharded.shards[at].ledger, set(self.sharded.shards[at].ledger._held)
        transfers = [pay(sender, {NAMES[to]: amount}, self.next_nonce(sender)) for sender, to, amount in plans]
        for receipt in ledger.apply_block(transfers).receipts:
            order = receipt.transfer.body
            if receipt.accepted:
                assert order.sender not in held
                self.settle(order)

    @rule(sender=st.integers(0, 5), to=st.integers(0, 5), amount=st.integers(1, 60))
    def move_as_a_contract(self, sender, to, amount):
        ledger = self.sharded.home(NAMES[sender]).ledger
        held = NAMES[sender] in ledger._held
        try:
            ledger._move(NAMES[sender], NAMES[to], amount)
        except Rejected:
            return
        assert not held
        self.settle(Transfer("main", NAMES[sender], ((NAMES[to], amount),), 0, 0))

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
                if entry[2] == 0 or refusal.rule == OUTLIVED:
                    assert state(self.sharded) == before
                if refusal.rule != OUTLIVED:
                    assert transfer not in {t for s in self.sharded.shards for t in (*s.prepared, *s.decided)}
                return
            entry[2] += 1
            if done.startswith(("applied", "decided")):
                self.settle(transfer.body)

    @rule(abandon=st.integers(0, 6))
    def crash_and_recover(self, abandon):
        first(self.sharded.recover(), abandon)
        list(self.sharded.recover())
        assert not pending(self.sharded)
        assert self.sharded.in_flight == 0
        assert balances(self.sharded) == [self.model[name] for name in NAMES]

    @rule()
    def begin_recovery(self):
        self.recoveries.append(unless_outlived(self.sharded.recover()))

    @rule(which=st.integers(0, 3), times=st.integers(1, 5))
    def advance_recovery(self, which, times):
        """A recovery that takes its time, while transfers begin and other recoveries overtake it."""
        if not self.recoveries:
            return
        first(self.recoveries[which % len(self.recoveries)], times)

    def teardown(self):
        self.crash_and_recover(0)

    @invariant()
    def money_is_conserved(self):
        conserved(self.sharded)

    @invariant()
    def senders_have_paid_exactly_what_was_decided(self):
        assert self.sharded.balance(FEES) == self.fees
        assert all(self.sharded.balance(name) <= self.model[name] for name in NAMES)
        assert sum(self.model.values()) + self.fees == 600
        assert sum(balances(self.sharded)) + self.sharded.in_flight + self.fees == 600

    @invariant()
    def what_is_locked_covers_its_transfer(self):
        for shard in self.sharded.shards:
            assert {t.body.sender for t in shard.locked} == shard.ledger._held
            assert all(shard.ledger.balance(t.body.sender) >= t.body.cost for t in shard.locked)


TestShards = Shards.TestCase
TestShards.settings = settings(max_examples=500, stateful_step_count=20, deadline=None, derandomize=True)


def test_a_dispute_on_one_shard_leaves_no_account_of_another_locked():
    """While the programs of a dispute run no block is made, so a promise is refused; the abort needs no block."""
    sharded, before = fresh(), state(fresh())
    transfer = pay(0, {NAMES[2]: 5})
    home, away = (sharded.home(NAMES[i]) for i in (0, 2))
    assert home is not away
    away.ledger._halted = True
    assert "no dispute must be under way" in str(sharded.apply(transfer).refusal)
    assert state(sharded) == before
    away.ledger._halted = False
    assert sharded.apply(transfer).accepted
