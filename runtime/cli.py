"""The command `rnnc`: load commands by file name, map every failure to an exit status.

Exit status: 0 done; 1 a spec, data, a checkpoint or the machine is at fault; 2 wrong usage;
130 interrupted.
"""

from __future__ import annotations

import ast
import errno
import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from difflib import get_close_matches
from typing import Any, NoReturn

import click

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.version import __version__

from . import commands
from .options import JSON_META_KEY
from .print_diagnostics import print_diagnostics

NON_STANDALONE: dict[str, Any] = {"standalone_mode": False}
"""Options for click's `main`: raise exceptions instead of exiting."""


class CommandFolder(click.Group):
    """A group whose commands are the modules of `runtime/commands`.

    A module is a command when it defines `command`; the first line of its docstring is its short
    help, which is read without importing the module, so that `--help` stays quick.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the command modules."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command's module."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or suggest the nearest name."""
        name = args[0]
        if not name.startswith("-") and name not in self.list_commands(ctx):
            near = get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            ctx.fail(f"No such command `{name}`.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their short help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short_help(name)) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; report any exception as diagnostics."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
            return result
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            ctx.exit(report_failure(error, as_json=bool(ctx.meta.get(JSON_META_KEY))))

    def main(self, *args: Any, **options: Any) -> NoReturn:
        """Run the command line and leave with its exit status."""
        prepare_streams()
        status: object
        try:
            status = super().main(*args, **{"prog_name": self.name, **options, **NON_STANDALONE})
        except click.ClickException as error:
            error.show()
            status = error.exit_code
        except click.Abort:
            click.echo("rnnc: interrupted", err=True)
            status = 130
        except Exception as error:  # --help and --version fail before a context exists
            status = report_failure(error)
        sys.exit(status if isinstance(status, int) else 0)


def short_help(name: str) -> str:
    """Read the first docstring line of a command module without importing it."""
    spec = importlib.util.find_spec(f"{commands.__name__}.{name}")
    source = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
    document = ast.get_docstring(ast.parse(source or "")) or ""
    return document.partition("\n")[0].rstrip(".")


def prepare_streams() -> None:
    """Let the output streams encode any character: UTF-8 instead of ASCII, else escapes."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            narrow = (stream.encoding or "ascii").lower() in {"ascii", "us-ascii", "ansi_x3.4-1968"}
            reconfigure(encoding="utf-8" if narrow else stream.encoding, errors="backslashreplace")


def report_failure(error: Exception, *, as_json: bool = False) -> int:
    """Print the diagnostics of an exception and return the exit status."""
    if isinstance(error, RnnError):
        print_diagnostics(error.diagnostics, as_json=as_json)
        return 1
    if os.environ.get("RNNC_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.filename is None:
        # A write to a stream failed, so standard output may be broken too.
        as_json = False
        discard_broken_stdout()
    if not isinstance(error, BrokenPipeError):
        print_diagnostics([diagnose(error)], as_json=as_json)
    return 1


def discard_broken_stdout() -> None:
    """Redirect a broken standard output to the null device, so Python exits quietly."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def diagnose(error: Exception) -> Diagnostic:
    """Convert an exception that no command expected into a diagnostic."""
    if isinstance(error, OSError):
        name = f"`{error.filename}`: " if error.filename else "cannot write: "
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        hint = "free some space and try again" if error.errno == errno.ENOSPC else ""
        return Diagnostic("RNN605", f"{name}{reason}", hint=hint)
    if isinstance(error, ImportError) and not (error.name or "rnnc").startswith("rnnc"):
        hint = "install rnnc anew, with all that it needs: pip install rnnc; see `rnnc doctor`"
        return Diagnostic("RNN502", f"`{error.name}` cannot be imported: {error.msg}", hint=hint)
    # torch's allocators raise their own exception types; importing torch here would be slow.
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        hint = "use smaller sizes (`--set`, `--task-set`) or a smaller `--batch-size`"
        message = str(error) if str(error).startswith("out of memory on ") else "out of memory"
        return Diagnostic("RNN902", message, hint=hint)
    text = " ".join(str(error).split())
    description = type(error).__name__ + (f": {text}" if text else "")
    hint = "this is a bug in rnnc, please report it; RNNC_DEBUG=1 shows where it happened"
    return Diagnostic("RNN901", f"internal error: {description}", hint=hint)


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    is_allocator_error = (
        type(error).__name__ == "OutOfMemoryError" or "CUDA error: out of memory" in text
    )
    return is_allocator_error or "allocate memory" in text


@click.command(
    "rnnc",
    cls=CommandFolder,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="rnnc", message="%(prog)s %(version)s")
def main() -> None:
    """Recurrent networks in operator notation, compiled to fused PyTorch modules.

    FILE is a path, `-` for standard input, or `zoo:NAME` for a model that ships with rnnc.
    """
