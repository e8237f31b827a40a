"""What Inspect finds here: the provider `msm_jax` and the task `msm_jax/agents_at_work`.

The entry point in pyproject.toml names this module, so Inspect imports it as soon as somebody names
a model or a task that begins with `msm_jax/`. JAX is not imported until a model is opened.
"""

from msm_jax.interop.inspect_provider import msm_jax
from msm_jax.interop.inspect_tasks.tasks import agents_at_work

__all__ = ['agents_at_work', 'msm_jax']
