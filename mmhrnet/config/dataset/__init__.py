"""What a data set has to be, checked before any time is spent on it."""
