"""The how-to pages of external stores, walked: their own commands, a real server, a real OpenBao, the nearest to the others.

One server for all of them, which moves to AWS KMS and back at the end.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import boto3
import pyrage
import pytest

from tests.doubles import azure_server, infisical_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.e2e.stores.conftest import CANARY, Walk
from tests.e2e.stores.how_to import HowTo, Reader
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.postgres
REGION = "eu-central-1"


def test_vault_behind_overseer(walk: Walk) -> None:
    page, reader = walk.behind["vault"], walk.reader(walk.bao)
    walk.bao.kv("secret")
    walk.bao.put("secret", "apps/shop/db", password="from the vault")
    shutil.copy(str(walk.bao.ca_file), walk.place / "vault-ca.pem")
    printed = page.run(reader, "vault auth enable approle")
    [role_id] = re.findall(r"^[0-9a-f-]{36}$", printed, re.MULTILINE)
    page.puts("2f3c…", role_id)
    assert (walk.place / "secret-id.txt").stat().st_mode & 0o777 == 0o600
    page.run(reader, "overseer backend create corp")
    page.run(reader, "overseer role create")
    page.run(reader, "overseer backend list-refs")
    assert walk.value("db-password", "--app", "shop") == "from the vault"
    page.inline(reader, "overseer secret untie db-password --app shop")
    assert page.left() == []
    assert walk.value("db-password", "--app", "shop") == "from the vault"


def test_a_backend_that_refuses_or_is_in_use(walk: Walk) -> None:
    """Beyond the page: what a refused reference, a tied secret and a credential that is over are told as."""
    overseer, scope = walk.overseer, ("--app", "shop")
    overseer("secret", "set", "tied", *scope, "--from", "corp:apps/shop/db#password")
    refused = overseer("secret", "set", "x", *scope, "--from", "corp:apps/shop/none#password", code=76)
    assert b"(path)" in refused.stderr
    refused = overseer("secret", "set", "x", *scope, "--from", "corp:elsewhere/db#password", code=76)
    assert b"(permission)" in refused.stderr
    overseer("secret", "set", "tied", *scope, "--stdin", stdin=b"mine", code=75)
    overseer("backend", "delete", "corp", "--yes", code=75)
    walk.bao.call("DELETE", "auth/approle/role/overseer")
    walk.bao.call("PUT", "sys/leases/revoke-prefix/auth/approle/login", {"sync": True})
    assert b"(auth)" in overseer("backend", "test", "corp", code=76).stderr
    elsewhere = ("--set", "address=http://10.0.0.1", "--set", "auth=token", "--credential", "token=client.txt")
    (walk.place / "client.txt").write_text("t")
    Reader(walk.place, overseer.environment).does(f"overseer backend create other --kind vault {' '.join(elsewhere)}")
    assert b"(address)" in overseer("backend", "test", "other", code=76).stderr
    overseer("backend", "delete", "other", "--yes")
    overseer("secret", "untie", "tied", *scope)
    overseer("secret", "set", "tied", *scope, "--stdin", stdin=b"mine")
    assert walk.value("tied", *scope) == "mine"
    overseer("backend", "delete", "corp", "--yes")


def test_infisical_behind_overseer(walk: Walk) -> None:
    server = InfisicalServer()
    server.put("prod", "/shop", "DB_PASSWORD", "from infisical")
    (walk.place / "client.txt").write_text(server.client_secret)
    with infisical_server.served(server) as url:
        setting = {"project_id=65f0…": f"project_id={server.project} --set address={url}", "7c1e…": server.client_id}
        page = HowTo("use-infisical-behind-overseer.md", setting)
        page.run(walk.reader(walk.bao), "overseer backend create inf")
        page.inline(walk.reader(walk.bao), "overseer env create prod")
        page.run(walk.reader(walk.bao), "overseer secret set")
        assert page.left() == []
        assert walk.value("db-password", "--app", "shop", "--env", "prod") == "from infisical"


def _aws(walk: Walk, service: str) -> Any:
    return boto3.client(
        service, region_name=REGION, endpoint_url=walk.moto, aws_access_key_id="a", aws_secret_access_key="not-a-secret"
    )


def test_aws_secrets_manager_behind_overseer(walk: Walk) -> None:
    client = _aws(walk, "secretsmanager")
    client.create_secret(Name="shop/db", SecretString=json.dumps({"password": "from aws"}))
    client.close()
    (walk.place / "key.txt").write_text("wJalrXUtnFEMI")
    page, reader = walk.behind["aws-secrets-manager"], walk.reader(walk.bao)
    walk.overseer("secret", "delete", "db-password", "--app", "shop", "--yes")
    page.run(reader, "overseer backend create aws")
    assert page.left() == []
    assert walk.value("db-password", "--app", "shop") == "from aws"


def test_azure_key_vault_behind_overseer(walk: Walk) -> None:
    server, folder = AzureServer(), walk.place / "azure"
    server.put("shop-db", "from azure")
    folder.mkdir()
    (walk.place / "client.txt").write_text(server.client_secret)
    certificate = self_signed(folder)
    page, reader = walk.behind["azure-key-vault"], walk.reader(walk.bao)
    walk.overseer("secret", "delete", "db-password", "--app", "shop", "--yes")
    with azure_server.served(server, certificate) as url:
        page.puts("address=https://shop.vault.azure.net", f"address={url} --set authority={url} --set ca_pem=@{certificate[0]}")
        page.puts("11aa…", server.tenant)
        page.puts("22bb…", server.client_id)
        page.run(reader, "overseer backend create az")
        assert page.left() == []
        assert walk.value("db-password", "--app", "shop") == "from azure"


def test_move_from_vault(walk: Walk) -> None:
    walk.overseer("app", "create", "moved")
    walk.bao.put("secret", "shop/db", password=CANARY, user="shop")
    (walk.place / ".vault-token").write_text(walk.bao.root_token)
    page = HowTo("move-from-vault.md", {"https://vault.example:8200": walk.bao.url, "--app shop": "--app moved"})
    reader = walk.reader(walk.bao)
    said = page.run(reader, "--from-vault")
    assert "dry run" in said
    assert CANARY not in said
    assert (walk.value("db-password", "--app", "moved"), walk.value("db-user", "--app", "moved")) == (CANARY, "shop")
    assert "nothing to do" in page.run(reader, "vault kv get")
    walk.bao.put("secret", "shop/db", password=f"{CANARY}2")
    assert "exists with another value" in _refused(reader, page.block("vault kv get"))


def test_a_whole_folder_of_vault(walk: Walk) -> None:
    walk.overseer("app", "create", "folder")
    walk.bao.put("secret", "apps/shop/mail/smtp", password="mail")
    token = walk.place / "root-token"
    token.write_text(walk.bao.root_token)
    settings = ("--set", f"address={walk.bao.url}", "--set", "auth=token", "--set", f"ca_pem=@{walk.bao.ca_file}")
    walk.overseer("backend", "create", "corp", "--kind", "vault", *settings, "--credential", f"token={token}")
    page = HowTo("move-from-vault.md", {"--app shop": "--app folder"})
    page.run(walk.reader(walk.bao), "overseer secret import --from corp:apps/shop")
    assert walk.value("db-password", "--app", "folder") == "from the vault"
    assert walk.value("mail-smtp-password", "--app", "folder") == "mail"


def test_move_from_infisical_itself(walk: Walk) -> None:
    server = InfisicalServer()
    server.put("prod", "/shop", "DB_PASSWORD", "moved from infisical")
    (walk.place / "client.txt").write_text(server.client_secret)
    walk.overseer("app", "create", "from-infisical")
    with infisical_server.served(server) as url:
        setting = {"project_id=65f0…": f"project_id={server.project} --set address={url}", "7c1e…": server.client_id}
        page = HowTo("move-from-infisical.md", {**setting, "--app shop": "--app from-infisical"})
        page.run(walk.reader(walk.bao), "overseer backend create old")
    assert walk.value("db-password", "--app", "from-infisical", "--env", "prod") == "moved from infisical"


def test_move_from_aws_secrets_manager(walk: Walk) -> None:
    client = _aws(walk, "secretsmanager")
    client.create_secret(Name="prod/shop/db", SecretString=json.dumps({"password": "moved from aws"}))
    client.create_secret(Name="prod/shopping/db", SecretString="not this one")
    client.close()
    (walk.place / "key.txt").write_text("wJalrXUtnFEMI")
    walk.overseer("app", "create", "from-aws")
    page = HowTo("move-from-aws-secrets-manager.md", {"--app shop": "--app from-aws"})
    page.puts("access_key_id=AKIA…", f"access_key_id=AKIDEXAMPLE --set address={walk.moto}")
    page.run(walk.reader(walk.bao), "overseer backend create old")
    assert page.left() == []
    assert walk.value("db-password", "--app", "from-aws") == "moved from aws"
    listed = json.loads(walk.overseer("secret", "list", "--app", "from-aws", "--json").stdout)
    assert [one["name"] for one in listed] == ["db-password"]


def test_move_from_azure_key_vault(walk: Walk) -> None:
    server, folder = AzureServer(), walk.place / "azure-moved"
    server.put("shop-db-password", "moved from azure")
    folder.mkdir()
    (walk.place / "client.txt").write_text(server.client_secret)
    certificate = self_signed(folder)
    walk.overseer("app", "create", "from-azure")
    places = {"11aa…": server.tenant, "22bb…": server.client_id, "--app shop": "--app from-azure"}
    page = HowTo("move-from-azure-key-vault.md", places)
    with azure_server.served(server, certificate) as url:
        page.puts("address=https://shop.vault.azure.net", f"address={url} --set authority={url} --set ca_pem=@{certificate[0]}")
        page.run(walk.reader(walk.bao), "overseer backend create old")
    assert page.left() == []
    assert walk.value("db-password", "--app", "from-azure") == "moved from azure"


def _refused(reader: Reader, script: str) -> str:
    with pytest.raises(AssertionError) as caught:
        reader.does(script)
    return str(caught.value)


def test_move_from_infisical(walk: Walk) -> None:
    walk.overseer("app", "create", "left")
    page = HowTo("move-from-infisical.md", {"--app shop": "--app left"})
    said = page.run(walk.reader(walk.bao), "infisical export")  # `prod` is made in the test before
    assert "dry run" in said
    assert CANARY not in said
    assert walk.value("db-password", "--app", "left", "--env", "prod") == CANARY


@pytest.mark.parametrize("platform", ["komodo", "dokploy", "coolify"])
def test_move_from_the_environment_of_a_platform(walk: Walk, platform: str) -> None:
    """What is pasted is the dotenv text that such a platform shows."""
    pasted = (
        f"cat > {walk.place}/shop.env <<'END'\n# {platform}\nDB_PASSWORD='{CANARY}'\nDB_URL=pg://app:${{DB_PASSWORD}}@db\nEND\n"
    )
    places = {
        "cat > /dev/shm/shop.env     # paste, then Ctrl-D\n": pasted,
        "/dev/shm/shop.env": str(walk.place / "shop.env"),
        "--app shop": f"--app {platform}",
    }
    walk.overseer("app", "create", platform)
    page = HowTo(f"move-from-{platform}.md", places)
    assert CANARY not in page.run(walk.reader(walk.bao), "secret import")
    assert not (walk.place / "shop.env").exists()
    assert walk.value("db-url", "--app", platform) == f"pg://app:{CANARY}@db"
    assert page.left() == []


def test_move_from_env_files(walk: Walk) -> None:
    """All but ``age``, which pyrage stands for."""
    (walk.place / ".env").write_text(f"DB_PASSWORD={CANARY}\n")
    identity = pyrage.x25519.Identity.generate()
    written = walk.place / "shop.env.age"
    places = {
        "app create shop": "app create files",
        "--app shop": "--app files",
        "age1…": str(identity.to_public()),
        "age --decrypt -i key.txt shop.env.age": "test -s shop.env.age",
    }
    page, reader = HowTo("move-from-env-files.md", places), walk.reader(walk.bao)
    assert "dry run" in page.run(reader, "--dry-run")
    [batch] = re.findall(r"undo ([0-9a-f-]{36})", page.run(reader, "secret import .env --app shop\n"))
    page.run(reader, "secret export")
    assert pyrage.decrypt(written.read_bytes(), [identity]).decode() == f'DB_PASSWORD="{CANARY}"\n'
    page.puts("ID", batch)
    page.run(reader, "overseer import undo")
    assert walk.overseer("secret", "list", "--app", "files").stdout == b""
    assert page.left() == []


def test_move_from_sops(walk: Walk) -> None:
    """A file that SOPS itself wrote."""
    kept = Path(__file__).parents[2] / "vectors" / "sops"
    shutil.copy(kept / "secrets.env", walk.place / "secrets.env")
    walk.overseer("app", "create", "sops")
    places = {
        "secrets.yaml": "secrets.env",
        "~/.config/sops/age/keys.txt": str(kept / "identity.txt"),
        "--app shop": "--app sops",
    }
    page = HowTo("move-from-sops.md", places)
    page.run(walk.reader(walk.bao), "secret import")
    assert page.left() == []
    assert walk.overseer("secret", "list", "--app", "sops").stdout != b""


def test_a_rotated_transit_key_and_the_way_to_kms_and_back(walk: Walk) -> None:
    """Each step opens the present seal anew: by the AppRole, by a token, by KMS."""
    page, reader = walk.unsealing, walk.reader(walk.wrapping)
    [by_token] = re.findall(r"'(vault-transit:[^']*token_file=[^']*)'", page.block("overseer server init"))
    assert "vault-transit" in page.run(reader, "vault write -f transit/keys/overseer/rotate")
    assert page.left() == []
    assert walk.wrapping.call("GET", "transit/keys/overseer")["data"]["min_decryption_version"] == 2
    client = _aws(walk, "kms")
    client.create_alias(AliasName="alias/overseer", TargetKeyId=client.create_key()["KeyMetadata"]["Arn"])
    client.close()
    kms = HowTo("unseal-with-aws-kms.md", {"overseer server run": 'echo "$OVERSEER_SEAL"'})
    [to_kms] = re.findall(r"'(awskms:[^']*)'", kms.block("overseer server init"))
    moved = walk.overseer("seal", "migrate", "--yes", "--to", to_kms, OVERSEER_SEAL=by_token)
    assert f"OVERSEER_SEAL={to_kms}".encode() in moved.stdout
    walk.stop()
    walk.wrapping.stop()  # it has no say any more
    walk.seal = to_kms
    walk.start()
    assert json.loads(walk.overseer("seal", "status", "--json").stdout)["kind"] == "awskms"
    assert walk.value("db-password", "--app", "moved") == CANARY
    walk.stop()
    walk.wrapping.start()
    reader = walk.reader(walk.wrapping)
    page.run(reader, "vault secrets enable transit")
    (walk.place / "run" / "vault-token").write_text(walk.wrapping.token("overseer-seal"))
    walk.overseer("seal", "migrate", "--yes", "--to", by_token, OVERSEER_SEAL=to_kms)
    refused = walk.overseer("seal", "migrate", "--yes", "--to", by_token, OVERSEER_SEAL=to_kms, code=None)
    assert refused.returncode != 0, "the seal before no longer opens"
    assert CANARY not in (walk.place / "server.log").read_text()


def test_a_new_instance_with_kms(walk: Walk, database_url: str) -> None:
    kms = HowTo("unseal-with-aws-kms.md", {"overseer server run": 'echo "$OVERSEER_SEAL"'})
    new = {"OVERSEER_DATA_DIR": str(walk.place / "second"), "OVERSEER_DATABASE_URL": database_url}
    said = kms.run(walk.reader(walk.bao), "overseer server init", **new)
    assert "awskms:alias/overseer" in said
    assert kms.left() == []
