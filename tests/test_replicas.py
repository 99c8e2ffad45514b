"""The simulated network, and the protocols in it: thousands of random schedules, and the attack that needs too many."""

import pytest
from schedules import conspiracy, executed, faults_of, group, request, schedule

from web3scale.consensus.replicas import Network, kind_of
from web3scale.consensus.votes import Said, Vote
from web3scale.errors import DomainError

PROTOCOLS = ["pbft", "basic", "chained"]
SEEDS = {4: 540, 7: 130}  # 2 010 schedules in all


@pytest.mark.parametrize("replicas", SEEDS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_honest_replicas_agree_and_execute_every_request(protocol, replicas):
    """Up to f Byzantine ones; the network delays, reorders, repeats, loses, parts, and then heals."""
    faults = {seed: faults_of(schedule(protocol, replicas, seed)) for seed in range(SEEDS[replicas])}
    assert {seed: found for seed, found in faults.items() if found} == {}


@pytest.mark.parametrize("replicas", [5, 6, 10])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_sizes_that_are_not_3f_plus_1_and_many_requests(protocol, replicas):
    faults = {seed: faults_of(schedule(protocol, replicas, seed, 8), 8) for seed in range(12)}
    assert {seed: found for seed, found in faults.items() if found} == {}


@pytest.mark.parametrize(("replicas", "conspirators"), [(4, (0, 1)), (7, (0, 1, 2))])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_byzantine_replica_too_many_breaks_agreement(protocol, replicas, conspirators):
    """With f + 1 equivocating ones, each half of a parted network decides another block; with f, none does."""
    network = conspiracy(protocol, replicas, conspirators)
    network.run(4000)
    assert not network.agreed
    first, *_, last = network.honest
    assert first.blocks[0] != last.blocks[0]
    for few in (conspirators[:-1], conspirators[1:]):
        network = conspiracy(protocol, replicas, few)
        assert network.run(40_000)
        assert network.agreed
        assert all(sorted(executed(replica)) == [1, 2] for replica in network.honest)


def test_random_schedules_find_the_violation_too():
    """Without a plan for the requests: two of four replicas equivocate, and some schedules end in two histories."""
    for protocol in PROTOCOLS:
        found = 0
        for seed in range(20):
            second = (3,) if seed % 2 else (2,)
            network = Network(
                group(protocol, 4), seed=seed, equivocating=(0, 1), second_side=second, parted=True, heals_at=2000.0
            )
            for number in (1, 2, 3):
                network.submit(request(number))
            network.run(3000)
            found += not network.agreed
        assert found > 0, protocol


def run(**options):
    network = Network(group("pbft", 4), **{"seed": 1} | options)
    network.submit(request(1))
    assert network.run(10_000)
    return network


def test_a_seed_gives_a_run():
    first, again, other = (run(seed=seed, loss=0.2, heals_at=50.0) for seed in (1, 1, 2))
    assert first.sent == again.sent != other.sent


def test_the_trace_says_when_who_and_what():
    network = run(delays=lambda *_: 1.0)
    assert [(sent.time_s, sent.arrival_s, sent.sender, sent.receiver, sent.kind) for sent in network.sent[:4]] == [
        (1, 2, 0, 1, "pre-prepare"),
        (1, 2, 0, 2, "pre-prepare"),
        (1, 2, 0, 3, "pre-prepare"),
        (2, 3, 1, 0, "prepare"),
    ]
    assert {*network.executed} == {(4, place, 1) for place in range(4)}


def test_nothing_passes_a_parted_network_until_it_heals():
    network = run(second_side=(2, 3), parted=True, heals_at=100.0)
    crossing = [sent for sent in network.sent if (sent.sender in (2, 3)) != (sent.receiver in (2, 3))]
    assert {sent.arrival_s is None for sent in crossing if sent.time_s < 100} == {True}
    assert {sent.arrival_s is None for sent in crossing if sent.time_s >= 100} == {False}
    assert min(time for time, *_ in network.executed) > 100


def test_delays_are_bounded_once_the_network_has_healed():
    network = run(heals_at=30.0, loss=0.3, delay_bound=0.5)
    for sent in network.sent:
        if sent.arrival_s is not None:
            assert sent.arrival_s <= max(sent.time_s, 30) + 0.5
    assert any(sent.arrival_s is None for sent in network.sent)
    assert all(sent.arrival_s for sent in network.sent if sent.time_s >= 30)


def test_messages_are_reordered():
    arrivals = [sent.arrival_s for sent in run().sent]
    assert arrivals != sorted(arrivals)


def test_an_equivocating_replica_tells_each_side_another_story():
    network = Network(group("pbft", 4), seed=1, equivocating=(0,), second_side=(2, 3))
    network.submit(request(1), side=0)
    network.submit(request(2), side=1)
    network.run(60)
    told = {}
    for sent in network.sent:
        if sent.kind == "pre-prepare" and sent.sender == 0:
            told.setdefault(sent.message.votes.body.height, {})[sent.receiver] = sent.message.votes.body.block
    assert told[1][2] == told[1][3] != told[1][1]


def test_kinds():
    assert kind_of(request(1)) == "message"
    assert kind_of(Said(Vote("checkpoint", 0, 2, b""), (0,), ())) == "checkpoint"


@pytest.mark.parametrize(
    "wrong", [{"seed": -1}, {"loss": 1.0}, {"delay_bound": 0}, {"heals_at": -1}, {"silent": 3}, {"patience": None}]
)
def test_a_network_is_well_described(wrong):
    with pytest.raises(DomainError):
        Network(group("pbft", 4), **{"seed": 1} | wrong)
