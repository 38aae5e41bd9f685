"""What `overseer doctor` sees of a server on its own machine: files, the seal, TLS, memory. Nothing is changed.

What it will not do: read a key or a value (a file's owner and mode are enough), or look into a running process.
"""

from __future__ import annotations

import resource
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem, KeyProblem
from overseer.core.findings import Finding, certificate_finding, ok, problem, warning
from overseer.crypto.certificates import certificates_in, expires_at
from overseer.server.listening import tls_context
from overseer.server.services.owner_token import FILE_NAME
from overseer.server.settings import CONFIG_FILE, Settings
from overseer.server.sign_in_settings import OIDC

_OF_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_SWAPS: Final = Path("/proc/swaps")


def host_findings(settings: Settings, now: datetime) -> list[Finding]:
    """Everything that can be seen without the database."""
    return [*_files(settings), *_seal(settings), *_tls(settings, now), *_second_factor(settings), *_memory()]


def _files(settings: Settings) -> Iterator[Finding]:
    yield _private("data directory", settings.data_dir, 0o700)
    configuration = settings.data_dir / CONFIG_FILE
    if configuration.exists():
        yield _private("configuration file", configuration, 0o600)
    token = settings.data_dir / FILE_NAME
    if token.exists():
        advice = f"run `overseer login --token-file PATH` with {token}, make tokens for people, then delete the file"
        yield warning("owner token", f"the owner's first token still lies in {token}", advice)


def _seal(settings: Settings) -> Iterator[Finding]:
    kind, _, place = settings.seal.partition(":")
    if kind == "file":
        path = Path(place)
        yield _private("key file", path, 0o600)
        beside = settings.data_dir.absolute() in path.absolute().parents
        if beside and settings.database_url is None:
            yield warning(
                "key place",
                f"the key file {path} lies beside the embedded database: whoever takes this disk has both",
                "fine for one machine; keep a copy of the key elsewhere and leave it out of backups, or change the seal",
            )
        else:
            yield ok("key place", f"the key file {path} lies apart from the database")
    elif kind == "env":
        text = "the root key comes from the service manager's credentials or the environment"
        yield warning("key place", text, "prefer a credential (systemd LoadCredential) over a variable")
    else:
        yield ok("key place", f"the root key comes from the seal {kind}, not from this disk")


def _private(check: str, path: Path, mode: int) -> Finding:
    try:
        found = path.lstat()
    except OSError as error:
        said = (error.strerror or "cannot be read").lower()
        return problem(check, f"{path}: {said}", "restore it, mend its path in the settings, or run doctor as the server's user")
    if stat.S_ISLNK(found.st_mode):
        return problem(check, f"{path} is a symbolic link", "name the file itself")
    if stat.S_IMODE(found.st_mode) & _OF_OTHERS:
        text = f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner may use it"
        return problem(check, text, f"chmod {mode:04o} {path}")
    return ok(check, f"{path} is for its owner alone")


def _tls(settings: Settings, now: datetime) -> Iterator[Finding]:
    if settings.tls_cert is None:
        if settings.trusted_proxies:
            yield ok("tls", "a proxy ends TLS; its headers are believed from " + ", ".join(settings.trusted_proxies))
        else:
            yield ok("tls", "no TLS, and it listens on this machine only")
        return
    try:
        tls_context(settings)
        yield _lifetime(settings.tls_cert.read_bytes(), now)
    except (ConfigurationProblem, KeyProblem) as error:
        yield problem("tls", error.message, "mend the files, then restart the server")
    except OSError:
        yield problem("tls", f"{settings.tls_cert} cannot be read", "mend the path or its permissions")


def _lifetime(pem: bytes, now: datetime) -> Finding:
    ends = min(expires_at(certificate) for certificate in certificates_in(pem))
    return certificate_finding("tls", ends, now)


def _second_factor(settings: Settings) -> Iterator[Finding]:
    """Whether people need more than a password, here and at their providers."""
    check = "second factor"
    if settings.second_factor != "required":
        text = "a password alone signs in whoever set up no second factor"
        if settings.secure_cookies:  # others than this machine can reach it
            yield warning(check, text, "set OVERSEER_SECOND_FACTOR to required")
        else:
            yield ok(check, text + "; this server is reached from this machine alone")
        return
    lax = sorted(name for name, one in OIDC.read(settings.tables).items() if not (one.acr or one.amr))
    if lax:
        text = "passwords need a second factor; nothing is demanded of sign-ins through " + ", ".join(lax)
        yield warning(check, text, "set `amr` or `acr` of the provider, if it does not demand one itself")
    else:
        yield ok(check, "every sign-in of a person needs a second factor")


def _memory() -> Iterator[Finding]:
    yield ok("core dumps", "server processes forbid core dumps and debuggers for themselves")
    if len(_SWAPS.read_text("ascii").splitlines()) < 2:
        yield ok("swap", "no swap is on")
    elif resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
        yield ok("swap", "swap is on, and memory may be locked (as far as this account's limits are the server's)")
    else:
        text = "swap is on, and this account may not lock its memory: keys may be written to disk"
        yield warning("swap", text, "encrypt the swap, switch it off, or set LimitMEMLOCK=infinity for the server")
