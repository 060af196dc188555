"""Accuracy and work of converted networks, beside spikingjelly and sinabs: ``python -m benchmarks.ann_to_snn``."""
