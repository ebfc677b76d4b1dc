"""A chip of IBM's aihwkit behind the port of Tandemcal; its neurons are digital."""
