"""Images that read a variable from a file: which, in which form, and where that is documented (``data/file_variables.json``)."""

from __future__ import annotations

import fnmatch
import functools
import json
from dataclasses import dataclass
from importlib import resources

_OFFICIAL = ("docker.io/library/", "public.ecr.aws/docker/library/")


@dataclass(frozen=True, slots=True)
class FileVariables:
    """One entry of the data file."""

    images: tuple[str, ...]
    names: tuple[str, ...]
    form: str
    source: str


@functools.cache
def entries() -> tuple[FileVariables, ...]:
    """All entries, in the order of the file."""
    text = resources.files("overseer.compose").joinpath("data/file_variables.json").read_text("utf-8")
    return tuple(
        FileVariables(tuple(one["images"]), tuple(one["names"]), one["form"], one["source"]) for one in json.loads(text)["images"]
    )


def file_variable(image: str, variable: str) -> tuple[str, str] | None:
    """The name of the variable that takes a path instead, and the source, for an image that has one."""
    name = repository(image)
    for entry in entries():
        if any(fnmatch.fnmatchcase(name, one) for one in entry.images):
            for known in entry.names:
                if fnmatch.fnmatchcase(variable, known) and not variable.endswith("_FILE") and not variable.startswith("FILE__"):
                    return entry.form.replace("{}", variable), entry.source
    return None


def repository(image: str) -> str:
    """``docker.io/library/postgres:16-alpine@sha256:…`` is ``postgres``; unknown registries are left off too."""
    name = image.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    name = head + slash + tail.partition(":")[0]
    for registry in _OFFICIAL:
        if name.startswith(registry):
            return name[len(registry) :]
    first, slash, rest = name.partition("/")
    return rest if slash and ("." in first or ":" in first) else name
