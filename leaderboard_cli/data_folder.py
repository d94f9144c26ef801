"""Says where a local cluster keeps its data, for `leaderboard up` and for every command that looks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

VARIABLE: Final = "LEADERBOARD_DATA_DIR"
LOCK_NAME: Final = "cluster.lock"
"""The file whose lock a running cluster holds; it stays, and tells a folder that a cluster ran on."""
_EARLIER: Final = Path(".local")
_SOURCES: Final = Path(__file__).resolve().parents[1]


def default_data_folder(environ: Mapping[str, str], sources: Path = _SOURCES) -> Path:
    """Return `.local` of the checkout that this command runs from; of an installation `$XDG_DATA_HOME/leaderboard`.

    Wherever one stands: another folder must not start another, empty system. `sources` is what holds our packages. For
    `$XDG_DATA_HOME` and its default see the XDG Base Directory Specification.
    """
    if _is_checkout(sources):
        return sources / ".local"
    base = Path(environ.get("XDG_DATA_HOME", ""))
    # The specification has relative paths ignored.
    return (base if base.is_absolute() else Path("~/.local/share").expanduser()) / "leaderboard"


def earlier_data(chosen: Path) -> Path | None:
    """Return the data of an earlier version, which kept them in whichever folder it was called in, unless chosen.

    Those in a checkout are its own, and `make up` goes on with them.
    """
    earlier = _EARLIER.absolute()
    if earlier == chosen.absolute() or _is_checkout(earlier.parent):
        return None
    return earlier if (earlier / LOCK_NAME).is_file() else None


def _is_checkout(folder: Path) -> bool:
    """Installed packages lie beside no pyproject.toml, and other projects have no packages of ours."""
    return (folder / "pyproject.toml").is_file() and (folder / Path(__file__).parent.name).is_dir()


def data_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder that LEADERBOARD_DATA_DIR names, or the default."""
    given = environ.get(VARIABLE)
    return Path(given) if given else default_data_folder(environ)
