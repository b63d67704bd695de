"""What a person waits for most often needs no torch. Each in a process of its own, by `sys.modules`."""

import subprocess
import sys

import pytest
from tests.recipe.conftest import SIX

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate")
NUMERIC = ("numpy", "scipy", "pandas")
NO_TORCH = (
    "init", "check", "checklist", "show", "report", "compare", "journal", "schema", "eval", "tune", "power", "grade",
    "server", "estimate", "bench",
)  # fmt: skip


def modules_after(code: str, cwd=None) -> set[str]:
    """The top-level modules that a process has loaded after `code`."""
    ask = f"import sys\n{code}\nprint(*{{name.partition('.')[0] for name in sys.modules}}, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=600, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_load_nothing_but_python(argument):
    loaded = modules_after(f"from tunewright.cli.main import main; main(['{argument}'])")
    assert not loaded & {*HEAVY, *NUMERIC, "pydantic", "ruamel", "rich", "typer", "click"}


def test_the_package_itself_loads_nothing():
    assert not modules_after("import tunewright") & {*HEAVY, *NUMERIC, "pydantic", "ruamel", "typer"}


def test_check_static_needs_no_numbers_and_no_torch(tmp_path):
    (tmp_path / "six.yaml").write_text(SIX)
    loaded = modules_after("from tunewright.cli.main import main; main(['check', '--static', 'six.yaml'])", tmp_path)
    assert not loaded & {*HEAVY, *NUMERIC, "huggingface_hub", "httpx", "jinja2"}


def test_verbs_that_only_read_need_no_torch_nor_does_their_help():
    """One process for all: whatever a verb loads stays loaded, and the first that loads torch is named."""
    code = f"""
from importlib import import_module
from tunewright.cli.main import VERBS, main
def look(what):
    heavy = set({HEAVY!r}) & {{name.partition('.')[0] for name in sys.modules}}
    assert not heavy, (what, heavy)
for verb in {NO_TORCH!r}:
    import_module(VERBS[verb].target.partition(':')[0])
    look(verb)
    try:
        main([verb, '--help'])
    except SystemExit as done:
        assert not done.code, verb
    look(f'{{verb}} --help')
"""
    assert not modules_after(code) & set(HEAVY)
