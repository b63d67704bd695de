"""`tw`: the door to all verbs. `VERBS` is the one table of them; a verb's file is imported when the verb is called.

    tw --help, tw --version     answered from the table: nothing else is imported
    tw VERB …                   typer parses for the function the table names; what it raises becomes an exit code

stdout is the result and stderr is progress. An error made on purpose is printed clean, with `--json` as one JSON object
on stdout; anything else is a bug and is printed with its traceback (exit code 3).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tunewright import __version__
from tunewright.errors import EXIT_BUG, EXIT_DONE, EXIT_USER, Stopped, TunewrightError, UserError, printable

if TYPE_CHECKING:
    from typer.core import TyperCommand

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, the shell's convention
PROGRAM = "tw"
# What a path may be by the user's own doing; a file that is not there is told where it is looked for.
_UNREADABLE = {
    errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EIO, errno.EROFS,
}  # fmt: skip


@dataclass(frozen=True)
class Verb:
    """One verb: where its function is, as `module:function`, and what it does in one line."""

    target: str
    help: str


VERBS = {
    "init": Verb("tunewright.cli.init:init", "write a new, commented recipe"),
    "check": Verb("tunewright.cli.check:check", "find what is wrong with a recipe before anything is spent"),
    "lint": Verb("tunewright.cli.lint:lint", "hold a chat template, and rows, against the model's tokenizer"),
    "estimate": Verb("tunewright.cli.estimate:estimate", "say what training takes: memory, hours, USD"),
    "bench": Verb("tunewright.cli.bench:bench", "measure on this machine: is training fast enough to work with?"),
    "run": Verb("tunewright.cli.run:run", "run a recipe; what is done already is reused"),
    "finetune": Verb("tunewright.cli.finetune:finetune", "model and data in, tuned model and proof out"),
    "data": Verb("tunewright.cli.data:data", "look at rows, filter, join, split, sample and compare them"),
    "probe": Verb("tunewright.cli.probe:probe", "is a model the base, or the assistant, that it is said to be"),
    "show": Verb("tunewright.cli.show:show", "show what a run made: stages, rows, answers"),
    "report": Verb("tunewright.cli.report:report", "write a run's report as one HTML file"),
    "checklist": Verb("tunewright.cli.checklist:checklist", "show what a run still lacks before its model is used"),
    "eval": Verb("tunewright.cli.eval:eval", "score models with a suite, side by side, without a recipe"),
    "compare": Verb("tunewright.cli.compare:compare", "compare scored runs, paired by row"),
    "power": Verb("tunewright.cli.power:power", "plan an evaluation: what so many rows show"),
    "tune": Verb("tunewright.cli.tune:tune", "search inference settings on a dev split, report on the test split"),
    "grade": Verb("tunewright.cli.grade:grade", "run, check or dry-run a grader"),
    "server": Verb("tunewright.cli.server:server", "start, see and stop model servers"),
    "entropy": Verb(
        "tunewright.cli.entropy:entropy", "show what a model doubts, token by token; or base against tuned"
    ),
    "journal": Verb("tunewright.cli.journal:journal", "list all runs: what was expected, what came out"),
    "faults": Verb("tunewright.cli.faults:faults", "plant known faults in sound projects: which are caught, and where"),
    "schema": Verb("tunewright.cli.schema:schema", "print the JSON Schema of recipes"),
}


def help_text() -> str:
    """Return what `tw --help` prints."""
    lines = [f"  {name:<10}{verb.help}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "Fine-tuning with proof: gates before you spend, evidence after.",
            "",
            f"Usage: {PROGRAM} VERB [ARGUMENTS]",
            "",
            "Verbs:",
            *lines,
            "",
            f"  {PROGRAM} VERB --help   what a verb takes",
            f"  {PROGRAM} --version     the version",
            "",
            "Exit codes: 0 done; 1 a gate failed, or a comparison came out worse; 2 the input is wrong; 3 a bug, or",
            "the machine. `--json` makes the result, and an error too, one JSON object on stdout.",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    _ready_streams()
    try:
        code = _dispatch(args)
        sys.stdout.flush()  # a reader that went away is noticed here, and not while Python shuts down
    except BrokenPipeError:
        _silence_stdout()
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        stopped = Stopped("stopped by Ctrl-C")
        _print_error(stopped, "--json" in args)
        return stopped.exit_code
    except OSError as error:  # stdout itself: `tw … > /dev/full`
        _silence_stdout()
        print(f"stdout: cannot be written ({error.strerror})", file=sys.stderr)
        return EXIT_BUG
    return code


def _ready_streams() -> None:
    """Put the null device for a stream that is closed, and let no character stop a print: it becomes an escape."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # open until the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _dispatch(args: list[str]) -> int:
    if args and args[0] in VERBS:
        return _guarded(lambda: _run(args[0], args[1:]), args)
    if args[:1] == ["--help"]:
        print(help_text())
        return EXIT_DONE
    if args[:1] == ["--version"]:
        print(f"tunewright {__version__}")
        return EXIT_DONE
    return _guarded(lambda: _no_such_verb(args), args)


def _no_such_verb(args: list[str]) -> int:
    if not args:
        print(help_text(), file=sys.stderr)
        return EXIT_USER
    import difflib

    close = difflib.get_close_matches(args[0], VERBS, n=1)
    fix = f"{PROGRAM} {close[0]}" if close else f"{PROGRAM} --help"
    raise UserError(f"`{args[0]}` is no verb", where=PROGRAM, expected="one of " + ", ".join(VERBS), fix=fix)


def _guarded(call: Callable[[], int], args: list[str]) -> int:
    """Return what `call` returns; what it raises is printed and becomes an exit code."""
    as_json = "--json" in args
    try:
        return call()
    except TunewrightError as error:
        _print_error(error, as_json)
        return error.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            raise  # what runs writes names its file: this is stdout
        if isinstance(error, OSError) and error.errno in _UNREADABLE and error.filename is not None:
            told = UserError(f"cannot be read or written ({error.strerror})", where=str(error.filename)[:300])
            _print_error(told, as_json)
            return told.exit_code
        return _print_bug(error, as_json)


def _print_error(error: TunewrightError, as_json: bool) -> None:
    if as_json:
        _print_json(error.as_json())
    else:
        lead = "\n" if isinstance(error, Stopped) else ""  # the terminal shows ^C in this line
        print(lead + printable(error.render()), file=sys.stderr)  # ids and names of a file may hold what it obeys


def _print_bug(error: Exception, as_json: bool) -> int:
    import traceback

    traceback.print_exception(error)
    if as_json:
        _print_json({"error": type(error).__name__, "seen": str(error), "bug": True})
    else:
        print("This is a bug in tunewright; the lines above say where.", file=sys.stderr)
    return EXIT_BUG


def _print_json(value: dict[str, object]) -> None:
    import json

    print(json.dumps(value, indent=2, default=str))  # ASCII: a file name that is not UTF-8 cannot stop it


def _silence_stdout() -> None:
    # Python flushes stdout once more at exit; without this it would complain there about the broken pipe.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ── one verb ────────────────────────────────────────────────────────────────────────────────────────────────────────


def command_of(name: str) -> TyperCommand:
    """Import a verb's file and return its command, as typer builds it from the function's parameters."""
    from importlib import import_module

    import typer
    from typer.main import get_command

    module, _, function = VERBS[name].target.partition(":")
    # Plain help: the same on every terminal and in docs/cli.md, and a third of the start-up time.
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name)(getattr(import_module(module), function))
    command: Any = get_command(app)
    return command  # type: ignore[no-any-return]  # one command only: get_command returns it itself, not a group


def _run(name: str, args: list[str]) -> int:
    """Parse `args` for the verb `name` and call it."""
    import typer

    command, program = command_of(name), f"{PROGRAM} {name}"
    usage_errors: Any = typer.BadParameter.__bases__  # the base of all errors of use; typer exports only this child
    try:
        with command.make_context(program, args) as context:
            command.invoke(context)
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:  # Ctrl-C or the end of input at a prompt
        raise KeyboardInterrupt from None
    except usage_errors as error:
        raise UserError(error.format_message(), where=program, fix=f"{program} --help") from None
    return EXIT_DONE
