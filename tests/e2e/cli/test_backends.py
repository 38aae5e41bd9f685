"""A vault behind a real server, set up and used by the command line: the steps of the how-to."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.vault_approle import AppRole, Role
from tests.doubles.vault_kv import Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.e2e.cli.conftest import Overseer, command, free_port, own_environment, wait_ready


@pytest.fixture(scope="module")
def allowing() -> Iterator[Overseer]:
    """A server whose operator lets backends be on loopback."""
    with tempfile.TemporaryDirectory(prefix="ovs-backend-") as place:
        client = Overseer(own_environment(Path(place), free_port()))
        client("server", "init")
        (client.data_dir / "overseer.toml").write_text('[backend-address.here]\nhosts = ["127.0.0.1"]\nprivate = true\n')
        with (Path(place) / "server.log").open("wb") as log:
            server = subprocess.Popen(
                command("server", "run"), env=client.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_ready(client, server)
            client("login", "--token-file", str(client.data_dir / "owner-token"))
            yield client
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def test_a_vault_is_set_up_tested_and_used(allowing: Overseer, tmp_path: Path) -> None:
    vault, engine, approle, role = VaultServer(), Kv2(), AppRole(), Role(("reader",))
    vault.mounts["secret"], vault.auth["approle"], approle.roles["overseer"] = engine, approle, role
    vault.allow("reader", "secret/data/apps/*", "read")
    vault.allow("reader", "secret/metadata/apps/*", "list")
    engine.put("apps/shop/db", password="from the vault")
    secret_id = tmp_path / "secret-id.txt"
    secret_id.write_text(role.secret_id())
    with served(vault) as url:
        settings = ("--set", f"address={url}", "--set", "auth=approle", "--set", f"role_id={role.role_id}")
        made = allowing("backend", "create", "corp", "--kind", "vault", *settings, "--credential", f"secret_id={secret_id}")
        assert b"secret_id" not in made.stdout
        assert b"corp answers" in allowing("backend", "test", "corp").stderr
        allowing("app", "create", "shop")
        assert allowing("backend", "list-refs", "corp", "apps/shop", "--app", "shop").stdout == b"apps/shop/db\n"
        allowing("secret", "set", "db-password", "--app", "shop", "--from", "corp:apps/shop/db#password")
        assert allowing("secret", "get", "db-password", "--app", "shop").stdout == b"from the vault"
        assert b"corp" in allowing("backend", "list").stdout
        refused = allowing("secret", "set", "x", "--app", "shop", "--from", "corp:apps/shop/none#password", code=76)
        assert b"(path)" in refused.stderr
        allowing("secret", "set", "db-password", "--app", "shop", "--stdin", stdin=b"mine", code=75)
        allowing("backend", "delete", "corp", "--yes", code=75)
        vault.tokens.clear()
        role.secret_ids.clear()
        failed = allowing("backend", "test", "corp", code=76)
        assert b"(auth)" in failed.stderr
        elsewhere = ("--set", "address=http://10.0.0.1", "--set", "auth=token", "--credential", f"token={secret_id}")
        allowing("backend", "create", "other", "--kind", "vault", *elsewhere)
        assert b"(address)" in allowing("backend", "test", "other", code=76).stderr
        allowing("backend", "delete", "other", "--yes")
        allowing("secret", "untie", "db-password", "--app", "shop")
        allowing("secret", "set", "db-password", "--app", "shop", "--stdin", stdin=b"mine")
        assert allowing("secret", "get", "db-password", "--app", "shop").stdout == b"mine"
        allowing("backend", "delete", "corp", "--yes")
