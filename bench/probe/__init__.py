"""The probe from outside: what it found in the processes that it was put into."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .sitecustomize import LONGEST


class Held:
    """How long the loops of a service were held, at most (see ``sitecustomize``)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.clear()

    @property
    def variables(self) -> dict[str, str]:
        """What puts the probe into a process."""
        return {"PYTHONPATH": str(Path(__file__).parent), "HELD_FILE": str(self._path)}

    def clear(self) -> None:
        """Forget what was; as far as the processes know, too."""
        with self._path.open("r+b" if self._path.exists() else "w+b") as file:
            file.write(LONGEST.pack(0, 0, 0, 0))

    def read(self) -> tuple[float, float, float, float]:
        """The longest turn and the longest step: wall, CPU; wall, CPU; in seconds."""
        turn, turn_cpu, step, step_cpu = LONGEST.unpack(self._path.read_bytes())
        return turn, turn_cpu, step, step_cpu


@contextlib.contextmanager
def probing() -> Iterator[Held]:
    """A probe for one service."""
    with tempfile.TemporaryDirectory() as directory:
        yield Held(Path(directory, "held"))
