"""The process target: a command that gets secrets in its environment or as files in memory, and nothing else of ours.

Guarantees: no value in an argument; signals sent to this process reach the command, and the command's exit code is returned
(128 + n where signal n ended it); with ``files`` the values lie in a 0700 directory in memory that is wiped when the command
ends, also when this process is told to end. A directory left behind by a process that was killed is wiped by the next run.

What it cannot do: keep a command's environment from root and from processes of the same user (``/proc/PID/environ``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from overseer.agent.injection.files import SecretFile, publish
from overseer.agent.injection.memory_root import MemoryRoot, open_root
from overseer.core.errors import InvalidInput, NodeProblem, Problem
from overseer.core.secret_value import SecretValue

DIRECTORY_VARIABLE: Final = "OVERSEER_SECRETS_DIR"
#: The kernel's limit for one "KEY=VALUE" (MAX_ARG_STRLEN without the terminating NUL).
MAX_ENVIRONMENT_BYTES: Final = 131_071
#: Credentials of this client are not the command's business.
_OWN_VARIABLES: Final = frozenset({"OVERSEER_TOKEN", "OVERSEER_SEAL", "OVERSEER_DATABASE_URL"})
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PASSED_ON: Final = frozenset(
    {signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
)
_FROM_KERNEL: Final = 0x80  # si_code SI_KERNEL: the terminal, which reaches the command by itself
_PREFIX: Final = "run-"
_LOOK_SECONDS: Final = 0.5


def run_process(
    argv: Sequence[str],
    values: Mapping[str, SecretValue],
    *,
    files: bool = False,
    environ: Mapping[str, str] | None = None,
    root: MemoryRoot | None = None,
) -> int:
    """Run ``argv`` with ``values`` and return its exit code; 127 where there is no such program, 126 where it may not run.

    ``values`` by variable name, or by file name with ``files`` (``OVERSEER_SECRETS_DIR`` names the directory). ``environ`` is the
    environment to extend (default: this process's). Raises :class:`InvalidInput` with every name and value that does not fit,
    before anything is written. Call it from the main thread: it handles signals until the command ends.
    """
    if not argv:
        raise InvalidInput("there is no command to run")
    environment = {key: text for key, text in (os.environ if environ is None else environ).items() if key not in _OWN_VARIABLES}
    if not files:
        return _supervise(argv, {**_encoded(environment), **_variables(values)})
    place = root if root is not None else open_root(None)
    with _private_directory(place.path) as directory:
        publish(directory, {name: SecretFile(value, mode=0o400) for name, value in values.items()}, mode=0o700)
        environment[DIRECTORY_VARIABLE] = str(directory)
        return _supervise(argv, _encoded(environment))


def _variables(values: Mapping[str, SecretValue]) -> dict[bytes, bytes]:
    problems = []
    for name, value in values.items():
        if _VARIABLE.fullmatch(name) is None:
            problems.append(Problem(name, "is no name of an environment variable: map it to one, or use --files", "bad_variable"))
        elif b"\0" in value.reveal():
            problems.append(Problem(name, "holds a NUL byte, which no environment variable can: use --files", "value_has_nul"))
        elif len(name) + 1 + len(value) > MAX_ENVIRONMENT_BYTES:
            rule = f"is longer than the {MAX_ENVIRONMENT_BYTES} bytes a variable can hold: use --files"
            problems.append(Problem(name, rule, "value_too_long"))
    if problems:
        raise InvalidInput("values that cannot be environment variables", problems=problems)
    return {name.encode("ascii"): value.reveal() for name, value in values.items()}


def _encoded(environment: Mapping[str, str]) -> dict[bytes, bytes]:
    return {os.fsencode(key): os.fsencode(text) for key, text in environment.items()}


def _supervise(argv: Sequence[str], environment: Mapping[bytes, bytes]) -> int:
    """Start the command, pass signals on, wait for its end."""
    # Blocked and fetched one by one: none is lost between start and end, and none interrupts the wiping.
    waited = _PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    child = 0
    try:
        try:
            child = os.posix_spawnp(
                argv[0], list(argv), environment, setsigmask=before - waited, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
            )
        except FileNotFoundError:
            return 127
        except PermissionError:
            return 126
        except OSError as error:
            raise NodeProblem(f"the command could not be started: {error.strerror}") from None
        return _attend(child, waited)
    finally:
        while child and signal.sigtimedwait(_PASSED_ON, 0):
            pass  # meant for a command that is gone: it must not end us before our own end
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _attend(child: int, waited: frozenset[signal.Signals]) -> int:
    while True:
        # Not for ever: where the process has other threads, one of them may take the child's signal, and it is lost.
        found = signal.sigtimedwait(waited, _LOOK_SECONDS)
        if found is not None and found.si_signo != signal.SIGCHLD:
            if found.si_code != _FROM_KERNEL:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, found.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


@contextlib.contextmanager
def _private_directory(root: Path) -> Iterator[Path]:
    """A fresh directory below ``root``, locked as long as this process or the command lives, wiped at the end."""
    _wipe_abandoned(root)
    name = secrets.token_hex(12)
    directory, unlocked = root / f"{_PREFIX}{name}", root / f".new-{name}"
    # No signal may end the process between making the directory and the handler that wipes it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    try:
        unlocked.mkdir(mode=0o700)
        descriptor = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            unlocked.rename(directory)  # only now another run may look whether it is abandoned
            os.set_inheritable(descriptor, True)
            # The lock is shared with the command: its files stay where only this process was killed.
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            os.close(descriptor)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wipe_abandoned(root: Path) -> None:
    """Directories of runs whose processes are all gone: nobody holds their lock."""
    for path in root.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(descriptor)
