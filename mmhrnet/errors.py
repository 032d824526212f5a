"""What ends a training, in words for its user."""


class TrainingError(RuntimeError):
    """A training that cannot go on, with what to do about it."""


class ConfigError(ValueError):
    """A config or argument that cannot work, with what to do about it."""
