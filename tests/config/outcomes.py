"""What becomes of settings that are read: themselves, or their faults."""

from aims_server.config.faults import SettingsError


def found(load, *arguments) -> tuple[str, ...]:
    """Give the faults that loading settings finds, none if it succeeds."""
    try:
        load(*arguments)
    except SettingsError as error:
        return error.faults
    return ()
