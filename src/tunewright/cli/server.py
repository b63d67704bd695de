"""`tw server`: start, see and stop model servers on this machine.

tw server start MODEL [-- OPTIONS]   until it completes prompts; it stays when the command is done
tw server status                     all of this user's
tw server stop [NAME]                with every descendant; --all for all
tw server logs NAME                  the end of what it printed

OPTIONS go to the server's own command line. It listens on 127.0.0.1 and nowhere else.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tunewright.cli.tables import print_json, print_table, print_text
from tunewright.errors import UserError

if TYPE_CHECKING:
    from tunewright.backends.servers.state import State

ACTIONS = ("start", "status", "stop", "logs")
LOG_LINES = 200


def server(
    words: Annotated[
        list[str],
        typer.Argument(metavar="start MODEL [-- OPTIONS] | status | stop [NAME] | logs NAME", help="what to do"),
    ],
    kind: Annotated[str | None, typer.Option("--kind", help="transformers, vllm, llama.cpp or mlx")] = None,
    port: Annotated[int | None, typer.Option("--port", min=1, max=65535, help="else any that is free")] = None,
    name: Annotated[str | None, typer.Option("--name", help="what to call it; else after the model")] = None,
    python: Annotated[str | None, typer.Option("--python", help="the Python whose packages hold the server")] = None,
    every: Annotated[bool, typer.Option("--all", help="stop all of them")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
) -> None:
    """Start, see and stop model servers on this machine."""
    action, *rest = words
    if action == "start":
        told = _start(rest, kind, port, name, python)
        _show([told], json_output, whole=told)
    elif action == "status":
        _no_more(rest, "status")
        from tunewright.backends.servers.running import servers

        _show([_told(state) for state in servers()], json_output)
    elif action == "stop":
        stopped = _stop(rest, every)
        _print({"stopped": stopped}, json_output, "\n".join(f"stopped {one}" for one in stopped) or "no server runs")
    elif action == "logs":
        told = _logs(rest)
        _print(told, json_output, told["text"])
    else:
        raise UserError(f"`{action}` is nothing to do", where="tw server", expected=" | ".join(ACTIONS))


def _start(
    rest: Sequence[str], kind: str | None, port: int | None, name: str | None, python: str | None
) -> dict[str, Any]:
    if not rest or rest[0].startswith("-"):
        raise UserError("no model was named", where="tw server start", fix="tw server start smollm2-135m-instruct")
    from tunewright.backends.servers.kinds import find_kind
    from tunewright.backends.servers.manager import start_server
    from tunewright.backends.servers.state import name_for

    if python is not None and shutil.which(python) is None:
        raise UserError("there is no such program", where=f"--python {python}", expected="a Python")
    ref, *options = rest
    found = find_kind(kind, ref, python or sys.executable)
    print(f"starting {found.name} with {ref}", file=sys.stderr)
    name = name or name_for(ref)  # a second start of the same model is more often a mistake than meant
    up = start_server(ref, found, name=name, port=port, python=python or sys.executable, options=options)
    try:
        up.keep()
    except BaseException:
        up.stop()
        raise
    from tunewright.backends.servers.running import find_server

    return _told(find_server(up.state.name))


def _stop(rest: Sequence[str], every: bool) -> list[str]:
    from tunewright.backends.servers.running import find_server, servers, stop_server

    states = servers()
    if rest and every:
        raise UserError(f"`{rest[0]}` and --all are both given", where="tw server stop", expected="one of the two")
    if rest:
        states = [find_server(one) for one in rest]
    elif len(states) > 1 and not every:
        names = " | ".join(state.name for state in states)
        raise UserError(f"{len(states)} servers run", where="tw server stop", expected=names, fix="name one, or --all")
    for state in states:
        stop_server(state)
    return [state.name for state in states]


def _logs(rest: Sequence[str]) -> dict[str, Any]:
    from tunewright.backends.servers.running import find_server
    from tunewright.backends.servers.state import log_tail

    if len(rest) != 1:
        raise UserError("one server's name is needed", where="tw server logs", fix="tw server status shows the names")
    state = find_server(rest[0])
    return {"name": state.name, "log": str(state.log), "text": log_tail(state.log, LOG_LINES)}


def _no_more(rest: Sequence[str], action: str) -> None:
    if rest:
        raise UserError(f"`{rest[0]}` is too much", where=f"tw server {action}", expected="nothing more")


def _told(state: State) -> dict[str, Any]:
    return {
        "name": state.name, "kind": state.kind, "phase": state.phase, "url": state.url, "model": state.model,
        "ref": state.ref, "pid": state.server[0], "started": state.started, "log": str(state.log), "note": state.note,
    }  # fmt: skip


def _show(rows: Sequence[dict[str, Any]], json_output: bool, whole: dict[str, Any] | None = None) -> None:
    if json_output:
        print_json(whole or {"servers": list(rows)})
    elif not rows:
        print("no server runs")
    else:
        columns = ("name", "kind", "phase", "url", "model", "note")
        print_table(columns, [[str(row[column]) for column in columns] for row in rows], whole=(3,))


def _print(value: Any, json_output: bool, text: str) -> None:
    if json_output:
        print_json(value)
    else:
        print_text(text)
