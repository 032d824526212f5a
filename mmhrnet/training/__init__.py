"""Training and testing with MMEngine's runner."""
