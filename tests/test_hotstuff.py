"""HotStuff, basic and chained: counts, locks, view changes, and what a replica refuses without a word."""

from dataclasses import replace

import numpy as np
import pytest
from schedules import executed, forged, group, keys, members, request, state_of

from web3scale.consensus.hotstuff import (
    COMMIT,
    GENERIC,
    PRE_COMMIT,
    PREPARE,
    ROOT,
    Block,
    Certified,
    NewView,
    Proposal,
    Replica,
)
from web3scale.consensus.quorums import chained_messages, hotstuff_messages
from web3scale.consensus.replicas import Network
from web3scale.consensus.votes import Member, Said, Vote, certificate
from web3scale.crypto import example_key
from web3scale.errors import DomainError
from web3scale.message import digest, signed

SIZES = [4, 5, 6, 7, 10, 16, 31, 100, 103]


def say(place, body, replicas=4):
    return Member(members(replicas), keys(replicas)[place]).sign(body)


def certified(phase, block, *places):
    vote = Vote(phase, block.view, block.height, digest(block))
    return certificate([say(place, vote) for place in places or (0, 1, 2)])


def chain(phase, *views):
    """Blocks of these views, each the parent of the next, and the certificate of the last."""
    blocks, justify = [], ROOT
    for height, view in enumerate(views, 1):
        blocks.append(Block(view, height, justify, (request(height),)))
        justify = certified(phase, blocks[-1])
    return blocks, justify


def new(place, chained):
    return Replica(members(4), keys(4)[place], chained=chained)


@pytest.mark.parametrize("n", SIZES)
def test_a_view_of_basic_hotstuff_costs_what_the_formula_says(n):
    network = Network([Replica(members(n), key, chained=False) for key in keys(n)], delays=lambda *_: 1.0, seed=n)
    network.submit(request(1))
    assert network.run()
    assert network.agreed
    assert all(executed(replica) == [1] for replica in network.honest)
    told = network.messages
    assert told.pop("new-view") == n - 1
    phases = dict.fromkeys((PREPARE, PRE_COMMIT, COMMIT), n - 1)
    assert told == {"proposal": n - 1, "certificate": 3 * (n - 1)} | phases
    assert told.total() == hotstuff_messages(n)


@pytest.mark.parametrize("n", SIZES)
def test_a_view_of_chained_hotstuff_costs_what_the_formula_says(n):
    network = Network([Replica(members(n), key, chained=True) for key in keys(n)], delays=lambda *_: 1.0, seed=n)
    network.submit(request(1))
    assert network.run()
    assert all(executed(replica) == [1] for replica in network.honest)
    views = {sent.message.body.block.view for sent in network.sent if sent.kind == "proposal"}
    assert views == {1, 2, 3, 4}  # the fourth block carries the certificate that decides the first
    assert network.messages == {"proposal": 4 * (n - 1), "generic": 4 * (n - 1)}
    assert network.messages.total() == len(views) * chained_messages(n)


def test_under_load_each_view_of_chained_hotstuff_decides_a_block():
    network = Network(group("chained", 4), delays=lambda *_: 1.0, seed=1)
    for number in range(1, 40):
        network.submit(request(number))
        network.run(12)  # the messages of one view, and the request's
    assert network.run()
    blocks = network.honest[0].blocks
    assert [block.view for block in blocks] == [block.height for block in blocks]
    assert len([block for block in blocks if block.requests]) > 15


@pytest.mark.parametrize("protocol", ["basic", "chained"])
def test_a_silent_leader_is_passed_over(protocol):
    for place in range(4):
        network = Network(group(protocol, 4), silent=(place,), seed=1)
        network.submit(request(1))
        assert network.run()
        assert network.agreed
        assert all(executed(replica) == [1] for replica in network.honest)


@pytest.mark.parametrize("protocol", ["basic", "chained"])
def test_too_many_silent_replicas_stop_all_and_break_nothing(protocol):
    network = Network(group(protocol, 4), silent=(2, 3), seed=1)
    network.submit(request(1))
    assert not network.run(2000)
    assert all(replica.blocks == [] for replica in network.honest)


@pytest.mark.parametrize("protocol", ["basic", "chained"])
def test_a_replica_that_missed_everything_catches_up(protocol):
    network = Network(group(protocol, 4), seed=3, second_side=(3,), parted=True, heals_at=1e7)
    for number in range(1, 8):
        network.submit(request(number))
        network.run(100)
    assert len(network.honest[0].blocks) > 0 == len(network.honest[3].blocks)
    assert network.run()
    assert network.agreed
    assert all(sorted(executed(replica)) == [*range(1, 8)] for replica in network.honest)


def test_a_lock_holds_against_an_older_branch_and_yields_to_a_later_certificate():
    replica = new(3, chained=False)
    first = Block(1, 1, ROOT, (request(1),))
    replica.receive(say(1, Proposal(first, ())))
    for phase in (PREPARE, PRE_COMMIT):
        replica.receive(say(1, Certified((), certified(phase, first))))
    assert replica.locked == certified(PRE_COMMIT, first)
    replica.member._ask(request(9))
    replica.timeout()
    rival = Block(2, 1, ROOT, (request(2),))
    assert replica.view == 2
    assert replica.receive(say(2, Proposal(rival, ()))) == []  # it forgets a block that may be decided
    heir = Block(2, 2, certified(PREPARE, first), (request(2),))
    (vote,) = replica.receive(say(2, Proposal(heir, ())))
    assert vote[1].body.block == digest(heir)
    # others never locked: a quorum of view 2 certified the rival, so nothing can have been decided in view 1
    other = new(0, chained=False)
    other.receive(say(1, Proposal(first, ())))
    for phase in (PREPARE, PRE_COMMIT):
        other.receive(say(1, Certified((), certified(phase, first))))
    later = Block(3, 2, certified(PREPARE, rival), ())
    other.member._ask(request(9))
    for _ in range(2):
        other.timeout()
    assert digest(later) in {m.body.block for _, m in other.receive(say(3, Proposal(later, (rival,))))}


@pytest.mark.parametrize(("views", "decided"), [((1, 2, 3), 1), ((1, 2, 4), 0), ((1, 3, 4), 0), ((2, 3, 4, 5), 2)])
def test_three_certified_blocks_of_consecutive_views_decide(views, decided):
    blocks, top = chain(GENERIC, *views)
    replica = new(3, chained=True)
    replica.receive(say(0, Certified(tuple(blocks), top)))
    assert replica.blocks == blocks[:decided]
    assert replica.highest == top


@pytest.mark.parametrize("chained", [False, True])
def test_a_replica_votes_once_a_view(chained):
    replica = new(3, chained)
    first, second = (Block(1, 1, ROOT, (request(number),)) for number in (1, 2))
    votes = [m.body.block for block in (first, second) for _, m in replica.receive(say(1, Proposal(block, ())))]
    assert votes == [digest(first)]
    assert digest(second) not in replica.tree  # nor does it keep what it did not vote for


@pytest.mark.parametrize("chained", [False, True])
def test_a_block_justified_by_its_own_view_gets_no_vote(chained):
    good = Block(1, 1, ROOT, (request(1),))
    wrong = Block(1, 2, certified(GENERIC if chained else PREPARE, good), ())
    replica = new(3, chained)
    assert replica.receive(say(1, Proposal(wrong, (good,)))) == []
    assert replica.voted == {}  # though it learns the certificate, which is genuine


def bad_messages(chained):
    """What no honest replica sends, for replica 3 in view 1, whose leader is 1."""
    phase = GENERIC if chained else PREPARE
    good = Block(1, 1, ROOT, (request(1),))
    sure = certified(phase, good)
    vote = Vote(phase, 1, 1, digest(good))
    unsigned = signed(request(9).body, example_key("Mallory"))
    return {
        "not the leader": say(2, Proposal(good, ())),
        "another height": say(1, Proposal(replace(good, height=2), ())),
        "an unknown parent": say(1, Proposal(Block(1, 2, certified(phase, replace(good, view=0)), ()), ())),
        "a request nobody signed": say(1, Proposal(replace(good, requests=(unsigned,)), ())),
        "no quorum": say(1, Certified((good,), certified(phase, good, 0, 1))),
        "one vote three times": say(1, Certified((good,), certified(phase, good, 0, 0, 0))),
        "another phase": say(1, Certified((good,), certified(COMMIT if chained else GENERIC, good))),
        "another block": say(1, Certified((replace(good, requests=()),), sure)),
        "another root": say(1, Certified((), replace(ROOT, body=replace(ROOT.body, view=9)))),
        "a new view with a false certificate": say(
            2, NewView(2, 0, Certified((good,), replace(sure, replicas=(1, 2, 3))), ())
        ),
        "an unknown phase": say(2, replace(vote, phase="decide")),
        "a forged vote": replace(say(2, vote), replicas=(0,)),
        "its own vote, echoed": say(3, vote),
        "a quorum that speaks at once": certificate([say(at, vote) for at in (0, 1, 2)]),
        "garbage": "garbage",
        "half a message": object.__new__(Said),
    }


@pytest.mark.parametrize("chained", [False, True])
@pytest.mark.parametrize("why", bad_messages(True))
def test_a_bad_message_changes_nothing(why, chained):
    replica = new(3, chained)
    before = state_of(replica)
    assert replica.receive(bad_messages(chained)[why]) == []
    assert state_of(replica) == before


@pytest.mark.parametrize("protocol", ["basic", "chained"])
def test_one_changed_field_anywhere_never_decides_anything(protocol):
    network = Network(group(protocol, 4), silent=(1,), seed=1)
    for number in (1, 2, 3):
        network.submit(request(number))
    assert network.run()
    sent, rng = [each.message for each in network.sent], np.random.default_rng(1)
    for _ in range(20):
        replica = new(2, protocol == "chained")
        for _ in range(50):
            replica.receive(forged(sent[rng.integers(len(sent))], keys(4)[1], 1, rng))
        assert [block for block in replica.blocks if block not in network.honest[0].blocks] == []


@pytest.mark.parametrize("chained", [False, True])
def test_members_that_flood_fill_no_memory(chained):
    replica, rng = new(3, chained), np.random.default_rng(1)
    for number in range(600):
        view, place = int(rng.integers(1, 2**40)), number % 3
        leader = view % 4 if view % 4 != 3 else 0
        block = Block(view - view % 4 + leader, 1, ROOT, (request(number % 50),))
        replica.receive(say(leader, Proposal(block, ())))
        replica.receive(say(place, Vote(GENERIC if chained else PREPARE, view, 1, digest(block))))
        replica.receive(say(2, NewView(number, 0, Certified((block,) * 3, ROOT), ())))
        replica.receive(say(1, Proposal(Block(1, 1, ROOT, (request(number % 50),)), ())))
    kept = (replica.tree, replica.voted, replica.votes, replica.new_views, replica._early)
    assert sum(map(len, kept)) <= 20
    assert replica.view <= 2  # nor can one of them, alone, move it to a far view


def test_a_replica_is_one_of_the_members():
    with pytest.raises(DomainError):
        Replica(members(4), example_key("stranger"), chained=True)
    assert new(0, True).timeout() == []
