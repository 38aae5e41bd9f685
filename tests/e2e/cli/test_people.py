"""People and CI jobs from the command line, against a server that knows an identity provider: another process, over real HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest

from tests.doubles.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.doubles.provider_process import ProviderProcess, oidc_provider
from tests.e2e.cli.conftest import Overseer, command, own_environment, wait_ready
from tests.e2e.cli.test_terminal import on_terminal
from tests.ports import free_port

pytestmark = [pytest.mark.postgres]

PASSWORD, NEW = "plum tractor violet moss", "lantern gravel pigeon oat"


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with oidc_provider() as running:
        yield running


@pytest.fixture(scope="module")
def server(provider: ProviderProcess) -> Iterator[Overseer]:
    """A server with ``[oidc.corp]`` and ``[ci.builds]``, and the owner logged in."""
    with tempfile.TemporaryDirectory(prefix="ovs-people-") as place:
        client = Overseer({**own_environment(Path(place), free_port()), "CORP_SECRET": CLIENT_SECRET})
        client("server", "init")
        (client.data_dir / "overseer.toml").write_text(
            f'[oidc.corp]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT_ID}"\nclient_secret = "env:CORP_SECRET"\n'
            f'provision = "everyone"\nallow_private = true\n\n'
            f'[ci.builds]\nissuer = "{provider.issuer}"\naudience = "{client.url}"\nservice_account = "deploys"\n'
            f'claims = {{ project_id = "20" }}\nallow_private = true\n'
        )
        log_file = Path(place) / "server.log"
        with log_file.open("wb") as log:
            running = subprocess.Popen(
                command("server", "run"), env=client.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_ready(client, running)
            client("login", "--token-file", str(client.data_dir / "owner-token"))
            yield client
        finally:
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
        said = log_file.read_text()
        for secret in (PASSWORD, NEW, CLIENT_SECRET, "ovss_", "ovsi_", "code="):
            assert secret not in said


def as_another(server: Overseer, home: Path) -> Overseer:
    """Somebody else on that machine, who is not logged in."""
    return replace(server, environment={**server.environment, "XDG_CONFIG_HOME": str(home / "config")})


def invited(server: Overseer, home: Path, name: str) -> Overseer:
    """A new user with a password, who is not logged in."""
    person = as_another(server, home)
    (home / "invitation").write_bytes(server("user", "create", name).stdout)
    asked = [(b"new password: ", PASSWORD.encode() + b"\n"), (b", again: ", PASSWORD.encode() + b"\n")]
    code, _, shown = on_terminal(person, ["account", "accept-invitation", "--invitation-file", str(home / "invitation")], asked)
    assert code == 0, shown
    assert PASSWORD.encode() not in shown
    return person


def test_a_user_is_invited_logs_in_and_out(server: Overseer, tmp_path: Path) -> None:
    person = invited(server, tmp_path, "ann")
    code, _, shown = on_terminal(person, ["login", "--user", "ann"], [(b"password of ann: ", PASSWORD.encode() + b"\n")])
    assert code == 0, shown
    kept = json.loads((tmp_path / "config/overseer/login.json").read_text())
    assert kept["token"].startswith("ovss_")
    assert json.loads(person("whoami", "--json").stdout)["name"] == "ann"
    [session] = json.loads(person("session", "list", "--json").stdout)
    assert session["current"]
    assert json.loads(server("session", "list", "--user", "Ann", "--json").stdout)[0]["id"] == session["id"]
    assert b"the session is ended" in person("logout").stderr
    person("whoami", code=77, OVERSEER_TOKEN=kept["token"])
    assert json.loads(server("session", "list", "--user", "ann", "--json").stdout) == []


def test_password_and_second_factor_are_changed_on_a_terminal(server: Overseer, tmp_path: Path) -> None:
    person = invited(server, tmp_path, "ben")
    person("login", "--user", "ben", "--stdin", stdin=f"{PASSWORD}\n".encode())
    before = (tmp_path / "config/overseer/login.json").read_text()
    new = NEW.encode() + b"\n"
    asked = [(b"current password: ", PASSWORD.encode() + b"\n"), (b"new password: ", new), (b", again: ", new)]
    code, _, shown = on_terminal(person, ["account", "password"], asked)
    assert code == 0, shown
    assert (tmp_path / "config/overseer/login.json").read_text() != before
    assert json.loads(person("whoami", "--json").stdout)["name"] == "ben"  # the session went on under another secret
    with httpx.Client(base_url=server.url, headers=bearer(tmp_path), trust_env=False, timeout=60) as http:
        started = http.post("/api/me/totp", json={"password": NEW}).json()
        confirmed = http.post("/api/me/totp/confirm", json={"code": totp(started["secret"])}).json()
    assert b"a code is needed" in person("login", "--user", "ben", "--stdin", stdin=new, code=77).stderr
    asked = [(b"password of ben: ", new), (b"recovery code: ", confirmed["codes"][0].encode() + b"\n")]
    code, _, shown = on_terminal(person, ["login", "--user", "ben"], asked)
    assert code == 0, shown
    asked = [(b"password: ", new), (b"recovery code: ", confirmed["codes"][1].encode() + b"\n")]
    code, out, shown = on_terminal(person, ["account", "recovery-codes"], asked)
    assert (code, len(out.split())) == (0, 10), shown
    asked = [(b"password: ", new), (b"recovery code: ", out.split()[0] + b"\n")]
    assert on_terminal(person, ["account", "no-second-factor"], asked)[0] == 0
    person("login", "--user", "ben", "--stdin", stdin=new)


def test_the_key_of_a_second_factor_stands_on_a_line_of_its_own(server: Overseer, tmp_path: Path) -> None:
    """It is typed or selected from the terminal: nothing of another line may stick to it."""
    person = invited(server, tmp_path, "bea")
    person("login", "--user", "bea", "--stdin", stdin=f"{PASSWORD}\n".encode())
    asked = [(b"password: ", PASSWORD.encode() + b"\n"), (b"code that it shows: ", b"none\n")]
    code, _, shown = on_terminal(person, ["account", "second-factor"], asked)
    assert code != 0
    lines = [line.strip() for line in shown.decode().splitlines()]
    assert [line for line in lines if re.fullmatch(r"[A-Z2-7]{32}", line)], lines
    assert [line for line in lines if line.startswith("otpauth://totp/")], lines


def test_an_administrator_resets_disables_and_deletes(server: Overseer, tmp_path: Path) -> None:
    person = invited(server, tmp_path, "cleo")
    person("login", "--user", "cleo", "--stdin", stdin=PASSWORD.encode())
    server("user", "disable", "cleo", "--yes")
    person("whoami", code=77)
    server("user", "enable", "CLEO")
    person("login", "--user", "cleo", "--stdin", stdin=PASSWORD.encode())
    invitation = server("user", "reset", "cleo", "--yes").stdout.strip()
    assert invitation.startswith(b"ovsi_")
    person("whoami", code=77)
    person("login", "--user", "cleo", "--stdin", stdin=PASSWORD.encode(), code=77)
    assert b"cleo" in server("user", "list").stdout
    server("user", "link", "cleo", "--issuer", "https://id.example", "--subject", "s-1")
    assert b"s-1 at https://id.example" in server("user", "show", "cleo").stdout
    server("user", "unlink", "cleo", "--issuer", "https://id.example", "--subject", "s-1")
    server("user", "delete", "cleo", "--yes")
    server("user", "show", "cleo", code=66)
    assert b"last owner" in server("user", "disable", "owner", "--yes", code=75).stderr


@contextmanager
def logging_in(person: Overseer, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``overseer login --oidc``, waiting for the browser."""
    process = subprocess.Popen(
        command("login", "--oidc", "corp", "--no-browser", *arguments),
        env=person.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def page_of(process: subprocess.Popen[str]) -> str:
    """The address that the command asks to be opened."""
    assert process.stderr is not None
    for line in process.stderr:
        if (found := re.search(r"http\S+/authorize\?\S+", line)) is not None:
            return found[0]
    raise AssertionError("no address was printed")


def test_a_provider_signs_in_the_command_line_by_a_loopback_address(
    server: Overseer, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.user("dora", preferred_username="dora")
    person = as_another(server, tmp_path)
    with logging_in(person) as process:
        page = page_of(process)
        callback = parse_qs(urlsplit(page).query)["redirect_uri"][0]
        for stranger in (callback.replace("callback", "favicon.ico"), f"{callback}?nothing=1"):
            assert httpx.get(stranger, trust_env=False, timeout=60).status_code == 404
        assert httpx.get(f"{callback}?code=x", headers={"host": "evil.example"}, trust_env=False, timeout=60).status_code == 404
        back = provider.log_in(page, "dora")
        answer = httpx.get(callback, params=back, trust_env=False, timeout=60)
        assert answer.status_code == 200
        assert back["code"] not in answer.text
        assert process.wait(30) == 0
    assert json.loads(person("whoami", "--json").stdout)["name"] == "dora"


def test_an_answer_that_belongs_to_another_sign_in_keeps_nothing(
    server: Overseer, provider: ProviderProcess, tmp_path: Path
) -> None:
    provider.user("eve", preferred_username="eve")
    person = as_another(server, tmp_path)
    with logging_in(person) as process:
        page = page_of(process)
        callback = parse_qs(urlsplit(page).query)["redirect_uri"][0]
        back = provider.log_in(page, "eve")
        httpx.get(callback, params={**back, "state": "x" * 43}, trust_env=False, timeout=60)
        assert process.wait(30) == 77
    person("whoami", code=77)


def test_a_ci_job_exchanges_its_token(server: Overseer, provider: ProviderProcess, tmp_path: Path) -> None:
    server("service-account", "create", "deploys")
    job = as_another(server, tmp_path)

    def token(**changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": provider.issuer, "aud": server.url, "sub": "job", "jti": str(uuid4()), "iat": now, "exp": now + 600}
        return provider.sign({**claims, "project_id": "20", **changes})

    good = token()
    job("login", "--ci", "builds", OVERSEER_CI_TOKEN=good)
    assert json.loads(job("whoami", "--json").stdout)["name"] == "deploys"
    job("login", "--ci", "builds", OVERSEER_CI_TOKEN=good, code=77)  # once
    job("login", "--ci", "builds", "--stdin", stdin=token(project_id="21").encode(), code=77)
    (tmp_path / "token").write_text(token())
    job("login", "--ci", "builds", "--token-file", str(tmp_path / "token"))
    assert b"OVERSEER_CI_TOKEN" in job("login", "--ci", "builds", code=65).stderr
    job("login", "--ci", "builds", "--user", "ann", code=2)


def bearer(home: Path) -> dict[str, str]:
    return {"authorization": f"Bearer {json.loads((home / 'config/overseer/login.json').read_text())['token']}"}


def totp(secret: str) -> str:
    from base64 import b32decode

    from overseer.core.secret_value import SecretValue
    from overseer.crypto.one_time_codes import code_at

    return code_at(SecretValue(b32decode(secret)), int(time.time()) // 30)
