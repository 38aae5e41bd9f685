"""A worker's way to the supervisor's box of shares, over the channel that brings the root key."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Final

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.crypto.shares import Share, parse_share
from overseer.server.key_channel import Channel, ShareGiven, SharesAsked, SharesForgotten, ShareState
from overseer.server.services.share_collection import Collected, ShareBox

SECONDS: Final = 5.0


class ChannelShares:
    """The worker's end: a :class:`ShareCollector`. :meth:`answered` gets what the supervisor says."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[ShareState]] = {}

    async def give(self, share: Share, *, anew: bool = False) -> Collected:
        text = share.text().reveal()
        state = await self._ask(lambda number: ShareGiven(number=number, share=text, anew=anew))
        return Collected(state.given, None if state.root_key is None else RootKey(state.root_key))

    async def given(self) -> int:
        return (await self._ask(lambda number: SharesAsked(number=number))).given

    async def forget(self) -> None:
        await self._send(SharesForgotten())

    def answered(self, state: ShareState) -> None:
        """Wake who asked; who gave up waiting is not there any more."""
        waiting = self._waiting.get(state.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(state)

    async def _ask(self, message: Callable[[int], ShareGiven | SharesAsked]) -> ShareState:
        number = next(self._numbers)
        waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(message(number))
            return await asyncio.wait_for(waiting, SECONDS)
        except TimeoutError:
            raise NotReady("the server's supervisor does not answer; try again", retry_after=1) from None
        finally:
            del self._waiting[number]

    async def _send(self, message: ShareGiven | SharesAsked | SharesForgotten) -> None:
        try:
            await self._channel.send(message)
        except OSError:
            raise NotReady("the server is being stopped; try again", retry_after=1) from None


def answer_share(box: ShareBox, message: ShareGiven | SharesAsked) -> ShareState:
    """The supervisor's end: what a worker is told."""
    if isinstance(message, SharesAsked):
        return ShareState(number=message.number, given=box.given(), root_key=None)
    collected = box.give(parse_share(SecretValue(message.share)), anew=message.anew)
    root_key = None if collected.root_key is None else collected.root_key.reveal()
    return ShareState(number=message.number, given=collected.given, root_key=root_key)
