"""Latency in arrays: the same as event by event, and far faster."""

from time import process_time

import numpy as np
import pytest
from schedules import keys, members, request

from web3scale.consensus import hotstuff, pbft
from web3scale.consensus.latency import (
    REGIONS,
    draw_delays,
    hotstuff_decided,
    pbft_decided,
    region_delays,
    simulate_latency,
)
from web3scale.consensus.replicas import Network
from web3scale.errors import DomainError


def world(replicas):
    place = np.arange(replicas) % 6
    return region_delays()[np.ix_(place, place)]


def without_own(square):
    square[:, np.eye(square.shape[1], dtype=bool)] = 0
    return square


def event_by_event(replicas, delays, make=pbft.Replica):
    """When each replica executes the first block, counted from the proposal."""
    network = Network(
        [make(members(replicas), key) for key in keys(replicas)],
        seed=1,
        delays=lambda sender, receiver, kind: 0.0 if sender < 0 else delays(sender, receiver, kind),
        patience=1e6,
    )
    network.submit(request(1))
    assert network.run()
    times = {place: time for time, place, height in network.executed if height == 1}
    return np.array([times[place] for place in range(replicas)])


def test_the_measured_delays():
    # SimBlock's table of 2019, in milliseconds
    table = np.rint(region_delays() * 1000).astype(int).tolist()
    assert table[0] == [32, 124, 184, 198, 151, 189]
    assert table[3] == [198, 237, 325, 85, 58, 198]
    assert [table[at][at] for at in range(6)] == [32, 11, 88, 85, 12, 16]
    assert np.array_equal(region_delays(), region_delays().T)
    assert len(REGIONS) == 6


def test_drawn_delays_have_the_measured_means_and_their_distribution():
    from scipy import stats

    drawn = draw_delays([0.032, 0.124], 100_000, rng=np.random.default_rng(1))
    for column, mean in enumerate((0.032, 0.124)):
        sample, shape = drawn[:, column], 200 * mean
        assert sample.min() >= mean - 0.005
        assert abs(sample.mean() - mean) < 4 * sample.std() / len(sample) ** 0.5
        assert stats.kstest(sample, stats.pareto(shape, scale=mean - 0.005).cdf).pvalue > 0.01


@pytest.mark.parametrize("wild", [False, True])
@pytest.mark.parametrize("replicas", [4, 5, 7, 10])
def test_pbft_in_arrays_is_pbft_event_by_event(replicas, wild):
    """The same delays give the same times, but for rounding; wild ones differ so much that votes overtake proposals."""
    rng = np.random.default_rng(replicas)
    first, prepare, commit = (
        without_own(rng.exponential(size=(20, replicas, replicas)) ** 4 if wild else draw_delays(means, 20, rng=rng))
        for means in 3 * [world(replicas)]
    )
    fast = pbft_decided(first[:, 0], prepare, commit)
    for at in range(20):
        of = {"pre-prepare": first[at], "prepare": prepare[at], "commit": commit[at]}
        slow = event_by_event(replicas, lambda sender, receiver, kind, of=of: of[kind][sender, receiver])
        np.testing.assert_allclose(slow, fast[at], rtol=1e-12)


@pytest.mark.parametrize("replicas", [4, 7])
def test_hotstuff_in_arrays_is_hotstuff_event_by_event(replicas):
    """Delays of 1 to 1.5 s, so that no message overtakes another. Replica 1 leads view 1, so places are turned."""
    rng = np.random.default_rng(replicas)
    forth, back = rng.uniform(1, 1.5, (10, 4, replicas)), rng.uniform(1, 1.5, (10, 3, replicas))
    forth[:, :, 0] = back[:, :, 0] = 0
    fast = hotstuff_decided(forth, back)
    for at in range(10):
        sent = {}

        def delay(sender, receiver, kind, at=at, sent=sent):
            if kind == "new-view":
                return 1.0
            if sender == 1:
                number = sent[receiver] = sent.get(receiver, -1) + 1
                return forth[at, number, (receiver - 1) % replicas]
            number = ("prepare", "pre-commit", "commit").index(kind)
            return back[at, number, (sender - 1) % replicas]

        def make(group, key):
            return hotstuff.Replica(group, key, chained=False)

        slow = event_by_event(replicas, delay, make=make)
        np.testing.assert_allclose(np.roll(slow, -1), fast[at], rtol=1e-12)


def test_the_two_distributions_agree():
    """Independent draws at n = 7: 300 rounds event by event, 3 000 in arrays."""
    from scipy import stats

    means, rng = world(7), np.random.default_rng(2)

    def delay(sender, receiver, kind):
        return float(draw_delays(means[sender, receiver], 1, rng=rng)[0])

    slow = np.array([event_by_event(7, delay) for _ in range(300)])
    fast = simulate_latency(means, 3000, seed=3)
    for place in (0, 3, 6):
        assert stats.ks_2samp(slow[:, place], fast[:, place]).pvalue > 0.01
    assert stats.ks_2samp(slow[:, 0], 1.02 * fast[:, 0]).pvalue < 0.01  # two percent would be seen


def test_at_100_replicas_arrays_are_100_times_faster():
    """By the processor's time; 1 000 times and more were seen, so that no busy machine fails this."""
    means, rng = world(100), np.random.default_rng(1)
    drawn = draw_delays(means, 1, rng=rng)[0]
    start = process_time()
    slow = event_by_event(100, lambda sender, receiver, kind: drawn[sender, receiver])
    one_round = process_time() - start
    start = process_time()
    fast = simulate_latency(means, 1000, seed=1)
    many = process_time() - start
    assert fast.shape == (1000, 100)
    assert many / 1000 < one_round / 100
    assert fast.min() < np.median(slow) < fast.max()


def test_rounds_are_those_of_the_seed_and_more_replicas_see_no_more_delay():
    small, again = simulate_latency(world(12), 500, seed=1), simulate_latency(world(12), 500, seed=1)
    assert np.array_equal(small, again)
    # the quorum's share, not its size, sets the time: at 12 and at 96 replicas over six regions it is alike
    assert np.median(simulate_latency(world(96), 200, seed=1)) == pytest.approx(np.median(small), rel=0.15)
    assert np.median(simulate_latency(world(12), 500, hotstuff=True, seed=1)) > 1.5 * np.median(small)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: simulate_latency([[0.1, 0.1]], 10, seed=1),
        lambda: simulate_latency([0.1], 10, seed=1),
        lambda: simulate_latency(np.full((4, 4), 0.004), 10, seed=1),
        lambda: simulate_latency(np.full((4, 4), 0.1), 0, seed=1),
        lambda: pbft_decided(np.ones((2, 4)), np.ones((2, 4, 4)), np.ones((1, 4, 4))),
        lambda: pbft_decided(np.ones(4), np.ones((1, 4, 4)), np.ones((1, 4, 4))),
        lambda: hotstuff_decided(np.ones((1, 3, 4)), np.ones((1, 3, 4))),
        lambda: draw_delays(np.full((1000, 1000), 0.1), 100, rng=np.random.default_rng(1)),
    ],
)
def test_shapes_are_checked(wrong):
    with pytest.raises(DomainError):
        wrong()
