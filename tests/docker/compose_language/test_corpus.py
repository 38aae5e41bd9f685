"""Compose files in the style of public collections: identity without references, the same model with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from overseer.compose import dotenv, plaintext
from overseer.compose.bundle import Bundle
from overseer.compose.document import parse, splice
from overseer.compose.grammar import Reference
from overseer.compose.nodes import Leaf, Reader
from overseer.compose.references import find_references
from overseer.compose.render import render_file
from overseer.compose.render_env import render_env_file
from overseer.compose.walk import Walk
from overseer.core.errors import ReferencesRefused
from overseer.core.secret_value import SecretValue
from tests.docker.compose_language.real_compose import RealCompose

CORPUS = Path(__file__).parent / "corpus"
PROJECTS = sorted(path.name for path in CORPUS.iterdir() if path.is_dir())
#: Projects without anything that looks like a password, on purpose.
WITHOUT_SECRETS = {"minimal", "secrets-files"}
#: Compose itself drops a part of these from the JSON it prints, so they are refused; see the test of that.
LOST_BY_COMPOSE = {"models"}


def _files(project: str) -> dict[str, bytes]:
    root = CORPUS / project
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


class _Replacer:
    """Puts a reference in the place of every literal that looks like a secret."""

    def __init__(self) -> None:
        self.values: dict[Reference, SecretValue] = {}

    def reference(self, value: str) -> str:
        name = f"s{len(self.values)}"
        self.values[Reference(name)] = SecretValue(value)
        return "${SECRET:" + name + "}"

    def yaml(self, data: bytes) -> bytes:
        document = parse(data)
        reader, texts = Reader(document), {}
        for capture in Walk(document).run().captures:
            node: Any = reader.node(capture.event) if capture.name == "environment" else None
            pairs = list(node.items()) if isinstance(node, dict) else []
            if isinstance(node, list):
                pairs = [(leaf.text.partition("=")[0], leaf) for leaf in node]
            for key, leaf in pairs:
                if isinstance(leaf, Leaf) and leaf.index not in texts:
                    before, equals, value = leaf.text.partition("=") if isinstance(node, list) else ("", "", leaf.text)
                    if plaintext.in_variable(key, value):
                        texts[leaf.index] = before + equals + self.reference(value)
        return splice(document, texts)

    def dotenv(self, data: bytes) -> bytes:
        text = data.decode()
        for entry in reversed(dotenv.entries(text)):
            if plaintext.in_variable(entry.key, entry.text) and "\\" not in entry.text:
                text = f'{text[: entry.start]}"{self.reference(entry.text)}"{text[entry.end :]}'
        return text.encode()


@pytest.mark.parametrize("project", PROJECTS)
def test_without_references_every_byte_stays(project: str) -> None:
    files = _files(project)
    scans = find_references(Bundle(files)).scans
    assert scans
    for path, file in scans.items():
        rendered = render_file(files[path], {}) if file.document is not None else render_env_file(files[path], {})
        assert rendered.text.reveal() == files[path]
        assert rendered.references == ()


@pytest.mark.parametrize("project", PROJECTS)
def test_with_references_the_model_is_the_same(compose: RealCompose, project: str) -> None:
    files = _files(project)
    main = Bundle(files).main_files()
    replacer = _Replacer()
    scans = find_references(Bundle(files)).scans
    changed = files | {
        path: replacer.dotenv(files[path]) if file.document is None else replacer.yaml(files[path])
        for path, file in scans.items()
    }
    assert bool(replacer.values) is (project not in WITHOUT_SECRETS)
    assert find_references(Bundle(changed)).problems == ()
    assert compose.spliced(changed, replacer.values) == compose.model(files, main, profiles=("*",))
    if project not in LOST_BY_COMPOSE:
        assert compose.placed(changed, replacer.values) == compose.placed(files, {})


def test_what_compose_drops_from_its_model_is_refused(compose: RealCompose) -> None:
    """When this fails, Compose prints models: the rule can go."""
    with pytest.raises(ReferencesRefused) as refused:
        compose.placed(_files("models"), {})
    assert [problem.code for problem in refused.value.problems] == ["lost_models"]


def test_the_corpus_is_large_and_uses_every_key_of_a_service(compose: RealCompose) -> None:
    assert len(PROJECTS) >= 60
    data = compose.program.read_bytes()
    start = data.rindex(b"{", 0, data.index(b'"$id": "compose_spec.json"'))
    schema, _ = json.JSONDecoder().raw_decode(data[start : start + 500_000].decode("utf-8", "replace"))
    text = b"\n".join(data for project in PROJECTS for data in _files(project).values()).decode()
    known = {*schema["properties"], *schema["definitions"]["service"]["properties"]}
    known |= {key for one in ("secret", "config", "volume", "network") for key in schema["definitions"][one]["properties"]}
    assert {key for key in known if f"{key}:" not in text} <= NOT_IN_THE_CORPUS


#: Need another engine or the network to be resolved.
NOT_IN_THE_CORPUS = {
    "credential_spec",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "template_driver",
    "pull_refresh_after",
    "use_api_socket",
}
