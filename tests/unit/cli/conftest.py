"""Running commands in this process, as ``overseer`` would."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from overseer.cli.program import run


@dataclass
class Ended:
    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()


Overseer = Callable[..., Ended]


@pytest.fixture
def overseer(monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Overseer:
    """``overseer("secret", "list", url=…, stdin=b"…")``: with a token, a home of its own, and no terminal."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("OVERSEER_TOKEN", "ovs_test")
    for name in ("OVERSEER_URL", "OVERSEER_CA_FILE", "_OVERSEER_COMPLETE"):
        monkeypatch.delenv(name, raising=False)

    def execute(*arguments: str, url: str = "http://127.0.0.1:1", stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsysbinary.readouterr()
        code = run(["--url", url, *arguments])
        captured = capsysbinary.readouterr()
        return Ended(code, captured.out, captured.err.decode())

    return execute
