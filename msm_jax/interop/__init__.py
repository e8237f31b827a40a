"""Weights, adapters and tokenizers of others."""


class WeightsError(ValueError):
  """Weights that cannot be taken in or given out; one line with cause and mend."""
