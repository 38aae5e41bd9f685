"""What git's history is asked of an adopted project: whether it holds a file, and nothing that the project's settings name."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from overseer.cli.commands.adopt import adopt

COMPOSE = "services: {web: {image: nginx, environment: {DB_PASSWORD: hunter2-Kq8xVw3ZpLm5}}}\n"


def git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose history holds its Compose file."""
    monkeypatch.setattr("overseer.cli.model_proof.prove_unchanged", lambda *_: None)
    made = tmp_path / "project"
    made.mkdir()
    (made / "compose.yaml").write_text(COMPOSE)
    for arguments in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        git(made, *arguments)
    return made


def told(project: Path) -> str:
    done = CliRunner().invoke(adopt, [str(project), "--dry-run", "--environment-form"])
    assert done.exit_code == 0, done.output
    return done.output


def test_what_history_holds_is_to_be_rotated(project: Path) -> None:
    assert "git's history holds the file" in told(project)


@pytest.mark.parametrize("way", ["signature", "fetch"])
def test_no_program_runs_that_the_project_s_git_names(project: Path, tmp_path: Path, way: str) -> None:
    mark, program = tmp_path / "ran", project / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    if way == "signature":
        signed = git(project, "cat-file", "commit", "HEAD").replace("\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n abc\n\n", 1)
        (tmp_path / "commit").write_text(signed + "\n")
        git(project, "reset", "-q", git(project, "hash-object", "-t", "commit", "-w", str(tmp_path / "commit")))
        settings = {"log.showSignature": "true", "gpg.program": str(program)}
    else:
        tree = git(project, "rev-parse", "HEAD^{tree}")
        (project / ".git/objects" / tree[:2] / tree[2:]).unlink()
        settings = {
            "core.repositoryFormatVersion": "1", "extensions.partialClone": "origin", "remote.origin.url": "ssh://host/x",
            "remote.origin.promisor": "true", "core.sshCommand": str(program), "protocol.ssh.allow": "always",
        }  # fmt: skip
    for name, value in settings.items():
        git(project, "config", name, value)
    subprocess.run(["git", "-C", str(project), "log", "--format=%h", "--", "compose.yaml"], check=False, capture_output=True)
    assert mark.exists()  # git itself would
    mark.unlink()
    told(project)
    assert not mark.exists()
