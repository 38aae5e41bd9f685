"""In which order services are changed, and which never alone."""

from __future__ import annotations

from overseer.agent.service_order import in_order, needed_whole, shares_namespace


def test_dependencies_come_first_and_a_cycle_ends() -> None:
    model = {"services": {"a": {"depends_on": {"z": {}, "gone": {}}}, "b": {}, "z": {"depends_on": {"b": None}}}}
    assert in_order(model) == ["b", "z", "a"]
    assert sorted(in_order({"services": {"a": {"depends_on": {"b": {}}}, "b": {"depends_on": {"a": {}}}}})) == ["a", "b"]
    assert in_order({}) == []


def test_services_that_others_cannot_do_without() -> None:
    services = {
        "a": {"network_mode": "service:net", "pid": "host"},
        "b": {"ipc": "service:ipc"},
        "c": {"pid": "service:pid", "network_mode": "container:other"},
        "d": {"depends_on": {"db": {"restart": True}, "free": {"restart": False}}},
        "e": {"volumes_from": ["store:ro"]},
    }
    assert needed_whole({"services": services}) == {"net", "ipc", "pid", "db", "store"}
    assert [name for name, one in services.items() if shares_namespace(one)] == ["a", "b", "c"]
