"""Windows of volumes, tensors of them, and predictions put back together."""
