"""The `gristmill` command: its subcommands, and what becomes of an error."""

import gc
import os
import sys
import tempfile
import traceback
from pathlib import Path

import typer
from typer.exceptions import TyperException

from gristmill.cli import corpus, demo, dev, duplicates, explain, funnel, generate, mixture, plan, takedown, trace
from gristmill.cli import run as run_command
from gristmill.cli.untrusted import escaped_line
from gristmill.core.errors import GristmillError, one_line

DEBUG_VARIABLE = "GRISTMILL_DEBUG"
USAGE_EXIT_CODE = 2
CRASH_EXIT_CODE = 1
INTERRUPTED_EXIT_CODE = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="gristmill",
    help="Raw web crawl in, language model out. The data lies under GRISTMILL_HOME (default ./data).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(corpus.app, name="corpus")
app.command("run")(run_command.run)
app.command("funnel")(funnel.funnel)
app.command("duplicates")(duplicates.duplicates)
app.command("explain")(explain.explain)
app.command("trace")(trace.trace)
app.command("mixture")(mixture.mixture)
app.command("plan")(plan.plan)
app.command("generate")(generate.generate)
app.add_typer(takedown.app, name="takedown")
app.command("dev")(dev.dev)
app.command("demo")(demo.demo)


def run() -> None:
    """The console script: whatever happens, one line and an exit code, never a bare traceback."""
    code = _exit_code(sys.argv[1:])
    gc.freeze()  # else Python looks through all that Dagster is made of three times more before it leaves
    sys.exit(code)


def _exit_code(arguments: list[str]) -> int:
    try:
        result: object = app(arguments, standalone_mode=False)
    except GristmillError as error:
        return _say(one_line(error), error.exit_code)
    except TyperException as error:
        line = " ".join(error.format_message().split())
        if not line:  # `gristmill` or `gristmill corpus` alone: the help was shown
            return USAGE_EXIT_CODE
        return _say(f"{line.rstrip('.')}; see `gristmill --help`", USAGE_EXIT_CODE)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED_EXIT_CODE
    except BrokenPipeError:  # `gristmill funnel demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CRASH_EXIT_CODE
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
            return CRASH_EXIT_CODE
        return _say(f"{one_line(error)} (a bug of ours; the traceback is in {_log()})", CRASH_EXIT_CODE)
    if result == INTERRUPTED_EXIT_CODE:  # typer turns an interrupt into this code without a word
        return _say("interrupted; what is committed stays, run the same command to go on", INTERRUPTED_EXIT_CODE)
    return result if isinstance(result, int) else 0


def _say(line: str, code: int) -> int:
    print(f"error: {escaped_line(line)}", file=sys.stderr, flush=True)  # it may quote an address
    return code


def _log() -> Path:
    """Keep the traceback in a file of this user's own, and say where."""
    descriptor, name = tempfile.mkstemp(prefix="gristmill-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        traceback.print_exc(file=file)
    return Path(name)
