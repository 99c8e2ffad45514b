from nb import *
md("p2open01", r"""
# PBFT: agreement in three phases

The four banks of [Section 4.1](04_1_quorums.ipynb) let computer A, the first of the 4, propose the next block. A tells B "pay Bob 30", tells C and D "pay Carol 30", and then falls silent. **Which of the two payments counts, how do B, C and D find out, and how many messages does it take?** Write down what you would do in the place of B.
""")
code("p2imp001", r"""
from functools import partial

import numpy as np
import sympy as sp

from web3scale import facts, figures, widgets
from web3scale.consensus import latency, pbft, quorums
from web3scale.consensus.replicas import Network
from web3scale.consensus.votes import Members, sign_request
from web3scale.crypto import example_key, public_key
from web3scale.message import digest
from web3scale.pictures import timeline
from web3scale.widgets import Slider

figures.house_style()
""", hide=True)
md("p2learn1", r"""
**You will learn** how replicas agree on one block after another although up to $f$ of $3f + 1$ may do anything; why it takes three phases and not two; how they get rid of a leader who is silent or lies; and what the [latency](glossary.md#term-latency) of a decision is between continents. **You need** quorums and the four assumptions of [Section 4.1](04_1_quorums.ipynb), and signatures ([Primer B](b_crypto.ipynb)).

## Three phases

*Practical Byzantine Fault Tolerance*, [PBFT](glossary.md#term-PBFT), is the protocol from which most others descend {cite}`castro1999`. The replicas go through numbered [views](glossary.md#term-view). In each view one of them, the *primary*, proposes blocks; the primary of view $v$ is replica $v \bmod n$. A block gets a *height*, its place in the chain, and goes through three phases.

1. **Pre-prepare.** The primary sends the block to all, with its signature.
2. **Prepare.** Each replica that accepts the proposal tells all the others so. It accepts one proposal for each height in a view.
3. **Commit.** A replica that holds $q$ prepares for the block, the primary's proposal counted as one, calls the block *prepared* and tells all the others so.

A replica that holds $q$ commits for a block, its own included, has *decided* it, and executes it after all lower ones. The package writes a replica as a *state machine*: `receive` takes a message and returns the messages to be sent, and `timeout` is what a clock calls. There is no clock, no network and no chance inside. The network is a simulation with its own clock, and every signature in it is a real one.
""")
code("p2run001", r"""
names = ["A", "B", "C", "D"]
keys = [example_key(name) for name in names]
members = Members("main", tuple(public_key(key) for key in keys))
client = example_key("Eve")  # who asks for payments
bob, carol = (
    sign_request(client, "main", number, operation)
    for number, operation in [(1, b"pay Bob 30"), (2, b"pay Carol 30")]
)


def network(**options):
    options = {"seed": 1, "delays": lambda *_: 1.0} | options  # each message 1 s
    return Network([pbft.Replica(members, key) for key in keys], **options)


def decided(net):  # the different chains that honest replicas hold
    def told(block):
        return " and ".join(r.body.operation.decode() for r in block.requests)

    return sorted({", then ".join(map(told, one.blocks)) for one in net.honest})


""")
md("p2run002", r"""
The helpers above make a network of four and say what its honest replicas have executed. Now the client asks for one payment.
""")
code("p2run003", r"""
normal = network()
normal.submit(bob)
assert normal.run() and normal.agreed
print("decided:", decided(normal))
print(dict(normal.messages))
""")
code("p2pic001", r"""
def drawn(alt, net, last=1e9, rest="", marked=lambda message: False):
    def arrival(s):  # what comes after the picture ends is drawn as if lost
        return s.arrival_s if (s.arrival_s or 1e9) <= last + 1 else None

    rows = [
        (s.time_s, arrival(s), s.sender, s.receiver, s.kind, tone)
        for s in net.sent
        if s.time_s <= last
        for tone in ["accent" if marked(s.message) else "plain"]
    ]
    return timeline(alt, names, rows, rest)


drawn(
    "A sends a pre-prepare to B, C and D. Then B, C and D send prepares to all, and"
    " then all four send commits to all.",
    normal,
    rest="4 s: all four have decided",
)
""", fig="fig-4-pbft", cap="The normal case, drawn from the messages that the simulated replicas sent. The client's request arrives after one second, each message takes one second, and all decide three seconds after the proposal.")
md("p2cnt001", r"""
How many messages are these? The primary sends $n - 1$ pre-prepares. Each of the $n - 1$ others sends a prepare to $n - 1$ replicas, and all $n$ send a commit to $n - 1$. The sum is a formula of the package, and the cell counts the messages of running protocols beside it.
""")
code("p2cnt002", r"""
n = sp.Symbol("n", positive=True)
total = (n - 1) + (n - 1) ** 2 + n * (n - 1)
assert sp.simplify(total - quorums.pbft_messages(n)) == 0
for size in (4, 5, 6, 7, 10, 16, 31):
    many = [example_key(f"replica {i}") for i in range(size)]
    group = Members("main", tuple(public_key(key) for key in many))
    net = Network([pbft.Replica(group, key) for key in many], seed=1)
    net.submit(bob)
    assert net.run() and net.messages.total() == quorums.pbft_messages(size)
    print(f"n = {size:2}: {net.messages.total():4} messages")
""")
md("p2lie001", r"""
The tests of the package count them for 100 and 103 replicas too. The number grows with the square of $n$, because everybody talks to everybody. [Section 4.3](04_3_hotstuff.ipynb) is about doing with fewer.

## A primary that lies

Now for the question at the top. A is Byzantine and sends two proposals for the same height. In the simulation A is two replicas with one key, one for each side, which is how one tests such attacks {cite}`bano2022`.
""")
code("p2lie002", r"""
lying = network(equivocating=(0,), second_side=(2, 3), heals_at=15)
lying.submit(bob, side=0)  # at first, A's one half and B know only of Bob
lying.submit(carol, side=1)  # the other half, C and D only of Carol
assert lying.run() and lying.agreed
print("decided by B, C and D:", decided(lying))
""")
code("p2pic002", r"""
def for_bob(message):
    votes = message.votes if isinstance(message, pbft.Backed) else message
    return votes.body.block == digest(pbft.Block((bob,)))


drawn(
    "A sends B one proposal and C and D another. B's prepares meet none of the same"
    " kind. C and D prepare A's second block and decide it with A's commit.",
    lying,
    last=3,
    rest="4 s: C and D have decided, B has not",
    marked=for_bob,
)
""", fig="fig-4-lie", cap="A proposes \"pay Bob\" to B (blue), and \"pay Carol\" to C and D (black). For Carol there are three prepares, of A, C and D: a quorum. For Bob there are two, and no honest replica can be found for a third.")
md("p2lie003", r"""
Carol's payment is decided by C and D. B cannot decide Bob's, whatever A tells it: a quorum for Bob would need three of four, and so one of C and D, who have said *prepare* for Carol and do not say it twice. B waits, gives up, asks for a new view, and the others answer with the decided block and its $q$ commits. B checks these signatures and need not believe anybody. Bob's payment comes later, as the second block.

## A primary that is silent

What if A sends nothing at all? Then the others have a clock and no proposal. A replica that waits for something overdue calls `timeout` and sends a *view change*, in which it says how far it is and which blocks it has prepared, with their prepares as proof. When the primary of the next view holds a quorum of view changes, it sends them all on in a *new view*. What was prepared is proposed again, at the same height.
""")
code("p2sil001", r"""
silent = network(silent=(0,))
silent.submit(bob)
assert silent.run() and silent.agreed
print("decided by B, C and D:", decided(silent))
print(dict(silent.messages))
""")
code("p2pic003", r"""
drawn(
    "After 20 seconds B, C and D send view changes to all. B sends a new view and a"
    " pre-prepare. Prepares and commits follow among B, C and D; A sends nothing.",
    silent,
    rest="24 s: B, C and D have decided",
)
""", fig="fig-4-viewchange", cap="A is silent. After 20 s without progress the others change to view 1, whose primary is B. The block is decided four seconds later; messages to A are drawn as well.")
md("p2two001", r"""
## Why two phases are not enough

A replica that holds $q$ prepares knows that nobody can prepare another block at this height *in this view*. Why does it not decide at once, and save the third phase? The reason is the next view. In the cell below nobody is Byzantine, but the network is slow: A gets all prepares in time, and the others get them a minute later. A has prepared Bob's block. Meanwhile Carol's request arrives, B, C and D lose patience and begin a view of their own, and A's view change is late.
""")
code("p2two002", r"""
def slow(sender, receiver, kind):
    early = kind == "prepare" and receiver != 0 and late.now < 10
    votes = kind not in ("pre-prepare", "prepare", "request")
    cut_off = 0 in (sender, receiver) and votes and late.now < 50
    if kind == "request" and late.now > 2:
        return 17.5  # Carol's, which comes shortly after the time-out
    return 60.0 if early or cut_off else 1.0


late = network(delays=slow)
late.submit(bob)
while 1 not in late.honest[0].prepared:
    late.run(1)
prepared = late.honest[0].prepared[1].block.requests
print("A has prepared:", [request.body.operation.decode() for request in prepared])
late.submit(carol)
assert late.run() and late.agreed
print("decided:", decided(late))
assert decided(late) != ["pay Bob 30"]  # not what A had prepared
""")
code("p2pic004", r"""
drawn(
    "A's pre-prepares arrive, and so do the prepares to A. The prepares to B, C and"
    " D and A's commits are late. B, C and D change the view without A and decide.",
    late,
    last=23,
    rest="24 s: B, C and D have decided another block",
)
""", fig="fig-4-twophases", cap="Slow, not Byzantine. At 3 s A has prepared a block with Bob's payment alone. At 24 s the others decide a block with both payments at the same height. Red arrows are messages that arrive a minute late.")
md("p2two003", r"""
Had A decided at 3 s, two honest replicas would have decided different blocks at height 1. The third phase prevents it. A decision needs $q$ commits, so at least $q - f$ honest replicas have prepared the block, and any quorum of view changes contains one of them: it tells the next primary. That is the core of the proof.

```{prf:proposition} Safety of PBFT
:label: prop-4-3
:enumerator: 4.3

1. There are $n \ge 3f + 1$ replicas, at most $f$ of them are Byzantine, and $q = \lceil (n+f+1)/2 \rceil$.
2. Nobody forges an honest replica's signature, and no two blocks or states have one digest.
3. Honest replicas follow the protocol, and forget nothing that they have said.

Then no two honest replicas decide different blocks at one height, whatever the delays and losses of messages.
```

*Proof.* By {prf:ref}`prop-4-1`, any two sets of $q$ signers have an honest replica in common.

*In one view.* If two blocks were prepared at one height in one view, an honest replica would have signed a prepare for both. It accepts one proposal for a height in a view. So at most one block is prepared.

*In later views.* Let block $b$ be decided at height $h$ in view $v$, and suppose that it is the only block prepared at $h$ in the views from $v$ to $v' - 1$; for $v' = v + 1$ this has just been shown. A replica takes part in view $v'$ only after it has seen $q$ valid view changes for it. Of the $q$ replicas that signed these, an honest one, $r$, has also signed a commit for $b$ in view $v$. It did so before its view change, since after that it signs nothing in views below $v'$. So when $r$ wrote its view change, it had prepared $b$ at $h$, and its view change shows $b$ as prepared in view $v$ or later, unless a stable [checkpoint](glossary.md#term-checkpoint) at $h$ or above has come between.

Without such a checkpoint, the rule of the new view takes for height $h$ the block that was prepared in the latest view. There is at least one, of view $v$ or later, and by assumption all of them are $b$. So the primary has to propose $b$ again, and every replica computes this from the same view changes. Hence only $b$ can be prepared at $h$ in view $v'$.

With such a checkpoint, $q$ replicas have signed the state after height $h$, an honest one among them, and the digest of the state commits to the block at $h$. It has executed the block that it decided at $h$, in a view before $v'$, which is $b$ by what has been shown. Nothing is proposed at $h$ any more.

So by induction every block that is decided at $h$ in view $v$ or later is $b$. Of two decisions, take the one with the lower view as $b$. $\square$

Does the program do what was proved? The tests of the package play 1500 random schedules with four and with seven replicas: messages are delayed, repeated, lost and reordered, the network is parted and heals, and up to $f$ replicas are silent, send old messages again or are split in two. In every schedule all honest replicas agreed, and after the network had healed, every request of an honest client was decided. This second promise, liveness, we test and do not prove; {cite:t}`castro2002` argue for it. Patience doubles with each view without progress, so that it exceeds at last whatever the delays are.

:::{admonition} A question on the way
:class: tip

The proof needs $f$ in one place only. What if one replica more is Byzantine? Let A *and* B be split in two, while C and D cannot reach each other. What do C and D decide?

```{dropdown} Answer
Two different blocks: the cell below runs it. A and B sign everything twice, once with C and once with D, and three of four is a quorum on each side. The assumption was at most one Byzantine replica of four; the promise is gone with it. The evidence is not. Everybody who sees both decisions finds that A and B signed both.
```
:::
""")
code("p2brk001", r"""
broken = network(equivocating=(0, 1), second_side=(3,), parted=True, heals_at=5000)
broken.submit(bob, side=0)
broken.submit(carol, side=1)
while broken.now < 5:
    broken.run(1)
print("decided by C and D:", decided(broken), "agreed:", broken.agreed)
assert not broken.agreed
commits = [each.decided[1].votes for each in broken.honest]
twice = set(commits[0].replicas) & set(commits[1].replicas)
print("signed both:", sorted(names[place] for place in twice))
assert twice == {0, 1}
""")
md("p2part01", r"""
## A partition that heals

Can PBFT decide while the network is cut in two? Not if no side has a quorum. In {numref}`Figure <fig-4-heals>` A and B are cut off from C and D for 30 seconds. Both sides wait, and neither decides. This is the choice that the protocol makes: safety at all times, and progress when the network allows.
""")
code("p2part02", r"""
parted = network(second_side=(2, 3), parted=True, heals_at=30)
parted.submit(bob)
assert parted.run() and parted.agreed
first = min(time for time, _, _ in parted.executed)
print(f"first decision after {first:.0f} s:", decided(parted))
assert first > 30
""")
code("p2pic005", r"""
drawn(
    "Messages between A, B and C, D are lost until 30 seconds. At 60 seconds all"
    " send view changes, B begins a new view, and all four decide at 64 seconds.",
    parted,
    last=61,
    rest="prepares and commits follow; 64 s: all four have decided",
)
""", fig="fig-4-heals", cap="A partition that heals after 30 s. Red arrows are lost. At 20 s each side asks for a new view and gets no quorum. Patience has doubled, so the replicas ask again at 60 s, and the view change succeeds.")
md("p2chk001", r"""
## What a replica may forget

The proofs in a view change would grow with the chain if nothing were ever settled. So after every *interval* of heights the replicas sign the digest of their state. A quorum of such signatures is a stable checkpoint: what was said about lower heights may be forgotten, and proposals are accepted only up to two intervals above it.
""")
code("p2chk002", r"""
short = Network([pbft.Replica(members, k, interval=4) for k in keys], seed=1)
for number in range(10):
    short.submit(sign_request(client, "main", number, b"pay"))
    assert short.run()
one = short.honest[0]
print(f"{len(one.blocks)} blocks, stable up to {one.low}, proposals up to {one.high}")
heights = {height for _, height in one.votes}
print("votes kept of the heights:", sorted(heights))
assert min(heights) > one.low == 8
""")
md("p2lat001", r"""
## How long does a decision take?

A replica does not wait for all messages of a phase, only for a quorum of them: for the $q$-th fastest. Statisticians call this an [order statistic](glossary.md#term-order-statistic). It spares the replica the slowest $n - q$ senders, whether they are far away or faulty.

For one phase the mean can be computed. Let $n$ messages have independent delays, all exponential with the same mean. While $j$ of them are still on the way, the next one arrives after a mean time of $1/j$ of that mean, since the least of $j$ exponential times is exponential with $j$ times the rate. So the $q$-th of $n$ arrives after $\sum_{j=n-q+1}^{n} 1/j$ mean delays. For a quorum of two thirds this tends to $\ln 3 \approx 1.1$, however large $n$ is.
""")
code("p2lat002", r"""
j = sp.Symbol("j", positive=True, integer=True)
for size in (4, 100):
    votes = quorums.smallest_quorum(size, quorums.max_faults(size))
    mean = sp.summation(1 / j, (j, size - votes + 1, size))
    drawn_times = np.random.default_rng(3).exponential(size=(20_000, size))
    waits = np.sort(drawn_times, axis=1)[:, votes - 1]
    error = waits.std() / np.sqrt(len(waits))
    print(f"n = {size}: {float(mean):.3f}, drawn {waits.mean():.3f} ± {error:.3f}")
    assert abs(waits.mean() - mean) < 3.5 * error
third = sp.Symbol("k", positive=True, integer=True)  # n = 3k, a quorum of 2k
tail = sp.harmonic(3 * third) - sp.harmonic(third)
print("limit:", sp.limit(tail, third, sp.oo))
""")
md("p2lat003", r"""
Real delays are neither alike nor exponential: they depend on the continents. The package has mean delays between six regions, as measured in 2019 for the simulator SimBlock {cite}`aoki2019`, and draws single delays from a distribution with these means. With the delays of all messages given, a round of PBFT is a few order statistics, so that thousands of rounds are computed at once, in arrays. Is this the same as letting the replicas talk? {numref}`Figure <fig-4-latency>` compares it with the message-by-message simulation for ten replicas.
""")
code("p2lat004", r"""
def spread(size):  # replicas over the six regions in turn; North America leads
    place = np.arange(size) % len(latency.REGIONS)
    return latency.region_delays()[np.ix_(place, place)]
""")
md("p2lat008", r"""
`spread` places the replicas. `one_by_one` lets them talk, with a delay drawn for each message.
""")
code("p2lat009", r"""
def one_by_one(means, rounds):
    many = [example_key(f"replica {i}") for i in range(len(means))]
    group = Members("main", tuple(public_key(key) for key in many))
    for seed in range(rounds):
        rng = np.random.default_rng(seed)

        def delay(sender, receiver, kind, rng=rng):
            drawn_delay = latency.draw_delays(means[sender, receiver], 1, rng=rng)
            return 0.0 if kind == "request" else drawn_delay[0]

        net = Network([pbft.Replica(group, k) for k in many], seed=seed, delays=delay)
        net.submit(bob)
        assert net.run()
        yield sorted(time for time, _, _ in net.executed)


""")
md("p2lat006", r"""
The two results are sorted by time, so that column 6 holds when the seventh of the ten has decided.
""")
code("p2lat007", r"""
events = np.array(list(one_by_one(spread(10), 150)))
arrays = np.sort(latency.simulate_latency(spread(10), 10_000, seed=1), axis=1)
""")
code("p2fig001", r"""
from scipy.stats import ks_2samp

fig, ax = figures.new("seconds after the proposal", "share of the rounds")
for place, colour, what in ((6, 0, "quorum has decided"), (9, 1, "all have")):
    hue = figures.COLOURS[colour]
    ax.plot(
        np.sort(arrays[:, place]), np.linspace(0, 1, 10_000), "-", color=hue, label=what
    )
    shown = np.sort(events[:, place])
    ax.plot(shown, (np.arange(150) + 0.5) / 150, "o", ms=3, color=hue, linestyle="none")
ax.set(xlim=(0.62, 0.85))
ax.legend(loc="lower right", fontsize=9)
for place in (6, 9):
    medians = [np.median(part[:, place]) for part in (events, arrays)]
    chance = ks_2samp(events[:, place], arrays[:, place]).pvalue
    both = f"{medians[0]:.3f} and {medians[1]:.3f} s"
    print(f"{place + 1} of 10: {both}, p = {chance:.2f}")
    assert chance > 0.005
""", fig="fig-4-latency", cap="Time until a quorum of ten replicas, and all ten, have decided. Lines: 10 000 rounds in arrays. Dots: 150 rounds, message by message.", alt="Two rising curves of shares from 0 to 1. The quorum's lies near 0.66 seconds, that of all ten between 0.7 and 0.8 seconds; dots lie on both.")
md("p2lat005", r"""
The two agree: the $p$-values of a Kolmogorov–Smirnov test are those of samples from one distribution. The arrays are what makes a hundred replicas feasible. How does the time grow with their number, and does it matter where the primary stands?
""")
code("p2exp001", r"""
def quorum_time(size, leader):
    order = np.arange(size)
    order[[0, leader]] = order[[leader, 0]]  # the leader comes first
    means = spread(size)[np.ix_(order, order)]
    votes = quorums.smallest_quorum(size, quorums.max_faults(size))
    times = latency.simulate_latency(means, 200, seed=1)
    return np.sort(times, axis=1)[:, votes - 1]


def draw(region, size):
    times = quorum_time(size, latency.REGIONS.index(region))
    fig, ax = figures.new("seconds after the proposal", "rounds of 200")
    ax.hist(times, bins=np.arange(0.4, 1.3, 0.02), color=figures.COLOURS[0])
    middle = float(np.median(times))
    ax.set(title=f"median {middle:.2f} s", xlim=(0.4, 1.2), ylim=(0, 200))
    text = f"Primary in {region}, {size} replicas: a quorum decides after"
    return fig, f"{text} {middle:.2f} s."


widgets.explore(
    draw,
    name="explore-primary",
    region=Slider("primary in", list(latency.REGIONS), start="North America"),
    size=Slider("replicas", [6, 12, 24, 48], start=12),
)
""", fig="fig-4-primary", cap="When a quorum has decided: 200 rounds of PBFT with replicas in six regions in turn, by the region of the primary and the number of replicas.", alt="Primary in North America, 12 replicas: a quorum decides after 0.60 s.")
md("p2real01", r"""
With the same regions, eight times the replicas change the time by a few hundredths of a second. The place of the primary changes it by less than a tenth, because only the first of the three phases begins at the primary; in the others everybody talks to everybody. **Between continents a decision of PBFT takes about six tenths of a second, and distance rather than the number of replicas sets this time**, as long as bandwidth and computing are left out: the votes of a hundred replicas are 20 000 signed messages, and the block itself has to pass the leader's uplink ({prf:ref}`prop-4-2`).

## On real numbers

The first implementation of PBFT served files. On a local network of four machines with crash-free runs, a replicated file system was only 3 % slower than one unreplicated server {cite}`castro1999`. The measurements of {cite:t}`aoki2019` behind this page are means of 2019 between nodes of Bitcoin; delays today may differ. The cell prints the fastest and the slowest pair.
""")
code("p2real02", r"""
delays = latency.region_delays() * 1e3  # milliseconds
for where in (np.unravel_index(f(delays), delays.shape) for f in (np.argmin, np.argmax)):
    one, other = (latency.REGIONS[place] for place in where)
    print(f"{one} to {other}: {delays[where]:.0f} ms")
halfway = 20_000 / 200_000 * 1e3  # km of fibre to the antipodes, km a second in glass
print(f"light in glass, 20 000 km: {halfway:.0f} ms")
known = {f.quantity: f.value for f in facts.load_chains() if f.chain == "Bitcoin"}
shares = np.array([known[f"nodes in {region}"] for region in latency.REGIONS])
place = np.repeat(np.arange(6), np.round(shares * 100).astype(int))
means = latency.region_delays()[np.ix_(place, place)]
found = np.sort(latency.simulate_latency(means, 500, seed=2), axis=1)
votes = quorums.smallest_quorum(len(place), quorums.max_faults(len(place)))
print(f"{len(place)} replicas spread as Bitcoin's nodes of 2019:", end=" ")
print(f"a quorum after {np.median(found[:, votes - 1]):.2f} s")
""")
md("p2real03", r"""
No message goes around half the earth in less than 100 ms, since light in glass covers about 200 000 km a second. Three phases one after the other thus have a floor that no faster computer removes. If the replicas were spread over the regions as Bitcoin's nodes were in 2019, more than four fifths of them in North America and Europe, the quorum would be near, and the decision faster, as the last line says.

## Exercises
""")
exercise(5,"Check","messages by phase",r"""
How many pre-prepares, prepares and commits do seven replicas send for one block? How many of them could be missing, if nobody is Byzantine, so that all still decide without a view change?
""",r"""
6, 36 and 42. Each replica needs five prepares and five commits of seven, counting its own and, as a prepare, the proposal. So two senders may fail entirely in the last two phases: all that they send, to anybody, may be missing.
""",r"""
many = [example_key(f"replica {i}") for i in range(7)]
group = Members("main", tuple(public_key(key) for key in many))
for mute in ((), (5, 6), (4, 5, 6)):
    net = Network([pbft.Replica(group, k) for k in many], seed=1, silent=mute)
    net.submit(bob)
    finished = net.run(2000)
    print(f"{len(mute)} silent: {dict(net.messages.most_common(3))}, {finished}")
""")
exercise(6,"Apply","how patient?",r"""
The primary is silent, and each message takes a second. After how many seconds is the first request decided, as a function of the patience $P$ of the replicas? Check it for $P = 5$, 10 and 20. What speaks against a very small $P$?
""",r"""
$P + 4$ seconds: the view change, the new view with its proposal, the prepares and the commits take a second each. Patience that is shorter than a round changes the view although nobody is at fault. At $P = 2$ the first view is given up as well when the primary is honest.
""",r"""
for patience in (5, 10, 20):
    net = network(silent=(0,), patience=patience)
    net.submit(bob)
    net.run()
    print(patience, max(time for time, _, _ in net.executed))
hasty = network(patience=2)
hasty.submit(bob)
hasty.run()
print("patience 2, primary honest:", dict(hasty.messages))
""")
exercise(7,"Apply","where should the primary be?",r"""
For twelve replicas, two in each region, find the region of the primary in which a quorum decides soonest, by the median of 2000 rounds. How much later is the worst?
""",r"""
Japan is the best with 0.59 s and South America, far from everybody, the worst with 0.66 s. The difference is small, because only the first phase begins at the primary.
""",r"""
medians = {}
for at, region in enumerate(latency.REGIONS):
    order = np.roll(np.arange(12), -at)
    means = spread(12)[np.ix_(order, order)]
    times = np.sort(latency.simulate_latency(means, 2000, seed=7), axis=1)[:, 8]
    medians[region] = np.median(times)
for region in sorted(medians, key=medians.get):
    print(f"{region}: {medians[region]:.3f} s")
""")
exercise(8,"Extend","a quorum that is too small",r"""
Change the rule of the replicas so that two votes of four are enough, and let A equivocate as at the top. Do the honest replicas still agree? Which step of the proof fails? A quorum is a cached property of `Members`: `group.__dict__["quorum"] = 2` sets it.
""",r"""
B decides Bob's payment with A's help, and C and D decide Carol's. Two sets of two of four need not have an honest replica in common, so the first step of the proof fails: two blocks are prepared in one view.
""",r"""
group = Members("main", members.keys)
group.__dict__["quorum"] = 2
replicas = [pbft.Replica(group, key) for key in keys]
hasty = partial(Network, replicas, seed=1, delays=lambda *_: 1.0)
net = hasty(equivocating=(0,), second_side=(2, 3), heals_at=15)
net.submit(bob, side=0)
net.submit(carol, side=1)
while net.now < 5:
    net.run(1)
print(decided(net), "agreed:", net.agreed)
assert not net.agreed
""")
md("p2sum001", r"""
## Summary

- PBFT decides a block in three phases, with $2n(n-1)$ messages if the primary is honest and nobody is overdue.
- **With at most $f$ of $n \ge 3f + 1$ Byzantine replicas, no two honest replicas decide different blocks at one height**, however slow the network is ({prf:ref}`prop-4-3`). With $f + 1$ the simulation finds two decisions, and evidence against those who signed both.
- The third phase carries a decision across views: any quorum of view changes contains an honest replica that had prepared the block.
- A silent primary costs the patience of the replicas and four more message delays. While a partition leaves no side a quorum, nothing is decided.
- A phase waits for the $q$-th fastest message. Over six regions, with the delays of 2019, bandwidth and computing left out, a decision takes about 0.6 s for 4 to 100 replicas.

## Further reading

{cite:t}`castro2002` is the protocol in full, with recovery of replicas. {cite:t}`bano2022` describe the test with twins. {cite:t}`cachin2011` is a textbook on such protocols, with their proofs.
""")
write("chapters/04_2_pbft.ipynb")
