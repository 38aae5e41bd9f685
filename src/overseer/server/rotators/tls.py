"""TLS to a source whose address was judged already: the connection goes to the address, the certificate is for the name."""

from __future__ import annotations

import ssl
from typing import Any

from overseer.server.rotators.contract import Target


class NamedContext(ssl.SSLContext):
    """A context that asks for the certificate of one name, whatever address a driver was told to connect to."""

    name: str = ""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        return super().wrap_bio(*args, **{**kwargs, "server_hostname": self.name})


def context(target: Target) -> NamedContext:
    """TLS 1.2 or later, chain and name verified; with ``target.ca`` that CA alone is trusted. Raises ``ssl.SSLError``."""
    made = NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.name = target.host
    if target.ca is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(cadata=target.ca)
    return made
