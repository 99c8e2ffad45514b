"""PBFT: replicas agree on a list of blocks although a third of them, less one, may do anything. Section 4.2.

The *primary* of a view proposes a block for the next *height* (pre-prepare); the others say that they saw the same
(prepare), and all say that a quorum did (commit). A block is *prepared* at a replica that holds the proposal and the
prepares of a quorum, the primary's proposal counted as its own; it is *decided* once a quorum has said commit. A
*checkpoint* is a quorum's word for the state at a height; it makes that height *stable*, and what was said about
lower ones is forgotten. Proposals are taken for at most two intervals above it. In a *view change* each replica tells
the next primary what it has prepared; the new view repeats all that may have been decided.

A replica is a state machine: time is an input, and the network is somebody else's. A replica that has fallen behind
asks the others for decided blocks, each with the commits of a quorum, and so has to trust nobody. Blocks are kept.

Source: Castro and Liskov (1999), OSDI; (2002), ACM TOCS 20(4). Unlike there, blocks hold many requests, their content
travels with the proposal, and a catch-up carries blocks and certificates instead of the pages of a state.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from nacl.signing import SigningKey

from web3scale.consensus.votes import Certificate, Member, Members, Request, Sends, Vote
from web3scale.message import Signed, digest, is_message, message
from web3scale.quantities import Whole, validated

PREPARE, COMMIT, CHECKPOINT = "prepare", "commit", "checkpoint"


@message
class Block:
    """Requests to execute together; none in a block that only fills a gap."""

    requests: tuple[Signed[Request], ...]


@message
class PrePrepare:
    """The primary's proposal of a block for a height."""

    chain: str
    view: int
    height: int
    block: Block
    replica: int


@message
class Prepared:
    """A proposal, and prepares for it from all of a quorum but the primary."""

    proposal: Signed[PrePrepare]
    votes: tuple[Signed[Vote], ...]


@message
class ViewChange:
    """A replica's wish for a view: its stable checkpoint, and what it has prepared above that."""

    chain: str
    view: int
    stable: tuple[Signed[Vote], ...]
    prepared: tuple[Prepared, ...]
    replica: int


@message
class NewView:
    """The new primary's proof that a quorum wants its view, and the proposals that follow from what they say."""

    chain: str
    view: int
    changes: tuple[Signed[ViewChange], ...]
    proposals: tuple[Signed[PrePrepare], ...]
    replica: int


@message
class Fetch:
    """A question for the decided blocks above a height."""

    chain: str
    height: int
    replica: int


@message
class Decision:
    """A block, and the commits of a quorum."""

    block: Block
    votes: tuple[Signed[Vote], ...]


@message
class Decided:
    """The answer to a fetch: decisions in order, and a stable checkpoint."""

    chain: str
    decisions: tuple[Decision, ...]
    stable: tuple[Signed[Vote], ...]
    replica: int


def _height(certificate: Certificate) -> int:
    return certificate[0].body.height if certificate else 0


def repeated(changes: Iterable[Signed[ViewChange]]) -> list[tuple[int, Block]]:
    """Return the heights and blocks that a new view must propose, given the `changes` of a quorum.

    Between the highest stable checkpoint and the highest prepared block, each height has the block that was prepared
    there in the latest view; an empty one where none was.

    >>> repeated([])
    []
    """
    bodies = [change.body for change in changes]
    low = max((_height(body.stable) for body in bodies), default=0)
    latest: dict[int, PrePrepare] = {}
    for prepared in (p.proposal.body for body in bodies for p in body.prepared):
        held = latest.get(prepared.height)
        if prepared.height > low and (held is None or prepared.view > held.view):
            latest[prepared.height] = prepared
    heights = range(low + 1, max(latest, default=low) + 1)
    return [(at, latest[at].block if at in latest else Block(())) for at in heights]


class Replica:
    """One replica of PBFT. What it is told comes in by `receive` and `timeout`; what it wants sent is what they return.

    >>> from web3scale.consensus.votes import sign_request
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> primary = Replica(members, keys[0])
    >>> sends = primary.receive(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> [(receiver, type(message.body).__name__) for receiver, message in sends]
    [(1, 'PrePrepare'), (2, 'PrePrepare'), (3, 'PrePrepare')]
    >>> primary.receive("garbage"), primary.waiting
    ([], True)
    """

    @validated
    def __init__(self, members: Members, key: SigningKey, interval: Annotated[int, Whole(1, 10**6)] = 10) -> None:
        self.members, self.member, self.interval = members, Member(members, key), interval
        self.view, self.changing = 0, False  # changing: from the wish for a view until it begins
        self.settled = 0  # the view in which a block was last executed
        self.stable: Certificate = ()
        self.decided: dict[int, Decision] = {}
        self.prepared: dict[int, Prepared] = {}  # by height, of the latest view
        self.proposals: dict[int, Signed[PrePrepare]] = {}  # of this view, by height, as all below
        self.votes: dict[tuple[str, int], dict[int, Signed[Vote]]] = {}
        self.checkpoints: dict[int, Signed[Vote]] = {}  # each replica's latest, as all below
        self.changes: dict[int, Signed[ViewChange]] = {}
        self.new_view: Signed[NewView] | None = None  # the message with which this view began
        self._early: dict[tuple[str, int, int], Signed[Any]] = {}  # for a view or a height that is still to come
        self._rules: dict[type, Callable[[Any, Any], Sends]] = {
            PrePrepare: self._on_pre_prepare,
            Vote: self._on_vote,
            ViewChange: self._on_view_change,
            NewView: self._on_new_view,
            Fetch: self._on_fetch,
            Decided: self._on_decided,
        }

    @property
    def blocks(self) -> list[Block]:
        """The executed blocks, from height 1."""
        return self.member.blocks

    @property
    def low(self) -> int:
        """The stable height: the low watermark."""
        return _height(self.stable)

    @property
    def high(self) -> int:
        """The last height for which proposals are taken: the high watermark."""
        return self.low + 2 * self.interval

    @property
    def waiting(self) -> bool:
        """Whether a time-out means something: a request is overdue."""
        return bool(self.member.pending)

    def receive(self, message: Any) -> Sends:
        """Take a message, and return what is to be sent; what is malformed, forged, stale or repeated has no effect."""
        if not is_message(message, Signed):
            return []
        if type(message.body) is Request:
            return self.member.ask(message) + self._propose() if self.members.asked((message,)) else []
        rule = self._rules.get(type(message.body))
        if rule is None or message.body.replica == self.member.index or not self.members.signed(message):
            return []
        return rule(message.body, message)

    def timeout(self) -> Sends:
        """Give this view up if something is overdue, and ask the others what was missed.

        While fewer than a quorum want this view or a later one, the wish for it is repeated instead.
        """
        if not self.waiting:
            return []
        wanted = sum(change.body.view >= self.view for change in self.changes.values())
        if self.changing and wanted < self.members.quorum:
            return self._others(self.changes[self.member.index]) + self._fetch()
        return self._change(self.view + 1) + self._fetch()

    # Sending: what is for all is for oneself as well

    def _others(self, message: Signed[Any]) -> Sends:
        return [(at, message) for at in range(len(self.members.keys)) if at != self.member.index]

    def _say(self, body: Any) -> Sends:
        message = self.member.sign(body)
        return self._others(message) + self._rules[type(body)](body, message)

    def _vote(self, phase: str, view: int, height: int, block: bytes) -> Sends:
        return self._say(Vote(self.members.chain, phase, view, height, block, self.member.index))

    def _replay(self) -> Sends:
        early, self._early = self._early, {}
        return [send for message in early.values() for send in self.receive(message)]

    # Normal operation

    def _propose(self) -> Sends:
        """As primary, propose what waits and is not proposed yet."""
        if self.changing or self.members.leader(self.view) != self.member.index:
            return []
        fresh = self.member.fresh(proposal.body.block for proposal in self.proposals.values())
        height = max([len(self.blocks), self.low, *self.proposals]) + 1
        if not fresh or height > self.high:
            return []
        return self._say(PrePrepare(self.members.chain, self.view, height, Block(fresh), self.member.index))

    def _is_due(self, phase: str, body: Any, message: Signed[Any]) -> bool:
        """Whether a message is of this view and between the watermarks; one that comes early is kept."""
        if body.view < self.view or not self.low < body.height <= self.high + 2 * self.interval:
            return False
        if body.view == self.view and not self.changing and body.height <= self.high:
            return True
        self._early[phase, body.height, body.replica] = message
        return False

    def _on_pre_prepare(self, body: PrePrepare, message: Signed[PrePrepare]) -> Sends:
        is_primary = body.replica == self.members.leader(body.view)
        if not (is_primary and body.block.requests and self.members.asked(body.block.requests)):
            return []
        return self._accept(message) if self._is_due("pre-prepare", body, message) else []

    def _accept(self, message: Signed[PrePrepare]) -> Sends:
        """Take the first proposal for a height, and say so."""
        height, sends = message.body.height, []
        if height not in self.proposals:
            self.proposals[height] = message
            if self.member.index != message.body.replica:
                sends = self._vote(PREPARE, self.view, height, digest(message.body.block))
        return sends + self._advance(height)

    def _on_vote(self, vote: Vote, message: Signed[Vote]) -> Sends:
        if vote.phase == CHECKPOINT:
            return self._on_checkpoint(vote, message)
        by_primary = vote.phase == PREPARE and vote.replica == self.members.leader(vote.view)
        if vote.phase not in (PREPARE, COMMIT) or by_primary or not self._is_due(vote.phase, vote, message):
            return []
        self.votes.setdefault((vote.phase, vote.height), {}).setdefault(vote.replica, message)  # the first one counts
        return self._advance(vote.height)

    def _matching(self, phase: str, height: int, block: bytes) -> Certificate:
        return tuple(v for v in self.votes.get((phase, height), {}).values() if v.body.block == block)

    def _advance(self, height: int) -> Sends:
        """Say commit once a block is prepared; execute it once it is decided."""
        if (proposal := self.proposals.get(height)) is None:
            return []
        block, quorum, sends = digest(proposal.body.block), self.members.quorum, []
        prepares = self._matching(PREPARE, height, block)
        held = self.prepared.get(height)
        if len(prepares) >= quorum - 1 and (held is None or held.proposal.body.view < self.view):
            self.prepared[height] = held = Prepared(proposal, prepares[: quorum - 1])
            sends = self._vote(COMMIT, self.view, height, block)
        commits = self._matching(COMMIT, height, block)
        is_prepared = held is not None and held.proposal.body.view == self.view
        if is_prepared and len(commits) >= quorum and height not in self.decided:
            self.decided[height] = Decision(proposal.body.block, commits[:quorum])
            sends += self._execute()
        return sends

    def _execute(self) -> Sends:
        """Execute decided blocks in order, with a checkpoint after each interval."""
        sends: Sends = []
        while (height := len(self.blocks) + 1) in self.decided:
            sends += self.member.execute(self.decided[height].block)
            self.settled = self.view
            if height % self.interval == 0:
                sends += self._vote(CHECKPOINT, 0, height, self.member.state)
        return sends + self._propose()

    # Checkpoints, and catching up

    def _on_checkpoint(self, vote: Vote, message: Signed[Vote]) -> Sends:
        held = self.checkpoints.get(vote.replica)
        if vote.height <= max(self.low, held.body.height if held else 0):
            return []
        self.checkpoints[vote.replica] = message
        said = vote.view, vote.height, vote.block
        alike = [v for v in self.checkpoints.values() if (v.body.view, v.body.height, v.body.block) == said]
        return self._stabilise(tuple(alike)) if len(alike) == self.members.quorum else []

    def _stabilise(self, certificate: Certificate) -> Sends:
        """Take a checkpoint of a quorum as stable, and forget what was said about lower heights."""
        self.stable = certificate
        self.proposals = {at: kept for at, kept in self.proposals.items() if at > self.low}
        self.prepared = {at: kept for at, kept in self.prepared.items() if at > self.low}
        self.votes = {key: kept for key, kept in self.votes.items() if key[1] > self.low}
        behind = self._fetch() if len(self.blocks) < self.low else []
        return behind + self._replay() + self._propose()

    def _fetch(self) -> Sends:
        return self._others(self.member.sign(Fetch(self.members.chain, len(self.blocks), self.member.index)))

    def _on_fetch(self, fetch: Fetch, _: Signed[Fetch]) -> Sends:
        missing = tuple(self.decided[at] for at in range(fetch.height + 1, len(self.blocks) + 1))
        answer = Decided(self.members.chain, missing, self.stable, self.member.index)
        return [(fetch.replica, self.member.sign(answer))] if missing else []

    def _on_decided(self, body: Decided, _: Signed[Decided]) -> Sends:
        for decision in body.decisions:
            height = _height(decision.votes)
            is_new = height not in self.decided and height > len(self.blocks)
            is_proven = is_new and self.members.certify(decision.votes, COMMIT)
            if is_proven and decision.votes[0].body.block == digest(decision.block):
                self.decided[height] = decision
        sends = self._execute()
        if _height(body.stable) > self.low and self.members.certify(body.stable, CHECKPOINT):
            sends += self._stabilise(body.stable)
        return sends

    # View change

    def _enter(self, view: int, changing: bool) -> None:
        self.view, self.changing = view, changing
        self.proposals, self.votes = {}, {}

    def _change(self, view: int) -> Sends:
        self._enter(view, changing=True)
        prepared = tuple(self.prepared.values())
        return self._say(ViewChange(self.members.chain, view, self.stable, prepared, self.member.index))

    def _is_prepared(self, prepared: Prepared) -> bool:
        body, votes, primary = prepared.proposal.body, prepared.votes, self.members.leader(prepared.proposal.body.view)
        said = body.view, body.height, digest(body.block)
        return (
            body.replica == primary
            and self.members.signed(prepared.proposal)
            and self.members.agree(votes, PREPARE, self.members.quorum - 1)
            and (votes[0].body.view, votes[0].body.height, votes[0].body.block) == said
            and primary not in {vote.body.replica for vote in votes}
        )

    def _is_justified(self, change: ViewChange) -> bool:
        """Whether a view change proves what it says: its checkpoint, and each block that it calls prepared."""
        low, heights = _height(change.stable), [prepared.proposal.body.height for prepared in change.prepared]
        return (
            (not change.stable or self.members.certify(change.stable, CHECKPOINT))
            and len({*heights}) == len(heights)
            and all(low < height <= low + 2 * self.interval for height in heights)
            and all(prepared.proposal.body.view < change.view for prepared in change.prepared)
            and all(map(self._is_prepared, change.prepared))
        )

    def _on_view_change(self, change: ViewChange, message: Signed[ViewChange]) -> Sends:
        if change.view <= self.view and not self.changing:  # it has begun: whoever missed that gets the proof
            return [(change.replica, self.new_view)] if self.new_view else []
        held = self.changes.get(change.replica)
        if (held and held.body.view >= change.view) or not self._is_justified(change):
            return []
        self.changes[change.replica] = message
        ahead = [c.body.view for c in self.changes.values() if c.body.view > self.view]
        if len(ahead) > self.members.faults:  # an honest replica is among them
            return self._change(min(ahead))
        return self._begin()

    def _begin(self) -> Sends:
        """As the next primary, begin the view once a quorum wants it."""
        view, index, chain = self.view, self.member.index, self.members.chain
        wanted = [change for change in self.changes.values() if change.body.view == view]
        if self.members.leader(view) != index or len(wanted) < self.members.quorum:
            return []
        changes = tuple(wanted[: self.members.quorum])
        proposals = [PrePrepare(chain, view, height, block, index) for height, block in repeated(changes)]
        return self._say(NewView(chain, view, changes, tuple(map(self.member.sign, proposals)), index))

    def _on_new_view(self, body: NewView, message: Signed[NewView]) -> Sends:
        if body.view < self.view or (body.view == self.view and not self.changing) or not self._is_proven(body):
            return []
        self._enter(body.view, changing=False)
        self.new_view = message
        stable = max((change.body.stable for change in body.changes), key=_height)
        sends = self._stabilise(stable) if _height(stable) > self.low else []
        for proposal in body.proposals:
            if self.low < proposal.body.height <= self.high:
                sends += self._accept(proposal)
        return sends + self._replay() + self._propose()

    def _is_proven(self, new: NewView) -> bool:
        """Whether a quorum wants the view, and the proposals are those that follow: every replica computes them."""
        changes = new.changes
        proposed = [(p.body.height, p.body.block) for p in new.proposals]
        return (
            new.replica == self.members.leader(new.view)
            and len({change.body.replica for change in changes}) == len(changes) == self.members.quorum
            and all(c.body.view == new.view and self.members.signed(c) for c in changes)
            and all(self._is_justified(change.body) for change in changes)
            and proposed == repeated(changes)
            and all(p.body.view == new.view and p.body.replica == new.replica for p in new.proposals)
            and all(map(self.members.signed, new.proposals))
        )
