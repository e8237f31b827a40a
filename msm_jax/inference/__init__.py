"""Inference: text and log-probabilities from trained models.

`open_model` reads a model from disk, `sampling.Sampler` answers batches of requests with it,
`engine.Engine` lets several threads share a sampler, and `server` puts an engine behind an
OpenAI-compatible HTTP API. `arm.Arm` is the simplest way in for scripts and notebooks.
"""
