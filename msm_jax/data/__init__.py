"""Corpora as tokens, and packed rows of them.

Corpora come as text from data_pipelines. `msm_jax/input_pipeline.py` makes batches of the rows.
"""
