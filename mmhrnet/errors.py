"""What a user can mend: one kind of error, whose text says what is wrong and what to do."""


class UserError(Exception):
    """The base of all of them: a command prints its text in one line and exits with status 2."""


class ConfigError(UserError, ValueError):
    """A config or argument that cannot work."""


class TrainingError(UserError, RuntimeError):
    """A training that cannot go on."""
