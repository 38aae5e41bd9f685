"""What is typed for a seal, what is read from stdin, and how new shares are delivered."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import click
import pytest

from overseer.cli import seal_material
from overseer.cli.seal_material import SealMaterial, join_shares, read_shares, show_shares, written_shares
from overseer.core.errors import ConfigurationProblem, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import Key
from overseer.crypto.shares import combine, parse_share, split

KEY = Key(bytes(range(32)))
SHARES = [share.text() for share in split(KEY, 2, 3)]
Stdin = Callable[[bytes], None]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Stdin:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[SecretValue | str]], list[str]]:
    """Answers to the prompts, in order; the prompts that were shown."""

    def answer(lines: Iterable[SecretValue | str]) -> list[str]:
        left, prompts = iter(lines), list[str]()

        def ask(prompt: str, *, instead: str) -> SecretValue:
            prompts.append(prompt)
            line = next(left)
            return line if isinstance(line, SecretValue) else SecretValue(line)

        monkeypatch.setattr(seal_material, "ask_secret", ask)
        monkeypatch.setattr(seal_material, "ask_new_secret", ask)
        return prompts

    return answer


def combined(given: SecretValue | None) -> Key:
    assert given is not None
    return combine([parse_share(SecretValue(line)) for line in given.reveal().splitlines()])


def test_as_many_shares_are_asked_for_as_it_takes(typed: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    wrong = SHARES[1].reveal().decode()[:-1] + "!"
    prompts = typed([SHARES[2], "nothing", wrong, SHARES[2], SHARES[0]])
    assert combined(SealMaterial(stdin=False).opening("shamir")) == KEY
    assert prompts == ["share 1", "share 2", "share 2", "share 2", "share 2"]
    said = capsys.readouterr()
    assert "not a share" in said.err
    assert "mistyped" in said.err
    assert wrong[9:20] not in said.err + said.out


def test_what_each_seal_asks_for(typed: Callable[..., list[str]]) -> None:
    typed(["the old one is this", "the new one is that"])
    material = SealMaterial(stdin=False)
    assert material.opening("passphrase") == SecretValue("the old one is this")
    assert material.new("passphrase") == SecretValue("the new one is that")
    for kind in ("file", "env", "awskms", "vault-transit"):
        assert material.opening(kind) is None
        assert material.new(kind) is None
    assert material.new("shamir") is None


def test_stdin_has_what_opens_the_present_seal_first(stdin: Stdin) -> None:
    stdin(SHARES[0].reveal() + b"\n\n" + SHARES[1].reveal().upper() + b"\r\n a passphrase with blanks \n")
    material = SealMaterial(stdin=True)
    assert combined(material.opening("shamir")) == KEY
    assert material.new("passphrase") == SecretValue(" a passphrase with blanks ")
    material.end()
    assert material.shares_back(SHARES) == join_shares(SHARES)


def test_lines_that_are_missing_or_too_many(stdin: Stdin) -> None:
    stdin(b"")
    material = SealMaterial(stdin=True)
    for call in (lambda: material.opening("shamir"), lambda: material.opening("passphrase"), lambda: material.new("passphrase")):
        with pytest.raises(click.UsageError, match="stdin has no"):
            call()
    stdin(b"one\ncanary-line\n")
    material = SealMaterial(stdin=True)
    material.opening("passphrase")
    with pytest.raises(click.UsageError, match="1 more line") as refused:
        material.end()
    assert "canary" not in refused.value.message
    stdin(b"x" * (256 * 1024 + 1))
    with pytest.raises(click.UsageError, match="more than"):
        SealMaterial(stdin=True)


def test_shares_to_send(stdin: Stdin, typed: Callable[..., list[str]]) -> None:
    typed([SHARES[0]])
    assert read_shares(stdin=False) == [SHARES[0]]
    stdin(join_shares(SHARES).reveal())
    assert read_shares(stdin=True) == SHARES
    stdin(b"\n")
    with pytest.raises(click.UsageError):
        read_shares(stdin=True)


def test_typed_back_from_the_paper(typed: Callable[..., list[str]]) -> None:
    typed([SHARES[1], SHARES[2]])
    assert combined(SealMaterial(stdin=False).shares_back(SHARES)) == KEY


def test_shares_on_paper(capsys: pytest.CaptureFixture[str]) -> None:
    show_shares(None)(SHARES)
    said = capsys.readouterr()
    assert said.out.split() == [share.reveal().decode() for share in SHARES]
    assert "ovshare1" not in said.err


def test_shares_in_a_file_are_private_and_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "shares"
    show_shares(str(path))(SHARES)
    assert path.stat().st_mode & 0o777 == 0o600
    assert combined(written_shares(str(path))) == KEY
    said = capsys.readouterr()
    assert "ovshare1" not in said.out + said.err
    before = path.read_bytes()
    with pytest.raises(ConfigurationProblem, match="cannot be written"):
        show_shares(str(path))(SHARES)
    assert path.read_bytes() == before
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigurationProblem):
        show_shares(str(link))(SHARES)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(KeyProblem):
        written_shares(str(tmp_path / "none"))
