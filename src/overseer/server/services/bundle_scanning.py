"""Scanning bundles beside the event loop: up to some seconds of work for the worst one, during which others are served.

Call it with no transaction open: a bundle may wait for those before it, and a connection that waits is missing elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar

from overseer.compose.bundle import Bundle
from overseer.compose.references import BundleScan, find_references

Result = TypeVar("Result")
MAX_AT_ONCE: Final = 2
"""In one process. More would not be quicker: Python runs one of them at a time."""

_THREADS: Final = ThreadPoolExecutor(MAX_AT_ONCE, thread_name_prefix="bundle-scan")


async def scan_bundle(bundle: Bundle, *, allow_persisting: bool) -> BundleScan:
    """:func:`find_references` in a thread of its own. A request that is cancelled leaves its scan to end by itself."""
    return await beside(partial(find_references, bundle, allow_persisting=allow_persisting))


async def beside(work: Callable[[], Result]) -> Result:
    """Other work on bundles, in the same few threads."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work)
