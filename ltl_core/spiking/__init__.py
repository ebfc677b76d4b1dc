"""How a spiking layer computes, forward and backward."""
