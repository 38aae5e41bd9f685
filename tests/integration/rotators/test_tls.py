"""Rotators over TLS: they connect to the address that was judged, and the certificate has to be for the name in the URL."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from overseer.core.errors import NotReady
from overseer.core.generators import parse_spec
from overseer.core.secret_value import SecretValue
from overseer.crypto.generated_keys import make_keys
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import Change
from overseer.server.rotators.selection import make_rotator
from tests.integration.rotators.rotating import OLD
from tests.integration.rotators.sources import Mariadb, Redis, Source, own
from tests.ports import free_port

RULE = AddressRule.parse(["127.0.0.0/8", "::1/128"], "a test")  # none of them without TLS
CA_ID = "0190f3c2-0000-7000-8000-000000000000"


class TlsRedis(Redis):
    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        command, arguments = super().command()
        self.tls_port = free_port()
        files = {"tls-port": str(self.tls_port), "tls-cert-file": "cert", "tls-key-file": "key", "tls-auth-clients": "no"}
        paths = {name: str(self.home / text) if text in ("cert", "key") else text for name, text in files.items()}
        return [*command, *(part for name, value in paths.items() for part in (f"--{name}", value))], arguments

    @property
    def url(self) -> str:
        return f"rediss://localhost:{self.tls_port}"


class TlsMariadb(Mariadb):
    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        command, arguments = super().command()
        for name in ("cert", "key"):
            own(self.home / name, arguments)
        return [*command, f"--ssl-cert={self.home / 'cert'}", f"--ssl-key={self.home / 'key'}"], arguments

    @property
    def url(self) -> str:
        return f"mysql://localhost:{self.port}"


@pytest.fixture(scope="module", params=[TlsRedis, TlsMariadb], ids=["redis", "mysql"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Source, str]]:
    """A server with a certificate for ``localhost``, and the CA that signed it."""
    program = {"redis": "redis-server", "mysql": "mariadbd"}[request.param.kind]
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip(f"no {program}: sh scripts/rotation_servers_install.sh installs it")
    ca = make_keys(parse_spec("x509,cn=Our CA,is_ca=yes"))
    leaf = json.loads(make_keys(parse_spec(f"x509,cn=localhost,ca={CA_ID}"), ca).reveal())
    home = Path(tempfile.mkdtemp(prefix="ovs-source-"))
    home.chmod(0o711)
    (home / "cert").write_text(leaf["certificate"])
    (home / "key").write_text(leaf["private_key"])
    source = request.param(home)
    source.start()
    yield source, leaf["ca"]
    source.stop()
    shutil.rmtree(home, ignore_errors=True)


def change(source: Source) -> Change:
    return Change("r", "s", "db", 1, 2, SecretValue(OLD), SecretValue("New-password-of-app-1"), SecretValue(source.admin))


@pytest.mark.anyio
async def test_over_tls_by_name(served: tuple[Source, str]) -> None:
    source, ca = served
    source.give("app_a", OLD)
    fields = source.fields("app_a") | {"url": source.url, "ca": ca}
    rotator = make_rotator(fields, RULE)
    await rotator.apply(change(source))
    await rotator.verify(change(source))
    assert source.works("app_a", "New-password-of-app-1")


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", ["another CA", "another name"])
async def test_a_certificate_that_does_not_fit_is_refused(served: tuple[Source, str], wrong: str) -> None:
    source, ca = served
    source.give("app_a", OLD)
    other = json.loads(make_keys(parse_spec("x509,cn=Our CA,is_ca=yes")).reveal())["ca"]
    url = source.url.replace("localhost", "127.0.0.1") if wrong == "another name" else source.url
    fields = source.fields("app_a") | {"url": url, "ca": other if wrong == "another CA" else ca}
    with pytest.raises(NotReady):
        await make_rotator(fields, RULE).apply(change(source))
    assert source.works("app_a", OLD)
    assert not source.works("app_a", "New-password-of-app-1")
