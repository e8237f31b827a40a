"""The settings: where the text of an experiment comes from. One package each.

`setting.py` says what a setting consists of, `registry.py` lists them. `msm_jax/suites/` has a
module of the same name for each, with what its evaluation asks.
"""
