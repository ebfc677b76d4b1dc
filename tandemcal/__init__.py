"""The public face of Tandemcal."""
