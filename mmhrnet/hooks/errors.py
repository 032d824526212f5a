"""What ends a training, in words for its user."""


class TrainingError(RuntimeError):
    """A training that cannot go on, with what to do about it."""
