"""Which endpoint a path belongs to, found by looking up and not by trying one pattern after another.

Every path of the API is literal but for whole segments in braces, so the number of segments and the literal ones decide. What is
found, and what is not, is what Starlette's router finds for the same paths (a test compares the two); what is not the API's goes
to the router that holds the rest, pages for instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from overseer.server.api.front import App, Receive, Scope, Send

_PLACEHOLDER: Final = ""


class PathIndex:
    """An ASGI application: the endpoint of the path, else ``otherwise``. ``path_params`` go into the scope."""

    def __init__(self, endpoints: Mapping[str, App], otherwise: App) -> None:
        """``endpoints`` by path template, such as ``/api/secrets/{secret_id}/value``. Raises ValueError where two are alike."""
        self._otherwise = otherwise
        self._literal: dict[str, App] = {}
        # By the shape (literal segments, parameters left empty), for each set of positions that parameters stand at.
        self._shapes: dict[tuple[int, tuple[int, ...]], dict[tuple[str, ...], tuple[App, tuple[str, ...]]]] = {}
        for template, endpoint in endpoints.items():
            self._add(template, endpoint)
        # A literal segment wins over a parameter at the first place where two templates differ.
        self._by_length: dict[int, list[tuple[tuple[int, ...], dict[tuple[str, ...], tuple[App, tuple[str, ...]]]]]] = {}
        for (length, positions), shapes in sorted(self._shapes.items(), key=lambda one: _literal_first(one[0][1])):
            self._by_length.setdefault(length, []).append((positions, shapes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        endpoint = self._literal.get(path)
        if endpoint is None:
            endpoint = self._with_parameters(path, scope)
        await endpoint(scope, receive, send)

    def _with_parameters(self, path: str, scope: Scope) -> App:
        segments = path.split("/")
        for positions, shapes in self._by_length.get(len(segments), ()):
            shape = segments.copy()
            for position in positions:
                shape[position] = _PLACEHOLDER
            found = shapes.get(tuple(shape))
            if found is not None and all(segments[position] for position in positions):
                endpoint, names = found
                scope["path_params"] = {name: segments[at] for name, at in zip(names, positions, strict=True)}
                return endpoint
        return self._otherwise

    def _add(self, template: str, endpoint: App) -> None:
        segments = template.split("/")
        positions = tuple(at for at, segment in enumerate(segments) if segment.startswith("{"))
        if any("{" in segment or "}" in segment for segment in _without(segments, positions)):
            raise ValueError(f"{template}: a parameter is a whole segment")
        if not positions:
            self._literal[template] = endpoint
            return
        shape = tuple(_PLACEHOLDER if at in positions else segment for at, segment in enumerate(segments))
        shapes = self._shapes.setdefault((len(segments), positions), {})
        if shape in shapes:
            raise ValueError(f"{template}: another path differs only in the name of a parameter")
        shapes[shape] = (endpoint, tuple(segments[at][1:-1] for at in positions))


def _literal_first(positions: tuple[int, ...]) -> list[int]:
    return [-position for position in positions]


def _without(segments: Iterable[str], positions: tuple[int, ...]) -> list[str]:
    return [segment for at, segment in enumerate(segments) if at not in positions]
