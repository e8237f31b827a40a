"""Demonstrations for fine-tuning, written and judged by language models."""
