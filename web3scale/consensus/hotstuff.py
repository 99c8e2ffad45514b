"""HotStuff: agreement in which replicas talk to the leader only, basic and chained. Section 4.3 of the book.

A *block* names its parent by the certificate that justifies it. In a view of *basic* HotStuff, the leader collects
three certificates for one block and hands on each: *prepare*, *pre-commit*, *commit*; with the third the block is
decided. In *chained* HotStuff each view has one block and one round of votes, sent to the next leader, whose block
carries the certificate: it is at once the second phase of the block before and the third of the one before that.

A replica is *locked* on the certificate of a block that others may have decided. It votes for a block that extends the
locked one, or that is justified by a certificate of a later view (*safe*). A replica is a state machine: time is an
input, and a time-out sends it to the next view, with a *new-view* message to the leader of that.

Source: Yin et al. (2019), PODC, arXiv 1803.05069, algorithms 1 to 4. Unlike there, a certificate is a list of
signatures, of a quorum as in section 4.1, so that its size grows with n; in chained HotStuff, consecutive views stand
for direct parents among dummy blocks; and a replica that lacks a block asks for it.
"""

from collections.abc import Callable
from typing import Any

from nacl.signing import SigningKey

from web3scale.consensus.votes import Certificate, Member, Members, Request, Sends, Vote
from web3scale.message import Signed, digest, is_message, message
from web3scale.quantities import validated

PREPARE, PRE_COMMIT, COMMIT, DECIDE, GENERIC = "prepare", "pre-commit", "commit", "decide", "generic"
FOLLOWS = {PREPARE: PRE_COMMIT, PRE_COMMIT: COMMIT, COMMIT: DECIDE}  # what is said once a phase has its certificate


@message
class Block:
    """Requests to execute together, after those of the parent, the block that the certificate `justify` names."""

    view: int
    height: int
    justify: tuple[Signed[Vote], ...]  # empty: the parent is the genesis block
    requests: tuple[Signed[Request], ...]

    @property
    def parent(self) -> bytes:
        """Digest of the parent."""
        return self.justify[0].body.block if self.justify else digest(GENESIS)


GENESIS = Block(0, 0, (), ())


@message
class Proposal:
    """The leader's block for a view."""

    chain: str
    block: Block
    replica: int


@message
class Progress:
    """The leader's word that a phase of basic HotStuff has its certificate, so that the next, `phase`, begins."""

    chain: str
    phase: str
    certificate: tuple[Signed[Vote], ...]
    replica: int


@message
class NewView:
    """What a replica brings to the next leader: its highest certificate, and the height that it has executed.

    If chained, its last vote as well: the leader who was to collect that may be silent.
    """

    chain: str
    view: int
    certificate: tuple[Signed[Vote], ...]
    votes: tuple[Signed[Vote], ...]
    height: int
    replica: int


@message
class Fetch:
    """A question for a block, and its ancestors above a height."""

    chain: str
    block: bytes
    height: int
    replica: int


@message
class Branch:
    """Blocks, each the parent of the next; in basic HotStuff, the certificate that decides the last one as well."""

    chain: str
    blocks: tuple[Block, ...]
    certificate: tuple[Signed[Vote], ...]
    replica: int


def view_of(certificate: tuple[Signed[Vote], ...]) -> int:
    """Return the view of a `certificate`; that of the genesis block, which needs no votes, is of view 0.

    >>> view_of(())
    0
    """
    return certificate[0].body.view if certificate else 0


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
    >>> leader.receive("garbage"), leader.waiting
    ([], True)
    """

    @validated
    def __init__(self, members: Members, key: SigningKey, *, chained: bool) -> None:
        self.members, self.member, self.chained = members, Member(members, key), chained
        self.view = 1
        self.highest: Certificate = ()  # of prepare, or of any view if chained
        self.locked: Certificate = ()
        self.tree = {digest(GENESIS): GENESIS}
        self.voted: dict[str, Signed[Vote]] = {}  # its last vote in each phase
        self.votes: dict[tuple[str, bytes], dict[int, Signed[Vote]]] = {}  # for the leader that it is
        self.new_views: dict[int, int] = {}  # the last view for which each replica brought a certificate
        self.proposed = 0  # the last view in which it proposed
        self._proof: tuple[bytes, Certificate] = digest(GENESIS), ()  # what shows others that all here is decided
        self._early: dict[tuple[type, int], Signed[Any]] = {}
        self._rules: dict[type, Callable[[Any, Any], Sends]] = {
            Proposal: self._on_proposal,
            Progress: self._on_progress,
            Vote: self._on_vote,
            NewView: self._on_new_view,
            Fetch: self._on_fetch,
            Branch: self._on_branch,
        }

    @property
    def blocks(self) -> list[Block]:
        """The executed blocks, from height 1."""
        return self.member.blocks

    @property
    def settled(self) -> int:
        """The view of the last executed block."""
        return self.blocks[-1].view if self.blocks else 0

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
        """Give this view up if something is overdue, and tell the next leader."""
        return self._enter(self.view + 1, announce=True) if self.waiting else []

    # Sending: what is for all is for oneself as well

    def _say(self, body: Any) -> Sends:
        message = self.member.sign(body)
        others = [at for at in range(len(self.members.keys)) if at != self.member.index]
        return [*((at, message) for at in others), *self._rules[type(body)](body, message)]

    def _tell(self, receiver: int, body: Any) -> Sends:
        message = self.member.sign(body)
        return self._rules[type(body)](body, message) if receiver == self.member.index else [(receiver, message)]

    def _vote(self, phase: str, block: Block) -> Sends:
        """Vote once a view and phase: for the leader, or for the next one if chained."""
        if phase in self.voted and self.voted[phase].body.view >= self.view:
            return []
        vote = Vote(self.members.chain, phase, self.view, block.height, digest(block), self.member.index)
        self.voted[phase] = message = self.member.sign(vote)
        receiver = self.members.leader(self.view + self.chained)
        return [(receiver, message)] if receiver != self.member.index else self._on_vote(vote, message)

    def _fetch(self, receiver: int, block: bytes) -> Sends:
        wanted = Fetch(self.members.chain, block, len(self.blocks), self.member.index)
        return [(receiver, self.member.sign(wanted))] if receiver != self.member.index else []

    # Views

    def _enter(self, view: int, announce: bool = False) -> Sends:
        """Go to a later view; what came early for it is looked at again."""
        if view <= self.view:
            return []
        self.view, sends = view, []
        if announce:
            last = (self.voted[GENERIC],) if GENERIC in self.voted else ()
            mine = NewView(self.members.chain, view, self.highest, last, len(self.blocks), self.member.index)
            sends = self._tell(self.members.leader(view), mine)
        return sends + self._replay() + self._propose()

    def _replay(self) -> Sends:
        early, self._early = self._early, {}
        return [send for message in early.values() for send in self.receive(message)]

    def _later(self, message: Signed[Any], block: bytes | None = None) -> Sends:
        """Keep a message that comes early, the last one of its kind and sender, and ask for the block it lacks."""
        sender = message.body.replica
        self._early[type(message.body), sender] = message
        return self._fetch(sender, block) if block else []

    def _on_new_view(self, body: NewView, message: Signed[NewView]) -> Sends:
        if body.view <= self.new_views.get(body.replica, 0) or not self._is_certified(body.certificate):
            return []
        sends: Sends = []
        if body.height < len(self.blocks):
            sends = self._branch(body.replica, *self._proof, body.height)
        if body.certificate and (block := body.certificate[0].body.block) not in self.tree:
            return sends + self._later(message, block)
        self.new_views[body.replica] = body.view
        for vote in body.votes[:1]:
            if vote.body.replica == body.replica and self.members.signed(vote):
                sends += self._collect(vote)
        return sends + self._see(body.certificate) + self._propose()

    def _is_certified(self, certificate: Certificate) -> bool:
        """Whether a certificate may justify a block."""
        return not certificate or self.members.certify(certificate, GENERIC if self.chained else PREPARE)

    def _see(self, certificate: Certificate) -> Sends:
        """Keep the highest certificate; a quorum was in its view, so go there, or to the next if chained."""
        if view_of(certificate) > view_of(self.highest):
            self.highest = certificate
        return self._enter(view_of(certificate) + self.chained)

    def _propose(self) -> Sends:
        """As leader whom a quorum has brought its certificates, propose what waits.

        An empty block as well, as long as its ancestors have requests and wait for a decision.
        """
        brought = sum(view >= self.view for view in self.new_views.values())
        may_begin = (
            self.view == 1
            or brought >= self.members.quorum
            or (self.chained and view_of(self.highest) == self.view - 1)
        )
        is_leader = self.members.leader(self.view) == self.member.index
        if not is_leader or not may_begin or self.proposed == self.view:
            return []
        parent = self.highest[0].body.block if self.highest else digest(GENESIS)
        undecided = self._undecided(parent)
        fresh = self.member.fresh(undecided)
        if not fresh and not any(block.requests for block in undecided):
            return []
        self.proposed = self.view
        block = Block(self.view, self.tree[parent].height + 1, self.highest, fresh)
        return self._say(Proposal(self.members.chain, block, self.member.index))

    # Blocks

    def _undecided(self, block: bytes) -> list[Block]:
        """A block and its ancestors down to the executed height, the oldest first."""
        found: list[Block] = []
        while (at := self.tree[block]).height > len(self.blocks):
            found.append(at)
            block = at.parent
        return found[::-1]

    def _add(self, block: Block) -> bool:
        """Keep a block whose parent is here, and whose certificate and requests hold."""
        if (name := digest(block)) not in self.tree:
            parent = self.tree.get(block.parent)
            follows = parent is not None and block.height == parent.height + 1
            if not (follows and view_of(block.justify) < block.view and self._is_certified(block.justify)):
                return False
            if not self.members.asked(block.requests):
                return False
            self.tree[name] = block
        return True

    def _is_safe(self, block: Block) -> bool:
        """Whether a block extends the locked one, or a later certificate justifies it."""
        if not self.locked or view_of(block.justify) > view_of(self.locked):
            return True
        locked = self.locked[0].body
        while block.height > locked.height:
            name, block = block.parent, self.tree[block.parent]
            if name == locked.block:
                return True
        return False

    def _decide(self, block: Block, proof: tuple[bytes, Certificate]) -> Sends:
        """Execute a block and its ancestors; never another block at a height than before."""
        branch, sends = self._undecided(digest(block)), []
        executed = digest(self.blocks[-1]) if self.blocks else digest(GENESIS)
        if branch and branch[0].parent == executed:
            self._proof = proof
            for each in branch:
                sends += self.member.execute(each)
            self.votes = {key: kept for key, kept in self.votes.items() if self.tree[key[1]].height > len(self.blocks)}
        return sends

    def _on_proposal(self, body: Proposal, message: Signed[Proposal]) -> Sends:
        block = body.block
        if body.replica != self.members.leader(block.view):
            return []
        if block.parent not in self.tree:
            return self._later(message, block.parent)
        is_new = digest(block) not in self.tree
        if not self._add(block):
            return []
        sends = self._see(block.justify) + (self._chain(block) if self.chained else [])
        if block.view > self.view:
            sends += self._later(message)
        elif block.view == self.view and self._is_safe(block):
            sends += self._vote(GENERIC if self.chained else PREPARE, block)
            sends += self._enter(self.view + 1) if self.chained else []
        return sends + (self._replay() if is_new else [])

    def _on_vote(self, vote: Vote, message: Signed[Vote]) -> Sends:
        is_mine = self.chained or self.members.leader(vote.view) == self.member.index
        return self._collect(message) if is_mine else []

    def _collect(self, message: Signed[Vote]) -> Sends:
        """As leader, go on to what follows once a quorum has voted."""
        vote = message.body
        if vote.phase not in ((GENERIC,) if self.chained else FOLLOWS):
            return []
        if (block := self.tree.get(vote.block)) is None:
            return self._later(message, vote.block)
        if (vote.view, vote.height) != (block.view, block.height) or block.height <= len(self.blocks):
            return []
        votes = self.votes.setdefault((vote.phase, vote.block), {})
        if vote.replica in votes or len(votes) == self.members.quorum:
            return []
        votes[vote.replica] = message
        if len(votes) < self.members.quorum:
            return []
        certificate = tuple(votes.values())
        if self.chained:
            return self._see(certificate) + self._propose()
        return self._say(Progress(self.members.chain, FOLLOWS[vote.phase], certificate, self.member.index))

    # Basic: three certificates for a block

    def _on_progress(self, body: Progress, message: Signed[Progress]) -> Sends:
        certificate = body.certificate
        phase = next((before for before, after in FOLLOWS.items() if after == body.phase), "")
        view = view_of(certificate)
        if self.chained or (view < self.view and body.phase != DECIDE) or not self.members.certify(certificate, phase):
            return []
        if (name := certificate[0].body.block) not in self.tree:
            return self._later(message, name)
        block, sends = self.tree[name], self._enter(view)
        if body.phase == DECIDE:
            sends += self._end(block, certificate)
        elif body.replica == self.members.leader(view) and self.view == view:
            if body.phase == PRE_COMMIT:
                sends += self._see(certificate)
            else:
                self.locked = certificate
            sends += self._vote(body.phase, block)
        return sends

    def _end(self, block: Block, certificate: Certificate) -> Sends:
        sends = self._decide(block, (digest(block), certificate))
        return sends + self._enter(view_of(certificate) + 1, announce=True)

    # Chained: each certificate is one more phase for three blocks

    def _chain(self, block: Block) -> Sends:
        """Lock on the grandparent, decide its parent if the three have consecutive views; all certified."""
        third = self.tree[block.parent]
        second = self.tree[third.parent]
        first = self.tree[second.parent]
        if view_of(third.justify) > view_of(self.locked):
            self.locked = third.justify
        in_a_row = third.view == second.view + 1 == first.view + 2
        return self._decide(first, (digest(block), ())) if in_a_row else []

    # Catching up

    def _branch(self, receiver: int, block: bytes, certificate: Certificate, height: int) -> Sends:
        found: list[Block] = []
        while (at := self.tree[block]).height > height:
            found.append(at)
            block = at.parent
        answer = Branch(self.members.chain, tuple(found[::-1]), certificate, self.member.index)
        return [(receiver, self.member.sign(answer))] if found else []

    def _on_fetch(self, body: Fetch, _: Signed[Fetch]) -> Sends:
        return self._branch(body.replica, body.block, (), body.height) if body.block in self.tree else []

    def _on_branch(self, body: Branch, _: Signed[Branch]) -> Sends:
        sends: Sends = []
        for block in body.blocks:
            if not self._add(block):
                break
            sends += self._see(block.justify) + (self._chain(block) if self.chained else [])
        if not self.chained and body.blocks and self.members.certify(body.certificate, COMMIT):
            name = digest(last := body.blocks[-1])
            sends += self._end(last, body.certificate) if name == body.certificate[0].body.block in self.tree else []
        return sends + self._replay()
