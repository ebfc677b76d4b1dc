"""The command line: `tandemcal`."""
