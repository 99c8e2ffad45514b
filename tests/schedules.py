"""Random schedules for the protocols of chapter 4: networks, Byzantine replicas, and an attack that needs too many."""

from functools import cache

import numpy as np

import web3scale.message as messages
from web3scale.consensus import hotstuff, pbft
from web3scale.consensus.replicas import FORGING, REPLAYING, SILENT, TWO_FACED, Byzantine, Network
from web3scale.consensus.votes import Members, sign_request
from web3scale.crypto import example_key, public_key

CHAIN = "main"
CLIENT = example_key("client")
BEHAVIOURS = [SILENT, TWO_FACED, REPLAYING, FORGING]
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


def honest(protocol, replicas, at):
    return PROTOCOLS[protocol](members(replicas), keys(replicas)[at])


def remember_signatures(monkeypatch):
    """Check each signature once: many replicas receive the same message object."""
    check, seen = messages.Signed.holds, {}

    def holds(self, kind, signers):
        key = id(self), kind, tuple(signers)
        if key not in seen:
            seen[key] = self, check(self, kind, signers)  # keeps the message, so that its id stays its own
        return seen[key][1]

    monkeypatch.setattr(messages.Signed, "holds", holds)
    return seen


def group(protocol, replicas, bad, seed):
    """Replicas of which those in `bad`, a dict from place to behaviour, are Byzantine; two-faced ones conspire."""
    rng, plot = np.random.default_rng(seed), {}
    good = [at for at in range(replicas) if at not in bad]
    rng.shuffle(good)
    half = len(good) // 2
    sides = tuple(map(int, good[:half])), tuple(map(int, good[half:]))
    found = []
    for at in range(replicas):
        if at in bad:
            faces = [honest(protocol, replicas, at) for _ in range(1 + (bad[at] == TWO_FACED))]
            options = {"sides": sides, "plot": plot} if bad[at] == TWO_FACED else {}
            found.append(Byzantine(bad[at], keys(replicas)[at], faces, seed=seed + at, **options))
        else:
            found.append(honest(protocol, replicas, at))
    return found, sides


def schedule(protocol, replicas, seed, requests=3):
    """A network with f Byzantine replicas of mixed kinds that delays, loses, repeats, parts, and heals."""
    rng = np.random.default_rng(seed)
    faults = (replicas - 1) // 3
    bad = {int(at): BEHAVIOURS[rng.integers(4)] for at in rng.choice(replicas, faults, replace=False)}
    found, sides = group(protocol, replicas, bad, seed)
    network = Network(
        found,
        seed=seed,
        heals_at=float(rng.choice([0, 5, 60, 200])),
        loss=float(rng.choice([0, 0.1, 0.4])),
        repeat=float(rng.choice([0, 0.2])),
        partition=sides if rng.random() < 0.3 else (),
    )
    for number in range(1, requests + 1):
        network.submit(request(number))
    return network, bad


def executed(replica):
    """The client's requests that a replica has executed, in order, the first time each."""
    return [r.body.number for block in replica.blocks for r in block.requests if r.body.client == public_key(CLIENT)]
