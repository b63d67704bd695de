"""Rows as pieces for people."""

from __future__ import annotations

from tunewright.artifacts.dataset import ChatRow
from tunewright.chat.render import Renderer
from tunewright.chat.show import marked_rows


def test_marked_pieces_join_to_the_text_and_mark_only_the_answer(smollm2_folder):
    renderer = Renderer.from_folder(smollm2_folder)
    rows = [
        ChatRow(
            id=str(n), messages=[{"role": "user", "content": "Grüezi 🎉"}, {"role": "assistant", "content": "Hi 🎉"}]
        )
        for n in range(3)
    ]
    marked = marked_rows(rows, renderer, 2)
    assert [row_id for row_id, _ in marked] == ["0", "1"]
    pieces = marked[0][1]
    assert "".join(piece for piece, _ in pieces) == renderer.conversation(rows[0].messages).text
    assert "".join(piece for piece, trained in pieces if trained) == "Hi 🎉<|im_end|>"


def test_a_character_of_several_tokens_is_shown_by_its_last(smollm2_folder):
    renderer = Renderer.from_folder(smollm2_folder)
    ids = renderer.prompt([{"role": "user", "content": "🎉"}])
    pieces = renderer.pieces(ids)
    assert len(pieces) == len(ids)
    assert pieces[pieces.index("🎉") - 1] == ""
