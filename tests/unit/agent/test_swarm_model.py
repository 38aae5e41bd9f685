"""The model of a stack: what is put into format 3's words, and what is refused because only one node has it."""

from __future__ import annotations

from typing import Any

import pytest

from overseer.agent.swarm_model import stack_model
from overseer.compose.injection import Injection, plan_injection
from overseer.compose.placeholders import Placeholders

SERVICES, BUNDLE = "/run/overseer/secrets/n/apps/p/services", "/run/overseer/secrets/n/apps/p/bundle"


def stack(service: dict[str, Any], **more: Any) -> Injection:
    model = {"name": "p", "services": {"web": {"image": "i", **service}}, **more}
    planned = plan_injection(model, Placeholders("word", {}), root=SERVICES)
    return stack_model(planned, lambda reference: f"p_{reference}.v1", SERVICES, BUNDLE)


def test_external_secrets_become_those_of_the_swarm() -> None:
    granted = [{"source": "pw"}, {"source": "key", "target": "/etc/key", "uid": "7", "gid": "8", "mode": "0400"}]
    made = stack({"secrets": granted}, secrets={"pw": {"external": True}, "key": {"external": True, "name": "api"}})
    assert made.problems == ()
    assert "name" not in made.model
    assert made.model["secrets"] == {
        "overseer.pw": {"external": True, "name": "p_pw.v1"},
        "overseer.api": {"external": True, "name": "p_api.v1"},
    }
    web = made.model["services"]["web"]
    assert "volumes" not in web
    assert sorted(web["secrets"], key=lambda one: str(one["source"])) == [
        {"source": "overseer.api", "target": "/etc/key", "uid": "7", "gid": "8", "mode": 0o400},
        {"source": "overseer.pw", "target": "/run/secrets/pw", "uid": "0", "gid": "0", "mode": 0o444},
    ]


def test_what_format_3_says_otherwise() -> None:
    made = stack({
        "command": None,
        "depends_on": {"db": {"condition": "service_started"}},
        "ports": [{"target": 80, "published": "8080"}, {"target": 81, "published": "8081-8082"}],
        "deploy": {"resources": {"limits": {"cpus": 0.5}}},
        "volumes": [
            {"type": "bind", "source": "/srv", "target": "/srv", "bind": {"create_host_path": True, "propagation": "rslave"}},
            {"type": "bind", "source": "/opt", "target": "/opt", "bind": {"create_host_path": True}},
            {"type": "volume", "source": "data", "target": "/data"},
        ],
    })  # fmt: skip
    assert made.problems == ()
    assert made.model["services"]["web"] == {
        "image": "i",
        "ports": [{"target": 80, "published": 8080}, {"target": 81, "published": "8081-8082"}],
        "deploy": {"resources": {"limits": {"cpus": "0.5"}}},
        "volumes": [
            {"type": "bind", "source": "/srv", "target": "/srv", "bind": {"propagation": "rslave"}},
            {"type": "bind", "source": "/opt", "target": "/opt"},
            {"type": "volume", "source": "data", "target": "/data"},
        ],
    }


@pytest.mark.parametrize(
    ("service", "more", "place"),
    [
        ({"volumes": [{"type": "bind", "source": "/etc/secrets/pw", "target": "/run/pw"}]}, {}, "services.web: /run/pw"),
        ({"secrets": [{"source": "pw"}]}, {"secrets": {"pw": {"file": "/etc/secrets/pw"}}}, "services.web: /run/secrets/pw"),
        ({"volumes": [{"type": "bind", "source": f"{BUNDLE}/conf", "target": "/conf"}]}, {}, "services.web: /conf"),
        ({"volumes": [{"type": "bind", "source": BUNDLE, "target": "/all"}]}, {}, "services.web: /all"),
        ({"build": {"context": "."}}, {}, "services.web.build"),
        ({"configs": [{"source": "ini"}]}, {"configs": {"ini": {"file": f"{BUNDLE}/a.ini"}}}, "configs.ini"),
        ({"secrets": [{"source": "own"}]}, {"secrets": {"own": {"file": f"{BUNDLE}/own"}}}, "secrets.own"),
    ],
)
def test_what_only_one_node_has_is_refused(service: dict[str, Any], more: dict[str, Any], place: str) -> None:
    [problem] = stack(service, **more).problems
    assert (problem.place, problem.code) == (place, "not_on_swarm")
