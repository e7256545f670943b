"""The command line: verbs in the order of the work, each loaded only when it is called."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from cloudchamber.errors import CloudchamberError, nearest

# Verb -> "module:function", in the order of the work; the help text of a verb is its function's docstring.
VERBS = {
    verb: f"cloudchamber.cli.{verb}:{verb}"
    for verb in (
        "simulate",
        "convert",
        "inspect",
        "pretrain",
        "finetune",
        "predict",
        "generate",
        "evaluate",
        "search",
        "unblind",
        "followup",
        "report",
        "export",
        "publish",
        "benchmark",
        "demo",
        "doctor",
        "cite",
    )
}
_ELSEWHERE = {"embed": "predict --embed", "train": "pretrain or finetune", "score": "predict"}  # what others call our verbs
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell says it


class _Verbs(TyperGroup):
    """A group whose listing reads the verbs' sources, so that `--help` imports none of them (torch takes seconds)."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (the base class passes it)
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """A stand-in with the right help text."""
        return TyperCommand(cmd_name, help=_docstring(VERBS[cmd_name])) if cmd_name in VERBS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The verb itself."""
        if args[0] in VERBS:
            return args[0], _load(args[0]), args[1:]
        if not args[0].startswith("-"):
            told = f"Use {_ELSEWHERE[args[0]]}." if args[0] in _ELSEWHERE else f"Nearest: {nearest(args[0], VERBS)}."
            ctx.fail(f"no verb is called {args[0]!r}. {told}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; an error that the user can act on is told without a traceback."""
        try:
            return super().invoke(ctx)
        except CloudchamberError as error:
            if ctx.params["debug"]:
                raise
            Console(stderr=True, soft_wrap=True, highlight=False).print("error:", style="bold red", end=" ")
            sys.stderr.write(f"{error}\n")
            raise typer.Exit(EXIT_USER_ERROR) from error
        except KeyboardInterrupt as stop:
            raise typer.Exit(EXIT_INTERRUPTED) from stop


app = typer.Typer(
    name="cloudchamber",
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"cloudchamber {version('cloudchamber')}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    show_version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version.")
    ] = False,
) -> None:
    """One foundation model from collider jets to neutrino interactions, and the statistics to discover with it."""


def main() -> None:
    """The entry point of the `cloudchamber` command.

    Exit codes: 0 done, 1 something that is needed is broken (doctor), 2 an error the user can act on, 130 interrupted.
    """
    app()


def _load(verb: str) -> Any:
    """The verb as a command, from its own file."""
    module, function = VERBS[verb].split(":")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    single.command(name=verb, context_settings={"help_option_names": ["-h", "--help"]})(
        getattr(importlib.import_module(module), function)
    )
    return typer.main.get_command(single)


def _docstring(target: str) -> str:
    """The docstring of "module:function", read from the source without importing it."""
    module, function = target.split(":")
    source = Path(__file__).with_name(f"{module.rpartition('.')[2]}.py")
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return inspect.cleandoc(ast.get_docstring(node) or "")
    raise AssertionError(f"{source} has no function {function}")


if __name__ == "__main__":
    main()
