"""HotStuff: agreement in which replicas talk to the leader only, basic and chained. Section 4.3 of the book.

A *block* names its parent by the certificate that justifies it. In a view of *basic* HotStuff, the leader collects
three certificates for one block and hands on each, in the phases *prepare*, *pre-commit* and *commit*; with the third
the block is decided. In *chained* HotStuff each view has one block and one round of votes, sent to the next leader,
whose block carries the certificate: it is at once the second phase of the block before and the third of the one before
that. A block is decided once three certified blocks of consecutive views begin with it.

A replica is *locked* on a certificate whose block others may have decided. It votes for a block that extends the locked
one, or that a certificate of a later view justifies. A replica is a state machine: time is an input, and a time-out
sends it to the next view, with a *new-view* message to the leader of that.

Source: Yin et al. (2019), PODC, arXiv 1803.05069, algorithms 1 to 3. Unlike there, a certificate is a list of
signatures, so that its size grows with n; a proposal carries the undecided blocks below it, and leaders send decided
ones to whoever is behind; a new-view message of chained HotStuff brings the sender's last vote, without which four
replicas of which one is silent would decide nothing.
"""

from typing import Any

from nacl.signing import SigningKey

from web3scale.consensus.votes import Member, Members, Request, Said, Vote, certificate
from web3scale.message import Signed, digest, is_message, message
from web3scale.quantities import validated

PREPARE, PRE_COMMIT, COMMIT, GENERIC = "prepare", "pre-commit", "commit", "generic"
NEXT = {PREPARE: PRE_COMMIT, PRE_COMMIT: COMMIT, COMMIT: ""}  # what is voted on once a phase has its certificate
ROOT = Said(Vote(GENERIC, 0, 0, b""), (), ())  # the certificate that needs no votes, of the block before the first
Sends = list[tuple[int, Any]]


@message
class Block:
    """Requests to execute together, after those of the parent, the block that the certificate `justify` names."""

    view: int
    height: int
    justify: Said[Vote]
    requests: tuple[Signed[Request], ...]

    @property
    def parent(self) -> bytes:
        """Digest of the parent."""
        return self.justify.body.block


@message
class Proposal:
    """The leader's block for a view, and the undecided blocks below it."""

    block: Block
    ancestors: tuple[Block, ...]


@message
class Certified:
    """A certificate, and blocks up to the one that it names, for those who lack them.

    >>> Certified((), ROOT).votes.replicas
    ()
    """

    blocks: tuple[Block, ...]
    votes: Said[Vote]


@message
class NewView:
    """What a replica brings to a view's leader: how far it has executed, its highest certificate, and its last vote.

    >>> NewView(view=2, height=0, highest=Certified((), ROOT), last=()).view
    2
    """

    view: int
    height: int
    highest: Certified
    last: tuple[Said[Vote], ...]


class Replica:
    """One replica of HotStuff, basic or chained: `receive` and `timeout` return what it wants sent.

    >>> from web3scale.consensus.votes import sign_request
    >>> from web3scale.crypto import example_key, public_key
    >>> keys = [example_key(name) for name in ("Ann", "Ben", "Cem", "Dan")]
    >>> members = Members("main", tuple(public_key(key) for key in keys))
    >>> leader = Replica(members, keys[1], chained=True)
    >>> sends = leader.receive(sign_request(example_key("Eve"), "main", 1, b"pay"))
    >>> [(receiver, type(message.body).__name__) for receiver, message in sends]
    [(0, 'Proposal'), (2, 'Proposal'), (3, 'Proposal'), (2, 'Vote')]
    >>> leader.receive("garbage"), len(leader.pending)
    ([], 1)
    """

    @validated
    def __init__(self, members: Members, key: SigningKey, *, chained: bool) -> None:
        self.members, self.member, self.chained = members, Member(members, key), chained
        self.phases, self._all = (GENERIC,) if chained else tuple(NEXT), range(len(members.keys))
        self.blocks: list[Block] = self.member.blocks  # executed, from height 1
        self.pending, self.view = self.member.pending, 1  # a time-out means something while requests are pending
        self.highest = self.locked = self.decision = ROOT  # decision: what decided the last block
        self.tree = {ROOT.body.block: Block(0, 0, ROOT, ())}  # the last executed block and those above it
        self.voted: dict[str, Said[Vote]] = {}  # its last vote in each phase
        self.votes: dict[tuple[str, int], Said[Vote]] = {}  # each replica's last vote in each phase
        self.new_views: dict[int, int] = {}  # the last view for which each replica brought a certificate
        self.proposed = 0  # the last view in which it proposed
        self._certified: dict[str, int] = {}  # the last view for which it made a certificate of each phase
        self._early: dict[int, Said[Proposal]] = {}
        self._rules = {
            Vote: self._on_vote,
            Proposal: self._on_proposal,
            Certified: self._on_certified,
            NewView: self._on_new_view,
        }

    @property
    def settled(self) -> int:
        """The view of the highest certificate: until then, all went well."""
        return self.highest.body.view

    def receive(self, message: Any) -> Sends:
        """Take a message, and return what is to be sent; what is malformed, forged, stale or repeated has no effect."""
        if is_message(message, Signed):
            return self._propose() if self.member._ask(message) else []
        rule: Any = self._rules.get(type(message.body)) if self.member._hears(message) else None
        return rule(message) if rule else []

    def timeout(self) -> Sends:
        """Give this view up if something is overdue, and tell the next leader."""
        return self._enter(self.view + 1) + self._bring(*self._all) if self.pending else []

    # Sending: what is for all is for oneself as well

    def _tell(self, said: Any, *receivers: int) -> Sends:
        own = self._rules[type(said.body)](said) if self.member.index in receivers else []  # type: ignore[operator]
        return [(receiver, said) for receiver in receivers if receiver != self.member.index] + own

    def _bring(self, *receivers: int) -> Sends:
        """Tell others, the leader at least, that it is in this view, and what it knows."""
        highest = Certified(tuple(self._path(self.highest.body.block).values()), self.highest)
        last = tuple(self.voted.values()) if self.chained else ()
        return self._tell(self.member.sign(NewView(self.view, len(self.blocks), highest, last)), *receivers)

    def _vote(self, phase: str, name: bytes) -> Sends:
        """Vote once a view and phase: for the leader, or for the next one if chained."""
        if self._has_voted(phase):
            return []
        self.voted[phase] = said = self.member.sign(Vote(phase, self.view, self.tree[name].height, name))
        return self._tell(said, self.members.leader(self.view + self.chained))

    def _has_voted(self, phase: str) -> bool:
        return self.voted.get(phase, ROOT).body.view >= self.view

    # Blocks

    def _path(self, name: bytes) -> dict[bytes, Block]:
        """A block and its ancestors down to the executed ones, the oldest first."""
        found: dict[bytes, Block] = {}
        while (block := self.tree[name]).height > len(self.blocks):
            found[name], name = block, block.parent
        return dict(reversed(found.items()))

    def _graft(self, votes: Said[Vote], blocks: tuple[Block, ...]) -> bool:
        """Take a certificate, and the ancestors of its block that are new; false where it is none, or one is missing.

        That a quorum has voted for a block vouches for its ancestors: of them only the digests are looked at.
        """
        is_proven = votes.body.phase in self.phases and self.members.holds(votes, Vote, self.members.quorum)
        if not is_proven and votes != ROOT:
            return False
        given, name, new = {digest(block): block for block in blocks}, votes.body.block, list[bytes]()
        while name in given and name not in self.tree:
            new.append(name)
            name = given[name].parent
        if name not in self.tree:
            return votes.body.height <= len(self.blocks)  # then nothing is missing
        for name in reversed(new):
            self.tree[name] = given[name]
            self._take(given[name].justify)
        self._take(votes)
        return True

    def _take(self, votes: Said[Vote]) -> None:
        """Keep the highest certificate; if chained, it is one more phase for three blocks."""
        if votes.body.view > self.highest.body.view:
            self.highest = votes
        third = self.tree.get(votes.body.block)
        second = third and self.tree.get(third.parent)
        first = second and self.tree.get(second.parent)
        if not self.chained or third is None or second is None:
            return
        if third.justify.body.view > self.locked.body.view:
            self.locked = third.justify
        if first and third.view == second.view + 1 == first.view + 2:
            self._decide(second.parent, votes)

    def _decide(self, name: bytes, votes: Said[Vote]) -> None:
        """Execute a block and its ancestors, and forget what does not extend it."""
        if name not in self.tree or not (path := self._path(name)):
            return
        for block in path.values():
            self.member._execute(block)
        kept, self.decision = {name: self.tree[name]}, votes
        for each, block in self.tree.items():  # parents come before their children
            if block.parent in kept:
                kept[each] = block
        self.tree = kept
        if self.highest.body.block not in kept:
            self.highest = votes

    def _is_safe(self, block: Block) -> bool:
        """Whether a block may be voted for: it extends the locked one, or a later certificate justifies it."""
        locked, justify = self.locked.body, block.justify.body
        is_above = locked.height <= len(self.blocks) or locked.block in self._path(block.parent)
        return is_above or justify.view > locked.view

    # Views

    def _enter(self, view: int) -> Sends:
        """Go to a later view, and look again at proposals that came early."""
        if view <= self.view:
            return []
        self.view, early, self._early = view, self._early, {}
        return [send for said in early.values() for send in self.receive(said)] + self._propose()

    def _propose(self) -> Sends:
        """As leader whom a quorum has brought its certificates, propose what waits.

        An empty block as well, as long as requests wait in its ancestors for a decision, or for others to learn of it.
        """
        brought = sum(view >= self.view for view in self.new_views.values())
        is_next = self.view == 1 or (self.chained and self.highest.body.view == self.view - 1)
        is_mine = self.members.leader(self.view) == self.member.index and self.proposed < self.view
        if not is_mine or not (is_next or brought >= self.members.quorum):
            return []
        path = tuple(self._path(self.highest.body.block).values())
        fresh = self.member._fresh(path)
        unfinished = (*self.blocks[-1:], *path) if self.chained else path
        if not fresh and not any(block.requests for block in unfinished):
            return []
        self.proposed = self.view
        block = Block(self.view, len(self.blocks) + len(path) + 1, self.highest, fresh)
        return self._tell(self.member.sign(Proposal(block, path)), *self._all)

    # Messages

    def _on_proposal(self, said: Said[Proposal]) -> Sends:
        block, (replica,) = said.body.block, said.replicas
        if replica != self.members.leader(block.view) or not self._graft(block.justify, said.body.ancestors):
            return []
        sends = self._enter(block.justify.body.view + self.chained)
        if block.view > self.view:
            self._early[replica] = said
        parent, phase, name = self.tree.get(block.parent), self.phases[0], digest(block)
        is_due = block.view == self.view > block.justify.body.view and not self._has_voted(phase)
        is_next = parent is not None and block.height == parent.height + 1
        if not (is_due and is_next and self.members._asked(block.requests) and self._is_safe(block)):
            return sends
        self.tree[name] = block
        sends += self._vote(phase, name)
        if self.chained:
            sends += self._collect(self.voted[phase].body) + self._enter(self.view + 1)
        return sends

    def _on_vote(self, said: Said[Vote]) -> Sends:
        vote, (replica,) = said.body, said.replicas
        held = self.votes.get((vote.phase, replica), ROOT)
        if vote.phase not in self.phases or vote.view <= held.body.view:
            return []
        self.votes[vote.phase, replica] = said
        return self._collect(vote)

    def _collect(self, vote: Vote) -> Sends:
        """As leader, make a certificate once a quorum has voted."""
        alike = [said for said in self.votes.values() if said.body == vote][: self.members.quorum]
        is_mine = self.chained or self.members.leader(vote.view) == self.member.index
        is_new = vote.block in self.tree and self._certified.get(vote.phase, 0) < vote.view
        if len(alike) < self.members.quorum or not (is_mine and is_new):
            return []
        self._certified[vote.phase] = vote.view
        if not self.chained:
            return self._tell(self.member.sign(Certified((), certificate(alike))), *self._all)
        self._take(certificate(alike))
        return self._enter(vote.view + 1) + self._propose()

    def _on_certified(self, said: Said[Certified]) -> Sends:
        votes, (replica,) = said.body.votes, said.replicas
        vote = votes.body
        if not self._graft(votes, said.body.blocks):
            return []
        if vote.phase == COMMIT:
            self._decide(vote.block, votes)
            sends = self._enter(vote.view + 1)
            return sends + self._bring(self.members.leader(self.view)) if self.view == vote.view + 1 else sends
        sends = self._enter(vote.view + self.chained)
        if not self.chained and replica == self.members.leader(self.view) and vote.view == self.view:
            if vote.phase == PRE_COMMIT:
                self.locked = votes
            sends += self._vote(NEXT[vote.phase], vote.block) if vote.block in self.tree else []
        return sends

    def _on_new_view(self, said: Said[NewView]) -> Sends:
        new, votes, (replica,) = said.body, said.body.highest.votes, said.replicas
        if new.view <= self.new_views.get(replica, 0):
            return []
        sends: Sends = []
        if new.height < len(self.blocks):  # the sender is behind
            above = self._path(self.decision.body.block).values()
            sends = [(replica, self.member.sign(Certified((*self.blocks[new.height :], *above), self.decision)))]
        if not self._graft(votes, new.highest.blocks):
            return sends
        self.new_views[replica] = new.view
        for last in new.last[:1]:
            if last.replicas == said.replicas and self.members.holds(last, Vote):
                sends += self._on_vote(last)
        sends += self._enter(votes.body.view + self.chained) + self._propose()
        ahead = sorted(view for view in self.new_views.values() if view > self.view)
        if len(ahead) > self.members.faults:  # an honest replica is among them
            sends += self._enter(ahead[-1 - self.members.faults]) + self._bring(*self._all)
        return sends
