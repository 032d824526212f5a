"""Errors that a user can fix. Their text says what is wrong and what to do."""


class UserError(Exception):
    """The base class. A command prints the text in one line and exits with status 2."""


class ConfigError(UserError, ValueError):
    """A config or argument that cannot work."""


class TrainingError(UserError, RuntimeError):
    """A training that cannot continue."""
