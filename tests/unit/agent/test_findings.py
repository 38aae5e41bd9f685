"""What `overseer doctor` says about an agent: each thing that can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from overseer.agent import findings as module
from overseer.agent.findings import agent_findings
from overseer.agent.injection.memory_root import Allow
from overseer.agent.settings import AgentSettings
from overseer.agent.status import AgentStatus
from overseer.core.errors import KeyProblem
from overseer.core.findings import Finding, Level

GOOD = AgentStatus("n1", "id", "https://o", "ok", 0.1, "runs", "1.0", "ok", "27.1", "2.39.1", ("shop",), ())


@pytest.fixture
def settings(tmp_path: Path) -> AgentSettings:
    directory = tmp_path / "agent"
    directory.mkdir(mode=0o700)
    return AgentSettings(directory, apps=frozenset({"shop"}))


def found(settings: AgentSettings, status: AgentStatus, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    monkeypatch.setattr(module, "agent_status", lambda _: status)
    return {one.check: one for one in agent_findings(settings)}


def test_an_agent_as_it_should_be(settings: AgentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    said = found(settings, GOOD, monkeypatch)
    assert {one.level for one in said.values()} == {Level.OK}
    assert set(said) == {"agent's server", "agent", "node keys", "engine", "compose", "secret files", "allowed apps"}


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"server": "this node's clock is 90 s off: set it (NTP)"}, "agent's server", Level.PROBLEM),
        ({"agent": "does not run"}, "agent", Level.WARNING),
        ({"engine": "does not answer"}, "engine", Level.PROBLEM),
        ({"compose_version": ""}, "compose", Level.PROBLEM),
    ],
)
def test_what_is_wrong_with_it(
    settings: AgentSettings, monkeypatch: pytest.MonkeyPatch, change: dict[str, str], check: str, level: Level
) -> None:
    said = found(settings, replace(GOOD, **change), monkeypatch)  # type: ignore[arg-type]  # fields that are texts
    assert said[check].level is level
    assert said[check].advice


def test_its_settings(settings: AgentSettings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    every = replace(settings, apps=frozenset())
    assert found(every, GOOD, monkeypatch)["allowed apps"].level is Level.WARNING
    for allow in (Allow.DISK, Allow.SWAP):
        assert found(replace(settings, tmpfs_allow=allow), GOOD, monkeypatch)["secret files"].level is Level.WARNING
    monkeypatch.setattr(module, "is_memory", lambda _: False)
    assert found(replace(settings, tmpfs_root=tmp_path), GOOD, monkeypatch)["secret files"].level is Level.PROBLEM
    settings.directory.chmod(0o755)
    assert found(settings, GOOD, monkeypatch)["node keys"].level is Level.PROBLEM


def test_a_machine_that_is_no_node(settings: AgentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(settings, replace(GOOD, node=None), monkeypatch) == {}
    settings.directory.rmdir()
    assert agent_findings(settings) == []


def test_files_that_are_damaged(settings: AgentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(_: AgentSettings) -> AgentStatus:
        raise KeyProblem("keys are missing")

    monkeypatch.setattr(module, "agent_status", damaged)
    assert [(one.check, one.level) for one in agent_findings(settings)] == [("agent files", Level.PROBLEM)]
