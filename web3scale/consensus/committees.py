"""Committees: a few validators drawn to decide for all. How they are drawn, and how often a draw gives them away.

A *validator* is a public key with a *stake*. A *committee* has *seats*; it *fails* once adversaries hold a certain
share of them: a third can stop a vote of two thirds, two thirds can win it. An *epoch* is the time for which a draw
holds; its *seed* is known to nobody before it begins. In *sortition* every unit of stake is a lot, so how many seats
there are is random; the *k smallest outputs* are exactly k seats, one for a validator. A *shard* has a committee of its
own.

Validators must have registered before the seed is known: otherwise a key could be sought that wins. An adversary may
withhold proofs, and choose between drawing and not drawing, but not among outputs.

Algorithm 4.1 of the book. Sources: Gilad et al. (2017), SOSP (Algorand); Kokoris-Kogias et al. (2018), IEEE S&P
(OmniLedger); Zamani, Movahedi and Raykova (2018), ACM CCS (RapidChain).
"""

from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any

import numpy as np

from web3scale import quantities as q
from web3scale.consensus.vrf import verify
from web3scale.crypto import encode, tagged_hash
from web3scale.errors import DomainError, require
from web3scale.quantities import Array, One, Positive, checked, finite, validated

MOST_SEATS, MOST_DRAWS = 10**4, 10**7
Seats = Annotated[int, q.Whole(1, MOST_SEATS)]
Validators = Annotated[int, q.Whole(1, 10**6)]
Epochs = Annotated[int, q.Whole(1, 10**9)]
Stake = Annotated[int, q.Whole(0, 10**30)]
Breaking = Annotated[Any, q.Quantity("1", low=0.001, high=1.0)]  # read as a fraction, its denominator 1000 at most
Draws = Annotated[int, q.Whole(1, MOST_DRAWS)]  # all runs together: more would fill the memory


# How they are drawn


@validated
def draw_message(chain: str, use: str, epoch: int, seed: bytes) -> bytes:
    """Return what validators prove in an epoch, for one use: what is proved for another chain or use does not count.

    >>> draw_message("main", "committee", 7, bytes(32)) == draw_message("main", "seed", 7, bytes(32))
    False
    """
    return tagged_hash("web3scale/draw", encode(chain, use, epoch, seed))


@validated
def next_seed(message: bytes, leader: bytes, proof: bytes) -> bytes:
    """Return the seed of the next epoch, which the leader's proof gives: it can be withheld, but not chosen.

    >>> from web3scale.consensus.vrf import prove
    >>> from web3scale.crypto import example_key, public_key
    >>> message, alice = draw_message("main", "seed", 7, bytes(32)), example_key("Alice")
    >>> len(next_seed(message, public_key(alice), prove(alice, message)))
    32
    """
    output = verify(leader, message, proof)
    require(output is not None, "seed: proof must be the leader's for this epoch", leader=leader)
    return tagged_hash("web3scale/seed", output)  # type: ignore[arg-type]


@validated
def elect(
    message: bytes, proofs: Mapping[bytes, bytes], committee_size: Seats, shards: Seats
) -> tuple[tuple[bytes, ...], ...]:
    """Return the committees of all shards: the k validators of each shard who have the smallest outputs.

    A validator's output says to which shard it belongs (output mod shards), so whoever withholds a proof moves nobody
    else to another shard; a shard whose validators are fewer than its seats is refused. With one shard, its committee
    has the validators with the k smallest outputs. `proofs` has the proofs of registered validators for this message,
    all of them that came in time: whoever could leave some out would choose. Who has sent no valid one draws no seat.

    >>> from web3scale.consensus.vrf import prove
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan", "Eve", "Fay", "Gus")]
    >>> proofs = {public_key(key): prove(key, b"epoch 7") for key in keys}
    >>> [len(committee) for committee in elect(b"epoch 7", proofs, 2, 2)]
    [2, 2]
    """
    drawn: list[list[tuple[bytes, bytes]]] = [[] for _ in range(shards)]
    for public, proof in proofs.items():
        if (found := verify(public, message, proof)) is not None:
            drawn[int.from_bytes(found, "big") % shards].append((found, public))
    fewest = min(map(len, drawn))
    require(fewest >= committee_size, "elect: valid proofs must fill the seats of each shard", fewest=fewest)
    return tuple(tuple(public for _, public in sorted(some)[:committee_size]) for some in drawn)


@validated
def sortition(
    output: bytes, stake: Stake, total_stake: Stake, expected_size: Annotated[int, q.Whole(1, 20_000)]
) -> int:
    """Return the seats that an output wins: Bin(w, τ/W)-distributed, for a stake of w lots out of W. Algorithm 4.1.

    The output, read as a number in [0, 1), is looked up in the distribution function. Two parts of a stake win
    together as many seats as the whole, in distribution. All is done in integers, so that nobody's computer rounds
    otherwise; the probabilities are exact to 2⁻⁵¹², the grain of the output.

    >>> from web3scale.consensus.vrf import output, prove
    >>> from web3scale.crypto import example_key
    >>> sortition(output(prove(example_key("Alice"), b"epoch 7")), 10**6, 10**8, 500)  # 5 on average
    3
    """
    if len(output) != 64 or stake > total_stake or 2 * expected_size > total_stake:
        raise DomainError("sortition: output must have 64 bytes, stake at most W lots, expected_size at most W/2")
    rest, bits = total_stake - expected_size, 768 + 2 * stake * expected_size // total_stake  # (1 - p)^w >= 2^(-2wp)
    chance, power, left = 1 << bits, (rest << bits) // total_stake, stake
    while left:  # chance becomes (1 - p)^w, the probability of no seat
        chance = chance * power >> bits if left & 1 else chance
        power, left = power * power >> bits, left >> 1
    drawn, below, seats = int.from_bytes(output, "big") << (bits - 512), chance, 0
    while drawn >= below and chance:
        chance = chance * (stake - seats) * expected_size // ((seats + 1) * rest)
        below, seats = below + chance, seats + bool(chance)
    return seats


# How often a draw gives them away


@validated
def failing_seats(committee_size: Validators, failing_share: One[Breaking]) -> int:
    """Return the seats with which adversaries break a committee of k: ⌈αk⌉, α read as a fraction.

    >>> failing_seats(100, 1 / 3), failing_seats(111, 2 / 3)
    (34, 74)
    """
    return int(_failing(committee_size, failing_share))


def _failing(sizes: Any, share: float) -> Any:
    exact = Fraction(share).limit_denominator(1000)
    return -(-sizes * exact.numerator // exact.denominator)


@validated
def sampled_failure(committee_size: Validators, adversary_share: q.Share, failing_share: One[Breaking]) -> q.Share:
    """Probability that a committee fails, each seat drawn by itself from the whole stake: P[Bin(k, β) ≥ ⌈αk⌉].

    To 12 digits, down to 10⁻³⁰⁰: the tail is summed, and not what it leaves of 1.

    >>> float(f"{sampled_failure(250, 0.25, 1 / 2):.2e}")  # Ethereum's sharding FAQ
    1.81e-17
    """
    from scipy.stats import binom

    found = binom.sf(_failing(committee_size, failing_share) - 1, committee_size, adversary_share)
    return finite("sampled_failure", found)


@validated
def drawn_failure(
    validators: Validators, adversaries: int, committee_size: Validators, failing_share: One[Breaking]
) -> float:
    """Probability that a committee fails, drawn without repetition from N validators with K adversaries among them.

    The hypergeometric tail, to 12 digits down to 10⁻³⁰⁰.

    >>> round(drawn_failure(1000, 250, 100, 1 / 3), 4), drawn_failure(1000, 250, 1000, 1 / 3)
    (0.0214, 0.0)
    """
    checked("drawn_failure", "adversaries", adversaries, Annotated[int, q.Whole(0, validators)])
    checked("drawn_failure", "committee_size", committee_size, Annotated[int, q.Whole(1, validators)])
    return float(_drawn(validators, adversaries, np.array([committee_size]), failing_share)[0])


def _drawn(validators: int, adversaries: int, sizes: Any, failing_share: float) -> Any:
    from scipy.stats import hypergeom

    return finite("drawn_failure", hypergeom.sf(_failing(sizes, failing_share) - 1, validators, adversaries, sizes))


@validated
def smallest_committee(
    adversary_share: One[q.Share],
    failing_share: One[Breaking],
    failure_target: One[q.PositiveShare],
    step: Seats,
) -> int:
    """Return the smallest multiple of a step whose `sampled_failure` is at most ε.

    Larger ones may fail again, since ⌈αk⌉ grows in jumps: the tail is a saw-tooth, whose teeth are avoided by a step
    of α's denominator.

    >>> [smallest_committee(1 / 3, 2 / 3, 2**-40, step) for step in (1, 3)]
    [107, 111]
    """
    from scipy.stats import binom

    sizes = np.arange(step, MOST_SEATS + 1, step)
    fits = binom.sf(_failing(sizes, failing_share) - 1, sizes, adversary_share) <= failure_target
    if not fits.any():
        raise DomainError(f"smallest_committee: failure_target must be reached by at most {MOST_SEATS} seats")
    return int(sizes[fits.argmax()])


@validated
def max_shards(
    validators: Validators,
    adversaries: int,
    failing_share: One[Breaking],
    failure_target: One[q.PositiveShare],
    epochs: Epochs,
) -> int:
    """Return the most shards into which N validators can be dealt so that all hold for so many epochs, but for ε.

    Each shard has ⌊N/m⌋ or ⌈N/m⌉ seats. The failure probabilities of all shards and epochs are added: the union bound.
    It is 0 if even one shard fails. As failure is a saw-tooth in the size, fewer shards may fail where more hold.

    >>> [max_shards(10_000, 2_500, 1 / 3, 1e-6, epochs) for epochs in (1, 10_000)]
    [13, 8]
    """
    checked("max_shards", "adversaries", adversaries, Annotated[int, q.Whole(0, validators)])
    shards = np.arange(1, validators + 1)
    size, larger = np.divmod(validators, shards)
    kinds = np.unique([size, np.minimum(size + 1, validators)])
    failure = dict(zip(kinds.tolist(), _drawn(validators, adversaries, kinds, failing_share).tolist(), strict=True))
    each, other = (np.array([failure[min(s, validators)] for s in sizes.tolist()]) for sizes in (size, size + 1))
    holds = epochs * ((shards - larger) * each + larger * other) <= failure_target
    return int(shards[holds].max(initial=0))


@validated
def sortition_failure(expected_size: Seats, votes: Seats, adversary_share: One[q.Share]) -> float:
    """Probability that a draw by sortition breaks a vote that needs more than a number of votes (Gilad et al. 2017).

    Of g honest and b adversarial seats, it takes g ≤ votes (the honest cannot decide) or g/2 + b > votes (two different
    decisions, if half of the honest see each); both are Poisson-distributed, as for many small stakes.

    >>> float(f"{sortition_failure(2000, 1370, 0.2):.2e}")  # 1370 = 0.685 · 2000; published: at most 5e-9
    4.21e-09
    """
    from scipy.stats import poisson

    honest, mean = (1 - adversary_share) * expected_size, adversary_share * expected_size
    bad = np.arange(votes + 1)
    split = poisson.sf(np.maximum(2 * (votes - bad), votes), honest)  # beyond what they need anyway
    fails = poisson.pmf(bad, mean) @ (poisson.cdf(votes, honest) + split) + poisson.sf(votes, mean)
    return float(min(finite("sortition_failure", fails), 1.0))


# The treatise's draw, and what a committee that stays costs


@validated
def truncated_inclusion(position: q.Count, selection: One[q.Share], committee_size: Seats) -> q.Share:
    """Probability that place i of a list is in, if each passes with p and the first k who pass are taken.

    p·P[Bin(i − 1, p) ≤ k − 1]: it has to pass, and fewer than k before it. So the front of the list is favoured.

    >>> truncated_inclusion([1, 1000], 0.2, 100).round(4)
    array([0.2, 0. ])
    """
    from scipy.stats import binom

    return finite("truncated_inclusion", selection * binom.cdf(committee_size - 1, np.asarray(position) - 1, selection))


@validated
def simulate_truncation(
    validators: Validators, selection: One[q.Share], committee_size: Seats, *, runs: Positive, rng: np.random.Generator
) -> Array:
    """Draw as the treatise does, and count how often each place of the list is in: shape (validators,).

    >>> share = simulate_truncation(1000, 0.2, 100, runs=100, rng=np.random.default_rng(1))
    >>> round(float(share[:250].sum() / share.sum()), 2)  # of the committee, from the first quarter of the list
    0.5
    """
    checked("simulate_truncation", "runs times validators", runs * validators, Draws)
    passes = rng.random((runs, validators)) < selection
    mean: Array = (passes & (passes.cumsum(axis=1) <= committee_size)).mean(axis=0)
    return mean


@validated
def simulate_rotation(
    validators: Validators,
    adversaries: int,
    shards: Seats,
    failing_share: One[Breaking],
    *,
    corruption_epochs: int,
    rotation_epochs: Positive,
    epochs: Positive,
    runs: Positive,
    rng: np.random.Generator,
) -> float:
    """Share of runs in which some shard fails, if an adversary picks members of one shard, and has them later.

    It picks K validators in epoch 0, those of one shard first, and they obey it from the epoch `corruption_epochs` on.
    Each `rotation_epochs` all validators are dealt to the shards anew. Where corruption takes less time, the pick is
    worth all its members; where it takes more, it is worth no more than any K.

    >>> times = {"corruption_epochs": 2, "epochs": 10, "runs": 100}
    >>> for rotation in (100, 1):  # 100 validators in each of ten shards; the adversary has 4 %
    ...     simulate_rotation(1000, 40, 10, 1 / 3, rotation_epochs=rotation, rng=np.random.default_rng(1), **times)
    1.0
    0.0
    """
    checked("simulate_rotation", "shards", shards, Annotated[int, q.Whole(1, validators)])
    checked("simulate_rotation", "adversaries", adversaries, Annotated[int, q.Whole(0, validators)])
    draws = range(max(1, corruption_epochs // rotation_epochs), -(-epochs // rotation_epochs))
    checked("simulate_rotation", "runs times draws times shards", runs * max(len(draws), 1) * shards, Draws)
    sizes = (validators + np.arange(shards)) // shards  # the last ones have one more, where the division leaves a rest
    enough = _failing(sizes, failing_share)
    if corruption_epochs < min(rotation_epochs, epochs) and adversaries >= enough[0]:
        return 1.0
    held = rng.multivariate_hypergeometric(sizes, adversaries, (runs, len(draws)), method="marginals")
    return float((held >= enough).any(axis=(1, 2)).mean())
