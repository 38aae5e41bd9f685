"""The agent's settings: one table, read from a TOML file and from environment variables of the same names (variables win).

Guarantee: a wrong setting is a :class:`ConfigurationProblem` that names it before anything starts. ``SETTINGS`` is the whole
list; the reference page is made from it.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.agent.injection.memory_root import Allow
from overseer.core.errors import ConfigurationProblem
from overseer.core.identifiers import is_name

#: Name, default as shown to people, description.
SETTINGS: Final[tuple[tuple[str, str, str], ...]] = (
    ("OVERSEER_AGENT_DIR", "<data dir>/agent", "Where the node's keys and its enrolment lie (0700)."),
    ("OVERSEER_AGENT_APPS", "all", "Apps that may be deployed on this node, separated by commas. All others are refused here."),
    ("OVERSEER_TMPFS_ROOT", "/run/overseer/secrets", "Directory in memory for files (without root: elsewhere in memory)."),
    ("OVERSEER_TMPFS_ALLOW", "none", "`swap`: accept memory that may be swapped out. `disk`: accept a directory on disk."),
    ("OVERSEER_SECRETS_ROOT", "/etc/secrets", "Bind sources right below this path name a secret; the agent rewrites them."),
    ("OVERSEER_DOCKER", "docker in PATH", "The Docker command."),
    ("OVERSEER_COMPOSE", "docker compose", "The Compose v2 command where it is no plug-in of the Docker command."),
    ("OVERSEER_AGENT_PARALLEL", "4", "Deployments of different projects that run at once, 1 to 32."),
    ("OVERSEER_AGENT_HOLDINGS_SECONDS", "60", "How often the server is told what the containers hold, 1 to 86400; 0: never."),
    ("OVERSEER_AGENT_STOP_SECONDS", "90", "How long a stopping agent waits for running deployments before it interrupts them."),
    ("DOCKER_HOST", "the engine's default socket", "Address of the Docker engine."),
    ("DOCKER_CONFIG", "~/.docker", "Registry credentials of the node; they never leave it."),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """All of :data:`SETTINGS`, checked. ``None`` is "as the default says"; ``apps`` empty is every app."""

    directory: Path
    apps: frozenset[str] = frozenset()
    tmpfs_root: Path | None = None
    tmpfs_allow: Allow = Allow.NONE
    secrets_root: str = "/etc/secrets"
    docker: str | None = None
    compose: str | None = None
    docker_host: str | None = None
    docker_config: str | None = None
    parallel: int = 4
    stop_seconds: int = 90
    holdings_seconds: int = 60

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> AgentSettings:
        """From ``environ`` (default: the process's) and the file ``OVERSEER_CONFIG`` or ``<data dir>/overseer.toml``."""
        env = os.environ if environ is None else environ
        data_dir = _data_dir(env)
        found = {**_from_file(env, data_dir), **{key: value for key, value in env.items() if value}}
        return cls(
            directory=_absolute("OVERSEER_AGENT_DIR", found.get("OVERSEER_AGENT_DIR")) or data_dir / "agent",
            apps=_apps(found.get("OVERSEER_AGENT_APPS", "")),
            tmpfs_root=_absolute("OVERSEER_TMPFS_ROOT", found.get("OVERSEER_TMPFS_ROOT")),
            tmpfs_allow=_allow(found.get("OVERSEER_TMPFS_ALLOW", "none")),
            secrets_root=str(_absolute("OVERSEER_SECRETS_ROOT", found.get("OVERSEER_SECRETS_ROOT")) or "/etc/secrets"),
            docker=found.get("OVERSEER_DOCKER"),
            compose=found.get("OVERSEER_COMPOSE"),
            docker_host=found.get("DOCKER_HOST"),
            docker_config=found.get("DOCKER_CONFIG"),
            parallel=_number("OVERSEER_AGENT_PARALLEL", found.get("OVERSEER_AGENT_PARALLEL", "4"), 1, 32),
            holdings_seconds=_holdings(found.get("OVERSEER_AGENT_HOLDINGS_SECONDS", "60")),
            stop_seconds=_number("OVERSEER_AGENT_STOP_SECONDS", found.get("OVERSEER_AGENT_STOP_SECONDS", "90"), 0, 3600),
        )


def _data_dir(env: Mapping[str, str]) -> Path:
    if given := env.get("OVERSEER_DATA_DIR"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/overseer")
    return Path(env.get("XDG_DATA_HOME") or Path(env.get("HOME", "/")) / ".local/share") / "overseer"


def _from_file(env: Mapping[str, str], data_dir: Path) -> dict[str, str]:
    path = Path(env["OVERSEER_CONFIG"]) if env.get("OVERSEER_CONFIG") else data_dir / "overseer.toml"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if env.get("OVERSEER_CONFIG"):
            raise ConfigurationProblem(f"OVERSEER_CONFIG: there is no file {path}") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        raise ConfigurationProblem(f"{path} cannot be read as TOML") from None
    names = {name for name, _, _ in SETTINGS}
    return {
        key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in content.items()
        if key in names
    }


def _absolute(name: str, text: str | None) -> Path | None:
    if not text:
        return None
    path = Path(text)
    if not path.is_absolute() or ".." in path.parts:
        raise ConfigurationProblem(f"{name} must be an absolute path without '..'")
    return path


def _apps(text: str) -> frozenset[str]:
    apps = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not all(is_name(app) for app in apps):
        raise ConfigurationProblem("OVERSEER_AGENT_APPS must be names of apps, separated by commas")
    if text.strip() and not apps:  # "," must not mean "all"
        raise ConfigurationProblem("OVERSEER_AGENT_APPS names no app: leave it unset to allow all")
    return apps


def _allow(text: str) -> Allow:
    try:
        return Allow(text.lower())
    except ValueError:
        raise ConfigurationProblem("OVERSEER_TMPFS_ALLOW must be none, swap or disk") from None


def _holdings(text: str) -> int:
    return 0 if text == "0" else _number("OVERSEER_AGENT_HOLDINGS_SECONDS", text, 1, 86_400)


def _number(name: str, text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
        raise ConfigurationProblem(f"{name} must be a number from {least} to {most}")
    return int(text)
