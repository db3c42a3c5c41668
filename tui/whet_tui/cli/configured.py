"""The settings of a command. Light, because the chat's first frame waits for it."""

from dataclasses import replace

import click

from whet_tui import settings as settings_of
from whet_tui.cli.root import Launch


def load_settings(launch: Launch) -> settings_of.Settings:
    """Return the settings and say once what in the configuration was not understood. Raises `SettingsError`."""
    settings = read_settings(launch)
    tell_complaints(settings)
    return settings


def read_settings(launch: Launch) -> settings_of.Settings:
    """Return the settings. Raises `SettingsError`."""
    flags = settings_of.Flags(
        server=launch.server, token_file=launch.token_file, data=launch.data, config=launch.config
    )
    settings = settings_of.load(flags, launch.environment)
    return replace(settings, program=launch.program, decider=launch.decider)


def tell_complaints(settings: settings_of.Settings) -> None:
    """Say what in the configuration was not understood."""
    for complaint in settings.complaints:
        click.echo(f"warning: {complaint}", err=True)
