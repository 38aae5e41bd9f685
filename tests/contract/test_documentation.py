"""The documentation says what is true: links lead somewhere, named code and tests exist, commands and options are real ones.

Every Markdown file of the tree is read; nothing here is a list of pages.
"""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import click
import pytest

from overseer.cli.program import program
from overseer.core.audit_events import ACTION_MEANING, AuditAction
from overseer.core.permissions import PERMISSION_MEANING, Permission
from overseer.server.api.catalogue import ROUTES
from overseer.server.settings import SETTINGS
from scripts.generate_docs import DIRECTORY, differences, generate, main
from scripts.reference_pages import http_api, settings
from scripts.reference_pages.cli import commands

ROOT = Path(__file__).resolve().parents[2]
_LINK = re.compile(r"(?<!!)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_CODE_PLACE = re.compile(r"`(?P<path>[\w/.-]+\.py):(?P<name>[A-Za-z_][\w.]*)`")
_TEST_PLACE = re.compile(r"`(?P<file>test_\w+\.py)::(?P<name>test_\w+)`")
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
#: A place on somebody's machine or the address of a package registry: neither is the same for whoever reads the tree.
_FOREIGN = re.compile(
    rf"(?<![\w>]){re.escape(str(ROOT))}\b|/(?:home|Users)/\w+/|https?://[\w.-]*(?:pypi|npmjs|pythonhosted|crates)[\w.-]*"
)
_PAGES_TO_FIND = ("README", "ARCHITECTURE", "THREAT_MODEL", "SECURITY", "CHANGELOG", "CONTRIBUTING", "docs/README")
_NAMED_COMMAND = re.compile(r"`overseer ((?:[a-z-]+ ?)+(?:--[a-z-]+)?)(?=[`A-Z….-])")
_COMMAND = re.compile(r"\s*(?:sudo )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?overseer(?P<words>\s.*)?$")


def tracked(*patterns: str) -> list[Path]:
    """Files of the tree that git knows or would take, so that a page is checked before it is committed."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [ROOT / name for name in sorted(filter(None, listed.split("\0"))) if (ROOT / name).is_file()]


PAGES = [path.relative_to(ROOT).as_posix() for path in tracked("*.md")]


def text_of(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", lambda found: "·" * len(found[0]), _FENCE.sub("", text))


def anchors(path: Path) -> set[str]:
    """The anchors that headings get: lower case, blanks to dashes, punctuation dropped, a number where one repeats."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", _FENCE.sub("", path.read_text("utf-8")), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        base = slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        number = 0
        while slug in found:
            number += 1
            slug = f"{base}-{number}"
        found.add(slug)
    return found


def links(page: str) -> Iterator[tuple[str, str]]:
    for found in _LINK.finditer(without_code(text_of(page))):
        if not re.match(r"[a-z]+:", found["target"]):
            yield found["target"], found["text"]


@cache
def definitions(path: Path) -> frozenset[str]:
    """Names defined in a module: functions, classes, ``Class.method`` and module constants."""
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef))
            found |= {f"{node.name}.{one.name}" for one in inner}
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def test_the_pages_that_users_look_for_are_there() -> None:
    assert {f"{name}.md" for name in _PAGES_TO_FIND} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    broken = []
    for target, _ in links(page):
        path, _, anchor = target.partition("#")
        place = (ROOT / page).parent / path if path else ROOT / page
        inside = place.exists() and place.resolve().is_relative_to(ROOT)
        if not inside or (anchor and place.suffix == ".md" and anchor not in anchors(place)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES)
def test_named_code_exists(page: str) -> None:
    missing = []
    for found in _CODE_PLACE.finditer(text_of(page)):
        place = next((one for one in (ROOT / found["path"], ROOT / "src/overseer" / found["path"]) if one.is_file()), None)
        if place is None or found["name"] not in definitions(place):
            missing.append(found[0])
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_named_tests_exist_and_are_linked(page: str) -> None:
    missing, linked = [], set()
    for target, text in ((found["target"], found["text"]) for found in _LINK.finditer(text_of(page))):
        for named in _TEST_PLACE.finditer(text):
            place = (ROOT / page).parent / target
            linked.add(named[0])
            if place.name != named["file"] or not place.is_file() or named["name"] not in definitions(place):
                missing.append(f"{named[0]} -> {target}")
    loose = {found[0] for found in _TEST_PLACE.finditer(text_of(page))} - linked
    assert (missing, sorted(loose)) == ([], [])


def test_architecture_and_threat_model_are_anchored() -> None:
    assert len(set(_CODE_PLACE.findall(text_of("ARCHITECTURE.md")))) >= 40
    assert len(set(_TEST_PLACE.findall(text_of("THREAT_MODEL.md")))) >= 25


def test_each_claim_of_the_threat_model_has_a_test() -> None:
    """A row of a table of defences has a test in its last cell."""
    bare = []
    for line in text_of("THREAT_MODEL.md").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and not line.startswith("| ---") and cells[-1] != "Test" and "::test_" not in cells[-1]:
            bare.append(line[:100])
    assert bare == []


def test_the_reference_is_current_and_complete() -> None:
    texts, complaints = generate()
    assert complaints == []
    assert differences(texts, DIRECTORY) == []


def test_the_check_notices_each_kind_of_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, _ = generate()
    assert main([], tmp_path) == main(["--check"], tmp_path)
    assert differences(texts, tmp_path) == []
    (tmp_path / "errors.md").unlink()
    (tmp_path / "audit.md").write_text("changed", "utf-8")
    (tmp_path / "old.md").write_text("", "utf-8")
    assert differences(texts, tmp_path) == ["errors.md is missing", "audit.md differs from the code", "old.md is left over"]
    assert main(["--check"], tmp_path) == 1
    assert "docs/reference/audit.md differs from the code: run `make docs`" in capsys.readouterr().err


def test_what_has_no_description_is_a_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    secret_list = next(command for name, command in commands() if name == "overseer secret list")
    search = next(one for one in secret_list.params if one.name == "q")
    route = next(one for one in ROUTES if one.name == "get_me")
    monkeypatch.delitem(PERMISSION_MEANING, Permission.KEY_READ)
    monkeypatch.delitem(ACTION_MEANING, AuditAction.APP_LIST)
    monkeypatch.setattr(search, "help", None)
    monkeypatch.setattr(secret_list, "help", None)
    monkeypatch.setattr(http_api, "ROUTES", (replace(route, summary=" "),))
    monkeypatch.setattr(settings, "SETTINGS", SETTINGS[1:])
    _, complaints = generate()
    assert {complaint.split(": no ")[0].split(" is read in ")[0] for complaint in complaints} == {
        "permission key:read",
        "audit action app:list",
        "overseer secret list",
        "overseer secret list --search",
        "endpoint GET /api/me",
        "OVERSEER_ALLOWED_HOSTS",
    }


def test_the_readme_names_what_ci_runs() -> None:
    readme, ci = text_of("README.md"), (ROOT / ".ci/run").read_text("utf-8")
    for command in ("make test", "make lint", "make run ARGS=--once"):
        assert re.search(rf"^{re.escape(command)}$", ci, re.MULTILINE), command
    blocks = "\n".join(found["body"] for found in _FENCE.finditer(readme))
    assert re.search(r"^make run\b", blocks, re.MULTILINE)
    assert re.search(r"^make test\b", blocks, re.MULTILINE)


def test_no_page_or_source_names_a_machine_or_a_registry() -> None:
    own = Path(__file__).resolve()
    found = []
    for path in tracked("*.md", "*.py", "*.sh", "*.toml", "*.yaml", "*.sql", "*.txt", "Makefile", ".ci/*", "deploy/*"):
        if path == own:
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
            if _FOREIGN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def shell_lines(page: str) -> Iterator[str]:
    """The commands of a page's ``sh`` blocks: comments cut, continued lines joined."""
    for block in _FENCE.finditer(text_of(page)):
        if block["language"] == "sh":
            for line in block["body"].replace("\\\n", " ").splitlines():
                yield re.split(r"\s#\s", line)[0].strip().removeprefix("$ ")


def commands_in(page: str) -> Iterator[list[str]]:
    """Each ``overseer …`` of a page's blocks as words, up to a pipe or a redirection."""
    for line in shell_lines(page):
        for part in re.split(r"\|\||&&|[|;]|\$\(|<\(", line):
            found = _COMMAND.match(re.sub(r"[<>].*$|\)+\"?$", "", part))
            if found is not None:
                yield shlex.split(found["words"] or "")


@pytest.mark.parametrize("page", [page for page in PAGES if any(True for _ in commands_in(page))])
def test_every_command_in_the_pages_is_a_real_one(page: str) -> None:
    wrong = [problem for words in commands_in(page) if (problem := problem_of(words))]
    assert wrong == []


def problem_of(words: list[str]) -> str:
    """What is wrong with a command line: an unknown command or option, or an argument too few or too many."""
    command: click.Command = program
    context = click.Context(command, info_name="overseer")
    rest = list(words)
    while isinstance(command, click.Group):
        while rest and rest[0].startswith("-"):
            if rest[0] in ("--version", "--help", "-h"):
                return ""
            rest = rest[2:]
        found = command.get_command(context, rest[0]) if rest else None
        if found is None:
            return f"overseer {' '.join(words)}: no such command"
        command, context, rest = found, click.Context(found, parent=context, info_name=rest[0]), rest[1:]
    if rest in (["--help"], ["-h"]):
        return ""
    context.resilient_parsing = False
    try:
        parser = command.make_parser(context)
        _, left, _ = parser.parse_args(list(rest))
    except click.UsageError as error:
        return f"overseer {' '.join(words)}: {error.format_message()}"
    return f"overseer {' '.join(words)}: too many arguments" if left else ""


@cache
def texts_in_code() -> tuple[str, ...]:
    """Every text constant of the package, docstrings too; the pieces of an f-string one by one."""
    found: list[str] = []
    for path in tracked("src/overseer/*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        found += [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return tuple(found)


def test_every_command_that_the_program_names_is_a_real_one() -> None:
    """What a message or a docstring tells people to run; words in capitals and dots stand for something."""
    named = {found for text in texts_in_code() for found in _NAMED_COMMAND.findall(text)}
    assert len(named) >= 10
    assert [words for words in sorted(named) if not is_named_rightly(words.split())] == []


def is_named_rightly(words: list[str]) -> bool:
    command: click.Command = program
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            return False
        command, words = found, words[1:]
    return {word for word in words if word.startswith("--")} <= {"--", *(name for one in command.params for name in one.opts)}


def test_the_messages_that_troubleshooting_explains_are_the_programs_own() -> None:
    page = text_of("docs/how-to/troubleshoot.md")
    quoted = [cell for line in page.splitlines() if line.startswith("| `") for cell in re.findall(r"^\| `([^`]+)` \|", line)]
    assert len(quoted) >= 12
    foreign = [
        piece
        for message in quoted
        for piece in re.split(r"\s*…\s*", message)
        if len(piece) > 3 and not any(piece in " ".join(text.split()) for text in texts_in_code())
    ]
    assert foreign == []
