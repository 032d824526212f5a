"""From a config file and arguments to the config that runs: load, edit, check."""
