"""From a trained conventional network to a spiking one."""
