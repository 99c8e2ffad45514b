"""PBFT: replicas agree on a list of blocks although nearly a third of them may do anything. Section 4.2 of the book.

The *primary* of a view proposes a block for the next *height* (pre-prepare), with its own vote; the others say that
they saw the same (prepare), and all say that a quorum did (commit). A block is *prepared* at a replica that holds the
proposal and a quorum's prepares, the primary's vote among them; it is *decided* once a quorum has said commit. A
*checkpoint* is a quorum's word for the state at a height; it makes that height *stable*, and what was said about lower
ones is forgotten. Proposals are taken for at most two intervals above it. In a *view change* each replica tells all
what it has prepared, and the next primary shows a quorum of such words: all that may have been decided is voted on
again.

A replica is a state machine: time is an input, and the network is somebody else's. Decided blocks are kept with the
commits of a quorum, so that a replica which has fallen behind need trust nobody: a view change says how far it is, and
whoever is ahead answers.

Source: Castro and Liskov (1999), OSDI; (2002), ACM TOCS 20(4). Unlike there, a block holds many requests and travels
with the proposal, clients get no replies, and a replica that is behind gets blocks instead of the pages of a state.
"""

from collections.abc import Iterable
from typing import Annotated, Any

from nacl.signing import SigningKey

from web3scale.consensus.votes import Member, Members, Request, Said, Vote, certificate
from web3scale.message import Signed, digest, is_message, message
from web3scale.quantities import Whole, validated

PREPARE, COMMIT, CHECKPOINT = "prepare", "commit", "checkpoint"
START = Said(Vote(CHECKPOINT, 0, 0, b""), (), ())  # the stable checkpoint that needs no votes
Sends = list[tuple[int, Any]]


@message
class Block:
    """Requests to execute together; none in a block that only fills a gap.

    >>> Block(()).requests
    ()
    """

    requests: tuple[Signed[Request], ...]


@message
class Backed:
    """A block and votes for it: the primary's, which is a pre-prepare; a quorum's prepares; or a quorum's commits."""

    block: Block
    votes: Said[Vote]


@message
class ViewChange:
    """A replica's wish for a view: how far it has executed, its stable checkpoint, and what it has prepared above.

    >>> ViewChange(view=1, height=0, stable=START, prepared=()).stable.replicas
    ()
    """

    view: int
    height: int
    stable: Said[Vote]
    prepared: tuple[Backed, ...]


@message
class NewView:
    """The proof that a quorum wants a view, and its primary's votes for the blocks that follow from their words.

    >>> NewView(view=1, changes=(), votes=()).view
    1
    """

    view: int
    changes: tuple[Said[ViewChange], ...]
    votes: tuple[Said[Vote], ...]


def _repeated(changes: Iterable[Said[ViewChange]]) -> list[tuple[int, Block]]:
    """The heights and blocks that a new view must vote on again.

    Between the highest stable checkpoint and the highest prepared block, each height has the block that was prepared
    there in the latest view; an empty one where none was.
    """
    low = max((change.body.stable.body.height for change in changes), default=0)
    latest: dict[int, Backed] = {}
    for backed in sorted((b for c in changes for b in c.body.prepared), key=lambda backed: backed.votes.body.view):
        latest[backed.votes.body.height] = backed
    heights = range(low + 1, max(latest, default=0) + 1)
    return [(at, latest[at].block if at in latest else Block(())) for at in heights]


class Replica:
    """One replica of PBFT: `receive` and `timeout` return what it wants sent, as pairs of receiver and message.

    >>> from web3scale.consensus.votes import sign_request
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> primary = Replica(members, keys[0])
    >>> sends = primary.receive(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> [(receiver, message.votes.body.phase) for receiver, message in sends]
    [(1, 'prepare'), (2, 'prepare'), (3, 'prepare')]
    >>> primary.receive("garbage"), len(primary.pending)
    ([], 1)
    """

    @validated
    def __init__(self, members: Members, key: SigningKey, interval: Annotated[int, Whole(1, 10**6)] = 10) -> None:
        self.members, self.member, self.interval = members, Member(members, key), interval
        self.blocks: list[Block] = self.member.blocks  # executed, from height 1
        self.pending = self.member.pending  # requests: while there are any, a time-out means something
        self.view, self.changing = 0, False  # changing: from the wish for a view until it begins
        self.stable = START
        self.decided: dict[int, Backed] = {}
        self.prepared: dict[int, Backed] = {}  # by height, of the latest view
        self.proposed: dict[int, Backed] = {}  # in this view, by height
        self.votes: dict[tuple[str, int], dict[int, Said[Vote]]] = {}  # in this view, by phase and height
        self.checkpoints: dict[int, Said[Vote]] = {}  # each replica's latest, as all below
        self.changes: dict[int, Said[ViewChange]] = {}
        self.new_view: tuple[Said[NewView], ...] = ()  # the message with which this view began
        self._early: dict[tuple[bool, str, int, int], Any] = {}  # for a view or a height that is still to come
        self._rules = {Vote: self._on_vote, ViewChange: self._on_view_change, NewView: self._on_new_view}

    @property
    def low(self) -> int:
        """The stable height: the low watermark."""
        return self.stable.body.height

    @property
    def high(self) -> int:
        """The last height for which proposals are taken: the high watermark."""
        return self.low + 2 * self.interval

    @property
    def settled(self) -> int:
        """The view in which the last executed block was decided."""
        return self.decided[len(self.blocks)].votes.body.view if self.blocks else 0

    def receive(self, message: Any) -> Sends:
        """Take a message, and return what is to be sent; what is malformed, forged, stale or repeated has no effect."""
        if is_message(message, Signed):
            return self._propose() if self.member._ask(message) else []
        if is_message(message, Backed):
            return self._on_backed(message)
        rule: Any = self._rules.get(type(message.body)) if self.member._hears(message) else None
        return rule(message) if rule else []

    def timeout(self) -> Sends:
        """Give this view up if something is overdue; while too few want the next one, repeat the wish instead."""
        if not self.pending:
            return []
        index = self.member.index
        wanted = sum(change.body.view >= self.view for change in self.changes.values())
        if self.changing and wanted < self.members.quorum:
            sends = self.member._others(self.changes[index])
        else:
            sends = self._change(self.view + 1)
        return sends + (self.member._others(self.checkpoints[index]) if index in self.checkpoints else [])

    # Normal operation

    def _propose(self) -> Sends:
        """As primary, propose what waits and is not proposed yet."""
        if self.changing or self.members.leader(self.view) != self.member.index:
            return []
        fresh = self.member._fresh(backed.block for backed in self.proposed.values())
        height = max([len(self.blocks), self.low, *self.proposed]) + 1
        if not fresh or height > self.high:
            return []
        block = Block(fresh)
        backed = Backed(block, self.member.sign(Vote(PREPARE, self.view, height, digest(block))))
        return self.member._others(backed) + self._accept(backed)

    def _on_backed(self, backed: Backed) -> Sends:
        vote, replicas = backed.votes.body, backed.votes.replicas
        if vote.phase == COMMIT:  # somebody who is ahead shares what was decided
            if vote.height in self.decided or not self._has_quorum(backed, COMMIT):
                return []
            self.decided[vote.height] = backed
            return self._execute()
        is_primary = replicas == (self.members.leader(vote.view),) != (self.member.index,)
        is_whole = vote.phase == PREPARE and vote.block == digest(backed.block) and backed.block.requests
        if not (is_primary and is_whole and self.members.holds(backed.votes, Vote)):
            return []
        is_due = self.members._asked(backed.block.requests) and self._is_due(backed, vote, replicas[0])
        return self._accept(backed) if is_due else []

    def _is_due(self, message: Any, vote: Vote, replica: int) -> bool:
        """Whether a vote is of this view and between the watermarks; one that comes early is kept."""
        if vote.view < self.view or not self.low < vote.height <= self.high + 2 * self.interval:
            return False
        if vote.view == self.view and not self.changing and vote.height <= self.high:
            return True
        self._early[type(message) is Backed, vote.phase, vote.height, replica] = message
        return False

    def _replay(self) -> Sends:
        early, self._early = self._early, {}
        return [send for message in early.values() for send in self.receive(message)]

    def _accept(self, backed: Backed) -> Sends:
        """Take the first proposal for a height, and say so."""
        vote = backed.votes.body
        if vote.height in self.proposed or vote.height <= self.low:
            return []
        self.proposed[vote.height] = backed
        own = [] if backed.votes.replicas == (self.member.index,) else self._vote(PREPARE, vote.height, vote.block)
        return own + self._on_vote(backed.votes)

    def _vote(self, phase: str, height: int, block: bytes) -> Sends:
        said = self.member.sign(Vote(phase, 0 if phase == CHECKPOINT else self.view, height, block))
        return self.member._others(said) + self._on_vote(said)

    def _on_vote(self, said: Said[Vote]) -> Sends:
        vote, (replica,) = said.body, said.replicas
        if vote.phase == CHECKPOINT:
            return self._on_checkpoint(said)
        if vote.phase not in (PREPARE, COMMIT) or not self._is_due(said, vote, replica):
            return []
        self.votes.setdefault((vote.phase, vote.height), {}).setdefault(replica, said)  # the first one counts
        return self._advance(vote.height)

    def _advance(self, height: int) -> Sends:
        """Say commit once a block is prepared; execute it once it is decided."""
        if (proposal := self.proposed.get(height)) is None:
            return []
        held = self.prepared.get(height)
        is_prepared = held is not None and held.votes.body.view == self.view
        phase = COMMIT if is_prepared else PREPARE
        name, votes = proposal.votes.body.block, self.votes.get((phase, height), {}).values()
        alike = [said for said in votes if said.body.block == name][: self.members.quorum]
        if len(alike) < self.members.quorum or (is_prepared and height in self.decided):
            return []
        (self.decided if is_prepared else self.prepared)[height] = Backed(proposal.block, certificate(alike))
        return self._execute() if is_prepared else self._vote(COMMIT, height, name)

    def _execute(self) -> Sends:
        """Execute decided blocks in order, with a checkpoint after each interval."""
        sends: Sends = []
        while (height := len(self.blocks) + 1) in self.decided:
            self.member._execute(self.decided[height].block)
            if height % self.interval == 0:
                sends += self._vote(CHECKPOINT, height, self.member.state)
        return sends + self._propose()

    def _on_checkpoint(self, said: Said[Vote]) -> Sends:
        vote, (replica,) = said.body, said.replicas
        held = self.checkpoints.get(replica, START)
        if vote.height <= max(self.low, held.body.height):
            return []
        self.checkpoints[replica] = said
        alike = [each for each in self.checkpoints.values() if each.body == vote]
        return self._stabilise(certificate(alike)) if len(alike) == self.members.quorum else []

    def _stabilise(self, stable: Said[Vote]) -> Sends:
        """Take a quorum's checkpoint as stable, and forget what was said about lower heights."""
        if stable.body.height <= self.low:
            return []
        self.stable = stable
        self.proposed = {at: kept for at, kept in self.proposed.items() if at > self.low}
        self.prepared = {at: kept for at, kept in self.prepared.items() if at > self.low}
        self.votes = {key: kept for key, kept in self.votes.items() if key[1] > self.low}
        return self._replay() + self._propose()

    # View change

    def _enter(self, view: int) -> None:
        self.view, self.changing, self.proposed, self.votes = view, True, {}, {}

    def _change(self, view: int) -> Sends:
        self._enter(view)
        mine = self.member.sign(ViewChange(view, len(self.blocks), self.stable, tuple(self.prepared.values())))
        return self.member._others(mine) + self._on_view_change(mine)

    def _has_quorum(self, backed: Backed, phase: str) -> bool:
        vote = backed.votes.body
        is_whole = vote.phase == phase and vote.block == digest(backed.block)
        return is_whole and self.members.holds(backed.votes, Vote, self.members.quorum)

    def _is_justified(self, change: ViewChange) -> bool:
        """Whether a view change proves what it says: its checkpoint, and each block that it calls prepared."""
        low, votes = change.stable.body.height, [backed.votes.body for backed in change.prepared]
        is_stable = change.stable.body.phase == CHECKPOINT
        is_stable = is_stable and self.members.holds(change.stable, Vote, self.members.quorum)
        return (
            (is_stable or change.stable == START)
            and len({vote.height for vote in votes}) == len(votes)
            and all(low < vote.height <= low + 2 * self.interval and vote.view < change.view for vote in votes)
            and all(self._has_quorum(backed, PREPARE) for backed in change.prepared)
        )

    def _on_view_change(self, said: Said[ViewChange]) -> Sends:
        change, (replica,) = said.body, said.replicas
        sends: Sends = [(replica, self.decided[at]) for at in range(change.height + 1, len(self.blocks) + 1)]
        if change.view <= self.view and not self.changing:  # it has begun: whoever missed that gets the proof
            return sends + [(replica, new_view) for new_view in self.new_view]
        held = self.changes.get(replica)
        if (held and held.body.view >= change.view) or not self._is_justified(change):
            return sends
        self.changes[replica] = said
        ahead = [each.body.view for each in self.changes.values() if each.body.view > self.view]
        if len(ahead) > self.members.faults:  # an honest replica is among them
            return sends + self._change(min(ahead))
        return sends + self._begin()

    def _begin(self) -> Sends:
        """As the next primary, begin the view once a quorum wants it."""
        wanted = [each for each in self.changes.values() if each.body.view == self.view][: self.members.quorum]
        is_mine = self.changing and self.members.leader(self.view) == self.member.index
        if not is_mine or len(wanted) < self.members.quorum:
            return []
        votes = [Vote(PREPARE, self.view, height, digest(block)) for height, block in _repeated(wanted)]
        mine = self.member.sign(NewView(self.view, tuple(wanted), tuple(map(self.member.sign, votes))))
        return self.member._others(mine) + self._on_new_view(mine)

    def _on_new_view(self, said: Said[NewView]) -> Sends:
        new = said.body
        if new.view < self.view or (new.view == self.view and not self.changing) or not self._is_proven(said):
            return []
        self._enter(new.view)
        sends = self._stabilise(max((c.body.stable for c in new.changes), key=lambda stable: stable.body.height))
        self.changing, self.new_view = False, (said,)
        backed = [Backed(block, vote) for (_, block), vote in zip(_repeated(new.changes), new.votes, strict=True)]
        sends += [send for each in reversed(backed) for send in self._accept(each)]
        return sends + self._replay() + self._propose()

    def _is_proven(self, said: Said[NewView]) -> bool:
        """Whether a quorum wants the view, and the votes are those that follow: every replica computes them."""
        new, members, primary = said.body, self.members, (self.members.leader(said.body.view),)
        return (
            said.replicas == primary
            and len({change.replicas for change in new.changes}) == len(new.changes) == members.quorum
            and all(change.body.view == new.view and members.holds(change, ViewChange) for change in new.changes)
            and all(self._is_justified(change.body) for change in new.changes)
            and [(vote.body.height, vote.body.block) for vote in new.votes]
            == [(height, digest(block)) for height, block in _repeated(new.changes)]
            and all(
                (vote.body.phase, vote.body.view, vote.replicas) == (PREPARE, new.view, primary) for vote in new.votes
            )
            and all(members.holds(vote, Vote) for vote in new.votes)
        )
