"""What ``overseer login`` keeps: the server's URL, its CA file and a token, in ``$XDG_CONFIG_HOME/overseer/login.json``.

The directory is 0700 and the file 0600; a file that others may read or that belongs to somebody else is refused, not repaired:
its token may be known already. The file is replaced in one step, so that a reader never sees half of one.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

import msgspec

from overseer.core.errors import ConfigurationProblem
from overseer.core.secret_value import SecretValue


@dataclass(frozen=True, slots=True)
class Login:
    """Where and as whom; ``ca_file`` is an absolute path or None."""

    url: str
    token: SecretValue
    ca_file: str | None = None


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """The file. Evolution rule: fields may be added with a default; a field keeps its meaning forever."""

    url: str
    token: str
    ca_file: str | None = None

    def __repr__(self) -> str:
        return "_Stored(…)"


def login_path() -> Path:
    """Where the login lies: below $XDG_CONFIG_HOME, by default ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".config"
    return root / "overseer" / "login.json"


def load_login(path: Path | None = None) -> Login | None:
    """The stored login, None where there is none; :class:`ConfigurationProblem` where it is not private or not readable."""
    path = path or login_path()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationProblem(f"{path} cannot be opened ({error.strerror}): run overseer login again") from None
    with open(descriptor, "rb") as file:  # noqa: PTH123 - the descriptor that is checked is the one that is read
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid() or not stat.S_ISREG(status.st_mode) or status.st_mode & 0o077:
            raise ConfigurationProblem(
                f"{path} must belong to you and be readable by nobody else: its token may be known, "
                "so revoke it and run overseer login again"
            )
        content = file.read(1 << 20)
    try:
        stored = msgspec.json.decode(content, type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigurationProblem(f"{path} is damaged: run overseer login again") from None
    return Login(stored.url, SecretValue(stored.token), stored.ca_file)


def save_login(login: Login, path: Path | None = None) -> Path:
    """Keep ``login``; the path it went to."""
    path = path or login_path()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    content = msgspec.json.encode(_Stored(login.url, login.token.reveal().decode("ascii"), login.ca_file))
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:  # noqa: PTH123 - created with its mode, never wider
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return path


def forget_login(path: Path | None = None) -> bool:
    """Delete the stored login; False where there was none. The token stays valid until it is revoked or expires."""
    path = path or login_path()
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True
