"""What rotators send: verifiers and hashes against published values, and signed requests; what the next value of a secret is."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pymysql
import pytest

from overseer.core.errors import InvalidInput, NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import Change, Login, Rotator
from overseer.server.rotators.mysql import MysqlRotator, Statements, has_two_passwords
from overseer.server.rotators.postgresql import scram_verifier
from overseer.server.rotators.rabbitmq import password_hash
from overseer.server.rotators.selection import make_rotator

KEY = SecretValue("a key of the webhook")
RULE = AddressRule.parse(["plain:127.0.0.0/8"], "a test")


def change(old: str = "old", new: str = "new") -> Change:
    return Change("run-1", "id-1", "db", 1, 2, SecretValue(old), SecretValue(new), KEY)


@dataclass
class Hook:
    """A receiver as the how-to describes one: it believes nothing that is not signed."""

    status: int = 204
    port: int = 0
    calls: list[dict[str, object]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        lines = dict(line.split(": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(lines["content-length"]))
        seconds, signed = (part.partition("=")[2] for part in lines["overseer-signature"].split(","))
        expected = hmac.new(KEY.reveal(), seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
        if hmac.compare_digest(expected, signed):
            self.calls.append(json.loads(body))
        writer.write(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % self.status)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def hooked() -> AsyncIterator[tuple[Hook, Rotator]]:
    hook = Hook()
    server = await asyncio.start_server(hook.serve, "127.0.0.1", 0)
    hook.port = server.sockets[0].getsockname()[1]
    async with server:
        yield hook, make_rotator({"kind": "webhook", "url": f"http://127.0.0.1:{hook.port}/rotate", "users": []}, RULE)


@pytest.mark.anyio
async def test_a_webhook_gets_signed_steps_with_the_value_it_needs() -> None:
    async with hooked() as (hook, rotator):
        await rotator.apply(change())
        await rotator.verify(change())
        await rotator.retire(change())
        await rotator.revert(change())
    about = {"run": "run-1", "secret": "id-1", "name": "db", "old_version": 1, "new_version": 2}
    assert hook.calls == [
        about | {"step": "apply", "value": "new"},
        about | {"step": "verify", "value": "new"},
        about | {"step": "retire"},
        about | {"step": "revert", "old_value": "old"},
    ]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [302, 400, 500])
async def test_what_is_not_done_is_tried_again_and_says_no_value(status: int) -> None:
    async with hooked() as (hook, rotator):
        hook.status = status
        with pytest.raises(NotReady) as failed:
            await rotator.apply(change(new="the-new-value"))
    assert "the-new-value" not in str(failed.value)
    assert str(failed.value).startswith("the webhook, apply: ")


@pytest.mark.anyio
@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "webhook", "url": "http://127.0.0.1:1/", "users": []},
        {"kind": "redis", "url": "redis://127.0.0.1:1", "users": ["a"], "admin_user": "admin"},
        {"kind": "mysql", "url": "mysql+plain://127.0.0.1:1", "users": ["a"], "admin_user": "admin"},
        {"kind": "postgresql", "url": "postgresql+plain://127.0.0.1:1", "users": ["a"], "admin_user": "admin"},
        {"kind": "rabbitmq", "url": "http://127.0.0.1:1", "users": ["a"], "admin_user": "admin"},
    ],
)
async def test_an_address_that_nobody_listed_is_not_connected_to(fields: dict[str, object]) -> None:
    for rule in (AddressRule(), AddressRule.parse(["127.0.0.0/8"], "a test")):  # listed, but not without TLS
        with pytest.raises(NotReady, match="not allowed here"):
            await make_rotator(fields, rule).apply(change())
    with pytest.raises(NotReady) as refused:  # listed for this: nobody listens there
        await make_rotator(fields, RULE).apply(change())
    assert "not allowed" not in str(refused.value)


def test_a_scram_verifier_is_what_rfc_7677_says() -> None:
    """Section 3: password "pencil", salt and i of the server's first message, and the server's signature at its end."""
    import base64

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    head, _, keys = scram_verifier(SecretValue("pencil"), salt).rpartition("$")
    assert head == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    server_key = base64.b64decode(keys.partition(":")[2])
    message = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        "s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(server_key, message.encode(), "sha256")
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_a_hash_is_what_rabbitmq_documents() -> None:
    """Its page on passwords: test12 with the salt 908D C60A."""
    assert password_hash(SecretValue("test12"), bytes.fromhex("908DC60A")) == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


POSTGRES = {"kind": "postgresql", "url": "postgresql://db.internal/app", "users": ["a", "b"]}


def test_the_next_value_keeps_what_it_does_not_change() -> None:
    two = make_rotator(POSTGRES, RULE)
    value = two.compose(SecretValue('{"username": "b", "password": "x", "port": 5432}'), SecretValue("fresh"))
    assert json.loads(value.reveal()) == {"username": "a", "password": "fresh", "port": 5432}
    one = make_rotator(POSTGRES | {"users": ["a"], "field": "word"}, RULE)
    assert one.compose(SecretValue("plain"), SecretValue("fresh")).reveal() == b"fresh"
    assert json.loads(one.compose(SecretValue('{"word": "x"}'), SecretValue("f")).reveal()) == {"word": "f"}


@pytest.mark.parametrize("value", ["plain", "[]", "{}", '{"username": "c", "password": "x"}', '{"username": "a", "password": 5}'])
def test_a_value_that_is_no_login_of_the_two_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        make_rotator(POSTGRES, RULE).compose(SecretValue(value), SecretValue("fresh"))


@pytest.mark.parametrize(
    ("version", "two"),
    [
        ("8.0.14", True),
        ("8.0.36-0ubuntu0.22.04.1", True),
        ("8.4.3", True),
        ("9.1.0-commercial", True),
        ("8.0.13", False),
        ("5.7.44-log", False),
        ("5.5.5-10.11.6-MariaDB-1", False),
        ("11.8.3-MariaDB-0+deb13u1", False),
        ("8.0.36-mariadb-proxy", False),
        ("", False),
        ("unknown", False),
    ],
)
def test_which_servers_keep_a_former_password(version: str, two: bool) -> None:
    assert has_two_passwords(version) is two


class ServerWithTwo(MysqlRotator):
    """MySQL's manual on ALTER USER, as far as one account's passwords go: RETAIN makes the present one the second one and pushes
    out what was there; a change without it leaves the second one as it is; DISCARD takes it away."""

    primary, secondary, version = "old", "", "8.4.3"

    def _work(self, address: str, port: int, login: Login, statements: Statements) -> str:
        word = login.password.reveal().decode()
        if login.username == "app" and word not in {self.primary, self.secondary} - {""}:
            raise pymysql.OperationalError(1045, f"Access denied for user app, {word}")
        for statement, parameters in statements:
            match statement.replace("ALTER USER %s@%s ", "").split(), parameters:
                case ["IDENTIFIED", "BY", "%s", "RETAIN", "CURRENT", "PASSWORD"], ("app", "%", new):
                    self.primary, self.secondary = new, self.primary
                case ["IDENTIFIED", "BY", "%s"], ("app", "%", new):
                    self.primary = new
                case ["DISCARD", "OLD", "PASSWORD"], ("app", "%"):
                    self.secondary = ""
                case ["SELECT", "1"], ():
                    pass
                case _:
                    raise AssertionError(statement)
        return self.version


MYSQL = {"kind": "mysql", "url": "mysql+plain://127.0.0.1:3306/", "users": ["app"]}
ADMIN = SecretValue('{"username": "admin", "password": "words"}')


@pytest.mark.anyio
@pytest.mark.parametrize("times", [1, 2, 3])
async def test_mysql_keeps_the_old_password_until_it_is_retired_however_often_a_step_is_repeated(times: int) -> None:
    rotator, asked = ServerWithTwo(MYSQL, RULE), replace(change(), admin=ADMIN)
    for _ in range(times):
        await rotator.apply(asked)
        assert (rotator.primary, rotator.secondary) == ("new", "old")
    await rotator.verify(asked)
    for _ in range(times):
        await rotator.retire(asked)
        assert (rotator.primary, rotator.secondary) == ("new", "")


@pytest.mark.anyio
@pytest.mark.parametrize("applied", [0, 1, 2])
async def test_mysql_goes_back_to_the_old_password_alone(applied: int) -> None:
    rotator, asked = ServerWithTwo(MYSQL, RULE), replace(change(), admin=ADMIN)
    for _ in range(applied):
        await rotator.apply(asked)
    for _ in range(2):
        await rotator.revert(asked)
        assert (rotator.primary, rotator.secondary) == ("old", "")
    with pytest.raises(NotReady):
        await rotator.verify(asked)


@pytest.mark.anyio
async def test_a_server_without_second_passwords_is_asked_for_none() -> None:
    rotator, asked = ServerWithTwo(MYSQL, RULE), replace(change(), admin=ADMIN)
    rotator.version = "11.8.3-MariaDB"
    await rotator.apply(asked)
    assert (rotator.primary, rotator.secondary) == ("new", "")
    await rotator.retire(asked)
    await rotator.revert(asked)
    assert (rotator.primary, rotator.secondary) == ("old", "")
