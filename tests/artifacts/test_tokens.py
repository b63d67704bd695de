import json

import pytest

from tunewright.artifacts.tokens import Token, TokenRow, read_tokens, write_tokens
from tunewright.errors import DataError

FIRST = Token(0, 1, "<s>", "template", False, None, None, None, ())
SECOND = Token(1, 7, " \u2028é", "user", True, 0.25, 1.5, 3, ((" a", 0.5), ("\n", 0.25)))


def test_what_is_written_is_read_again(tmp_path):
    rows = {"A": [TokenRow("r1", (FIRST, SECOND)), TokenRow("r2", (FIRST,))], "B": [TokenRow("r1", (FIRST, SECOND))]}
    path = write_tokens(tmp_path, rows)
    assert read_tokens(tmp_path) == rows
    assert len(path.read_text(encoding="utf-8").split("\n")) == 6  # one line a token


def test_a_line_is_a_flat_record(tmp_path):
    path = write_tokens(tmp_path, {"A": [TokenRow("r1", (SECOND,))]})
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "model": "A",
        "row": "r1",
        "position": 1,
        "id": 7,
        "text": " \u2028é",
        "role": "user",
        "trained": True,
        "entropy": 0.25,
        "nll": 1.5,
        "rank": 3,
        "top": [[" a", 0.5], ["\n", 0.25]],
    }


@pytest.mark.parametrize("line", ['{"model": "A"}', '{"model": "A", "row": "r", "top": [1]}'])
def test_a_line_that_is_no_token_is_named(tmp_path, line):
    write_tokens(tmp_path, {"A": [TokenRow("r1", (FIRST,))]})
    with (tmp_path / "tokens.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"tokens\.jsonl:2: not a token"):
        read_tokens(tmp_path)
