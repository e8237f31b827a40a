"""Model Spec Midtraining in JAX: one model, one train step, phases as data, experiments as arms x seeds."""

__version__ = '0.1.0'
