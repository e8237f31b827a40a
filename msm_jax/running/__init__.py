"""The parts of a run of an experiment: what is planned and prepared, one phase or model at a time,
what is written, and its results in Python.

`prepare.py` and `experiment.py` above put them in order.
"""
