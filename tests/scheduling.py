"""Which tests stay together when several processes share them, and which are begun first.

Guarantees: a file's tests run in one process and in their order, as fixtures of a module expect; the files of a ``TOGETHER``
directory do too, for they share what is dear to start. What takes longest is begun first: a long file that is begun last keeps
one process busy while the others have nothing left. xdist's own order, the most tests first, would do just that, since the
longest files hold the fewest tests.

It will not split a file, and it changes nothing where one process runs all tests: the order is then pytest's own. A wrong or
missing number costs time and nothing else.
"""

from __future__ import annotations

from typing import Final

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

#: These share what one process starts once: two machines with an engine each.
TOGETHER: Final = ("tests/docker/nodes",)
#: About how many seconds each takes, of all that take long; `pytest --durations=0` shows what has changed.
SECONDS: Final = {
    "tests/e2e/test_faults_harness.py": 120,
    "tests/docker/nodes": 80,
    "tests/e2e/canary/test_canary.py": 70,
    "tests/integration/rotators/test_crashes.py": 60,
    "tests/e2e/web/test_pages.py": 50,
    "tests/docker/agent/test_life.py": 50,
    "tests/integration/storage/test_embedded.py": 45,
    "tests/docker/agent/test_reload.py": 45,
    "tests/integration/server_process/test_seals.py": 45,
    "tests/integration/api/test_every_route.py": 40,
    "tests/integration/server_process/test_server_process.py": 40,
    "tests/e2e/cli/test_quickstart.py": 40,
    "tests/docker/compose_language/test_corpus.py": 30,
    "tests/integration/people/test_oidc.py": 30,
    "tests/integration/services/test_backends.py": 30,
    "tests/integration/server_process/test_metrics.py": 30,
    "tests/e2e/web/test_single_sign_on.py": 25,
    "tests/integration/seals/test_aws_kms.py": 25,
    "tests/integration/server_process/test_replicas.py": 25,
    "tests/integration/storage/test_service_session.py": 25,
    "tests/integration/server_process/test_behind_a_proxy.py": 20,
    "tests/integration/server_process/test_rotation_of_replicas.py": 20,
    "tests/docker/agent/test_faults.py": 20,
    "tests/docker/compose_language/test_table.py": 20,
    "tests/docker/compose_language/test_exactness.py": 20,
    "tests/integration/services/test_reveal_batches.py": 20,
    "tests/e2e/cli/test_people.py": 20,
    "tests/e2e/web/test_approvals.py": 15,
    "tests/integration/rotators/test_rotators.py": 15,
    "tests/integration/services/test_log_tampering.py": 15,
    "tests/contract/backends/test_every_backend.py": 15,
    "tests/unit/compose/test_references.py": 15,
    "tests/unit/agent/test_loop.py": 15,
}


class LongestFirst(LoadFileScheduling):
    """xdist's distribution by files, with the groups and the order of this module."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        longest = max(self.workqueue, key=lambda group: SECONDS.get(group, 0))
        self.workqueue.move_to_end(longest, last=False)
        super()._assign_work_unit(node)


def group_of(nodeid: str) -> str:
    """What one process runs: the file of the test, or its directory where the files of that belong together."""
    file = nodeid.partition("::")[0]
    return next((directory for directory in TOGETHER if file.startswith(f"{directory}/")), file)
