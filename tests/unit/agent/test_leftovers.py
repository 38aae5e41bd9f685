"""What an agent that was killed left behind is gone after its next start."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.agent import leftovers
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import FORMAT, HeldDeployment, read_held, write_held
from overseer.agent.journal import Entry, Journal, Phase


def test_what_was_written_in_part_goes_at_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "root" / "apps" / "shop"
    project.mkdir(parents=True)
    held = HeldDeployment(
        format=FORMAT, deployment_id="d", model=b"", values=[b"v"], shipped={}, directories=[], reloads={},
        fingerprint_key=bytes(32), places=[],
    )  # fmt: skip
    write_held(project / "held", held)
    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", _killed)
        killed.setattr(Path, "unlink", lambda path, missing_ok=False: None)
        for name in ("held", "held-stack"):
            with pytest.raises(KeyboardInterrupt):
                write_held(project / name, held)
    assert len(list(project.iterdir())) == 3
    journal = Journal(tmp_path / "agent")
    (tmp_path / "agent").mkdir(mode=0o700, exist_ok=True)
    entry = Entry(
        project="shop", app="shop", environment="prod", deployment_id="d", phase=Phase.RUNNING, running_id="d", files=True
    )
    journal.write(entry)
    assert leftovers.heal(Engine(["/nonexistent/docker"], [], {}), tmp_path / "root", journal) == []
    assert [path.name for path in project.iterdir()] == ["held"]
    found = read_held(project / "held")
    assert found is not None
    assert found.values == [b"v"]


def _killed(path: Path, target: Path) -> None:
    raise KeyboardInterrupt
