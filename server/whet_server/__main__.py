"""Start a Whet server: `python -m whet_server`."""
