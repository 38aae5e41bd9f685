"""The client side of Overseer; ``from overseer.client import Client`` is the Python client.

The names are loaded when they are used, so that importing one module of this package costs no more than that module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.client.secrets import RevealedSecret
    from overseer.core.scopes import Scope
    from overseer.core.secret_value import SecretValue

__all__ = ["Client", "RevealedSecret", "Scope", "SecretValue"]

_HOMES = {
    "Client": "overseer.client.api",
    "RevealedSecret": "overseer.client.secrets",
    "Scope": "overseer.core.scopes",
    "SecretValue": "overseer.core.secret_value",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'overseer.client' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
