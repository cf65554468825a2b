"""Logging into a file, and put back as it was after each test."""

import logging

import pytest

from aims_server.logs import handlers as logs
from aims_server.logs.handlers import (
    configure_logging,
)


@pytest.fixture(autouse=True)
def restored():
    """Logging as it was before the test."""
    root = logging.getLogger()
    loggers = [root, *(logging.getLogger(name) for name in logs._MIN_LEVELS)]
    levels = [(logger, logger.level) for logger in loggers]
    handlers = root.handlers[:]
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    for logger, level in levels:
        logger.setLevel(level)


@pytest.fixture
def written(tmp_path):
    """Configures logging to a file; then tells its lines as bytes."""
    path = tmp_path / "log"

    with path.open("w") as stream:

        def configure(form="json", level="debug"):
            configure_logging(level, form, stream)
            return lambda: path.read_bytes().split(b"\n")[:-1]

        yield configure
