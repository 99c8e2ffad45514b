"""Random schedules for the protocols of chapter 4: networks, Byzantine replicas, forged messages."""

from copy import deepcopy
from dataclasses import replace
from functools import cache

import numpy as np

from web3scale.consensus import hotstuff, pbft
from web3scale.consensus.replicas import Network
from web3scale.consensus.votes import Members, Said, Statement, sign_request
from web3scale.crypto import example_key, public_key
from web3scale.message import Signed, signed

CHAIN = "main"
CLIENT = example_key("client")
PROTOCOLS = {
    "pbft": lambda members, key: pbft.Replica(members, key, interval=2),
    "basic": lambda members, key: hotstuff.Replica(members, key, chained=False),
    "chained": lambda members, key: hotstuff.Replica(members, key, chained=True),
}


@cache
def keys(replicas):
    return [example_key(f"replica {at}") for at in range(replicas)]


@cache
def members(replicas):
    return Members(CHAIN, tuple(map(public_key, keys(replicas))))


@cache
def request(number):
    return sign_request(CLIENT, CHAIN, number, b"pay")


def group(protocol, replicas):
    return [PROTOCOLS[protocol](members(replicas), key) for key in keys(replicas)]


def executed(replica):
    """The numbers of the requests that a replica has executed, in order, the first time each."""
    return list(dict.fromkeys(r.body.number for block in replica.blocks for r in block.requests))


def fields(thing):
    """Every message inside a message, with a function that puts another in its place."""
    if hasattr(type(thing), "__dataclass_fields__"):
        yield thing, lambda new: new
        for name, value in vars(thing).items():
            for inner, put in fields(value):
                yield inner, lambda new, put=put, name=name: replace(thing, **{name: put(new)})
    elif type(thing) is tuple:
        for at, value in enumerate(thing):
            for inner, put in fields(value):
                yield inner, lambda new, put=put, at=at: (*thing[:at], put(new), *thing[at + 1 :])


def forged(message, key, place, rng):
    """Change one field, somewhere inside a message; sign it again, or do not."""
    found = list(fields(message))
    inner, put = found[rng.integers(len(found))]
    name = list(vars(inner))[rng.integers(len(vars(inner)))]
    old = getattr(inner, name)
    if type(old) is int:
        new = int(rng.choice([0, 1, max(old - 1, 0), old + 1, 2 * old + 3, 2**40]))
    elif type(old) is bytes:
        new = rng.bytes(len(old))
    elif type(old) is str:
        new = str(rng.choice(["prepare", "commit", "checkpoint", "pre-commit", "generic", "", "other"]))
    elif type(old) is tuple:
        new = [(), old * 2, old[::-1], old[1:]][rng.integers(4)]
    else:
        return message
    changed = put(replace(inner, **{name: new}))
    if type(changed) is Said and rng.random() < 0.7:
        return Said(changed.body, (place,), signed(Statement(CHAIN, changed.body), key).signatures)
    if type(changed) is pbft.Backed and rng.random() < 0.7:
        mark = signed(Statement(CHAIN, changed.votes.body), key).signatures
        return replace(changed, votes=Said(changed.votes.body, (place,), mark))
    return changed


def forge(replica, seed, most=60):
    """Let a replica add forged messages to what it sends: its mischief ends, so that a run can become quiet."""
    rng, receive, left, key = np.random.default_rng(seed), replica.receive, [most], replica.member._key
    place, replicas = replica.member.index, len(replica.members.keys)

    def mischief(message):
        sends = receive(message)
        source = [message, *(m for _, m in sends)]
        if left[0] and rng.random() < 0.5 and type(message) is not Signed:
            left[0] -= 1
            lie = forged(source[rng.integers(len(source))], key, place, rng)
            sends = [*sends, *((at, lie) for at in range(replicas) if at != place)]
        return sends

    replica.receive = mischief


def schedule(protocol, replicas, seed, requests=3):
    """A network with f Byzantine replicas of mixed kinds that delays, loses, repeats, parts, and heals."""
    rng = np.random.default_rng(seed)
    found, faults = group(protocol, replicas), (replicas - 1) // 3
    kinds = {"silent": [], "replaying": [], "equivocating": []}
    for place in map(int, rng.choice(replicas, faults, replace=False)):
        kind = str(rng.choice([*kinds, "forging"]))
        kinds["replaying" if kind == "forging" else kind].append(place)
        if kind == "forging":
            forge(found[place], seed)
    network = Network(
        found,
        seed=seed,
        **{kind: tuple(places) for kind, places in kinds.items()},
        second_side=tuple(map(int, rng.choice(replicas, replicas // 2, replace=False))),
        parted=bool(rng.random() < 0.3),
        heals_at=float(rng.choice([0, 5, 60, 200])),
        loss=float(rng.choice([0, 0.1, 0.4])),
        repeat=float(rng.choice([0, 0.2])),
    )
    for number in range(1, requests + 1):
        network.submit(request(number))
        if rng.random() < 0.7:
            network.run(int(rng.integers(200)))
    return network


def faults_of(network, requests=3):
    """What a run did wrong."""
    quiet = network.run(60_000)
    found = [] if network.agreed else ["different blocks at a height"]
    found += [] if quiet else ["not quiet"]
    done = [sorted(executed(replica)) for replica in network.honest]
    return found + [f"executed {each}" for each in done if each != list(range(1, requests + 1))]


def state_of(replica):
    """All that a replica knows, to compare."""
    kept = {name: value for name, value in vars(replica).items() if name not in ("member", "members", "_rules")}
    member = {name: value for name, value in vars(replica.member).items() if name not in ("members", "_key")}
    return deepcopy((kept, member))


def conspiracy(protocol, replicas, equivocating, seed=1):
    """A network in two halves, in which each half is asked for another request and hears another twin."""
    honest = [place for place in range(replicas) if place not in equivocating]
    network = Network(
        group(protocol, replicas),
        seed=seed,
        equivocating=equivocating,
        second_side=tuple(honest[len(honest) // 2 :]),
        parted=True,
        heals_at=5000.0,
    )
    network.submit(request(1), side=0)
    network.submit(request(2), side=1)
    return network
