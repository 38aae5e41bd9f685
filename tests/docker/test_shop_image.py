"""The example's image and Compose file work on a real engine, before Overseer has any part in it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from examples.shop import images

SHOP = Path(images.__file__).parent


def _run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_the_image_is_made_once_and_runs(docker_engine: list[str], shop_image: str) -> None:
    identity = [*docker_engine, "image", "inspect", "--format", "{{.Id}}", shop_image]
    before = _run(identity).stdout
    assert images.ensure_image(docker_engine) == shop_image
    assert _run(identity).stdout == before
    assert _run([*docker_engine, "run", "--rm", shop_image, "sh", "-c", "echo ready"]).stdout == "ready\n"


@pytest.mark.parametrize(
    ("part", "complaint"),
    [("web", "DATABASE_PASSWORD is not set"), ("worker", "/run/secrets/db_password is missing or empty")],
)
def test_the_shop_needs_its_secrets(docker_engine: list[str], shop_image: str, part: str, complaint: str) -> None:
    refused = _run([*docker_engine, "run", "--rm", shop_image, "shop", part])
    assert refused.returncode == 1
    assert complaint in refused.stderr


def test_compose_accepts_the_file_as_it_is_written(compose_binary: list[str], tmp_path: Path) -> None:
    """With the references escaped, as Compose itself knows nothing of them, the model is valid and has all three forms."""
    text = (SHOP / "compose.yaml").read_text().replace("${SECRET:", "$${SECRET:")
    config = _run([*compose_binary, "--project-directory", str(tmp_path), "-f", "-", "config", "--format", "json"], input=text)
    assert config.returncode == 0, config.stderr
    model = json.loads(config.stdout)
    assert model["services"]["web"]["environment"]["API_KEY"] == "$${SECRET:api-key}"
    assert model["secrets"]["db_password"] == {"name": "db-password", "external": True}
    assert model["services"]["worker"]["volumes"][0]["source"] == "/etc/secrets/api-key"


def test_the_worker_notices_a_rotated_file_and_leaves_at_once(
    docker_engine: list[str], shop_image: str, project_name: str, tmpfs_dir: Path
) -> None:
    tmpfs_dir.chmod(0o755)
    for name in ("db_password", "api-key"):
        (tmpfs_dir / name).write_text("first")
    mount = ["--mount", f"type=bind,source={tmpfs_dir},target=/run/secrets,readonly"]
    label = ["--label", f"com.docker.compose.project={project_name}", "--user", "1000:1000", "--read-only"]
    container = _run([*docker_engine, "run", "--detach", *label, *mount, shop_image, "shop", "worker"]).stdout.strip()
    follow = [*docker_engine, "logs", "--follow", container]
    with subprocess.Popen(follow, stdout=subprocess.PIPE, text=True) as logs:
        assert logs.stdout is not None
        assert "arrived" in logs.stdout.readline()
        (tmpfs_dir / ".next").write_text("second")
        (tmpfs_dir / ".next").rename(tmpfs_dir / "api-key")
        assert "has a new value" in logs.stdout.readline()
        assert _run([*docker_engine, "stop", "--time", "20", container]).returncode == 0
    assert _run([*docker_engine, "inspect", "--format", "{{.State.ExitCode}}", container]).stdout == "0\n"
