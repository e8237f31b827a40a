"""Corpora as tokens, and packed rows of them.

Corpora come as text from data_pipelines. `input_pipeline.py` above makes batches of the rows.
"""
