"""Whatever a recipe file holds, loading it either works or says what is wrong."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recipe.conftest import GOOD

from tunewright.errors import TunewrightError
from tunewright.recipe.load import load_recipe

SNIPPETS = st.sampled_from(
    [
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!int ",
        "!!python/object:os.system ",
        "%YAML 9\n",
        "%TAG ! x\n",
        "|\n",
        ">-\n",
        "'",
        '"',
        '"\\ud800"',
        '"\\0"',
        "\x00",
        "\ufeff",
        "\u2028",
        "---\n",
        "...\n",
        "<<: ",
        "? ",
        "~",
        ".inf",
        ".nan",
        "1e999",
        "0x" + "f" * 5000,
        "9" * 5000,
        "0b",
        "0o9",
        "-",
        "+",
        "1__",
        "2001-12-14t21:59:43.10-05:00",
        "=",
        "#",
        "null",
        "true",
        "type: ",
        "stages: ",
        "id: ",
        "path: ",
        "model: ",
        "steps: ",
        "data.train",
        "bfcl",
        "jsonl",
        "x" * 300,
    ]
)
QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def loads_or_explains(data: bytes, overrides=()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_bytes(data)
        try:
            load_recipe(path, overrides)
        except TunewrightError as error:
            assert str(error).strip()
            error.as_json()


@QUICK
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_else(data):
    loads_or_explains(data)


@QUICK
@given(st.text(max_size=200))
def test_random_text_raises_nothing_else(text):
    loads_or_explains(text.encode("utf-8", "surrogatepass"))


@QUICK
@given(st.data())
def test_a_mutated_recipe_raises_nothing_else(data):
    text = GOOD
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = start + data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(st.one_of(SNIPPETS, st.text(max_size=5))) + text[end:]
    loads_or_explains(text.encode("utf-8", "surrogatepass"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["data.train", "sft", "bfcl"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["type", "id"]), inner, max_size=3)
    ),
    max_leaves=6,
)


def as_flow(value) -> str:
    """The value in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_flow(str(key))}: {as_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_flow, value)) + "]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return (
        {None: "null", True: "true", False: "false"}.get(value, str(value))
        if not isinstance(value, float)
        else repr(value)
    )


FIELDS = [
    "sources",
    "split",
    "model",
    "suite",
    "rows",
    "id",
    "shots",
    "steps",
    "lora",
    "weighting",
    "trackers",
    "beside",
    "require",
]


@QUICK
@given(
    st.sampled_from(["data", "evaluate", "sft", "compare"]),
    st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5),
)
def test_any_value_in_any_field_raises_nothing_else(kind, section):
    text = f"recipe: a\nmodel: a/b\nstages:\n  - data: {{sources: [{{type: bfcl}}]}}\n  - {kind}: {as_flow(section)}\n"
    loads_or_explains(text.encode("utf-8", "surrogatepass"))


@QUICK
@given(
    st.lists(st.sampled_from(["data", "sft", "seed", "sources", "0", "split", "test", "", "x", "lora"]), max_size=4),
    VALUES,
)
def test_any_override_raises_nothing_else(parts, value):
    loads_or_explains(GOOD.encode(), [f"{'.'.join(parts)}={as_flow(value)}"])
