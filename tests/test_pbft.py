"""PBFT: counts, checkpoints, view changes, and what a replica refuses without a word."""

from dataclasses import replace

import numpy as np
import pytest
from schedules import CHAIN, executed, forged, group, keys, members, request, state_of

from web3scale.consensus import pbft
from web3scale.consensus.pbft import COMMIT, PREPARE, START, Backed, Block, NewView, Replica, ViewChange
from web3scale.consensus.quorums import pbft_messages
from web3scale.consensus.replicas import Network
from web3scale.consensus.votes import Member, Said, Statement, Vote, sign_request
from web3scale.crypto import example_key
from web3scale.errors import DomainError
from web3scale.message import digest, signed


def say(place, body, replicas=4):
    return Member(members(replicas), keys(replicas)[place]).sign(body)


def pre_prepare(place, view, height, *requests):
    block = Block(tuple(requests))
    return Backed(block, say(place, Vote(PREPARE, view, height, digest(block))))


@pytest.mark.parametrize("n", [4, 5, 6, 7, 10, 16, 31, 100, 103])
def test_a_decision_costs_what_the_formula_says(n):
    network = Network([Replica(members(n), key) for key in keys(n)], seed=n)
    network.submit(request(1))
    assert network.run()
    assert network.agreed
    assert network.messages == {"pre-prepare": n - 1, "prepare": (n - 1) ** 2, "commit": n * (n - 1)}
    assert network.messages.total() == pbft_messages(n)
    assert all(executed(replica) == [1] for replica in network.honest)


def test_a_silent_primary_is_replaced():
    network = Network(group("pbft", 4), silent=(0,), seed=1)
    network.submit(request(1))
    assert network.run()
    assert [replica.view for replica in network.honest] == [1, 1, 1]
    assert all(executed(replica) == [1] for replica in network.honest)
    assert network.messages["view-change"] == 9
    assert network.messages["new-view"] == 3


def test_too_many_silent_replicas_stop_all_and_break_nothing():
    network = Network(group("pbft", 4), silent=(2, 3), seed=1)
    network.submit(request(1))
    assert not network.run(2000)
    assert network.agreed
    assert all(replica.blocks == [] for replica in network.honest)


def test_what_was_decided_survives_the_view():
    """One replica decides in view 0; the others learn nothing of the commits, change the view, and decide the same."""
    replicas = [Replica(members(4), key) for key in keys(4)]
    wire = [(0, at, message) for at, message in replicas[0].receive(request(1))]
    for replica in replicas[1:]:
        replica.receive(request(1))
    while wire:
        _, receiver, message = wire.pop(0)
        if getattr(getattr(message, "body", None), "phase", "") == COMMIT and receiver != 3:
            continue
        wire += [(receiver, at, each) for at, each in replicas[receiver].receive(message)]
    assert [len(replica.blocks) for replica in replicas] == [0, 0, 0, 1]
    block = replicas[3].blocks[0]
    # replica 3 falls silent; a Byzantine new primary, 1, would have to show what 0 and 2 have prepared
    wire = [(place, at, each) for place in (0, 1, 2) for at, each in replicas[place].timeout() if at != 3]
    while wire:
        _, receiver, message = wire.pop(0)
        wire += [(receiver, at, each) for at, each in replicas[receiver].receive(message) if at != 3]
    assert [replica.view for replica in replicas] == [1, 1, 1, 0]
    assert all(replica.blocks == [block] for replica in replicas)


def test_checkpoints_forget_and_watermarks_move():
    network = Network([Replica(members(4), key, interval=2) for key in keys(4)], seed=1)
    for number in range(1, 12):
        network.submit(request(number))
        assert network.run()
    for replica in network.honest:
        assert len(replica.blocks) == 11
        assert (replica.low, replica.high) == (10, 14)
        assert min([*replica.proposed, *replica.prepared, *(height for _, height in replica.votes)]) > replica.low
        assert members(4).holds(replica.stable, Vote, 3)
    assert len({replica.member.state for replica in network.honest}) == 1
    assert network.messages["checkpoint"] == 5 * 12


def test_lost_checkpoints_do_not_stop_the_chain():
    """All checkpoint votes are lost at first, until the window is full."""
    network = Network([Replica(members(4), key, interval=1) for key in keys(4)], seed=1)
    carry, lossy = network._carry, [True]

    def lose(sender, station, kind, *rest):
        return None if lossy[0] and kind == "checkpoint" else carry(sender, station, kind, *rest)

    network._carry = lose
    for number in (1, 2):
        network.submit(request(number))
        assert network.run(20_000)
    assert {(replica.low, replica.high) for replica in network.honest} == {(0, 2)}
    lossy[0] = False
    network.submit(request(3))
    assert network.run(20_000)
    assert all(executed(replica) == [1, 2, 3] for replica in network.honest)


def test_a_replica_that_missed_everything_catches_up():
    network = Network(group("pbft", 4), seed=3, second_side=(3,), parted=True, heals_at=3000.0)
    for number in range(1, 8):
        network.submit(request(number))
        network.run(100)
    assert len(network.honest[0].blocks) > 0 == len(network.honest[3].blocks)
    assert network.run()
    assert network.agreed
    assert all(sorted(executed(replica)) == [*range(1, 8)] for replica in network.honest)


def test_an_equivocating_primary_gets_one_vote():
    backup = Replica(members(4), keys(4)[1])
    first, second = (pre_prepare(0, 0, 1, request(number)) for number in (1, 2))
    votes = [message.body.block for _, message in backup.receive(first) + backup.receive(second)]
    assert {*votes} == {first.votes.body.block}


def bad_messages():
    """Proposals, votes and view changes that no honest replica sends, for replica 1 in view 0."""
    good = pre_prepare(0, 0, 1, request(1))
    vote = good.votes.body
    stolen = signed(request(9).body, example_key("Mallory"))
    elsewhere = sign_request(example_key("client"), "other", 1, b"pay")
    block = Block((request(1),))
    prepared = [say(at, Vote(PREPARE, 0, 1, digest(block))) for at in range(4)]
    two = Said(vote, (0, 2), tuple(s.signatures[0] for s in (prepared[0], prepared[2])))
    return {
        "not the primary": pre_prepare(2, 0, 1, request(1)),
        "an empty block": pre_prepare(0, 0, 1),
        "above the high watermark, out of sight": pre_prepare(0, 0, 61, request(1)),
        "height 0": pre_prepare(0, 0, 0, request(1)),
        "another block than voted for": replace(good, block=Block((request(2),))),
        "a request nobody signed": pre_prepare(0, 0, 1, stolen),
        "a request of another chain": pre_prepare(0, 0, 1, elsewhere),
        "the primary's name, another's signature": replace(good, votes=replace(good.votes, signatures=(b"x" * 64,))),
        "no signature": replace(good, votes=replace(good.votes, replicas=(), signatures=())),
        "two signatures": replace(good, votes=two),
        "a decision without a quorum": replace(good, votes=say(0, replace(vote, phase=COMMIT))),
        "prepares instead of commits": Backed(block, Said(vote, (0, 2, 3), (b"", b"", b""))),
        "an unknown phase": say(2, replace(vote, phase="decide")),
        "a forged vote": replace(say(2, vote), replicas=(3,)),
        "a vote of nobody": replace(say(2, vote), replicas=(7,)),
        "its own vote, echoed": say(1, vote),
        "a statement": signed(Statement(CHAIN, vote), keys(4)[2]),
        "a stable checkpoint without votes": say(2, ViewChange(1, 0, Said(Vote("checkpoint", 0, 4, b"x"), (), ()), ())),
        "a prepared block without votes": say(2, ViewChange(1, 0, START, (replace(good, votes=prepared[0]),))),
        "prepared in the view that is wanted": say(2, ViewChange(0, 0, START, (good,))),
        "a new view that nobody wants": say(1 + 2, NewView(3, (), ())),
        "a new view of another's": say(2, NewView(1, (), ())),
        "garbage": "garbage",
        "half a message": object.__new__(Said),
        "half a block": object.__new__(Backed),
    }


@pytest.mark.parametrize(("why", "message"), bad_messages().items())
def test_a_bad_message_changes_nothing(why, message):
    replica = Replica(members(4), keys(4)[1])
    before = state_of(replica)
    assert replica.receive(message) == []
    assert state_of(replica) == before


def new_view_of_a_run():
    """A new view that repeats blocks: all are prepared in view 0, and no commit arrives."""
    replicas = [Replica(members(4), key) for key in keys(4)]
    wire = [(at, m) for number in (1, 2) for at, m in replicas[0].receive(request(number))]
    for replica in replicas[1:]:
        for number in (1, 2):
            replica.receive(request(number))
    while wire:
        receiver, message = wire.pop(0)
        if getattr(getattr(message, "body", None), "phase", "") != COMMIT:
            wire += replicas[receiver].receive(message)
    wire = [send for place in (0, 2, 3) for send in replicas[place].timeout()]
    for receiver, message in wire:
        for _, answer in replicas[receiver].receive(message):
            if type(getattr(answer, "body", None)) is NewView:
                return answer
    raise LookupError


def test_a_new_view_repeats_what_was_prepared_last():
    """At height 3 in views 0 and 2, at height 5 in view 1, above a stable height 1: 4 has nothing, 2 neither."""

    def change(place, stable, *prepared):
        checkpoint = Said(Vote("checkpoint", 0, stable, b"state"), (), ())
        blocks = tuple(
            Backed(Block((request(number),)), Said(Vote(PREPARE, view, height, b""), (), ()))
            for view, height, number in prepared
        )
        return say(place, ViewChange(3, 0, checkpoint, blocks))

    changes = [change(0, 1, (2, 3, 23)), change(1, 0, (0, 1, 1), (0, 3, 3)), change(2, 1, (1, 5, 15))]
    for order in (changes, changes[::-1]):
        repeated = pbft._repeated(order)
        assert [height for height, _ in repeated] == [2, 3, 4, 5]
        assert [[r.body.number for r in block.requests] for _, block in repeated] == [[], [23], [], [15]]
    assert pbft._repeated([change(0, 4), change(1, 2)]) == []


def test_a_new_view_refuses_a_change_that_lies():
    """A Byzantine member calls its own block prepared, and the Byzantine primary follows it."""
    good = new_view_of_a_run().body
    block = Block((request(8),))
    fake = Backed(block, say(3, Vote(PREPARE, 0, 2, digest(block))))
    lie = say(3, ViewChange(1, 0, START, (fake,)))
    changes = (*[change for change in good.changes if change.replicas != (3,)][:2], lie)
    votes = [Vote(PREPARE, 1, height, digest(each)) for height, each in pbft._repeated(changes)]
    replica = Replica(members(4), keys(4)[2])
    before = state_of(replica)
    assert replica.receive(say(1, NewView(1, changes, tuple(say(1, vote) for vote in votes)))) == []
    assert replica.receive(lie) == []
    assert state_of(replica) == before


def test_a_new_view_is_proven_or_refused():
    good = new_view_of_a_run()
    assert [vote.body.height for vote in good.body.votes] == [1, 2]
    accepted = Replica(members(4), keys(4)[2])
    assert accepted.receive(good)
    assert accepted.view == 1
    body, other = good.body, Block((request(3),))
    lie = say(1, Vote(PREPARE, 1, 1, digest(other)))
    bad = {
        "a change less": replace(body, changes=body.changes[1:]),
        "one change twice": replace(body, changes=(*body.changes[1:], body.changes[1])),
        "a block left out": replace(body, votes=body.votes[1:]),
        "another block": replace(body, votes=(lie, *body.votes[1:])),
        "votes of another": replace(body, votes=tuple(say(3, vote.body) for vote in body.votes)),
        "another phase": replace(body, votes=tuple(say(1, replace(v.body, phase=COMMIT)) for v in body.votes)),
        "another view": replace(body, view=5),
        "a change that hides a block": replace(
            body, changes=(*body.changes[:2], replace(body.changes[2], body=ViewChange(1, 0, START, ())))
        ),
    }
    for why, each in bad.items():
        replica = Replica(members(4), keys(4)[2])
        before = state_of(replica)
        assert replica.receive(say(1, each)) == [], why
        assert state_of(replica) == before, why
    replica = Replica(members(4), keys(4)[2])
    assert replica.receive(say(3, body)) == []  # the primary of view 1 must say it
    replica.receive(good)
    before = state_of(replica)
    assert replica.receive(good) == []
    assert state_of(replica) == before


def test_one_changed_field_anywhere_never_decides_anything():
    """Two thousand forgeries of a run's messages: none raises, none executes a block."""
    network = Network(group("pbft", 4), silent=(0,), seed=1)
    for number in (1, 2, 3):
        network.submit(request(number))
    assert network.run()
    sent, rng = [each.message for each in network.sent], np.random.default_rng(1)
    for _ in range(40):
        replica = Replica(members(4), keys(4)[2], interval=2)
        for _ in range(50):
            replica.receive(forged(sent[rng.integers(len(sent))], keys(4)[0], 0, rng))
        assert [block for block in replica.blocks if block not in network.honest[0].blocks] == []


def test_members_that_flood_fill_no_memory():
    replica, rng = Replica(members(4), keys(4)[1], interval=2), np.random.default_rng(1)
    for number in range(1500):
        view, height = int(rng.integers(2**40)), int(rng.integers(1, 12))
        kind = ("prepare", "commit", "checkpoint")[number % 3]
        replica.receive(say(2 + number % 2, Vote(kind, view * (number % 5 > 1), height, bytes([number % 256]))))
        if number % 10 == 0:
            replica.receive(pre_prepare(int(view % 4), view, height, request(number)))
            replica.receive(say(2, ViewChange(view + 1, 0, START, ())))
    kept = (replica.decided, replica.prepared, replica.proposed, replica.votes, replica.checkpoints, replica.changes)
    window, phases, others = 4 * replica.interval, 3, 3
    assert sum(map(len, kept)) <= 5 * window
    assert len(replica._early) <= phases * window * others


def test_a_replica_has_a_key_and_an_interval():
    for interval in (0, -1, 2.0, None):
        with pytest.raises(DomainError):
            Replica(members(4), keys(4)[0], interval=interval)
    with pytest.raises(DomainError):
        Replica(members(4), example_key("stranger"))
    assert pbft.Replica(members(4), keys(4)[0]).timeout() == []
