"""What an operator writes about sinks of the audit log (``[sink.NAME]``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from overseer.core.audit_events import Outcome
from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue
from overseer.server.settings_tables import TableKind, key

TYPES: Final = ("file", "syslog", "webhook")
_NEEDED: Final = {"file": ("path",), "syslog": ("host",), "webhook": ("url", "secret")}
MIN_SECRET: Final = 16


@dataclass(frozen=True)
class SinkSettings:
    """A place outside the database that every audit row is sent to, in order, at least once."""

    type: str = key("file, syslog or webhook.")
    path: Path | None = key("file: the file. It is the server's alone (0600), on the machine whose server leads.", None)
    max_mebibytes: int = key("file: it is put aside as NAME.1, NAME.2 and so on when it is larger.", 64)
    keep: int = key("file: how many of those are kept.", 10)
    host: str | None = key("syslog: where it is.", None)
    port: int = key("syslog: its port.", 6514)
    tls: bool = key("syslog: with TLS (RFC 5425), the host's name checked. Without it, everybody on the way reads along.", True)
    url: str | None = key("webhook: the address that batches are posted to; https, or http on loopback.", None)
    secret: SecretValue | None = key("webhook: the key of the signature, 16 characters or more.", None)
    allow_private: bool = key("webhook: whether its address may be private or loopback.", False)
    ca_file: Path | None = key("syslog, webhook: PEM file of the only CA to trust; without it the system's are.", None)
    actions: tuple[str, ...] = key("Only these actions; one that ends in * is a beginning. Empty: all.", ())
    outcomes: tuple[str, ...] = key("Only these outcomes. Empty: all.", ())
    alarms_only: bool = key("Only actions that begin with alarm: and no checkpoints.", False)
    texts: bool = key("With the reasons that people wrote. What was sent cannot be erased from here.", False)
    checkpoints: bool = key("With signed checkpoints, at most one a minute: they prove later that nothing was cut off.", True)
    from_beginning: bool = key("A new sink gets the log from its beginning, not from now on.", False)
    behind_seconds: int = key("An alarm is raised when a row has waited for so long.", 300)

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ConfigurationProblem(f"type is one of {', '.join(TYPES)}")
        for name in _NEEDED[self.type]:
            if getattr(self, name) is None:
                raise ConfigurationProblem(f"a {self.type} sink needs {name}")
        if not set(self.outcomes) <= set(Outcome):
            raise ConfigurationProblem(f"outcomes are of {', '.join(Outcome)}")
        if not (1 <= self.port <= 65535 and 1 <= self.max_mebibytes <= 4096 and 0 <= self.keep <= 1000):
            raise ConfigurationProblem("port is 1 to 65535, max_mebibytes 1 to 4096, keep 0 to 1000")
        if not 10 <= self.behind_seconds <= 86400:
            raise ConfigurationProblem("behind_seconds is a number from 10 to 86400")
        if self.secret is not None and len(self.secret.reveal()) < MIN_SECRET:
            raise ConfigurationProblem(f"secret has {MIN_SECRET} characters or more")
        if self.url is not None:
            parts = urlsplit(self.url)
            loopback = parts.hostname in ("localhost", "127.0.0.1", "::1")
            if not parts.hostname or parts.username or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
                raise ConfigurationProblem("url is an https URL (http on loopback) without a user")

    def wants(self, action: str, outcome: str) -> bool:
        """Whether a row of this action and outcome is sent."""
        if self.alarms_only and not action.startswith("alarm:"):
            return False
        if self.outcomes and outcome not in self.outcomes:
            return False
        return not self.actions or any(
            action.startswith(one[:-1]) if one.endswith("*") else action == one for one in self.actions
        )


SINK: Final = TableKind("sink", SinkSettings, "A place outside the database that audit rows are sent to.")
