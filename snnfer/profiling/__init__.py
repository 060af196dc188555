"""What a model costs: exact operation counts, memory and arithmetic energy.

Examples:
    >>> import torch
    >>> from snnfer.models import create_model
    >>> model = create_model("au_snn", size=(16, 16), channels=4, hidden=32)
    >>> report = count_operations(model, torch.poisson(torch.rand(5, 1, 2, 16, 16)))
    >>> report.neuron_updates == 5 * (4 * 16 * 16 + 4 * 8 * 8 + 32 + 210)
    True
"""

from snnfer.profiling.operations import count_operations
from snnfer.profiling.report import LayerOperations, OperationReport

__all__ = ["LayerOperations", "OperationReport", "count_operations"]
