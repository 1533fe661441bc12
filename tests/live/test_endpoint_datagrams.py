from __future__ import annotations

import math
import random
import socket

import pytest
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.bind import bind_pair
from swimnomad.live.endpoint import EndpointLimits, GossipEndpoint, open_endpoint
from swimnomad.names import Address
from swimnomad.swim.effects import CancelTimer, Emit, SendDatagram, SetTimer
from swimnomad.swim.inputs import DatagramReceived, Shutdown, Start, TimerFired
from tests.live.live_support import Alarm, Answered, Ask, Noted, Toy, fresh_address

pytestmark = pytest.mark.live


def echo() -> Toy:
    return Toy({DatagramReceived: lambda one, _: [SendDatagram(one.source, one.data)]})


async def test_the_first_input_is_start_with_the_bound_address_and_the_last_is_shutdown() -> None:
    core, wanted = Toy(), fresh_address()
    with trio.fail_after(10):
        async with open_endpoint(core, wanted) as endpoint:
            assert endpoint.address.host == wanted.host
            assert endpoint.address.port != 0
    assert core.inputs == [Start(endpoint.address), Shutdown()]


async def test_datagrams_arrive_with_their_source_and_answers_leave_from_the_bound_port() -> None:
    core = echo()
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as peer:
                await peer.bind((fresh_address().host, 0))
                await peer.sendto(b"hello", tuple(endpoint.address))
                data, source = await peer.recvfrom(100)
                assert (data, Address(*source)) == (b"hello", endpoint.address)
                assert core.inputs[1] == DatagramReceived(b"hello", Address(*peer.getsockname()))


async def test_empty_datagrams_are_ignored_and_large_ones_arrive_whole() -> None:
    core = echo()
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as peer:
                await peer.bind((fresh_address().host, 0))
                large = random.Random(1).randbytes(65_000)
                for data in (b"", large):
                    await peer.sendto(data, tuple(endpoint.address))
                assert await peer.recv(65_536) == large
    assert len(core.seen(DatagramReceived)) == 1


async def test_a_datagram_that_cannot_be_sent_is_counted_and_nothing_else() -> None:
    # Port 0 and a datagram above the largest size: both refused by the system itself.
    core = Toy(
        {
            Start: lambda _, now: [
                SendDatagram(Address("127.0.0.1", 0), b"x"),
                SendDatagram(Address("127.0.0.1", 9), bytes(70_000)),
                SetTimer(Alarm("after"), now),
            ]
        }
    )
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            await core.wait_for(TimerFired)
            assert endpoint.counters.send_errors == 2
            assert endpoint.counters.datagrams_out == 0


async def test_timers_fire_in_order_never_early_and_not_when_cancelled_or_replaced() -> None:
    def start(_: Start, now: float) -> list[SetTimer | CancelTimer]:
        return [
            SetTimer(Alarm("late"), now + 0.05),
            SetTimer(Alarm("soon"), now + 0.02),
            SetTimer(Alarm("moved"), now + 0.01),
            SetTimer(Alarm("moved"), now + 0.03),
            SetTimer(Alarm("cancelled"), now + 0.01),
            CancelTimer(Alarm("cancelled")),
            CancelTimer(Alarm("unknown")),
        ]

    core = Toy({Start: start})  # type: ignore[dict-item]  # lists of some effects are fine here
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            await core.wait_for(TimerFired, 3)
            assert endpoint.timer_count == 0
    assert [one.timer.name for one in core.seen(TimerFired)] == ["soon", "moved", "late"]
    fired = [at - core.times[0] for at in core.times[1:4]]
    assert all(at >= due for at, due in zip(fired, (0.02, 0.03, 0.05), strict=True))


async def test_a_core_that_keeps_setting_timers_for_the_past_starves_nobody() -> None:
    core = echo()
    core.reactions[Start] = lambda _, now: [SetTimer(Alarm("again"), now)]
    core.reactions[TimerFired] = lambda one, now: [SetTimer(one.timer, now)]
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as peer:
                await peer.bind((fresh_address().host, 0))
                await peer.sendto(b"hello", tuple(endpoint.address))
                assert await peer.recv(100) == b"hello"


async def test_what_lies_in_the_socket_is_fed_before_timers_that_are_overdue() -> None:
    """A paused process must not suspect those whose answers it has not read yet."""
    core = Toy()
    sockets = bind_pair(fresh_address())
    start = Start(sockets.address)
    core.reactions[Start] = lambda _, now: [SetTimer(Alarm("overdue"), -math.inf)]
    with trio.fail_after(10), socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.sendto(b"ack", tuple(sockets.address))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(GossipEndpoint(core, sockets, start=start).serve)
            await core.wait_for(TimerFired)
            nursery.cancel_scope.cancel()
    kinds = [type(one) for one in core.inputs]
    assert kinds == [Start, DatagramReceived, TimerFired, Shutdown]


async def test_a_full_inbox_drops_datagrams_counts_them_and_stays_within_bounds() -> None:
    limits = EndpointLimits(inbox_items=8, datagrams_per_wake=64)
    core = Toy()
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address(), limits=limits) as endpoint:
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                for _ in range(40):
                    peer.sendto(b"flood", tuple(endpoint.address))
            await core.wait_for(DatagramReceived, 8)
            assert endpoint.counters.datagrams_in == 40
            assert endpoint.counters.datagrams_dropped == 32
            assert endpoint.inbox_length == 0


async def test_execute_returns_the_outcome_of_its_own_command() -> None:
    core = Toy({Ask: lambda one, _: [Emit(Answered(one.operation, one.text.upper()))]})
    answers: dict[str, str] = {}
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:

            async def ask(text: str) -> None:
                event = await endpoint.execute(lambda number: Ask(number, text))
                assert isinstance(event, Answered)
                answers[text] = event.text

            async with trio.open_nursery() as nursery:
                for text in "abc":
                    nursery.start_soon(ask, text)
    assert answers == {"a": "A", "b": "B", "c": "C"}
    assert len({one.operation for one in core.seen(Ask)}) == 3


async def test_a_command_the_core_refuses_raises_at_its_caller_and_the_core_goes_on() -> None:
    def refuse(one: Ask, _: float) -> list[Emit]:
        if not one.text:
            raise UsageError("say something")
        return [Emit(Answered(one.operation, one.text))]

    core = Toy({Ask: refuse})  # type: ignore[dict-item]  # lists of some effects are fine here
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            with pytest.raises(UsageError, match="say something"):
                await endpoint.execute(Ask)
            await endpoint.execute(lambda number: Ask(number, "hello"))


async def test_commands_wait_while_the_inbox_is_full_and_then_all_arrive() -> None:
    limits = EndpointLimits(inbox_items=2)
    core = Toy({Ask: lambda one, _: [Emit(Answered(one.operation))]})
    with trio.fail_after(10):
        async with (
            open_endpoint(core, fresh_address(), limits=limits) as endpoint,
            trio.open_nursery() as nursery,
        ):
            for _ in range(50):
                nursery.start_soon(endpoint.execute, Ask)
    assert len(core.seen(Ask)) == 50


async def test_callers_learn_that_the_endpoint_stopped_before_the_outcome_was_known() -> None:
    core = Toy()
    errors: list[OperationError] = []

    async def ask(endpoint: GossipEndpoint) -> None:
        with pytest.raises(OperationError) as caught:
            await endpoint.execute(Ask)
        errors.append(caught.value)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with open_endpoint(core, fresh_address()) as endpoint:
                nursery.start_soon(ask, endpoint)
                await core.wait_for(Ask)
            nursery.start_soon(ask, endpoint)
    assert sorted(error.may_have_happened for error in errors) == [False, True]


async def test_a_subscriber_that_is_too_slow_loses_the_oldest_events_and_is_told() -> None:
    core = Toy({Ask: lambda one, _: [*(Emit(Noted(n)) for n in range(10)), Emit(Answered(1))]})
    with trio.fail_after(10):
        async with open_endpoint(core, fresh_address()) as endpoint:
            with endpoint.hub.subscribe(buffer=4) as slow, endpoint.hub.subscribe() as quick:
                await endpoint.execute(Ask)
        assert [str(event) async for _, event in slow] == [
            "EventsLost(count=7)",
            "Noted(number=7)",
            "Noted(number=8)",
            "Noted(number=9)",
            "Answered(operation=1, text='')",
        ]
        assert len([event async for _, event in quick]) == 11


async def test_the_journal_holds_every_input_the_core_got() -> None:
    journal: list[object] = []
    core = echo()
    with trio.fail_after(10):
        async with open_endpoint(
            core, fresh_address(), journal=lambda now, one, _effects: journal.append((now, one))
        ) as endpoint:
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.sendto(b"hello", tuple(endpoint.address))
            await core.wait_for(DatagramReceived)
    assert journal == list(zip(core.times, core.inputs, strict=True))
