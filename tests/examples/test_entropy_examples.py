"""The short scripts about entropy run, and print what they promise."""

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def output_of(warm_python):
    return lambda script, *options: output(warm_python, f"examples/{script}", *options)


def output(warm_python, *command):
    done = warm_python.run(*command, cwd=ROOT, env={**os.environ, "CI": "1"})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real_model
def test_the_analysis_shows_tokens_and_sums(output_of):
    out = output_of("analyze_token_entropy.py", "--limit", "1")
    assert "'<|im_end|>'" in out and "forking tokens" in out
    assert re.search(r"the least sure fifth of them carries \d+% of the loss", out)


@pytest.mark.real_model
def test_the_training_is_measured_before_and_after(output_of, short_model):
    out = output_of("train_with_entropy_awareness.py", "--steps", "2", "--limit", "3", "--model", str(short_model))
    assert "PASSED  entropy_collapsed" in out
    before, after = map(float, re.search(r"NLL +([\d.]+) -> ([\d.]+)", out).groups())
    assert after < before


@pytest.mark.real_model
def test_the_methods_are_compared_with_the_first_by_row(output_of, short_model):
    out = output_of("compare_entropy_methods.py", "--steps", "1", "--limit", "3", "--model", str(short_model))
    losses = re.findall(r"^(all tokens alike|linear in entropy|top 20% of entropy) +([\d.]+)", out, re.MULTILINE)
    assert len({loss for _, loss in losses}) == 3 and out.count(" to ") == 2
