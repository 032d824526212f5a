"""Checks of data sets before any time is spent on them."""
