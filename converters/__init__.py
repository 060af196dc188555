"""From a trained network to a graph of a neuromorphic chip, to NIR, or to a spiking network."""
