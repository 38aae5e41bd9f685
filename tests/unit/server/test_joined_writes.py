from __future__ import annotations

import asyncio

import pytest

from overseer.server.joined_writes import MOST_HELD, JoinedWrites

pytestmark = pytest.mark.anyio


class Recorder(asyncio.Transport):
    """What reached the transport, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.seen.append(bytes(data))

    def close(self) -> None:
        self.seen.append("close")

    def abort(self) -> None:
        self.seen.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.seen or "abort" in self.seen


def joined() -> tuple[Recorder, JoinedWrites]:
    recorder = Recorder()
    return recorder, JoinedWrites(recorder, asyncio.get_running_loop())


async def test_one_turn_is_one_write_in_order() -> None:
    recorder, transport = joined()
    transport.write(b"head")
    transport.write(b"body")
    assert recorder.seen == []
    await asyncio.sleep(0)
    assert recorder.seen == [b"headbody"]
    transport.write(b"next")
    await asyncio.sleep(0)
    assert recorder.seen == [b"headbody", b"next"]


async def test_what_was_written_comes_before_the_end() -> None:
    recorder, transport = joined()
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert recorder.seen == [b"last words", "close"]
    assert transport.is_closing()


async def test_a_connection_that_is_cut_sends_nothing_more() -> None:
    recorder, transport = joined()
    transport.write(b"lost")
    transport.abort()
    await asyncio.sleep(0)
    assert recorder.seen == ["abort"]


async def test_much_is_not_held_back() -> None:
    recorder, transport = joined()
    transport.write(b"x" * (MOST_HELD + 1))
    assert len(recorder.seen) == 1
