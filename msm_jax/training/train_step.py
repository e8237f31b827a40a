"""The update of a phase: its state, the step, and the compiled program.

1. `TrainState` holds what changes while a phase trains.
2. `train_step` is a pure function from a state, a batch and a learning rate to the next state and
   its metrics. The objective (objectives/) gives sums, which `summed_gradients` adds up and the
   step divides once.
3. `make_program` compiles the step for a model, an optimizer, a mesh of devices and an objective.
   The learning rate is an argument of the step, so one program serves all phases of an objective.

Shapes: A micro-batches, B rows of a micro-batch, T tokens of a row.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import checkpointing, sharding
from msm_jax.config import ModelConfig, OptimizerConfig
from msm_jax.data.packing import Batch
from msm_jax.model import Params, init_params
from msm_jax.objectives import registry
from msm_jax.objectives.registry import OBJECTIVES
from msm_jax.optim import make_optimizer

# --------------------------------------------------------------------------------------------------
# The state
# --------------------------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
  """What a phase has reached. The same class holds arrays, their shapes or their layouts.

  Attributes:
    step: int32 scalar, the number of updates done.
    params: the parameters that are trained: all of them, or the adapters alone.
    opt_state: the state of the optimizer.
    skipped: int32 scalar, how many updates in a row were not finite.
    frozen: the parameters that are not trained; empty without adapters.
    reference: what `params` was at the start of the phase; empty if the objective compares with
      nothing. It stands in no checkpoint.
    seed: uint32 scalar, the seed of the dropout of adapters.
  """

  step: jax.Array
  params: Params
  opt_state: Any
  skipped: jax.Array
  frozen: Params
  reference: Params
  seed: jax.Array


def split_trainable(model: ModelConfig, params: Params) -> tuple[Params, Params]:
  """Splits the parameters of a model into those that are trained and those that are not.

  Args:
    model: the model's settings. With `lora`, the adapters are trained and nothing else.
    params: all parameters.

  Returns:
    (trained parameters, frozen parameters). The second part is empty without `lora`.
  """
  if model.lora is None:
    return params, {}
  trained, frozen = {}, {}
  for name, value in params.items():
    is_adapter = name.endswith(('_a', '_b'))
    if is_adapter:
      trained[name] = value
    else:
      frozen[name] = value
  return trained, frozen


def saved_opt_state(state: TrainState) -> dict[str, Any]:
  """The item `opt_state` of a checkpoint: what is needed beside the parameters to go on."""
  return {'step': state.step, 'opt_state': state.opt_state, 'skipped': state.skipped}


# --------------------------------------------------------------------------------------------------
# The step
# --------------------------------------------------------------------------------------------------


def train_step(
  model: ModelConfig,
  tx: optax.GradientTransformation,
  loss_chunk: int,
  state: TrainState,
  batch: dict[str, jax.Array],
  lr: jax.Array,
  objective: str = 'next_token',
  settings: Any = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Does one update.

  The sums and gradients of the micro-batches are added and divided once, by the weight of them all.
  The update is therefore that of the big batch, however it is cut; dropout alone draws other masks
  for another number of micro-batches. An update that is not finite changes nothing and is counted,
  so parameters are always finite.

  Args:
    model: the model's settings.
    tx: the optimizer, with updates of learning rate 1.
    loss_chunk: for how many tokens of a device logits exist at a time; for 0 see
      `cross_entropy_sums`.
    state: the state before the update.
    batch: (A, B, T) arrays; see the objective.
    lr: (2,) fp32, the learning rates of everything but the embeddings and of the embeddings.
    objective: the name of the objective.
    settings: its settings; None if it has none.

  Returns:
    The state after the update and its metrics, fp32 or int32 scalars: `loss` and what else the
    objective reports (per unit of weight), `weight` (the sum over the batch), `grad_norm` (before
    clipping), `skipped` and `lr`.
  """
  dropout_key = None
  if model.lora and model.lora.dropout:
    dropout_key = jax.random.fold_in(jax.random.key(state.seed), state.step)

  # 1. Sums and gradients over all rows.
  sums_of = functools.partial(OBJECTIVES[objective].sums, model, settings, loss_chunk)
  summed = functools.partial(summed_gradients, sums_of, dropout_key)
  all_params = (state.params, state.frozen, state.reference)
  if dropout_key is None:
    loss, sums, grads = sharding.sums_over_rows(summed, all_params, batch)
  else:
    # The masks of all rows are drawn together, so that they do not depend on the devices.
    loss, sums, grads = summed(all_params, batch)

  # 2. One division. A batch without any weight has zero gradients; the loop refuses it.
  weight = sums.pop('weight')
  per_unit = 1 / jnp.maximum(weight, 1)
  grads = jax.tree.map(lambda g: g * per_unit, grads)
  grad_norm = optax.tree.norm(grads)

  # 3. The update, if it is finite. A sum is finite only if all of its terms are.
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  finite = jnp.isfinite(loss + grad_norm + optax.tree.norm(updates) + jnp.sum(lr))

  def updated(path, p, u):
    return jnp.where(finite, p + lr[_rate_index(path)] * u, p)

  params = jax.tree_util.tree_map_with_path(updated, state.params, updates)
  opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), opt_state, state.opt_state)
  skipped = jnp.where(finite, 0, state.skipped + 1)

  metrics = {
    'loss': loss * per_unit,
    **{name: value * per_unit for name, value in sums.items()},
    'weight': weight,
    'grad_norm': grad_norm,
    'skipped': skipped,
    'lr': lr[0],
  }
  state = dataclasses.replace(
    state, step=state.step + 1, params=params, opt_state=opt_state, skipped=skipped
  )
  return state, metrics


def summed_gradients(
  sums_of: Callable[..., registry.Sums],
  dropout_key: jax.Array | None,
  all_params: tuple[Params, Params, Params],
  batch: dict[str, jax.Array],
) -> tuple[jax.Array, dict[str, jax.Array], Params]:
  """Adds up the sums and gradients of the objective, micro-batch by micro-batch.

  Args:
    sums_of: (params, micro-batch, frozen, reference, key) -> the sums of the objective.
    dropout_key: a random key for the dropout of adapters; None means no dropout.
    all_params: the trained parameters, the frozen ones and the reference.
    batch: (A, B, T) arrays; see the objective.

  Returns:
    (loss sum, the other sums, gradients of the loss sum by the trained parameters).
  """
  params, frozen, reference = all_params
  with_grads = jax.value_and_grad(sums_of, has_aux=True)

  def of_micro_batch(micro_batch, index):
    key = None
    if dropout_key is not None:
      key = jax.random.fold_in(dropout_key, index)
    (loss, sums), grads = with_grads(params, micro_batch, frozen, reference, key)
    return loss, sums, grads

  def accumulate(totals, part):
    return jax.tree.map(jnp.add, totals, of_micro_batch(*part)), None

  micro_batches = batch['tokens'].shape[0]
  first = jax.tree.map(lambda x: x[0], batch)
  if micro_batches == 1:
    return of_micro_batch(first, 0)
  shapes = jax.eval_shape(of_micro_batch, first, 0)
  zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
  totals, _ = jax.lax.scan(accumulate, zeros, (batch, jnp.arange(micro_batches)))
  return totals


def _rate_index(path: tuple[Any, ...]) -> int:
  """Which of the two learning rates a parameter takes: 1 for the embeddings, 0 for all others."""
  return int(path[0].key in ('embed', 'unembed'))


# --------------------------------------------------------------------------------------------------
# The program
# --------------------------------------------------------------------------------------------------


class Program(NamedTuple):
  """The compiled functions that serve every phase of an experiment with the same objective.

  Attributes:
    init: random key -> the state of a new model (or of new adapters).
    start: trained parameters -> the state of a new phase, with a fresh optimizer at step 0. The
      parameters are donated.
    step: (state, batch, learning rates) -> (state, metrics). The state is donated.
    abstract_state: the shapes, dtypes and layouts of a state. Checkpoints and imported weights are
      read onto it. `init` and `start` leave its frozen parameters and its reference out, and its
      seed is 0 there; `phase_checkpoints.starting_state` adds all three.
    abstract_parent: the same of the trained parameters that a parent phase leaves: without those
      that the objective adds, such as the head of a reward model.
  """

  init: Callable[[jax.Array], TrainState]
  start: Callable[[Params], TrainState]
  step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
  abstract_state: TrainState
  abstract_parent: Params


@functools.lru_cache(maxsize=8)
def make_program(
  model: ModelConfig,
  optimizer: OptimizerConfig,
  loss_chunk: int,
  mesh: Mesh,
  objective: str = 'next_token',
  settings: Any = None,
) -> Program:
  """Makes the functions for a model on a mesh. Each is compiled when it is first used.

  The result is cached: phases with the same arguments share their compiled step.

  Args:
    model: the model's settings.
    optimizer: the optimizer's settings.
    loss_chunk: for how many tokens of a device logits exist at a time; for 0 see
      `cross_entropy_sums`.
    mesh: the devices.
    objective: the name of the objective.
    settings: its settings; None if it has none.

  Returns:
    The functions and the layout of the state.
  """
  tx = make_optimizer(optimizer)

  def start(params: Params) -> TrainState:
    params = params | OBJECTIVES[objective].added(model)
    return TrainState(
      step=jnp.int32(0),
      params=params,
      opt_state=tx.init(params),
      skipped=jnp.int32(0),
      frozen={},
      reference={},
      seed=jnp.uint32(0),
    )

  def init(key: jax.Array) -> TrainState:
    trained, _ = split_trainable(model, init_params(model, key))
    return start(trained)

  # Shapes are found without computing anything.
  initial_shapes = jax.eval_shape(init, jax.random.key(0))

  # The reference is what the trained parameters were, so it is laid out as they are. With adapters
  # it is the adapters alone, and there is no second model in memory.
  reference_shapes: Params = {}
  if OBJECTIVES[objective].needs_reference(settings):
    reference_shapes = initial_shapes.params

  # `initial_layout` is that of a state before it is given its frozen parameters and its reference.
  initial_layout = sharding.shardings(initial_shapes, mesh)
  shapes = dataclasses.replace(
    initial_shapes, frozen=_frozen_shapes(model), reference=reference_shapes
  )
  layout = sharding.shardings(shapes, mesh)
  replicated = NamedSharding(mesh, P())
  abstract_state = checkpointing.abstract(shapes, layout)
  added = OBJECTIVES[objective].added(model)
  abstract_parent = {name: x for name, x in abstract_state.params.items() if name not in added}
  return Program(
    init=jax.jit(init, out_shardings=initial_layout),
    start=jax.jit(start, out_shardings=initial_layout, donate_argnums=0),
    step=jax.jit(
      functools.partial(train_step, model, tx, loss_chunk, objective=objective, settings=settings),
      in_shardings=(layout, sharding.batch_sharding(mesh, axis=1), replicated),
      out_shardings=(layout, replicated),
      # The old state's memory is used for the new one.
      donate_argnums=0,
      compiler_options=sharding.compiler_options(mesh, model.dtype),
    ),
    abstract_state=abstract_state,
    abstract_parent=abstract_parent,
  )


def _frozen_shapes(model: ModelConfig) -> Params:
  """The shapes and dtypes of the parameters that are not trained; empty without adapters."""
  shapes = jax.eval_shape(functools.partial(init_params, model), jax.random.key(0))
  _, frozen = split_trainable(model, shapes)

  def in_working_dtype(path, shape):
    # Frozen parameters are kept in the dtype that the model works in: bf16 halves their memory.
    # Norms work in fp32.
    if path[-1].key.endswith('norm'):
      return shape
    return shape.update(dtype=jnp.dtype(model.dtype))

  return jax.tree_util.tree_map_with_path(in_working_dtype, frozen)


def to_device(batch: Batch, micro_batches: int, mesh: Mesh) -> dict[str, jax.Array]:
  """Puts a batch onto the devices.

  Args:
    batch: (rows of this process, T) arrays.
    micro_batches: the number A of micro-batches.
    mesh: the devices.

  Returns:
    Global (A, B, T) arrays, with the rows B of each micro-batch divided over the devices.
  """
  layout = sharding.batch_sharding(mesh, axis=1)
  on_device = {}
  for key, rows in batch.items():
    parts = rows.reshape(micro_batches, -1, *rows.shape[1:])
    on_device[key] = jax.make_array_from_process_local_data(layout, parts)
  return on_device
