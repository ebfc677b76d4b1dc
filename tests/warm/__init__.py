"""Real `tandemcal` processes for tests, forked from one that has loaded the program already."""
