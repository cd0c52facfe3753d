"""The operations that ``layers`` may call, whichever implementation stands behind them."""
from convnext_dense.ops.reference import global_response_norm

__all__ = ['global_response_norm']
