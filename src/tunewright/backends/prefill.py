"""Read the prompts of a batch into a cache. Legend: B rows, S prompt tokens, V words.

What most prompts begin with is computed once for all and held apart; a prompt that is asked several times is read once;
rows of like length are read together, a few at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from tunewright.backends.kv import KeyValue, joined, keep_rows, new_cache, put_before, start_of

MIN_SHARED_TOKENS = 16  # below this the shared start saves less than its bookkeeping costs
HELD_TOKENS = 64  # a shorter start is faster read with each row's own keys, by torch's attention
PREFILL_TOKENS = 2048  # of a batch at once: rows of like length, so that little of it is padding

Row = tuple[int, ...]


@dataclass(frozen=True)
class Start:
    """Tokens that most prompts begin with, and their cache of one row."""

    token_ids: Row
    cache: Any

    def before(self, row: Row) -> bool:
        """True if `row` begins with it and has a token of its own."""
        return len(row) > len(self.token_ids) and row[: len(self.token_ids)] == self.token_ids


@dataclass
class Reading:
    """Rows that have been read.

    Args:
        logits: `(B, V)`, behind every row.
        cache: keys and values of all rows.
        mask: `(B, S)`, 0 on padding.
        positions: of the last token of every row, `(B, 1)`.
        held: keys and values before those of every row that the cache does not hold; None where it holds all.
    """

    logits: Tensor
    cache: Any
    mask: Tensor
    positions: Tensor
    held: list[KeyValue] | None = None

    def select(self, rows: Sequence[int]) -> Reading:
        """Return these rows, in this order; `self` is of no use any more."""
        index = torch.tensor(rows, device=self.mask.device)
        self.cache.reorder_cache(index)
        return Reading(self.logits[index], self.cache, self.mask[index], self.positions[index], self.held)

    def keep(self, places: Sequence[int]) -> list[int]:
        """Keep only these rows, and return which row stands in each place now; the logits are not kept."""
        order = keep_rows(self.cache, places)
        self.mask, self.positions = self.mask[order], self.positions[order]
        return order


class Reader:
    """Reads prompts with one model.

    Sliding windows count places and not tokens, and recurrent states read padding too. So padding between a start and
    a row would change the answer; there a start is used only by rows of one length.

    Args:
        model: a causal language model of transformers.
        pad_token_id: fills shorter rows on the left; masked out.
        plain: the model's cache and attention are those of `kv.py`.
    """

    def __init__(self, model: Any, pad_token_id: int, plain: bool):
        self.model, self.pad_token_id, self.plain = model, pad_token_id, plain
        self.padded = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)

    def start(self, rows: Sequence[Row]) -> Start | None:
        """Return the shared start of `rows`, read; None where there is none."""
        token_ids = shared_start(rows)
        if not token_ids:
            return None
        cache = new_cache(self.model, self.plain)
        self.logits(torch.tensor([token_ids], device=self.model.device), None, None, cache)
        return Start(token_ids, cache)

    def read(self, rows: Sequence[Row], start: Start | None) -> Reading:
        """Read whole rows; equal ones once, and of those behind `start` only the rest."""
        unique = list(dict.fromkeys(rows))
        behind = [] if start is None else [row for row in unique if start.before(row)]
        all_behind = len(behind) == len(unique)
        fits = self.plain or (all_behind and (self.padded or len(set(map(len, unique))) == 1))
        if start is None or not behind or not fits:
            reading = self._read(unique, None)
        elif all_behind:
            reading = self._read(unique, start)
            if self.plain and len(start.token_ids) < HELD_TOKENS:
                reading = _with_start(reading)
        else:
            apart = [row for row in unique if not start.before(row)]
            reading = together([_with_start(self._read(behind, start)), self._read(apart, None)])
            unique = behind + apart
        place = {row: at for at, row in enumerate(unique)}
        order = [place[row] for row in rows]
        return reading if order == list(range(len(unique))) else reading.select(order)

    def _read(self, rows: list[Row], start: Start | None) -> Reading:
        shared = 0 if start is None else len(start.token_ids)
        ids, mask = self._left_padded([row[shared:] for row in rows])
        positions = (mask.cumsum(1) - 1).clamp(min=0) + shared
        if not self.plain:
            return self._read_at_once(ids, mask, positions, start)
        held = None if start is None else start_of(start.cache)
        at_once = max(1, PREFILL_TOKENS // ids.shape[1])
        readings = []
        for at in range(0, len(ids), at_once):
            own = int((mask[at : at + at_once].sum(0) == 0).sum())  # padding that these rows do not need
            part = slice(at, at + at_once), slice(own, None)
            cache = new_cache(self.model, plain=True)
            logits = self.logits(ids[part], mask[part], positions[part], cache, held)[:, -1]
            readings.append(Reading(logits, cache, mask[part], positions[part][:, -1:], held))
        return together(readings)

    def _read_at_once(self, ids: Tensor, mask: Tensor, positions: Tensor, start: Start | None) -> Reading:
        """Read rows into a cache of transformers' own."""
        if start is None:
            cache = new_cache(self.model, plain=False)
        else:
            cache = copy.deepcopy(start.cache)
            cache.reorder_cache(torch.zeros(len(ids), dtype=torch.long))
            mask = torch.cat([mask.new_ones(len(ids), len(start.token_ids)), mask], dim=1)
        return Reading(self.logits(ids, mask, positions, cache)[:, -1], cache, mask, positions[:, -1:])

    def go_on(self, reading: Reading, token_ids: Tensor) -> Tensor:
        """Read one more token a row, `(B,)`; return the logits behind it, `(B, V)`."""
        reading.mask = torch.nn.functional.pad(reading.mask, (0, 1), value=1)
        reading.positions = reading.positions + 1
        logits = self.logits(token_ids[:, None], reading.mask, reading.positions, reading.cache, reading.held)
        return logits[:, -1]

    def logits(
        self,
        ids: Tensor,
        mask: Tensor | None,
        positions: Tensor | None,
        cache: Any,
        held: list[KeyValue] | None = None,
        keep: int = 1,
    ) -> Tensor:
        """Return the logits of the last `keep` tokens (0: of all) of one forward pass, `(B, keep, V)`.

        `held` are the keys and values of a shared start that is not in the cache.
        """
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=keep,
            **({} if held is None else {"shared_start": held}),
        )
        logits: Tensor = output.logits
        return logits

    def _left_padded(self, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Return ids and mask, both `(B, S)`; the mask is 0 on padding."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.pad_token_id)
        mask = torch.zeros(len(rows), longest, dtype=torch.long)
        for row, token_ids in enumerate(rows):
            ids[row, longest - len(token_ids) :] = torch.tensor(token_ids)
            mask[row, longest - len(token_ids) :] = 1
        return ids.to(self.model.device), mask.to(self.model.device)


def together(readings: Sequence[Reading]) -> Reading:
    """Return the rows of all readings as one, padded on the left; the parts are emptied on the way."""
    if len(readings) == 1:
        return readings[0]
    end = max(reading.mask.shape[1] for reading in readings)
    pad = torch.nn.functional.pad
    return Reading(
        torch.cat([reading.logits for reading in readings]),
        joined([reading.cache for reading in readings]),
        torch.cat([pad(reading.mask, (end - reading.mask.shape[1], 0)) for reading in readings]),
        torch.cat([reading.positions for reading in readings]),
        readings[0].held,
    )


def _with_start(reading: Reading) -> Reading:
    """Return a reading whose cache holds the start too."""
    assert reading.held is not None
    put_before(reading.cache, reading.held)
    mask = torch.nn.functional.pad(reading.mask, (reading.held[0][0].shape[2], 0), value=1)
    return Reading(reading.logits, reading.cache, mask, reading.positions)


def shared_start(rows: Sequence[Row]) -> Row:
    """Return the tokens that most rows begin with, () if too few to matter. Each of those rows has one of its own.

    Of all starts that more than half of the different rows have, the one that saves the most tokens. It is one of the
    row in the middle of all in order: rows that share a start stand together.
    """
    ordered = sorted(set(rows))
    middle = ordered[len(ordered) // 2]
    same = sorted((_same(middle, row) for row in ordered), reverse=True)
    saved = [(others * length, length) for others, length in enumerate(same) if 2 * others + 2 > len(same)]
    tokens, length = max(saved)
    return middle[:length] if tokens and length >= MIN_SHARED_TOKENS else ()


def _same(first: Row, second: Row) -> int:
    """Return how many tokens both begin with, such that each has one left."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
    return min(same, len(first) - 1, len(second) - 1)
