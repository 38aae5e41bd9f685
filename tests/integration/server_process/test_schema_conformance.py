"""The OpenAPI document against a real server: schemathesis makes requests from it, alone and in sequences, compares answers.

Bounded and with a fixed seed, so that a red run can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from tests.integration.server_process.installation import Installation, RunningServer

pytestmark = pytest.mark.postgres
EXAMPLES = 4
SEQUENCES = 12
STEPS = 8
BOUNDED = settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
#: Routes that wait, end the test's own credential, or need what only an agent or a browser has.
LEFT_OUT = ("/api/agent/", "/api/auth/", "/events", "/api/seal/")


def checks() -> list[Any]:
    """All that a stateless document can promise. ``positive_data_acceptance`` is not among them: a body may obey every type and
    name an app that does not exist. ``ignored_auth`` is asked of every route in ``tests/integration/api``."""
    load_all_checks()
    wanted = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "use_after_free",
        "unsupported_method",
    )
    return CHECKS.get_by_names(list(wanted))


@pytest.fixture(scope="module")
def server(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    made = RunningServer(installation.settings(), tmp_path_factory.mktemp("conformance") / "server.log")
    made.wait_for("/health/ready", 200)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def schema(server: RunningServer, installation: Installation) -> Any:
    loaded = schemathesis.openapi.from_url(f"{server.url}/api/openapi.json")
    loaded.config.update(base_url=server.url, headers={"Authorization": f"Bearer {installation.owner_token}"})
    return loaded.exclude(path_regex="|".join(LEFT_OUT)) if hasattr(loaded, "exclude") else loaded


def failures_of(operation: Any) -> str:
    """What is wrong with one operation; '' where nothing is."""

    @seed(20)
    @settings(BOUNDED, max_examples=EXAMPLES, phases=[Phase.generate])
    @given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.call_and_validate(checks=checks())

    try:
        ask()
    except FailureGroup as failures:
        return f"{operation.label}: " + "; ".join(str(one) for one in failures.exceptions)
    return ""


def test_every_operation_answers_as_the_document_says(schema: Any, server: RunningServer) -> None:
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 60
    found = [failure for failure in map(failures_of, operations) if failure]
    assert not found, "\n\n".join(found)
    assert "unexpected exception" not in server.said()


def test_sequences_of_operations_hold_too(schema: Any, server: RunningServer) -> None:
    class Machine(schema.as_state_machine()):  # type: ignore[misc]
        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=checks())

    run_state_machine_as_test(
        Machine,
        settings=settings(BOUNDED, max_examples=SEQUENCES, stateful_step_count=STEPS, derandomize=True),
    )
    assert "unexpected exception" not in server.said()
