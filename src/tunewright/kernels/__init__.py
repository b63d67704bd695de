"""The fast twins of the maths in `losses/`. Each has an eager form that is held against float64; errors are no worse.

`linear_ce.py` is the door of the head. Behind it: `planner.py` (which plan, how many rows at a time), `plans.py` (the
plans and their autograd functions), `head.py` (the matmuls over one reused chunk of logits), and the row functions:
`rows.py` eager, `compiled.py`, `triton_rows.py`; `backends.py` chooses among them.
"""
