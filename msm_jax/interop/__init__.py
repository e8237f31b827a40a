"""Weights, adapters and tokenizers of others."""
