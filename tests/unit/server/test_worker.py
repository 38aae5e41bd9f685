"""A worker that ends by an exception that nobody expected says its type and place, never its text."""

from __future__ import annotations

import asyncio
import json
import socket
import sys

import pytest

from overseer.core.errors import OverseerError
from overseer.server.key_channel import Channel, Start


@pytest.mark.anyio
async def test_an_unexpected_exception_is_one_line_of_the_log() -> None:
    ours, theirs = socket.socketpair()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "overseer.server.worker", str(theirs.fileno())),
        pass_fds=[theirs.fileno()],
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    theirs.close()
    channel = await Channel.over(ours)
    await channel.send(Start(worker=0, settings={"log_level": "info"}, root_key=None))
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    channel.close()
    assert process.returncode == OverseerError.exit_code
    [line] = said.decode().splitlines()
    entry = json.loads(line)
    assert (entry["level"], entry["exception"][0]["type"]) == ("critical", "ValidationError")
