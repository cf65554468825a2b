"""Settings: one table of variables, read from the environment and `.env`, checked."""

from .loading import effective, load_settings, nearest_variable, warnings_of
from .settings import Demo, Settings, SettingsError

__all__ = [
    "Demo",
    "Settings",
    "SettingsError",
    "effective",
    "load_settings",
    "nearest_variable",
    "warnings_of",
]
