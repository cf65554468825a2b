"""Settings: one table of variables, read from the environment and `.env`, checked."""

from .demo import Demo
from .faults import SettingsError
from .file_limit import check_file_limit, max_connections
from .loading import Loaded, load_settings, nearest_variable
from .settings import Settings

__all__ = [
    "Demo",
    "Loaded",
    "Settings",
    "SettingsError",
    "check_file_limit",
    "load_settings",
    "max_connections",
    "nearest_variable",
]
