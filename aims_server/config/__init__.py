"""Settings: one table of variables, read from the environment and `.env`, checked."""

from .demo import Demo
from .faults import SettingsError
from .loading import (
    doubtful_names,
    effective,
    load_settings,
    nearest_variable,
    warnings_of,
)
from .settings import Settings

__all__ = [
    "Demo",
    "Settings",
    "SettingsError",
    "doubtful_names",
    "effective",
    "load_settings",
    "nearest_variable",
    "warnings_of",
]
