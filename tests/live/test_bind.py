from __future__ import annotations

import socket

import pytest

from swimnomad.errors import UsageError
from swimnomad.live.bind import bind_pair
from swimnomad.names import Address
from tests.live.live_support import fresh_address

pytestmark = pytest.mark.live


def test_port_0_gives_both_sockets_the_same_port() -> None:
    wanted = fresh_address()
    sockets = bind_pair(wanted)
    try:
        assert sockets.address.host == wanted.host
        assert sockets.udp.getsockname() == sockets.listener.getsockname() == sockets.address
    finally:
        sockets.close()


@pytest.mark.parametrize(
    ("kind", "protocol"), [(socket.SOCK_STREAM, "tcp"), (socket.SOCK_DGRAM, "udp")]
)
def test_a_port_in_use_is_named_with_address_and_protocol(
    kind: socket.SocketKind, protocol: str
) -> None:
    with socket.socket(type=kind) as taken:
        taken.bind((fresh_address().host, 0))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        address = Address(*taken.getsockname())
        with pytest.raises(UsageError) as caught:
            bind_pair(address)
    assert str(caught.value) == (
        f"cannot listen on {protocol} {address}: bind: address already in use"
    )


def test_an_address_this_host_does_not_have_is_named() -> None:
    with pytest.raises(UsageError, match=r"tcp 192\.0\.2\.1:4648: bind: cannot assign requested"):
        bind_pair(Address("192.0.2.1", 4648))


def test_the_receive_buffer_is_enlarged() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as ordinary:
        usual = ordinary.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    sockets = bind_pair(fresh_address())
    try:
        assert sockets.udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= usual
    finally:
        sockets.close()
