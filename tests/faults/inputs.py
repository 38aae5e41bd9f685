"""Bad input: refused by rule, with every problem and its place, and never repeated."""

from __future__ import annotations

import re
import secrets
from typing import Any

import httpx

from tests.faults.stage import Stage
from tests.faults.table import fault, require

MIB = 1 << 20
COMPOSE = """\
services:
  web:
    image: shop
    environment:
      GOOD: ${SECRET:ok-1}
      GONE: "x ${SECRET:missing-1} y"
      OTHER: ${SECRET:denied-1}
    env_file: [web.env]
  worker:
    image: shop
    command: [run, "${SECRET:missing-1}", "${SECRET:ok-2}"]
    secrets: [denied-2, ok-3]
    volumes: ["/etc/secrets/missing-2:/run/key:ro"]
secrets:
  denied-2: {external: true}
  ok-3: {external: true}
"""
ENV_FILE = "# settings\nA=${SECRET:ok-4}\nB=${SECRET:missing-3}\nC=${SECRET:denied-1} ${SECRET:ok-1}\n"
REFERENCE = re.compile(r"\$\{SECRET:((?:missing|denied)-\d)\}")


@fault("NUL in an environment value", "refused by rule, the value never shown; allowed as a file")
def nul(stage: Stage) -> str:
    name, value = stage.name("nul"), secrets.token_hex(12)
    stage.create(name, f"{value}\0")
    run = ("run", "--only", name, "--reason", "fault")
    refused = stage.cli(*run, "--", "true")
    said = refused.stdout + refused.stderr
    require(refused.returncode == 65 and b"NUL" in said and value.encode() not in said, f"exit code {refused.returncode}")
    as_file = stage.cli(*run, "--files", "--", "sh", "-c", f'test "$(wc -c < "$OVERSEER_SECRETS_DIR/{name}")" = {len(value) + 1}')
    require(as_file.returncode == 0, f"as a file: {as_file.stderr.decode(errors='replace')}")
    return "exit code 65, names the rule; as a file with all its bytes"


@fault("a value of 1 MiB and one byte", "413 for it, 201 for exactly 1 MiB, value never echoed")
def too_large(stage: Stage) -> str:
    mark = secrets.token_hex(12)
    over = stage.http("POST", "/api/secrets", {"name": stage.name("over"), "value": mark + "x" * (MIB + 1 - len(mark))})
    huge = stage.http("POST", "/api/secrets", {"name": stage.name("huge"), "value": mark * (MIB // 8)})
    exact = stage.http("POST", "/api/secrets", {"name": stage.name("exact"), "value": "x" * MIB})
    statuses = [over.status_code, huge.status_code, exact.status_code]
    require(statuses == [413, 413, 201], f"{statuses}")
    require(mark not in over.text + huge.text and len(over.content) < 2000, "the value was echoed")
    require(len(stage.reveal(exact.json()["id"]).json()["value"]) == MIB, "the large value came back otherwise")
    return "413 too_large, 3 MiB: 413, exactly 1 MiB: 201 and back"


@fault("bad names", "422 by rule, never echoed")
def bad_names(stage: Stage) -> str:
    mark = secrets.token_hex(12)
    endings = (" x", "/x", ":-x", "\n", "é", "\0", "$", mark * 10)
    names = ["", "-x", ".x", *(mark + ending for ending in endings)]
    answers = [stage.http("POST", "/api/secrets", {"name": name, "value": mark}) for name in names]
    answers += [stage.http("POST", "/api/secrets", {"name": "x", "value": mark, "app": name}) for name in names[1:]]
    answers += [stage.http("POST", "/api/apps", {"name": name}) for name in names]
    return _refused(answers, "bad_name", mark)


@fault("unknown and wrong fields", "422 with the place, never echoed")
def unknown_fields(stage: Stage) -> str:
    mark = secrets.token_hex(12)
    good = {"name": "x", "value": "v"}
    bodies: list[Any] = [
        {**good, mark: 1}, {**good, "scope": mark}, {**good, "value_base64": "eA=="}, {**good, "expires_at": mark},
        {**good, "labels": {"k": [mark]}}, {"name": "x", "value": [mark]}, {"name": "x", "value": {mark: 1}}, {"name": "x"},
        {"name": "x", "value_base64": f"!{mark}"}, {"name": [mark], "value": "v"}, [mark], mark,
    ]  # fmt: skip
    answers = [stage.http("POST", "/api/secrets", body) for body in bodies]
    answers.append(stage.http("GET", f"/api/secrets?{mark}={mark}"))
    return _refused(answers, None, mark)


def _refused(answers: list[httpx.Response], code: str | None, mark: str) -> str:
    for number, answer in enumerate(answers):
        require(answer.status_code == 422, f"number {number}: {answer.status_code}")
        problems = answer.json()["problems"]
        require(problems and all(one["place"] and one["rule"] for one in problems), f"number {number}: no place")
        require(code is None or code in {one["code"] for one in problems}, f"number {number}: {problems}")
        require(mark not in answer.text, f"number {number}: echoed")
    return f"{len(answers)} requests: 422, each with place and rule, nothing echoed"


@fault("missing and denied references among others", "nothing deployed; all at once with file:line:column, no value")
def references(stage: Stage) -> str:
    app, node, account, value = stage.name("app"), stage.name("node"), stage.name("deployer"), secrets.token_hex(12)
    for path, body in (
        ("/api/apps", {"name": app}),
        ("/api/nodes", {"name": node}),
        ("/api/service-accounts", {"name": account}),
        *(("/api/secrets", {"name": name, "value": value, "app": app}) for name in
          ("ok-1", "ok-2", "ok-3", "ok-4", "denied-1", "denied-2")),
        # It may list everywhere: only then is it told that something is missing, and not just unavailable.
        *(("/api/bindings", {"principal": account, "role": role, "app": where, "environment": "*", "node": "*", "name": name})
          for role, where, name in (("deployer", app, app), ("deployer", app, "ok-*"), ("viewer", "*", "*"))),
    ):  # fmt: skip
        answer = stage.http("POST", path, body)
        require(answer.status_code == 201, f"{path}: {answer.text}")
    token = stage.http("POST", "/api/tokens", {"principal": account}).json()["token"]
    files = [{"path": "compose.yaml", "content": COMPOSE}, {"path": "web.env", "content": ENV_FILE}]
    digest = stage.http("POST", f"/api/apps/{app}/bundles", {"files": files}).json()["digest"]
    request = {"app": app, "node": node, "bundle": digest, "allow_persisting": True}  # the command's references are not the point
    refused = stage.http("POST", "/api/deployments", request, token=token)
    require((refused.status_code, refused.json()["code"]) == (422, "references_refused"), refused.text)
    seen = {(one["place"], one["code"]) for one in refused.json()["problems"]}
    wanted = {*_places("compose.yaml", COMPOSE), *_places("web.env", ENV_FILE)}
    require(wanted <= seen, f"not listed: {sorted(wanted - seen)}; listed: {sorted(seen)}")
    more = sorted(code for place, code in seen - wanted)
    require(more == ["denied", "missing"], f"besides the inline ones: {sorted(seen - wanted)}")  # the Docker secret and the bind
    require(value not in refused.text and stage.count("deployment", "true") == 0, "something was made")
    return f"422 with {len(seen)} places in 2 files, missing and denied told apart; no deployment"


def _places(file: str, text: str) -> set[tuple[str, str]]:
    """Where the inline references are, as an editor counts, and what is wrong with each."""
    found = set()
    for number, line in enumerate(text.splitlines(), 1):
        for reference in REFERENCE.finditer(line):
            found.add((f"{file}:{number}:{reference.start() + 1}", reference[1].partition("-")[0]))
    return found
