"""What stands where in a Compose file: for every place, whether text of a secret may stand there and what becomes of it.

The places form a small automaton over the keys of the Compose specification. A place that it does not know takes no reference:
new keys of Compose are refused until they are added here, never let through. The same automaton reads the source files
(before Compose) and the flattened model (after Compose), so a value that travels through Compose's own variables or an anchor
is judged by where it ends.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What Compose and the engine make of a scalar."""

    ARGUMENT = "argument"  # command, entrypoint, lifecycle hooks: argv, visible in process lists and metadata
    BUILD = "build"  # anything below build: ends in image layers or build metadata
    CONTAINER_NAME = "container_name"
    CONTENT = "content"  # configs.*.content
    ENVIRONMENT = "environment"
    ENV_FILE = "env_file"  # a line of an env_file, or of the bundle's .env
    EXTENSION = "extension"  # below an x- key
    HEALTHCHECK = "healthcheck"
    IMAGE = "image"
    KEY = "key"  # a key of a mapping, or the part before "=" in a list of KEY=VALUE
    LABEL = "label"  # labels and annotations
    OPTION = "option"  # driver_opts, logging options, sysctls and the like
    STRUCTURE = "structure"  # names, paths, modes: what the model is made of
    TEXT = "text"  # other free text of a service, such as hostname or user
    TYPED = "typed"  # numbers, booleans, durations, sizes, ports


#: Nothing of a secret may ever stand here.
NEVER: Final = frozenset({Kind.KEY, Kind.STRUCTURE, Kind.TYPED})
#: Ends in metadata that the engine keeps and shows; refused unless the caller allows it.
METADATA: Final = frozenset({Kind.BUILD, Kind.CONTAINER_NAME, Kind.IMAGE, Kind.LABEL})
#: Kept by the engine as well, but people need it in rendered files: refused for deployments, a finding of lint for files.
EXPOSED: Final = frozenset({Kind.ARGUMENT, Kind.HEALTHCHECK, Kind.OPTION, Kind.TEXT})
#: What stays on the node's disk after the container is gone.
PERSISTING: Final = METADATA | EXPOSED | {Kind.ENVIRONMENT, Kind.ENV_FILE}


class Place:
    """One state: the kind of a scalar here, where a key leads, where list items are, what to capture."""

    __slots__ = ("capture", "captures", "items", "keys", "kind", "other", "pair", "service_names", "splits")

    def __init__(
        self,
        kind: Kind = Kind.STRUCTURE,
        keys: dict[str, Place] | None = None,
        other: Place | None = None,
        items: Place | None = None,
        *,
        pair: bool = False,
        capture: str = "",
        service_names: bool = False,
        splits: bool = False,
    ) -> None:
        self.kind = kind
        self.keys = keys or {}
        self.other = other
        self.items = items
        self.pair = pair  # a scalar here is KEY=VALUE
        #: True where a value below a key may be captured: spares the walker a look for every other scalar.
        self.captures: bool = any(place.capture for place in self.keys.values())
        self.capture: str = capture  # the walker hands this node to the bundle's reader
        self.service_names = service_names  # keys here are names of services
        self.splits = splits  # Compose splits a scalar here like a shell

    def child(self, key: str) -> Place:
        """The place of the value under ``key``."""
        found = self.keys.get(key)
        if found is not None:
            return found
        if self.other is not None:
            return self.other
        return EXTENSION if key.startswith("x-") else UNKNOWN

    def item(self) -> Place:
        """The place of the items of a list here."""
        return UNKNOWN if self.items is None else self.items


def _everywhere(kind: Kind) -> Place:
    place = Place(kind)
    place.other = place.items = place
    return place


def _pairs(kind: Kind, capture: str = "") -> Place:
    """A mapping of text, or a list of KEY=VALUE."""
    return Place(kind, other=Place(kind), items=Place(kind, pair=True), capture=capture)


UNKNOWN: Final = _everywhere(Kind.STRUCTURE)
EXTENSION: Final = _everywhere(Kind.EXTENSION)
TYPED: Final = _everywhere(Kind.TYPED)
_BUILD = _everywhere(Kind.BUILD)
_ARGUMENTS = Place(Kind.ARGUMENT, items=Place(Kind.ARGUMENT), splits=True)
_OPTIONS = _everywhere(Kind.OPTION)
_TEXT = _everywhere(Kind.TEXT)
_LABELS = _pairs(Kind.LABEL)
_RESOURCE = {"labels": _LABELS, "driver_opts": _OPTIONS, "external": TYPED, "attachable": TYPED, "enable_ipv4": TYPED}
_RESOURCE |= {"enable_ipv6": TYPED, "internal": TYPED, "ipam": Place(keys={"options": _OPTIONS, "config": _TEXT})}
_FILE_OBJECT = {"external": TYPED, "labels": _LABELS, "driver_opts": _OPTIONS, "content": Place(Kind.CONTENT)}
_HOOK = {"command": _ARGUMENTS, "environment": _pairs(Kind.ARGUMENT), "user": _TEXT, "privileged": TYPED}
_HOOKS = Place(items=Place(keys=_HOOK))

_TYPED_KEYS = frozenset(
    {
        "attach",
        "blkio_config",
        "cap_add",
        "cap_drop",
        "cpu_count",
        "cpu_percent",
        "cpu_period",
        "cpu_quota",
        "cpu_rt_period",
        "cpu_rt_runtime",
        "cpu_shares",
        "cpus",
        "deploy",
        "expose",
        "gpus",
        "group_add",
        "init",
        "mem_limit",
        "mem_reservation",
        "mem_swappiness",
        "memswap_limit",
        "oom_kill_disable",
        "oom_score_adj",
        "pids_limit",
        "ports",
        "privileged",
        "pull_refresh_after",
        "read_only",
        "scale",
        "shm_size",
        "stdin_open",
        "stop_grace_period",
        "tty",
        "ulimits",
        "use_api_socket",
    }
)
_TEXT_KEYS = frozenset(
    {
        "dns",
        "dns_opt",
        "dns_search",
        "domainname",
        "extra_hosts",
        "hostname",
        "mac_address",
        "security_opt",
        "stop_signal",
        "tmpfs",
        "user",
        "working_dir",
    }
)

_DEPLOY = Place(Kind.TYPED, keys={"labels": _LABELS}, other=TYPED)
_SERVICE_KEYS = {
    **dict.fromkeys(_TYPED_KEYS, TYPED),
    **dict.fromkeys(_TEXT_KEYS, _TEXT),
    "annotations": _LABELS,
    "build": _BUILD,
    "command": _ARGUMENTS,
    "container_name": Place(Kind.CONTAINER_NAME),
    "deploy": _DEPLOY,
    "entrypoint": _ARGUMENTS,
    "env_file": Place(items=UNKNOWN, other=UNKNOWN, capture="env_file"),
    "environment": _pairs(Kind.ENVIRONMENT, capture="environment"),
    "extends": Place(other=UNKNOWN, capture="extends"),
    "healthcheck": Place(
        Kind.HEALTHCHECK,
        keys={
            "test": _everywhere(Kind.HEALTHCHECK),
            **dict.fromkeys(("disable", "interval", "retries", "start_interval", "start_period", "timeout"), TYPED),
        },
    ),
    "image": Place(Kind.IMAGE, capture="image"),
    "label_file": Place(items=UNKNOWN, other=UNKNOWN, capture="label_file"),
    "labels": _LABELS,
    "logging": Place(keys={"options": _OPTIONS}),
    "networks": Place(items=UNKNOWN, other=Place(keys={"driver_opts": _OPTIONS, "priority": TYPED, "gw_priority": TYPED})),
    "post_start": _HOOKS,
    "pre_stop": _HOOKS,
    "provider": Place(keys={"options": _OPTIONS}),
    "secrets": Place(items=UNKNOWN, capture="service_secrets"),
    "storage_opt": _OPTIONS,
    "sysctls": _pairs(Kind.OPTION),
    "volumes": Place(items=UNKNOWN, capture="service_volumes"),
}
SERVICE: Final = Place(keys=_SERVICE_KEYS)
ROOT: Final = Place(
    keys={
        "configs": Place(other=Place(keys=_FILE_OBJECT), capture="configs"),
        "include": Place(items=UNKNOWN, capture="include"),
        "models": Place(other=Place(keys={"runtime_flags": _OPTIONS, "context_size": TYPED})),
        "networks": Place(other=Place(keys=_RESOURCE)),
        "secrets": Place(other=Place(keys=_FILE_OBJECT), capture="secrets"),
        "services": Place(other=SERVICE, service_names=True),
        "volumes": Place(other=Place(keys=_RESOURCE), capture="volumes"),
    }
)

#: Tags with which a scalar is still text.
TEXT_TAGS: Final = frozenset({None, "!", "tag:yaml.org,2002:str", "!reset", "!override"})

_REFUSALS: Final = {
    Kind.ARGUMENT: "an argument of a command is shown in process lists and kept in the container's metadata",
    Kind.BUILD: "a build argument or option is kept in the image",
    Kind.CONTAINER_NAME: "a container's name is public",
    Kind.HEALTHCHECK: "a healthcheck is kept in the container's metadata and in the engine's logs",
    Kind.IMAGE: "an image's name is kept in the container's metadata",
    Kind.KEY: "a reference cannot stand in a key, only in a value",
    Kind.LABEL: "labels and annotations are kept in metadata that everybody who can list containers reads",
    Kind.OPTION: "options of drivers are kept in the engine's metadata",
    Kind.STRUCTURE: "Compose expects a name or a path here, not text: a reference is not possible",
    Kind.TEXT: "this text is kept in the container's metadata",
    Kind.TYPED: "Compose expects a number, a switch or another typed value here, not text: a reference is not possible",
}


def refusal(kind: Kind, refused: frozenset[Kind]) -> tuple[str, str] | None:
    """The rule and its code where a reference of ``kind`` is refused; ``None`` where it is welcome."""
    if kind in NEVER:
        return _REFUSALS[kind], "reference_in_key" if kind is Kind.KEY else "reference_in_typed_field"
    if kind in refused:
        return (
            f"{_REFUSALS[kind]}; use a file or the environment, or explicitly allow references to persist",
            "reference_persists",
        )
    return None
