from hypothesis import given
from hypothesis import strategies as st

from tunewright.stages.sft.packing import IGNORED, MIN_SHARED_TOKENS, pack, packed_tokens, shared_start


def row(prompt, answer):
    return {"input_ids": [*prompt, *answer], "labels": [IGNORED] * len(prompt) + list(answer)}


SYSTEM = list(range(100, 100 + MIN_SHARED_TOKENS))


def test_what_rows_begin_with_stands_once_in_front():
    packed = pack([row([*SYSTEM, 1], [2, 3]), row([*SYSTEM, 4, 5], [6])])
    n = len(SYSTEM)
    assert packed.input_ids == [*SYSTEM, 1, 2, 3, 4, 5, 6]
    assert packed.position_ids == [*range(n), n, n + 1, n + 2, n, n + 1, n + 2]
    assert packed.targets == [IGNORED] * n + [2, 3, IGNORED, IGNORED, 6, IGNORED]
    assert packed.lengths == [n, 3, 3]
    assert packed.sequence_ids[n:] == [0, 0, 0, 1, 1, 1]


def test_token_weights_move_with_their_targets():
    first, second = row([*SYSTEM, 1], [2, 3]), row([*SYSTEM, 4], [5])
    first["token_weights"] = [0.0] * (len(SYSTEM) + 1) + [0.2, 0.3]
    second["token_weights"] = [0.0] * (len(SYSTEM) + 1) + [0.5]
    packed = pack([first, second])
    assert packed.token_weights == [0.0] * len(SYSTEM) + [0.2, 0.3, 0.0, 0.5, 0.0]


def test_one_row_shares_with_nobody():
    assert pack([row(SYSTEM, [1])]).lengths == [0, len(SYSTEM) + 1]


def test_equal_rows_each_keep_their_trained_tokens():
    same = row([*SYSTEM, 1], [2, 3])
    packed = pack([same, same])
    assert [target for target in packed.targets if target != IGNORED] == [2, 3, 2, 3]


tokens = st.integers(0, 3)
rows = st.builds(row, st.lists(tokens, min_size=1, max_size=20), st.lists(tokens, max_size=5))


@given(st.lists(rows, min_size=1, max_size=5))
def test_every_trained_token_is_a_target_once_and_every_row_can_be_read_back(examples):
    packed = pack(examples)
    assert packed_tokens(examples) == len(packed.input_ids)
    start, *lengths = packed.lengths
    assert sum(packed.lengths) == len(packed.input_ids) == len(packed.targets) == len(packed.sequence_ids)
    at = start
    for example, length in zip(examples, lengths, strict=True):
        assert [*packed.input_ids[:start], *packed.input_ids[at : at + length]] == example["input_ids"]
        expected = [label for label in example["labels"][1:] if label != IGNORED]
        assert [target for target in packed.targets[at : at + length] if target != IGNORED] == expected
        at += length
    assert start == shared_start(examples)
