"""Reads the settings from the environment and `.env`."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from . import dotenv
from .doubts import warnings_of
from .faults import SettingsError
from .settings import VARIABLES, Settings

__all__ = [
    "Loaded",
    "load_settings",
    "nearest_variable",
]


class Loaded(NamedTuple):
    """Settings, the file that was read if there is one, and a sentence for each setting
    that is probably not intended.
    """

    settings: Settings
    source: Path | None
    warnings: tuple[str, ...]


def load_settings(directory: Path, environ: Mapping[str, str]) -> Loaded:
    """Read `environ` and the ``.env`` of this directory, if there is one; `environ`
    wins.

    An empty variable of `environ` wins too, and means the default. Raises
    `SettingsError` with the faults of both.
    """
    path = directory.absolute() / ".env"
    found = dotenv.read(path)
    file = found or dotenv.File({}, {})
    faults = [*file.faults, *_unknown(path, file.lines)]
    try:
        settings = Settings.from_mapping({**file.values, **environ})
    except SettingsError as error:
        raise SettingsError((*faults, *error.faults)) from None
    if faults:
        raise SettingsError(tuple(faults))
    warnings = (
        *_repeated(path, file.lines),
        *_doubtful_names(environ),
        *warnings_of(settings),
    )
    return Loaded(settings, path if found else None, warnings)


def nearest_variable(name: str, *, cutoff: float = 0.0) -> str | None:
    """The variable whose name is most similar to ``name``; None if the similarity, from
    0 to 1, is below ``cutoff``.

    >>> nearest_variable("log-levle")
    'LOG_LEVEL'
    """
    from difflib import get_close_matches  # rarely needed, and slow to import

    names = [variable.name for variable in VARIABLES]
    name = name.upper().replace("-", "_")
    return next(iter(get_close_matches(name, names, 1, cutoff=cutoff)), None)


def _doubtful_names(environ: Mapping[str, str]) -> Iterator[str]:
    """One sentence for each name in the environment that is nearly a variable's: it may
    be misspelt (in systemd's EnvironmentFile=), or another program's.
    """
    known = [variable.name for variable in VARIABLES]
    for name in environ:
        if "_" not in name or name in known:
            continue
        longer = (full for full in known if full.startswith(f"{name}_"))
        nearest = next(longer, None) or _alike(name, known)
        if nearest:
            yield f"{name[:80]!a}: no such variable; the nearest is {nearest}"


def _alike(name: str, known: list[str]) -> str | None:
    # The first test is cheap, and saves an ordinary start the import of difflib.
    if not any(
        full[:2] == name[:2] and abs(len(full) - len(name)) < 3 for full in known
    ):
        return None
    return nearest_variable(name, cutoff=0.85)


def _unknown(path: Path, lines: Mapping[str, list[int]]) -> Iterator[str]:
    known = {variable.name for variable in VARIABLES}
    for name, (line, *_) in lines.items():
        if name in known:
            continue
        if _may_be_secret(name):
            yield (
                f"{path}: line {line}: no such variable (its name is not shown, since"
                " it may be part of a secret that is broken into lines)"
            )
        else:
            shown, nearest = ascii(name[:80]), nearest_variable(name[:80])
            yield f"{path}: {shown}: no such variable; the nearest is {nearest}"


def _may_be_secret(name: str) -> bool:
    """Whether a name looks like base64, whose padding looks like an assignment."""
    return (
        len(name) > 8
        and name not in (name.upper(), name.lower())
        and nearest_variable(name[:80], cutoff=0.6) is None
    )


def _repeated(path: Path, lines: Mapping[str, list[int]]) -> Iterator[str]:
    for name, found in lines.items():
        *earlier, last = map(str, found)
        if earlier:
            yield (
                f"{path}: {ascii(name)[1:-1]} is set in lines {', '.join(earlier)} and"
                f" {last}; the last one counts"
            )
