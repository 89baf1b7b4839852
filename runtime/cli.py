"""The command `rnnc`: finds commands by file name, and turns every failure into an exit status.

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
from .print_diagnostics import print_diagnostics

JSON_META_KEY = "rnnc.json"
"""The key of a context's `meta` that says that standard output carries JSON."""

NON_STANDALONE: dict[str, Any] = {"standalone_mode": False}
"""Makes click raise what it would otherwise turn into exit statuses of its own."""


class CommandFolder(click.Group):
    """A group whose commands are the modules of `runtime/commands`.

    A module is a command when it defines `command`; the first line of its docstring is its short
    help, which is read without importing the module, so that `--help` stays quick.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the modules."""
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
        """Find the command, or say which one may have been meant."""
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
        """Run a command; what is wrong with the input, the machine or rnnc becomes diagnostics."""
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
        except Exception as error:  # --help and --version print before there is a context
            status = report_failure(error)
        sys.exit(status if isinstance(status, int) else 0)


def short_help(name: str) -> str:
    """The first line of a command module's docstring, read from its source."""
    spec = importlib.util.find_spec(f"{commands.__name__}.{name}")
    source = spec.loader.get_source(spec.name) if spec and spec.loader else None  # type: ignore[attr-defined]
    document = ast.get_docstring(ast.parse(source or "")) or ""
    return document.partition("\n")[0].rstrip(".")


def prepare_streams() -> None:
    """Make the output streams carry any character: as UTF-8 instead of ASCII, else escaped."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            narrow = (stream.encoding or "ascii").lower() in {"ascii", "us-ascii", "ansi_x3.4-1968"}
            reconfigure(encoding="utf-8" if narrow else stream.encoding, errors="backslashreplace")


def report_failure(error: Exception, *, as_json: bool = False) -> int:
    """Print what an exception means to the user; returns the exit status."""
    if isinstance(error, RnnError):
        print_diagnostics(error.diagnostics, as_json=as_json)
        return 1
    if os.environ.get("RNNC_DEBUG") == "1":
        traceback.print_exception(error)
    if isinstance(error, OSError) and error.filename is None:
        # A write to a stream failed, so standard output cannot be trusted with the report.
        as_json = False
        discard_broken_stdout()
    if not isinstance(error, BrokenPipeError):
        print_diagnostics([diagnose(error)], as_json=as_json)
    return 1


def discard_broken_stdout() -> None:
    """Point standard output at nothing if it takes nothing, so that Python may end in peace."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def diagnose(error: Exception) -> Diagnostic:
    """What to tell about an exception that no command expected."""
    if isinstance(error, OSError):
        name = f"`{error.filename}`: " if error.filename else "cannot write: "
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        hint = "free some space and try again" if error.errno == errno.ENOSPC else ""
        return Diagnostic("RNN605", f"{name}{reason}", hint=hint)
    if isinstance(error, ImportError) and not (error.name or "rnnc").startswith("rnnc"):
        hint = "install rnnc anew, with all that it needs: pip install rnnc; see `rnnc doctor`"
        return Diagnostic("RNN502", f"`{error.name}` cannot be imported: {error.msg}", hint=hint)
    # torch's allocators raise types of their own, and torch must not be imported to name them.
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        hint = "use smaller sizes (`--set`, `--task-set`) or a smaller `--batch-size`"
        said = str(error) if str(error).startswith("out of memory on ") else "out of memory"
        return Diagnostic("RNN902", said, hint=hint)
    words = " ".join(str(error).split())
    what = type(error).__name__ + (f": {words}" if words else "")
    hint = "this is a bug in rnnc, please report it; RNNC_DEBUG=1 shows where it happened"
    return Diagnostic("RNN901", f"internal error: {what}", hint=hint)


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error)
    lacking = type(error).__name__ == "OutOfMemoryError" or "CUDA error: out of memory" in words
    return lacking or "allocate memory" in words


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
