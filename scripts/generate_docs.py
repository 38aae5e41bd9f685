"""Write the reference pages in ``docs/reference`` from the code, or check them.

``python -m scripts.generate_docs`` writes what changed; with ``--check`` it writes nothing and ends with 1 where a page differs,
is missing or is left over. Both end with 1 where a setting, permission, audit action, error, route, command or option has no
description. Needs no server; the same code always gives the same pages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from scripts.reference_pages import audit, cli, errors, generators, http_api, lint_rules, permissions, references, settings
from scripts.reference_pages.markdown import Page, page

DIRECTORY: Final = Path(__file__).resolve().parent.parent / "docs" / "reference"
PAGES: Final[dict[str, tuple[str, Callable[[], Page]]]] = {
    "cli.md": ("every command and option of `overseer`", cli.build),
    "http-api.md": ("every route, its permission and its messages", http_api.build),
    "references.md": ("`${SECRET:…}`: the grammar, and where a reference may stand", references.build),
    "lint-rules.md": ("every rule of `overseer compose lint`", lint_rules.build),
    "settings.md": ("every setting of server, agent and clients", settings.build),
    "generators.md": ("what can be generated, rotation policies, rotators", generators.build),
    "permissions.md": ("permissions, built-in roles, selectors, precedence", permissions.build),
    "audit.md": ("actions, outcomes and fields of the audit log", audit.build),
    "errors.md": ("error codes, HTTP statuses, exit codes", errors.build),
}


def generate() -> tuple[dict[str, str], list[str]]:
    """Every page's text by file name, and every complaint."""
    built = {name: build() for name, (_, build) in PAGES.items()}
    listed = "\n".join(f"- [{name.removesuffix('.md').replace('-', ' ')}]({name}): {text}" for name, (text, _) in PAGES.items())
    texts = {"README.md": page("Reference", [listed]).text} | {name: one.text for name, one in built.items()}
    return texts, [complaint for one in built.values() for complaint in one.complaints]


def differences(texts: dict[str, str], directory: Path) -> list[str]:
    """What in ``directory`` is not as generated, one sentence each."""
    found = [f"{name} is missing" for name in sorted(texts) if not (directory / name).is_file()]
    for path in sorted(directory.glob("*.md")):
        if path.name not in texts:
            found.append(f"{path.name} is left over")
        elif path.read_text("utf-8") != texts[path.name]:
            found.append(f"{path.name} differs from the code")
    return found


def main(arguments: list[str], directory: Path = DIRECTORY) -> int:
    """0 when all is current and described, 1 otherwise, 2 for a wrong argument."""
    if arguments not in ([], ["--check"]):
        sys.stderr.write("usage: python -m scripts.generate_docs [--check]\n")
        return 2
    texts, problems = generate()
    found = differences(texts, directory)
    if arguments:
        problems += [f"docs/reference/{one}: run `make docs`" for one in found]
    else:
        directory.mkdir(parents=True, exist_ok=True)
        for path in directory.glob("*.md"):
            if path.name not in texts:
                path.unlink()
        for name, text in texts.items():
            (directory / name).write_text(text, "utf-8")
    for problem in problems:
        sys.stderr.write(f"docs: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
