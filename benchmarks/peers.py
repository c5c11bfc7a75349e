"""Peers run in environments of their own, `.venv-peers-NAME` beside the project's, made once from pinned lists.

python -m benchmarks.peers datatrove extraction
"""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]


def interpreter(name: str) -> Path | None:
    """The Python of the peer's environment, made if need be; None, and one line that says so, if it can't be."""
    folder = REPOSITORY / f".venv-peers-{name}"
    wanted = (REPOSITORY / "benchmarks" / f"peers-{name}.txt").read_text()
    mark = folder / ".installed"
    python = folder / "bin" / "python"
    if mark.exists() and mark.read_text() == wanted:
        return python
    print(f"making {folder.name} (once, a few minutes)", flush=True)
    pins = str(REPOSITORY / "benchmarks" / f"peers-{name}.txt")
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", pins]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            line = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-200:])
            print(f"no peer: {folder.name} can't be made ({line.strip()}); it needs a package registry")
            return None
    mark.write_text(wanted)
    return python


if __name__ == "__main__":
    sys.exit(0 if all([interpreter(name) for name in sys.argv[1:]]) else 1)  # noqa: C419 - make every one
