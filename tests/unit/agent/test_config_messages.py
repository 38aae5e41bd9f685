"""What Compose says about a bundle is told as far as its author wrote it, and nothing else."""

from __future__ import annotations

import pytest

from overseer.agent.config_messages import told

BUNDLE = [b"services: {web: {image: x, foo: 1, depends_on: [db], labels: ['${NAME:?say a name}']}}\n", b"compose.yaml"]
UNTOLD = "more was said; run 'docker compose config' on the project to see it"


@pytest.mark.parametrize(
    "line",
    [
        "validating compose.yaml: services.web additional properties 'foo' not allowed",
        "validating compose.yaml: services.web.depends_on must be a array",
        'service "web" has neither an image nor a build context specified: invalid compose project',
        'service "web" depends on undefined service "db": invalid compose project',
        "error while interpolating services.web.image: required variable NAME is missing a value: say a name",
        "yaml: line 2: found character that cannot start any token",
        "dependency cycle detected: web -> db -> web",
    ],
)
def test_a_fault_of_the_bundle_is_told(line: str) -> None:
    assert told(line.replace("compose.yaml", "/run/work/1/compose.yaml") + "\n", BUNDLE, "/run/work/1") == line


def test_a_warning_loses_its_time() -> None:
    line = 'time="2026-01-02T03:04:05Z" level=warning msg="The \\"NAME\\" variable is not set. Defaulting to a blank string."'
    assert told(line, BUNDLE, "/x") == 'The \\"NAME\\" variable is not set. Defaulting to a blank string.'


@pytest.mark.parametrize(
    "line",
    [
        'failed to read /run/s/pw: line 1: unexpected character "!" in variable name "victim-Secret!Value#42"',
        'failed to read /run/s/pw: line 1: unexpected character "!" in variable name "web"',
        "validating compose.yaml: services.web additional properties 'hunter2' not allowed",
        "validating compose.yaml: services.hunter2 must be a string",
        "validating compose.yaml: services.we must be a string",
        'service "hunter2" depends on undefined service "db": invalid compose project',
        'time="2026-01-02T03:04:05Z" level=warning msg="The \\"HUNTER2\\" variable is not set. Defaulting to a blank string."',
        "error while interpolating services.web.image: required variable NAME is missing a value: hunter2",
        'line 1: mapping key "hunter2" already defined at line 1',
        "dependency cycle detected: web -> hunter2 -> web",
        "yaml: unknown anchor 'hunter' referenced",
        "hunter2",
    ],
)
def test_text_of_another_file_is_not_told(line: str) -> None:
    assert told(line, BUNDLE, "/run/work/1") == UNTOLD
