"""The spiking network in integer codes."""
