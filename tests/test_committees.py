"""Committees: published figures, exact tails by plain integers, draws that favour nobody, and what adversaries try."""

import itertools
from fractions import Fraction
from math import comb, exp

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from web3scale.consensus.committees import (
    draw_message,
    drawn_failure,
    elect,
    failing_seats,
    max_shards,
    next_seed,
    sampled_failure,
    simulate_rotation,
    simulate_truncation,
    smallest_committee,
    sortition,
    sortition_failure,
    truncated_inclusion,
)
from web3scale.consensus.vrf import output, prove, verify
from web3scale.crypto import example_key, public_key
from web3scale.errors import DomainError, Rejected

THIRD, HALF, MOST = 1 / 3, 1 / 2, 2 / 3

here = settings(deadline=None, derandomize=True)
KEYS = {public_key(key): key for key in (example_key(f"validator {i}") for i in range(40))}
MESSAGE = draw_message("main", "committee", 1, bytes(32))
PROOFS = {public: prove(key, MESSAGE) for public, key in KEYS.items()}


def tail(trials, share, least):
    """P[Bin ≥ least] in integers."""
    a, b = float(share).as_integer_ratio()
    return sum(comb(trials, j) * a**j * (b - a) ** (trials - j) for j in range(least, trials + 1)) / b**trials


def drawn_tail(validators, adversaries, size, least):
    ways = [comb(adversaries, j) * comb(validators - adversaries, size - j) for j in range(least, size + 1)]
    return sum(ways) / comb(validators, size)


# Published figures


def test_the_sharding_faq():
    """Ethereum wiki, Sharding FAQ: the probability that an attacker holds half of a sample or more."""
    table = {
        0.25: {50: 0.0001, 100: 6.63e-08, 150: 4.11e-11, 250: 1.81e-17},
        0.2: {50: 2.09e-06, 100: 2.14e-11, 150: 2.5e-16, 250: 3.96e-26},
    }
    for share, row in table.items():
        for seats, probability in row.items():
            given_digits = 0.25 if probability == 0.0001 else 5e-3
            assert sampled_failure(seats, share, HALF) == pytest.approx(probability, rel=given_digits)


def test_ethereum_asks_for_111_seats():
    """consensus-specs, phase0/beacon-chain.md, for 2⁻⁴⁰ and a third of the stake: the smallest multiple of 3."""
    holds = [k for k in range(1, 400) if sampled_failure(k, THIRD, MOST) <= 2**-40]
    assert holds == [107, *range(109, 400)]
    assert [k for k in range(3, 112, 3) if sampled_failure(k, THIRD, MOST) <= 2**-40] == [111]
    assert smallest_committee(THIRD, MOST, 2**-40, 1) == 107
    assert smallest_committee(THIRD, MOST, 2**-40, 3) == 111
    logs = np.log2([sampled_failure(k, THIRD, MOST) for k in (108, 111, 128)])
    assert logs == pytest.approx([-39.220, -40.239, -47.356], abs=5e-4)


def test_algorand_at_2000_seats_and_a_share_of_0_685():
    """Gilad et al. (2017), figure 3: at most 5·10⁻⁹ with 80 % honest; exactly 4.205·10⁻⁹, the least on a grid of T."""
    assert sortition_failure(2000, 1370, 0.2) == pytest.approx(4.205e-9, rel=1e-3)
    assert sortition_failure(2000, 1370, 0.2) <= 5e-9
    assert sortition_failure(2000, 1368, 0.2) == pytest.approx(4.71e-9, rel=2e-3)
    assert sortition_failure(2000, 1372, 0.2) == pytest.approx(4.25e-9, rel=2e-3)
    assert min(range(1340, 1400, 2), key=lambda votes: sortition_failure(2000, votes, 0.2)) == 1370


# Exact tails


def test_thirds_are_thirds():
    assert [failing_seats(k, THIRD) for k in (1, 3, 4, 99, 100, 102, 999_999)] == [1, 1, 2, 33, 34, 34, 333_333]
    assert [failing_seats(3 * k, MOST) for k in range(1, 3000)] == [2 * k for k in range(1, 3000)]
    assert failing_seats(2000, 0.685) == 1370


@settings(here, max_examples=50)
@given(st.data())
def test_tails_are_those_of_integers(data):
    validators = data.draw(st.integers(1, 700))
    adversaries, size = data.draw(st.integers(0, validators)), data.draw(st.integers(1, validators))
    limit = data.draw(st.sampled_from([0.001, THIRD, HALF, MOST, 0.9, 1]))
    least = failing_seats(size, limit)
    exact = drawn_tail(validators, adversaries, size, least)
    assert drawn_failure(validators, adversaries, size, limit) == pytest.approx(exact, rel=1e-12, abs=1e-300)
    size, share = min(size, 400), data.draw(st.floats(0, 1))
    exact = tail(size, share, failing_seats(size, limit))
    assert sampled_failure(size, share, limit) == pytest.approx(exact, rel=1e-12, abs=1e-300)


def test_tails_far_below_the_grain_of_1():
    """1 − cdf would be 0 from 10⁻¹⁶ on."""
    assert tail(500, 0.05, 250) < 1e-170
    assert sampled_failure(500, 0.05, HALF) == pytest.approx(tail(500, 0.05, 250), rel=1e-12)
    exact = tail(980, 0.5, 980)
    assert 1e-300 < exact < 1e-290
    assert sampled_failure(980, 0.5, 1) == pytest.approx(exact, rel=1e-12)
    exact = drawn_tail(5000, 800, 750, 400)
    assert 1e-300 < exact < 1e-150
    assert drawn_failure(5000, 800, 750, 8 / 15) == pytest.approx(exact, rel=1e-12)


def test_a_committee_of_all_fails_only_if_all_do():
    assert drawn_failure(999, 332, 999, THIRD) == 0
    assert drawn_failure(999, 333, 999, THIRD) == 1
    assert drawn_failure(999, 333, 1, THIRD) == pytest.approx(1 / 3)
    assert sampled_failure(100, 0, THIRD) == 0
    assert sampled_failure(100, 1, THIRD) == 1


def test_drawing_without_repetition_fails_less_often():
    for size in range(10, 500, 7):
        assert drawn_failure(1000, 200, size, THIRD) <= sampled_failure(size, 0.2, THIRD) * (1 + 1e-12)


def test_the_smallest_committee_is_the_smallest():
    for share, limit, target, step in itertools.product((0.1, 0.2), (THIRD, HALF), (1e-2, 1e-6), (1, 3, 10)):
        found = smallest_committee(share, limit, target, step)
        sizes = range(step, found + 1, step)
        assert [k for k in sizes if tail(k, share, failing_seats(k, limit)) <= target] == [found]
    with pytest.raises(DomainError, match="must be reached by at most 10000 seats"):
        smallest_committee(0.4, THIRD, 1e-6, 1)


def brute_shards(validators, adversaries, limit, target, epochs):
    best = 0
    for shards in range(1, validators + 1):
        sizes = [validators // shards + (i < validators % shards) for i in range(shards)]
        tails = {k: drawn_tail(validators, adversaries, k, failing_seats(k, limit)) for k in set(sizes)}
        best = shards if epochs * sum(tails[k] for k in sizes) <= target else best
    return best


@pytest.mark.parametrize("validators", [1, 2, 30, 100, 211])
@pytest.mark.parametrize(("share", "target", "epochs"), [(0.1, 1e-3, 1), (0.1, 0.1, 1), (0.2, 1e-2, 10), (0, 1e-9, 9)])
def test_the_most_shards_by_trying_all(validators, share, target, epochs):
    adversaries = int(share * validators)
    found = max_shards(validators, adversaries, THIRD, target, epochs)
    assert found == brute_shards(validators, adversaries, THIRD, target, epochs)


def test_the_most_shards_at_the_ends():
    assert max_shards(1000, 0, THIRD, 1e-9, 1) == 1000
    assert max_shards(1000, 334, THIRD, 0.5, 1) == 0
    assert max_shards(900, 299, THIRD, 1e-9, 10**9) == 1, "all validators in one shard"
    lifetimes = [max_shards(20_000, 4_000, THIRD, 1e-6, epochs) for epochs in (1, 100, 10_000, 10**6)]
    assert lifetimes == sorted(lifetimes, reverse=True)
    assert lifetimes[0] > lifetimes[-1] > 0


# Sortition


def exact_seats(drawn, stake, total, expected):
    p, below = Fraction(expected, total), Fraction(0)
    for seats in range(stake + 1):
        below += comb(stake, seats) * p**seats * (1 - p) ** (stake - seats)
        if Fraction(int.from_bytes(drawn, "big"), 2**512) < below:
            return seats
    raise AssertionError


@settings(here, max_examples=150)
@given(st.binary(min_size=64, max_size=64), st.integers(0, 60), st.integers(0, 200), st.integers(1, 40))
def test_sortition_is_that_of_fractions(drawn, stake, others, expected):
    total = max(stake + others, 2 * expected)
    assert sortition(drawn, stake, total, expected) == exact_seats(drawn, stake, total, expected)


def bounds(stake, total, expected):
    """For each number of seats, the smallest output that wins more: found by halving, to the last bit."""
    found = []
    for seats in range(stake):
        low, high = 0, 2**512
        while low < high:
            middle = (low + high) // 2
            wins_more = sortition(middle.to_bytes(64, "big"), stake, total, expected) > seats
            low, high = (low, middle) if wins_more else (middle + 1, high)
        found.append(low)
    return found


@pytest.mark.parametrize(("stake", "total", "expected"), [(1, 7, 3), (5, 20, 3), (4, 8, 4), (6, 10**9, 10**4)])
def test_the_bounds_are_those_of_fractions_to_the_last_bit(stake, total, expected):
    p, below = Fraction(expected, total), Fraction(0)
    for seats, bound in enumerate(bounds(stake, total, expected)):
        below += comb(stake, seats) * p**seats * (1 - p) ** (stake - seats)
        assert bound == -(-below.numerator * 2**512 // below.denominator)


def chances(stake, total, expected):
    limits = [0, *bounds(stake, total, expected), 2**512]
    return [Fraction(b - a, 2**512) for a, b in itertools.pairwise(limits)]


@pytest.mark.parametrize(("one", "two"), [(1, 1), (2, 3), (1, 6)])
def test_splitting_a_stake_changes_nothing(one, two):
    """The seats of two parts together are distributed as those of the whole."""
    parts, whole = (chances(one, 24, 5), chances(two, 24, 5)), chances(one + two, 24, 5)
    for seats, chance in enumerate(whole):
        ways = [a * b for i, a in enumerate(parts[0]) for j, b in enumerate(parts[1]) if i + j == seats]
        assert abs(sum(ways) - chance) < Fraction(1, 2**500)


@settings(here, max_examples=80)
@given(st.data())
def test_sortition_is_monotone(data):
    total = data.draw(st.integers(100, 10**30))
    stake = data.draw(st.integers(0, min(total, total // 50 + 1)))
    expected = data.draw(st.integers(1, min(total // 2, 5000)))
    low, high = sorted(data.draw(st.tuples(*[st.binary(min_size=64, max_size=64)] * 2)))
    seats = sortition(low, stake, total, expected)
    assert 0 <= seats <= stake
    assert sortition(high, stake, total, expected) >= seats
    assert sortition(low, min(total, stake + max(1, stake // 7)), total, expected) >= seats
    assert sortition(low, stake, total, max(1, expected // 2)) <= seats


def test_seats_are_as_many_as_expected_whoever_holds_the_stake():
    """500 on average of 10⁸ lots; the same from 400 equal stakes as from 40: mean and variance of a Poisson count."""
    for validators in (40, 400):
        stake = 10**8 // validators
        outputs = [output(prove(example_key("Alice"), b"%d %d" % (validators, i))) for i in range(validators)]
        seats = [sortition(o, stake, 10**8, 500) for o in outputs]
        assert abs(sum(seats) - 500) < 5 * 500**0.5
        assert (np.array(seats) == 0).mean() == pytest.approx(exp(-500 / validators), abs=0.1)


def test_the_ends_of_sortition():
    assert sortition(bytes(64), 10**30, 10**30, 20_000) == 0
    assert sortition(b"\xff" * 64, 10, 20, 10) == 10
    assert sortition(b"\xff" * 64, 0, 20, 10) == 0
    assert abs(sortition(b"\x80" + bytes(63), 10**30, 10**30, 20_000) - 20_000) <= 1
    assert 3200 < sortition(b"\xff" * 64, 10**29, 10**30, 20_000) < 3400, "26 standard deviations and no end"


@pytest.mark.parametrize("arguments", [(bytes(63), 1, 9, 1), (bytes(64), 10, 9, 1), (bytes(64), 1, 9, 5)])
def test_what_is_no_lot_is_refused(arguments):
    with pytest.raises(DomainError, match="sortition"):
        sortition(*arguments)


# Election by the smallest outputs


def test_the_smallest_outputs_win_whatever_the_order_of_the_list():
    order = sorted(KEYS, key=lambda public: verify(public, MESSAGE, PROOFS[public]))
    assert elect(MESSAGE, PROOFS, 7, 1) == (tuple(order[:7]),)
    assert elect(MESSAGE, dict(reversed(PROOFS.items())), 7, 1) == (tuple(order[:7]),)
    dealt = elect(MESSAGE, PROOFS, 4, 5)
    assert [len(c) for c in dealt] == [4] * 5
    assert len({*itertools.chain(*dealt)}) == 20, "each validator has one seat at most"
    for shard, committee in enumerate(dealt):
        there = [public for public in order if int.from_bytes(output(PROOFS[public]), "big") % 5 == shard]
        assert committee == tuple(there[:4])


def test_who_withholds_a_proof_moves_nobody_to_another_shard():
    dealt = elect(MESSAGE, PROOFS, 4, 5)
    for hidden in KEYS:
        try:
            others = elect(MESSAGE, {public: proof for public, proof in PROOFS.items() if public != hidden}, 4, 5)
        except Rejected:  # its shard has no more than its seats
            continue
        for before, after in zip(dealt, others, strict=True):
            assert after == before or hidden in before
            assert {*after} - {*before} <= {*KEYS} - {*itertools.chain(*dealt)}, "whoever moves up had no seat"


def test_the_front_of_the_list_is_not_favoured():
    """The first quarter of the list has a quarter of the seats: 4 standard deviations over 100 draws of 10 of 40."""
    front, taken = set(list(KEYS)[:10]), 0
    for epoch in range(100):
        outputs = sorted((tail_of(public, epoch), public) for public in KEYS)
        taken += sum(public in front for _, public in outputs[:10])
    assert abs(taken - 250) < 4 * (1000 * 0.25 * 0.75 * 30 / 39) ** 0.5


def tail_of(public, epoch):
    return output(prove(KEYS[public], draw_message("main", "committee", epoch, bytes(32))))


def test_who_shows_no_valid_proof_draws_no_seat():
    (winner, *_), *_ = elect(MESSAGE, PROOFS, 7, 1)
    for bad in (
        b"",
        bytes(80),
        prove(KEYS[winner], b"another"),
        PROOFS[list(KEYS)[-1]],
        prove(KEYS[winner], MESSAGE)[:-1],
    ):
        (members,) = elect(MESSAGE, PROOFS | {winner: bad}, 7, 1)
        assert winner not in members
        assert len(members) == 7
    with pytest.raises(Rejected, match="valid proofs must fill the seats"):
        elect(MESSAGE, PROOFS, 8, 6)


def test_a_proof_is_for_one_chain_one_use_one_epoch_and_one_seed():
    others = [("test", "committee", 1, bytes(32)), ("main", "seed", 1, bytes(32))]
    others += [("main", "committee", 2, bytes(32)), ("main", "committee", 1, b"\x01" * 32)]
    for other in others:
        with pytest.raises(Rejected):
            elect(draw_message(*other), PROOFS, 1, 1)


def test_a_leader_has_one_seed():
    (alice, key), (bob, _), *_ = KEYS.items()
    message = draw_message("main", "seed", 1, bytes(32))
    proof = prove(key, message)
    seed = next_seed(message, alice, proof)
    assert seed != next_seed(
        draw_message("main", "seed", 2, seed), alice, prove(key, draw_message("main", "seed", 2, seed))
    )
    for leader, bad in [(bob, proof), (alice, proof[:-1] + b"\x7f"), (alice, prove(key, b"other")), (alice, b"")]:
        with pytest.raises(Rejected, match="proof must be the leader's"):
            next_seed(message, leader, bad)


# The treatise's draw


def test_inclusion_by_trying_all_outcomes():
    p, size, length = Fraction(3, 10), 2, 7
    exact = [Fraction(0)] * length
    for passes in itertools.product((0, 1), repeat=length):
        chance = p ** sum(passes) * (1 - p) ** (length - sum(passes))
        for place in [i for i, ok in enumerate(passes) if ok][:size]:
            exact[place] += chance
    assert truncated_inclusion(np.arange(1, 8), 0.3, 2) == pytest.approx([float(x) for x in exact], rel=1e-12)


def test_the_front_of_the_list_gets_more_the_more_pass():
    """An adversary with the first 250 of 1000 places, and a committee of 100."""
    for p, share in {0.12: 0.30, 0.15: 0.375, 0.20: 0.50}.items():
        derived = truncated_inclusion(np.arange(1, 1001), p, 100)
        assert derived[:250].sum() / derived.sum() == pytest.approx(share, abs=5e-4)
        drawn = simulate_truncation(1000, p, 100, runs=4000, rng=np.random.default_rng(7))
        assert drawn[:250].sum() / drawn.sum() == pytest.approx(share, abs=0.004)
        assert np.abs(drawn - derived).max() < 5 * (p / 4000) ** 0.5
    assert truncated_inclusion(1000, 0.05, 100) == pytest.approx(0.05), "where hardly ever more than 100 pass, no bias"


# A committee that stays, and one that does not


def test_a_shard_falls_to_a_small_part_of_all():
    runs = {"epochs": 30, "runs": 50, "rng": np.random.default_rng(3)}
    for adversaries, fallen in ((33, 0.0), (34, 1.0)):  # of 1000 in ten shards
        static = simulate_rotation(1000, adversaries, 10, THIRD, corruption_epochs=5, rotation_epochs=99, **runs)
        assert static == fallen
    assert simulate_rotation(1000, 34, 10, THIRD, corruption_epochs=5, rotation_epochs=5, **runs) == 0
    assert simulate_rotation(1000, 34, 10, THIRD, corruption_epochs=5, rotation_epochs=6, **runs) == 1
    assert simulate_rotation(1000, 34, 10, THIRD, corruption_epochs=30, rotation_epochs=99, **runs) == 0, "too late"


def test_rotation_leaves_what_a_random_draw_leaves():
    """At 25 %: as often as the union bound says, or a little less; and more often in more epochs."""
    runs = {"corruption_epochs": 1, "rotation_epochs": 1, "runs": 20_000, "rng": np.random.default_rng(5)}
    once = simulate_rotation(1000, 250, 10, THIRD, epochs=2, **runs)
    bound = 10 * drawn_failure(1000, 250, 100, THIRD)
    assert 0.93 * bound < once < bound
    twice = simulate_rotation(1000, 250, 10, THIRD, epochs=3, **runs)
    assert twice == pytest.approx(1 - (1 - once) ** 2, abs=0.012)
    assert simulate_rotation(1000, 250, 10, THIRD, epochs=1, **runs) == 0


def test_rotation_by_hand():
    """The same by dealing validators one by one."""
    rng, fallen = np.random.default_rng(11), 0
    for _ in range(3000):
        for _ in range(2, 5):
            place = rng.permutation(np.arange(61) % 4)
            fallen_now = (np.bincount(place[:12], minlength=4) >= -(-np.bincount(place) // 3)).any()
            if fallen_now:
                fallen += 1
                break
    given = {"corruption_epochs": 2, "rotation_epochs": 1, "epochs": 5, "runs": 20_000}
    assert simulate_rotation(61, 12, 4, THIRD, rng=rng, **given) == pytest.approx(fallen / 3000, abs=0.03)


@pytest.mark.parametrize(
    "call",
    [
        lambda: drawn_failure(100, 101, 10, THIRD),
        lambda: drawn_failure(100, 10, 101, THIRD),
        lambda: drawn_failure(100, 10, 10, 0),
        lambda: sampled_failure(0, 0.1, THIRD),
        lambda: sampled_failure(10, 1.1, THIRD),
        lambda: sampled_failure(10, 0.1, float("nan")),
        lambda: max_shards(100, 101, THIRD, 0.1, 1),
        lambda: max_shards(100, 10, THIRD, 0, 1),
        lambda: simulate_truncation(10**6, 0.1, 10, runs=11, rng=np.random.default_rng(1)),
        lambda: elect(MESSAGE, PROOFS, 0, 1),
        lambda: sortition_failure(2000, 1370, [0.2]),
    ],
)
def test_what_makes_no_sense_is_refused(call):
    with pytest.raises(DomainError):
        call()
