"""Configuration: variables that are declared once and read from the environment or ``.env``."""

from __future__ import annotations

from x121.config.loading import (
    APP,
    AppConfig,
    ConfigError,
    DbConfig,
    Environment,
    LoadedConfig,
    ServerConfig,
    Setting,
    Variable,
    WsConfig,
    load,
    setting,
    variables,
)

__all__ = [
    "APP",
    "AppConfig",
    "ConfigError",
    "DbConfig",
    "Environment",
    "LoadedConfig",
    "ServerConfig",
    "Setting",
    "Variable",
    "WsConfig",
    "load",
    "setting",
    "variables",
]
