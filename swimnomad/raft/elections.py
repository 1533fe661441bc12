"""Who leads: the one file that moves a node from one state to another.

See the head of `node` for the states and what moves them. A vote is made durable before anybody
hears of it; `Context` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from swimnomad.raft.context import Context, Outgoing
from swimnomad.raft.events import BecameLeader, ElectionStarted, LostLeadership, VoteDenied
from swimnomad.raft.inputs import Failure, Ticket
from swimnomad.raft.messages import (
    PreVote,
    PreVoteReply,
    Refusal,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.stats import State
from swimnomad.raft.timers import ElectionTimeout

LEGAL: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.FOLLOWER: frozenset(
            # A single voter, and one that a leader hands over to, skip the pre-vote.
            {State.FOLLOWER, State.PRE_CANDIDATE, State.CANDIDATE, State.STOPPED}
        ),
        State.PRE_CANDIDATE: frozenset(
            {State.PRE_CANDIDATE, State.CANDIDATE, State.FOLLOWER, State.STOPPED}
        ),
        State.CANDIDATE: frozenset(
            {State.PRE_CANDIDATE, State.CANDIDATE, State.LEADER, State.FOLLOWER, State.STOPPED}
        ),
        State.LEADER: frozenset({State.FOLLOWER, State.STOPPED}),
        State.STOPPED: frozenset(),
    }
)
"""Which state may follow which."""


class Elections:
    """Elections, votes and the coming and going of leaders.

    Attributes:
        on_elected: Called when this node has become leader.
        on_deposed: Called when it is none any more.
        on_leader: Called when it begins to follow somebody.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._votes: dict[ServerAddress, None] = {}
        self._patience = 0.0
        self._patient_since = 0.0
        self.on_elected: Callable[[], None] = lambda: None
        self.on_deposed: Callable[[str], None] = lambda _reason: None
        self.on_leader: Callable[[ServerAddress], None] = lambda _leader: None

    # --- moving -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin as follower who gives the leader its time."""
        self._wait_for_leader()

    def _move(self, state: State) -> None:
        context = self._context
        assert state in LEGAL[context.state], f"{context.state} to {state}"
        context.state = state

    def adopt_term(self, term: int, reason: str) -> None:
        """A newer term was heard of: follow, whoever leads it."""
        assert term > self._context.term
        self._to_follower(term, None, reason)

    def follow(self, term: int, leader: ServerAddress) -> None:
        """Somebody leads a term that is not older than ours."""
        context = self._context
        context.last_contact = self._patient_since = context.now
        if context.state is State.FOLLOWER and (term, leader) == (context.term, context.leader):
            return
        self._to_follower(term, leader, f"{leader} leads term {term}")
        self.on_leader(leader)

    def step_down(self, reason: str) -> None:
        """As leader: follow, in the same term."""
        self._to_follower(self._context.term, None, reason)

    def _to_follower(self, term: int, leader: ServerAddress | None, reason: str) -> None:
        context = self._context
        led = context.term if context.state is State.LEADER else None
        if context.state is not State.FOLLOWER:
            self._move(State.FOLLOWER)
            self._votes.clear()
            if led is not None:
                self.on_deposed(reason)
            context.in_flight.clear()
            self._wait_for_leader()
        is_new_term = term > context.term
        if is_new_term:
            context.set_term(term, None)
        if led is not None:
            context.emit(LostLeadership(led, reason))
        context.set_leader(leader, is_new_term=is_new_term)

    def stop(self) -> None:
        """Do nothing any more."""
        self._move(State.STOPPED)
        self._votes.clear()
        self._context.in_flight.clear()

    def _wait_for_leader(self) -> None:
        context = self._context
        self._patient_since = context.now
        self._patience = context.stretch(context.config.heartbeat_timeout)
        context.set_timer(ElectionTimeout(), context.now + self._patience)

    # --- standing ---------------------------------------------------------------------------------

    def on_timeout(self) -> None:
        """Follower: is the leader heard? Candidate: nobody has won."""
        context = self._context
        if context.state is State.LEADER:
            return
        # The timer is not moved with every message of the leader; it looks when it fires.
        due = self._patient_since + self._patience
        if context.state is State.FOLLOWER and due > context.now:
            context.set_timer(ElectionTimeout(), due)
            return
        context.set_leader(None)
        if not context.configurations.may_stand:
            self._wait_for_leader()
            return
        self._campaign()

    def _campaign(self) -> None:
        context = self._context
        known = context.configurations
        is_alone = known.is_voter and len(known.voters) == 1
        if context.config.pre_vote and not is_alone:
            self._ask(State.PRE_CANDIDATE)
        else:
            self._stand(is_transfer=False)

    def _stand(self, *, is_transfer: bool) -> None:
        """A new term, and our vote for ourselves."""
        context = self._context
        context.set_leader(None)
        context.set_term(context.term + 1, context.config.address)
        self._ask(State.CANDIDATE, is_transfer=is_transfer)

    def _ask(self, state: State, *, is_transfer: bool = False) -> None:
        context = self._context
        own = context.config.address
        self._move(state)
        context.in_flight.clear()
        self._votes = {own: None}
        wait = context.stretch(context.config.election_timeout)
        context.set_timer(ElectionTimeout(), context.now + wait)
        last, last_term = context.log.last_index, context.last_term
        request: PreVote | RequestVote
        if state is State.PRE_CANDIDATE:
            request = PreVote(context.term + 1, own, last, last_term)
        else:
            request = RequestVote(context.term, own, last, last_term, is_transfer)
        context.emit(ElectionStarted(request.term, state is State.PRE_CANDIDATE))
        for server in context.configurations.voters:
            if server.id != context.config.id:
                context.send(server.address, request)
        self._count()

    def _count(self) -> None:
        context = self._context
        known = context.configurations
        # By id for ourselves: our own entry may have a newer address than the one we go by.
        own = context.config.id
        granted = sum(s.id == own or s.address in self._votes for s in known.voters)
        if granted < known.quorum:
            return
        if context.state is State.PRE_CANDIDATE:
            self._stand(is_transfer=False)
            return
        self._move(State.LEADER)
        self._votes.clear()
        context.in_flight.clear()
        context.cancel_timer(ElectionTimeout())
        context.write_term()  # An only voter has told nobody so far.
        context.emit(BecameLeader(context.term))
        context.set_leader(context.config.address)
        self.on_elected()

    def on_vote_reply(self, sent: Outgoing, reply: PreVoteReply | RequestVoteReply) -> None:
        """A voter answered; newer terms were seen to before."""
        asked = PreVote if self._context.state is State.PRE_CANDIDATE else RequestVote
        if sent.kind is asked and sent.term == self._context.term and reply.granted:
            self._take_vote(sent.to)

    def on_vote_failure(self, sent: Outgoing, failure: Failure) -> None:
        """A voter does not answer. One that knows no pre-vote would have no objection."""
        is_pre = self._context.state is State.PRE_CANDIDATE and sent.kind is PreVote
        if is_pre and failure is Failure.UNSUPPORTED:
            self._take_vote(sent.to)

    def _take_vote(self, voter: ServerAddress) -> None:
        self._votes[voter] = None
        self._count()

    # --- voting -----------------------------------------------------------------------------------

    def _is_up_to_date(self, request: PreVote | RequestVote) -> bool:
        context = self._context
        own = (context.last_term, context.log.last_index)
        return (request.last_term, request.last_index) >= own

    def on_pre_vote(self, ticket: Ticket, request: PreVote) -> None:
        """Somebody asks whether it would be elected. Nothing changes."""
        context = self._context
        reason = ""
        if context.hears_leader and context.leader != request.candidate:
            reason = f"{context.leader} leads"
        elif request.term <= context.term:
            reason = f"the term here is {context.term} already"
        elif not self._is_up_to_date(request):
            reason = f"its log ends at {request.last_index} of term {request.last_term}"
        if reason:
            context.emit(VoteDenied(request.candidate, request.term, reason))
        context.answer(ticket, PreVoteReply(context.term, not reason))

    def on_vote_request(self, ticket: Ticket, request: RequestVote) -> None:
        """A candidate asks for our vote."""
        context = self._context
        candidate = request.candidate
        # Else whoever does not hear the leader could depose it.
        keeps = context.hears_leader and context.leader != candidate and not request.is_transfer
        if keeps or request.term < context.term:
            reason = f"{context.leader} leads" if keeps else f"the term here is {context.term}"
            context.refuse(candidate, request, reason)
            context.answer(ticket, RequestVoteReply(context.term, False))
            return
        if request.term > context.term:
            self.adopt_term(request.term, f"{candidate} stands for term {request.term}")
        reason = ""
        if context.voted_for not in (None, candidate):
            reason = f"the vote went to {context.voted_for}"
        elif not self._is_up_to_date(request):
            reason = f"its log ends at {request.last_index} of term {request.last_term}"
        if reason:
            context.emit(VoteDenied(candidate, request.term, reason))
        else:
            context.set_term(request.term, candidate)
            self._patient_since = context.now
        context.answer(ticket, RequestVoteReply(context.term, not reason))

    def on_timeout_now(self, ticket: Ticket, request: TimeoutNow, source: str) -> None:
        """The leader hands over to us. The message does not say who it is from."""
        context = self._context
        if context.state is not State.FOLLOWER or context.leader is None:
            reason = "nobody leads who could hand over"
        elif not context.configurations.is_voter:
            reason = "this server is not a voter"
        else:
            context.answer(ticket, TimeoutNowReply())
            self._stand(is_transfer=True)
            return
        context.refuse(source, request, reason)
        context.answer(ticket, Refusal(reason))
