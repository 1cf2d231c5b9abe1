"""The settings' boundary: composes what each room declares, and reports every problem at once."""

from gateway.settings.load import load_settings
from gateway.settings.model import PREFIX, Settings, SettingsError

__all__ = ["PREFIX", "Settings", "SettingsError", "load_settings"]
