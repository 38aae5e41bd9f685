"""Marks and splices: only what is replaced changes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overseer.compose.document import MAX_BYTES, MAX_EVENTS, DocumentFault, locate, parse, span, splice
from overseer.compose.walk import Walk

FILE = """\ufeff# head
a: &x !!str "q ${A}"   # one
b: |  # two
  hello ${A}
    # text

# between
c: >-
  fold ${A}
  ed
d: plain ${A}
  multi
e: '${A} it''s'
? k
: [1, "two ${A}", {z: !t 'x ${A}'}]
f: *x
g:
- ${A}
"""


@pytest.mark.parametrize("text", [FILE, FILE.replace("\n", "\r\n"), FILE.rstrip("\n"), FILE.replace("\ufeff", "")])
def test_replacing_each_scalar_by_itself_keeps_every_other_byte_and_the_meaning(text: str) -> None:
    document = parse(text.encode())
    scalars = {scalar.event: scalar.value for scalar in Walk(document).run().scalars}
    assert len(scalars) == 8
    changed = splice(document, scalars).decode()
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!t", yaml.SafeLoader.construct_yaml_str)
    assert yaml.load(changed, loader) == yaml.load(text, loader)  # noqa: S506 - a SafeLoader with one more tag
    for kept in ("# head", "# one", "# two", "# between", "&x !!str ", "f: *x", "? k", "!t "):
        assert kept in changed
    assert splice(document, {}) == text.encode()


def test_the_span_of_a_scalar_leaves_properties_and_blank_lines_out() -> None:
    text = "a: &x !!str   plain   # c\nb: |\n  block\n\n\nc: 1\n"
    document = parse(text.encode())
    spans = [
        text[slice(*span(document, index))] for index, event in enumerate(document.events) if isinstance(event, yaml.ScalarEvent)
    ]
    assert spans == ["a", "plain", "b", "|\n  block", "c", "1"]


def test_places_count_lines_and_columns_inside_scalars() -> None:
    text = 'a: "x ${A} y ${B}"\nb: |\n  one\n  two ${A}\n   ${B}\nc: "\\x24{A}"\n'
    document = parse(text.encode())
    places = [
        locate(document, scalar.event, scalar.value, [index for index, character in enumerate(scalar.value) if character == "$"])
        for scalar in Walk(document).run().scalars
    ]
    assert places == [[(1, 7), (1, 14)], [(4, 7), (5, 4)], [(6, 4)]]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xfe", "not_utf8"),
        (b"a: " + b"x" * MAX_BYTES, "too_large"),
    ],
)
def test_what_cannot_be_decoded_is_raised(data: bytes, code: str) -> None:
    with pytest.raises(DocumentFault) as fault:
        parse(data)
    assert fault.value.code == code


@pytest.mark.parametrize(
    ("text", "place", "code"),
    [
        ("a: [", (2, 1), "broken_yaml"),
        ("a:\n  - b: [x, ${SECRET:a}]", (2, 12), "quote_reference"),
        ("a: ${SECRET: b}", (1, 4), "malformed_reference"),
        ("a: b\x07", (1, 5), "broken_yaml"),
        ("é: \x07", (1, 4), "broken_yaml"),
        ("a: *unknown\nb: ]", (2, 4), "broken_yaml"),
    ],
)
def test_broken_yaml_is_kept_with_its_place_and_quotes_nothing(text: str, place: tuple[int, int], code: str) -> None:
    fault = parse(text.encode()).fault
    assert fault is not None
    assert ((fault.line, fault.column), fault.code) == (place, code)
    assert "unknown" not in fault.rule


def _bomb() -> str:
    levels = "".join(f"x-{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    return "x-0: &a0 ['${SECRET:a}']\n" + levels + "services: {a: {image: x, environment: *a39, command: *a39}}\n"


def _wide_bomb() -> str:
    keys = "".join(f"  K{n}: ${{A{n}}}\n" for n in range(3000))
    return f"x-0: &a\n{keys}services:\n" + "".join(f"  s{n}: {{environment: *a}}\n" for n in range(20000))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (_bomb(), None),
        (_wide_bomb(), "alias_bomb"),
        ("a: " + "[" * 100_000, "too_deep"),
        ("\n".join(" " * n + "a:" for n in range(2000)), "too_deep"),
        ("a: [" + "b," * 2_500_000 + "]", "too_large"),
    ],
    ids=["alias bomb", "wide alias bomb", "deep flow", "deep block", "five megabytes of parts"],
)
def test_time_and_memory_are_bounded(text: str, code: str | None) -> None:
    start = time.process_time()
    document = parse(text.encode())
    fault = document.fault
    try:
        Walk(document).run()
    except DocumentFault as found:
        fault = fault or found
    assert (fault.code if fault else None) == code
    assert time.process_time() - start < 10
    assert len(document.events) <= MAX_EVENTS + 5000


def test_five_megabytes_of_parts_fit_into_little_memory() -> None:
    """In a process that may have 400 MB of addresses, all told."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))\n"
        "from overseer.compose.bundle import Bundle\n"
        "from overseer.compose.references import find_references\n"
        "files = {'compose.yaml': b'a: [' + b'b,' * 1_300_000 + b']', 'b.yaml': b'x: [' + b'{},' * 800_000 + b']'}\n"
        "print([one.code for one in find_references(Bundle(files, ['compose.yaml', 'b.yaml'])).problems])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "['too_large', 'too_large']\n"), result.stderr


KEYS = st.sampled_from(["a", "b-c", "x"])
TREES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.integers() | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=10,
)


@given(TREES, st.booleans(), st.sampled_from([None, "'", '"', "|"]))
def test_any_tree_in_any_style_survives_a_splice_of_its_scalars(tree: object, flow: bool, style: str | None) -> None:
    text = yaml.dump({"root": tree}, Dumper=yaml.CSafeDumper, default_flow_style=flow, default_style=style, allow_unicode=True)
    document = parse(text.encode())
    texts = {
        index: event.value
        for index, event in enumerate(document.events)
        if isinstance(event, yaml.ScalarEvent) and not event.implicit[0] and event.tag is None
    }
    assert yaml.load(splice(document, texts), yaml.CSafeLoader) == yaml.load(text, yaml.CSafeLoader)
