"""What can be asked of a model, and what is computed from the answers.

`scoring` turns a model into log-likelihoods. `forced_choice`, `scenes`, `recall` and `perplexity`
turn log-likelihoods into rows. `summary` and `stats` turn rows into means, intervals, effects and
gates. None of them knows a setting: which questions are asked is decided in `msm_jax/suites/`.
"""
