"""Imports run one way, read from the source: nothing here is imported."""

import ast
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "tunewright"
TOOLS = ("gates", "chat", "sources", "models", "losses", "kernels", "backends", "graders", "suites", "stats", "pods")
LAYERS = (
    ("cli", "api", "agents", "audit", "faults", "__main__"),
    ("reports",),
    ("pipeline",),
    ("reuse",),
    ("planning",),
    ("stages",),
    TOOLS,
    ("artifacts", "recipe"),
    ("errors", "progress"),
)
LEVEL = {name: level for level, names in enumerate(reversed(LAYERS)) for name in names}
# Loading a recipe names the models and metrics there are, so that a typo is told before anything starts. Both are plain
# tables in modules that import nothing heavy.
ALLOWED = {("recipe.links", "models.find"), ("recipe.links", "suites")}


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def imported(path: Path) -> set[str]:
    """Every name that a file imports, wherever in the file, with its module in front."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


FILES = sorted(SRC.rglob("*.py"))
MODULES = {module_name(path) for path in FILES}


@cache
def ours(path: Path) -> set[str]:
    """The modules of this package that a file imports."""
    names = {name.removeprefix("tunewright.") for name in imported(path) if name.startswith("tunewright.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in names} - {""}


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_a_lower_layer_never_imports_a_higher_one(path):
    name = module_name(path)
    if name == "__init__":
        return
    level = LEVEL[name.partition(".")[0]]
    higher = {target for target in ours(path) if LEVEL[target.partition(".")[0]] > level}
    assert {(name, target) for target in higher} <= ALLOWED


def test_every_allowed_exception_is_still_needed():
    taken = {(module_name(path), target) for path in FILES for target in ours(path)}
    assert taken >= ALLOWED


@pytest.mark.parametrize("path", sorted((SRC / "stages").rglob("*.py")), ids=module_name)
def test_stages_never_import_each_other(path):
    own = module_name(path).split(".")[1:2]
    if own == ["check"]:  # it rehearses what the other stages will do
        return
    others = {target for target in ours(path) if target.startswith("stages.") and target.split(".")[1:2] != own}
    assert not others


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_only_trainers_import_trl(path):
    parts = path.relative_to(SRC).parts
    is_trainer = parts[0] == "stages" and parts[-1] == "trainer.py"
    assert is_trainer or not any(name.partition(".")[0] == "trl" for name in imported(path))


def test_the_package_itself_imports_nothing_of_its_own():
    tree = ast.parse((SRC / "__init__.py").read_text())
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert modules <= {"importlib", "typing", "__future__"}


def test_every_folder_has_its_layer():
    assert {name.partition(".")[0] for name in MODULES} - {"__init__"} <= set(LEVEL)
