"""Show the main commands: check a spec, print its graph, train it, score it.

`make demo` runs this. It trains the conventional network on JSB Chorales if that data is found
(see `rnnc tasks`), and otherwise a gated one on the adding problem, which needs no data.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def rnnc(*arguments: str) -> None:
    """Print a command and run it; exit with its status if it fails."""
    print("\n$ rnnc " + shlex.join(arguments), flush=True)
    status = subprocess.run([sys.executable, "-m", "rnnc", *arguments], check=False).returncode
    if status:
        raise SystemExit(status)


def available_tasks() -> set[str]:
    """Return the tasks whose data is on this machine."""
    command = [sys.executable, "-m", "rnnc", "tasks", "--json"]
    tasks = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["tasks"]
    return {task["name"] for task in tasks if task["available"]}


def new_run_folder() -> str:
    """Return the path of a run folder that does not exist yet."""
    number = 1
    while Path("runs", f"demo-{number}").exists():
        number += 1
    return str(Path("runs", f"demo-{number}"))


def main() -> None:
    """Run the demonstration."""
    # Networks of this size gain nothing from a second thread, and on a busy machine threads that
    # wait for each other cost many times the work itself.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if "jsb" in available_tasks():
        spec, options = "conventional.rnn", ["--task", "jsb", "--epochs", "100"]
    else:
        spec, options = "adding.rnn", ["--task", "adding", "--epochs", "10"]
    file, run = os.path.relpath(FOLDER / spec), new_run_folder()
    rnnc("check", file)
    rnnc("graph", file)
    rnnc("train", file, *options, "--seed", "1", "--run", run)
    rnnc("eval", run)


if __name__ == "__main__":
    main()
