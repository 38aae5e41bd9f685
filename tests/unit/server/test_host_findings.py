"""What `overseer doctor` says about a server's files, seal, TLS and memory: each thing that can be wrong, made wrong."""

from __future__ import annotations

import resource
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from overseer.core.findings import Finding, Level
from overseer.crypto.certificates import certificates_in, expires_at
from overseer.server import host_findings as module
from overseer.server.host_findings import host_findings
from overseer.server.settings import Settings
from tests.unit.server.certificate import self_signed

NOW = datetime.now(UTC)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data directory as it should be, with the key file in it."""
    path = tmp_path / "data"
    path.mkdir(mode=0o700)
    (path / "root.key").write_text("key")
    (path / "root.key").chmod(0o600)
    return path


def found(settings: Settings, now: datetime = NOW) -> dict[str, Finding]:
    return {one.check: one for one in host_findings(settings, now)}


def test_an_installation_as_it_should_be(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.key"
    elsewhere.write_text("key")
    elsewhere.chmod(0o600)
    said = found(Settings(home, database_url="postgresql://db/o", seal=f"file:{elsewhere}"))
    assert {one.level for check, one in said.items() if check != "swap"} == {Level.OK}
    assert set(said) == {"data directory", "key file", "key place", "tls", "second factor", "core dumps", "swap"}


def test_a_key_beside_the_embedded_database_is_said_in_a_word(home: Path) -> None:
    said = found(Settings(home))["key place"]
    assert said.level is Level.WARNING
    assert "beside" in said.text
    assert "copy" in said.advice
    assert found(Settings(home, database_url="postgresql://db/o"))["key place"].level is Level.OK


@pytest.mark.parametrize(("name", "check", "mode"), [("", "data directory", 0o750), ("root.key", "key file", 0o640)])
def test_what_others_may_use(home: Path, name: str, check: str, mode: int) -> None:
    (home / name).chmod(mode)
    said = found(Settings(home))[check]
    assert (said.level, said.advice.startswith("chmod 0")) == (Level.PROBLEM, True)


def test_a_settings_file_that_others_may_read(home: Path) -> None:
    (home / "overseer.toml").write_text("")
    (home / "overseer.toml").chmod(0o644)
    assert found(Settings(home))["configuration file"].level is Level.PROBLEM
    (home / "overseer.toml").chmod(0o600)
    assert found(Settings(home))["configuration file"].level is Level.OK


def test_a_key_file_that_is_gone_or_a_link(home: Path) -> None:
    (home / "root.key").rename(home / "real")
    assert found(Settings(home))["key file"].level is Level.PROBLEM
    (home / "root.key").symlink_to(home / "real")
    assert "link" in found(Settings(home))["key file"].text


def test_the_owners_first_token(home: Path) -> None:
    assert "owner token" not in found(Settings(home))
    (home / "owner-token").write_text("ovs_x")
    said = found(Settings(home))["owner token"]
    assert (said.level, "ovs_x" in said.text + said.advice) == (Level.WARNING, False)


@pytest.mark.parametrize(("seal", "level"), [("env", Level.WARNING), ("passphrase", Level.OK)])
def test_other_seals(home: Path, seal: str, level: Level) -> None:
    said = found(Settings(home, seal=seal))
    assert said["key place"].level is level
    assert "key file" not in said


def test_certificates_that_end(home: Path, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    settings = Settings(home, tls_cert=cert, tls_key=key)
    ends = expires_at(certificates_in(cert.read_bytes())[0])
    assert found(settings, ends - timedelta(days=31))["tls"].level is Level.OK
    assert found(settings, ends - timedelta(days=29))["tls"].level is Level.WARNING
    assert found(settings, ends)["tls"].level is Level.PROBLEM
    key.chmod(0o644)
    assert found(settings, ends - timedelta(days=31))["tls"].level is Level.PROBLEM
    key.chmod(0o600)
    cert.write_text("no certificate")
    assert found(settings)["tls"].level is Level.PROBLEM


def test_a_proxy_that_ends_tls(home: Path) -> None:
    said = found(Settings(home, host="10.1.2.3", trusted_proxies=("10.0.0.0/8",)))["tls"]
    assert (said.level, "10.0.0.0/8" in said.text) == (Level.OK, True)


@pytest.mark.parametrize(
    ("swaps", "limit", "level"),
    [
        ("Filename\n", 1, Level.OK),
        ("Filename\n/swap file\n", resource.RLIM_INFINITY, Level.OK),
        ("Filename\n/swap file\n", 65536, Level.WARNING),
    ],
)
def test_swap(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: str, limit: int, level: Level) -> None:
    (tmp_path / "swaps").write_text(swaps)
    monkeypatch.setattr(module, "_SWAPS", tmp_path / "swaps")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert found(Settings(home))["swap"].level is level


def test_whether_a_password_alone_is_enough(home: Path) -> None:
    proxied, required = {"trusted_proxies": ("10.0.0.0/8",)}, {"second_factor": "required"}
    assert found(Settings(home))["second factor"].level is Level.OK  # nobody else can reach it
    said = found(Settings(home, **proxied))["second factor"]
    assert (said.level, "OVERSEER_SECOND_FACTOR" in said.advice) == (Level.WARNING, True)
    assert found(Settings(home, **proxied, **required))["second factor"].level is Level.OK
    corp = {"issuer": "https://id.example", "client_id": "overseer"}
    said = found(Settings(home, **proxied, **required, tables={"oidc": {"corp": corp}}))["second factor"]
    assert (said.level, "corp" in said.text) == (Level.WARNING, True)
    demanding = Settings(home, **proxied, **required, tables={"oidc": {"corp": corp | {"amr": ["mfa"]}}})
    assert found(demanding)["second factor"].level is Level.OK
