"""The parts of a run of an experiment: what is planned and prepared, one phase or model at a time,
what is written, and its results in Python.

`msm_jax/prepare.py` and `msm_jax/experiment.py` put them in order.
"""
