"""The unit file of the agent: what systemd says of it, and what must not be lost from it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from overseer.agent.settings import AgentSettings

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "overseer-agent.service"


def options() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_agents_files_outlive_it_and_its_stop_is_waited_for(tmp_path: Path) -> None:
    unit = options()
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]
    assert unit["KillMode"] == ["mixed"]  # the agent ends its Compose itself
    stop = AgentSettings.load({"OVERSEER_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}).stop_seconds
    assert int(unit["TimeoutStopSec"][0]) > stop
    # Mounted where the engine sees it, before the agent gets a mount namespace of its own.
    assert unit["ExecStartPre"] == ["+/usr/bin/env overseer agent prepare"]
    assert unit["ExecStart"] == ["/usr/bin/env overseer agent run"]


def test_hardening() -> None:
    unit = options()
    for switch in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "RestrictNamespaces", "LockPersonality"):
        assert unit[switch] == ["yes"], switch
    assert unit["ProtectSystem"] == ["strict"]
    assert "CAP_SYS_ADMIN" not in unit["CapabilityBoundingSet"][0]
    assert unit["LimitCORE"] == ["0"]


def test_systemd_takes_it() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:  # no systemd here: the lines above are all that can be said
        return
    checked = subprocess.run([tool, "verify", str(UNIT)], capture_output=True, text=True, check=False, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")
    scored = subprocess.run(
        [tool, "security", "--offline=true", "--threshold=35", str(UNIT)], capture_output=True, text=True, check=False, timeout=60
    )
    assert scored.returncode == 0, scored.stdout[-300:]
