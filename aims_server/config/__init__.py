"""Settings: one table of variables, read from the environment and `.env`, checked."""

from .settings import (
    Demo,
    Settings,
    SettingsError,
    effective,
    load_settings,
    nearest_variable,
)

__all__ = [
    "Demo",
    "Settings",
    "SettingsError",
    "effective",
    "load_settings",
    "nearest_variable",
]
