"""What an operator writes about the addresses of backends (``[backend-address.NAME]``): the last word on where the server goes.

Without any table backends may be at every public https address. With one, only at the hosts that some table lists: an allow-list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import ConfigurationProblem
from overseer.server.settings_tables import TableKind, key


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What the operator's configuration lets backends reach. ``host_identity``: the server's own cloud identity may be used."""

    host_allowed: Callable[[str], bool] = lambda _: True
    private_allowed: Callable[[str], bool] = lambda _: False
    host_identity: Callable[[str], bool] = lambda _: False


@dataclass(frozen=True)
class BackendAddress:
    """Hosts where backends may be, and what is lent to them."""

    hosts: tuple[str, ...] = key("Names of hosts (or addresses) where backends may be; `*.example.org` is every name below it.")
    private: bool = key("They may have private and loopback addresses; on loopback plain http as well.", False)
    host_identity: bool = key(
        "The server's own cloud identity may be used for them: AWS' default credentials, Azure's managed identity. Whoever may "
        "set up backends reads there what the server may read.",
        False,
    )

    def __post_init__(self) -> None:
        if not self.hosts or any(not host.removeprefix("*.") or "*" in host.removeprefix("*.") for host in self.hosts):
            raise ConfigurationProblem("hosts lists names such as vault.example.org or *.example.org")

    def covers(self, host: str) -> bool:
        """Whether ``host`` is one of them, whatever its case."""
        name = host.lower().rstrip(".")
        return any(name.endswith(one[1:].lower()) if one.startswith("*.") else name == one.lower() for one in self.hosts)


BACKEND_ADDRESS: Final = TableKind(
    "backend-address",
    BackendAddress,
    "Where backends may be. Without such a table at every public address, with one at the hosts of the tables and nowhere else.",
)


def address_rules(tables: Mapping[str, BackendAddress]) -> AddressRules:
    """The rules of all tables together; what one table lends counts for its own hosts."""
    every = tuple(tables.values())

    def some(chosen: Iterable[BackendAddress]) -> Callable[[str], bool]:
        kept = tuple(chosen)
        return lambda host: any(table.covers(host) for table in kept)

    return AddressRules(
        host_allowed=some(every) if every else lambda _: True,
        private_allowed=some(table for table in every if table.private),
        host_identity=some(table for table in every if table.host_identity),
    )
