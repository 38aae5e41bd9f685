"""A process that leads where it can and says on stdout when its job runs: ``python -m … URL NAME``. Ended by a kill."""

from __future__ import annotations

import asyncio
import sys

from overseer.server.scheduler import Job, Scheduler
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.service_session import session_setup


async def lead(url: str, name: str) -> None:
    """Print ``name`` every tenth of a second while leading."""

    async def tell() -> None:
        print(name, flush=True)

    await Scheduler(Database(service_arguments(url), setup=session_setup), [Job("tell", 0.1, tell)]).run()


if __name__ == "__main__":
    asyncio.run(lead(sys.argv[1], sys.argv[2]))
