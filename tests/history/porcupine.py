"""Build and run the history checker, a Go program around Porcupine."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

_HERE = Path(__file__).parent
EXAMPLES = _HERE / "examples"
LINEARIZABLE, NOT_LINEARIZABLE = 0, 1
"""Exit codes; anything else is no verdict."""
_STANDARD_FOLDER = Path("/usr/local/go/bin/go")
_WHERE_FROM = (
    "Go 1.18 or newer is needed to check histories: on Debian and Ubuntu apt-get install golang-go, elsewhere"
    " https://go.dev/dl. Only this target needs it."
)


class CheckerError(Exception):
    """The checker is missing, cannot be built, or does not tell good histories from bad ones."""


class Checker:
    """The built checker."""

    def __init__(self, program: Path) -> None:
        self._program = program

    @classmethod
    def build(cls, folder: Path) -> Checker:
        """Build it into a folder. Raises CheckerError, which says what to install."""
        go = shutil.which("go") or (str(_STANDARD_FOLDER) if _STANDARD_FOLDER.exists() else None)
        if go is None:
            raise CheckerError(_WHERE_FROM)
        program = folder.resolve() / "checker"
        command = [go, "build", "-trimpath", "-o", str(program), "."]
        built = subprocess.run(command, cwd=_HERE / "checker", capture_output=True, text=True, check=False)
        if built.returncode:
            raise CheckerError(f"the checker cannot be built:\n{built.stderr}\n{_WHERE_FROM}")
        return cls(program)

    def check(self, history: Path, *, show: bool = False) -> tuple[int, str]:
        """Return exit code and output for a history; `show` draws what is refused beside it, as HTML."""
        command = [str(self._program), *(["-draw"] if show else []), str(history)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def try_examples(self) -> str:
        """Let it judge the examples. Raises CheckerError when one is judged wrongly."""
        accepted, refused = (sorted((EXAMPLES / name).glob("*.jsonl")) for name in ("accepted", "refused"))
        self._expect(LINEARIZABLE, accepted)
        self._expect(NOT_LINEARIZABLE, refused)
        names = ", ".join(path.stem for path in refused)
        return f"the checker accepts {len(accepted)} good examples and refuses {len(refused)} bad ones: {names}"

    def _expect(self, wanted: int, histories: Sequence[Path]) -> None:
        if not histories:
            raise CheckerError(f"there are no examples in {EXAMPLES}")
        for path in histories:
            code, output = self.check(path)
            if code != wanted:
                raise CheckerError(f"{path}: the checker ended with {code}, not {wanted}:\n{output}")
