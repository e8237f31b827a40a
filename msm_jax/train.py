"""Trains one phase. This is the file to read first.

Pretraining, midtraining and fine-tuning are *phases*: each is data, an objective and a schedule.
There is one step and one loop for all of them.

1. `TrainState` holds what changes while a phase trains.
2. `train_step` is a pure function from a state, a batch and a learning rate to the next state and
   its metrics. The objective (objectives/) gives sums, which `summed_gradients` adds up and the
   step divides once.
3. `make_program` compiles the step for a model, an optimizer, a mesh of devices and an objective.
   The learning rate is an argument of the step, so one program serves all phases of an objective.
4. `train_phase` finds out where the phase starts (its own checkpoint, its parent, imported weights
   or fresh parameters) and then runs the loop: batch, step, metrics, checkpoint.

Shapes: A micro-batches, B rows of a micro-batch, T tokens of a row.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import checkpointing, multihost, sharding
from msm_jax.base.console import say
from msm_jax.base.errors import Interrupted, UserError
from msm_jax.config import ExperimentConfig, ModelConfig, OptimizerConfig, PhaseConfig
from msm_jax.input_pipeline import Batch, BatchIterator, Source, batches
from msm_jax.metrics import PhaseMetrics, count_skipped
from msm_jax.model import Params, flops_per_token, init_params
from msm_jax.objectives import registry
from msm_jax.objectives.registry import OBJECTIVES
from msm_jax.optim import learning_rate, make_optimizer
from msm_jax.rewards import Rewards
from msm_jax.rollouts import Rollouts
from msm_jax.tokenizer import Tokenizer

# Several processes ask one another whether to stop once in so many steps: asking after every step
# would make the fast ones wait for the slow ones.
STOP_POLL_STEPS = 8


class TrainingError(UserError, RuntimeError):
  """A phase that cannot go on. The message is one line with cause and remedy."""


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
  The update is therefore that of the big batch, however it is cut. An update that is not finite
  changes nothing and is counted, so parameters are always finite.

  Args:
    model: the model's settings.
    tx: the optimizer, with updates of learning rate 1.
    loss_chunk: for how many tokens of a device logits exist at a time; 0 means for all at once.
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
    totals = sharding.sums_over_rows(summed, all_params, batch)
  else:
    # The masks of all rows are drawn together, so that they do not depend on the devices.
    totals = summed(all_params, batch)
  loss, sums, grads = totals

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
      read onto it. `init` and `start` leave its frozen parameters and its reference out.
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
    loss_chunk: for how many tokens of a device logits exist at a time; 0 means for all at once.
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
  key = jax.random.key(0)
  initial_shapes = jax.eval_shape(init, key)
  all_shapes = jax.eval_shape(functools.partial(init_params, model), key)
  _, frozen_shapes = split_trainable(model, all_shapes)

  def frozen_dtype(path, shape):
    # Frozen parameters are kept in the dtype that the model works in: bf16 halves their memory.
    # Norms work in fp32.
    if path[-1].key.endswith('norm'):
      return shape
    return shape.update(dtype=jnp.dtype(model.dtype))

  frozen_shapes = jax.tree_util.tree_map_with_path(frozen_dtype, frozen_shapes)

  # The reference is what the trained parameters were, so it is laid out as they are. With adapters
  # it is the adapters alone, and there is no second model in memory.
  reference_shapes: Params = {}
  if OBJECTIVES[objective].needs_reference(settings):
    reference_shapes = initial_shapes.params

  # `initial_layout` is that of a state before it is given its frozen parameters and its reference.
  initial_layout = sharding.shardings(initial_shapes, mesh)
  shapes = dataclasses.replace(initial_shapes, frozen=frozen_shapes, reference=reference_shapes)
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


# --------------------------------------------------------------------------------------------------
# The start of a phase
# --------------------------------------------------------------------------------------------------


def starting_state(
  program: Program,
  checkpoints: checkpointing.Checkpoints,
  data: BatchIterator | Rollouts,
  seed: int,
  parent_params: Callable[[Params], Params | None] | None,
  frozen_params: Callable[[Params], Params] | None,
  meta: Mapping[str, Any],
  mesh: Mesh,
) -> TrainState:
  """Makes the state in which a phase begins or goes on.

  Args:
    program: the compiled functions.
    checkpoints: the phase's own checkpoints.
    data: the phase's batches. If the phase goes on, they are set to where it stopped.
    seed: the seed of fresh parameters and of dropout.
    parent_params: see `train_phase`.
    frozen_params: see `train_phase`.
    meta: what a checkpoint of this phase has to match.
    mesh: the devices.

  Returns:
    The state; its `step` is the number of updates that are done already.

  Raises:
    TrainingError: the newest checkpoint was made with other data or another tokenizer.
  """
  abstract = program.abstract_state
  # Processes must not decide this by looking at the disk one after the other.
  newest_step = multihost.broadcast_from_first(checkpoints.latest())

  # Where the parameters come from. The first of these that exists decides:
  #
  # 1. Resume: the newest checkpoint of this phase itself, with optimizer and place in the data.
  # 2. Parent: the parameters that the parent phase ended with, with a fresh optimizer.
  # 3. Import: weights from outside, if the parent phase stands for such weights. `parent_params`
  #    hides the difference between 2 and 3. It returns None if the parent leaves nothing to train:
  #    weights whose adapters are yet to be made.
  # 4. Fresh: random parameters from the seed.
  inherited = None
  if newest_step is None and parent_params is not None:
    inherited = parent_params(program.abstract_parent)
  if newest_step is not None:
    state = _resume(abstract, checkpoints, newest_step, data, meta)
  elif inherited is not None:
    state = program.start(inherited)
  else:
    state = program.init(jax.random.key(seed))

  # The reference stands in no checkpoint. It is read again from where the phase started, into
  # arrays of its own: the step is given those of `params` for the new parameters.
  reference: Params = {}
  if abstract.reference:
    read = parent_params(abstract.params) if parent_params is not None else None
    if read is None:
      read = program.init(jax.random.key(seed)).params
    reference = read

  # Frozen parameters stand in no checkpoint. They are imported anew, whatever came above.
  frozen: Params = {}
  if abstract.frozen:
    assert frozen_params is not None, 'adapters need the weights that they are beside'
    frozen = frozen_params(abstract.frozen)
  replicated = NamedSharding(mesh, P())
  seed_on_device = multihost.place_replicated(np.asarray(seed, np.uint32), replicated)
  return dataclasses.replace(state, frozen=frozen, reference=reference, seed=seed_on_device)


def _resume(
  abstract: TrainState,
  checkpoints: checkpointing.Checkpoints,
  step: int,
  data: BatchIterator | Rollouts,
  meta: Mapping[str, Any],
) -> TrainState:
  """Reads the checkpoint of a step and sets the data to where it was."""
  params, opt_state, data_state, saved_meta = checkpoints.restore(
    step, abstract.params, saved_opt_state(abstract)
  )
  check_checkpoint_matches(saved_meta, meta, checkpoints.folder / str(step))
  data.set_state(data_state)
  return dataclasses.replace(abstract, params=params, **opt_state)


# --------------------------------------------------------------------------------------------------
# The loop
# --------------------------------------------------------------------------------------------------


def train_phase(
  config: ExperimentConfig,
  phase: PhaseConfig,
  label: str,
  seed: int,
  tokenizer: Tokenizer,
  sources: Sequence[tuple[Source, float]],
  parent_params: Callable[[Params], Params | None] | None,
  folder: Path,
  meta: dict[str, Any],
  stop: Callable[[], bool],
  frozen_params: Callable[[Params], Params] | None = None,
  keep: Sequence[int] = (),
  points: checkpointing.Checkpoints | None = None,
  until: int | None = None,
  rewards: Rewards | None = None,
) -> None:
  """Trains one phase to its end and leaves its checkpoints and metrics in a folder.

  A phase that was stopped goes on from its newest checkpoint; one that is finished is left as it
  is. `starting_state` says where a phase starts.

  Args:
    config: the settings of the experiment.
    phase: the settings of this phase.
    label: what the phase is called on the console and in errors.
    seed: the seed of the data's order, of fresh parameters and of dropout.
    tokenizer: the tokenizer.
    sources: the corpora, each with its share of the rows.
    parent_params: reads the parameters that the parent phase leaves, given their abstract tree, and
      returns None if it leaves none; None for a phase without parent.
    folder: the phase's folder, which exists.
    meta: what is written into each checkpoint. `tokenizer` and `data` must match when resuming.
    stop: whether somebody wants the run to stop, such as a signal.
    frozen_params: reads the parameters that are not trained, given their abstract tree; None if
      everything is trained.
    keep: the updates after which the parameters are kept in `points`, for evaluation.
    points: where they are kept; what is there already stays. None if `keep` is empty.
    until: if given, training ends after this update and saves no checkpoint then: it only had to
      pass the updates of `keep`.
    rewards: what judges the answers that the model samples; for reinforcement learning only.

  Raises:
    TrainingError: a batch has no supervised token, too many updates were not finite (or the last
      one), or the checkpoint is of something else.
    Interrupted: `stop()` returned True in any process; the state is saved.
    UserError: reinforcement learning cannot go on; the state is saved.
  """
  mesh = sharding.make_mesh(**dataclasses.asdict(config.mesh))
  check_rows(phase, label, mesh)
  replicated = NamedSharding(mesh, P())

  # ---- Program, data and state
  objective, settings = phase.objective, registry.settings_of(phase)
  program = make_program(
    config.model, config.optimizer, config.loss_chunk, mesh, objective, settings
  )
  checkpoints = checkpointing.Checkpoints(folder / 'checkpoints')
  local_rows = sharding.local_rows(mesh, phase.micro_batches, phase.batch_size)
  # In reinforcement learning, the batches are answers that the model itself samples.
  data: BatchIterator | Rollouts
  if rewards is not None:
    data = Rollouts(label, config, phase, tokenizer, sources, rewards, seed, mesh, folder)
  else:
    data = batches(sources, tokenizer, phase.batch_size, phase.length, seed, local_rows)
  state = starting_state(program, checkpoints, data, seed, parent_params, frozen_params, meta, mesh)
  first_step = int(state.step)
  if isinstance(data, Rollouts):
    data.resume(first_step)
  last_step = phase.updates if until is None else until
  # Processes must agree on what is saved.
  missing = [step for step in keep if points is not None and not points.has(step)]
  missing = multihost.broadcast_from_first(missing)

  # ---- Metrics and checkpoints
  # Updates that were not finite, those before an interruption too.
  skipped_updates = multihost.broadcast_from_first(count_skipped(folder, first_step))
  metrics = PhaseMetrics(
    folder,
    label,
    phase.updates,
    first_step,
    flops_per_token(config.model, phase.length),
    config.tensorboard,
  )
  tokens_per_step = phase.batch_size * phase.length
  # The newest step of which there is a checkpoint.
  saved_step = first_step
  # The metrics of a step are read while the device is busy with the next one: reading them at once
  # would leave the device idle.
  pending_metrics: tuple[int, dict[str, Any]] | None = None

  def log_pending() -> None:
    """Waits for the metrics of the step before, checks them and logs them."""
    nonlocal pending_metrics, skipped_updates
    if pending_metrics is None:
      return
    step, on_device = pending_metrics
    values = {key: float(value) for key, value in jax.device_get(on_device).items()}
    if values['skipped']:
      skipped_updates += 1
    check_update(phase, label, step, values, config.max_skipped)
    check_skipped(phase, label, step, values, skipped_updates, config)
    metrics.log(step, values, tokens_per_step)
    pending_metrics = None

  def keep_point(step: int) -> None:
    if points is not None and step in missing:
      points.save_params(step, state.params, meta | {'step': step})

  def save(step: int) -> None:
    nonlocal saved_step
    saved_step = step
    # metrics.jsonl and `points` never know less than a checkpoint: resuming would leave a gap.
    log_pending()
    metrics.flush()
    if points is not None:
      points.wait()
    checkpoints.save(
      step, state.params, saved_opt_state(state), data.get_state(), meta | {'step': step}
    )

  # ---- Updates
  try:
    with jax.set_mesh(mesh):
      if first_step == 0:
        keep_point(0)
      for step in range(first_step + 1, last_step + 1):
        is_last = step == phase.updates
        sampled: dict[str, float] = {}
        if isinstance(data, Rollouts):
          try:
            batch, sampled = data.batch(step, state.params, state.frozen, state.reference)
          except UserError:
            # A reward that fails or a judge that cannot be asked costs none of the updates before.
            if step - 1 > saved_step:
              save(step - 1)
            raise
        else:
          batch = to_device(next(data), phase.micro_batches, mesh)
        lr = multihost.place_replicated(learning_rate(phase, step - 1), replicated)
        state, on_device = program.step(state, batch, lr)
        log_pending()
        pending_metrics = (step, on_device | sampled)
        keep_point(step)

        # All processes must take the same branch, so they are asked together.
        stopped = asks_after(step, phase) and multihost.any_process(stop())
        is_due = step % phase.checkpoint_every == 0 and not is_last
        if stopped or is_due:
          save(step)
        if stopped:
          raise Interrupted(f'{label}: saved at step {step}')
      if until is not None:
        log_pending()
      elif first_step < phase.updates:
        save(phase.updates)
        if skipped_updates:
          say(
            f'{label}: {skipped_updates} of {phase.updates} updates were not finite '
            f'and changed nothing'
          )
  finally:
    checkpoints.close()
    if points is not None:
      points.close()
    metrics.close()
    data.close()


def asks_after(step: int, phase: PhaseConfig) -> bool:
  """Says whether the processes ask one another after an update whether to stop.

  Args:
    step: the number of the update, 1-based.
    phase: the phase's settings.

  Returns:
    Whether they do. Reinforcement learning stops between rollouts alone: within one, what it
    sampled would be lost. It asks after each of them, since few of every eight updates may end one.
  """
  if phase.objective == 'grpo':
    return step % phase.grpo.updates_per_rollout == 0
  return jax.process_count() == 1 or step == phase.updates or step % STOP_POLL_STEPS == 0


# --------------------------------------------------------------------------------------------------
# Checks
# --------------------------------------------------------------------------------------------------


def check_rows(phase: PhaseConfig, label: str, mesh: Mesh) -> None:
  """Checks that the rows of a micro-batch can be divided over the devices.

  Args:
    phase: the phase's settings.
    label: what the phase is called in the error.
    mesh: the devices.

  Raises:
    TrainingError: they cannot.
  """
  rows = phase.batch_size // phase.micro_batches
  if rows % sharding.batch_parts(mesh):
    raise TrainingError(
      f'{label}: {rows} rows per micro-batch cannot be split over data x fsdp = '
      f'{mesh.shape["data"]} x {mesh.shape["fsdp"]} devices; '
      f'change batch_size, micro_batches or config.mesh'
    )


def check_update(
  phase: PhaseConfig, label: str, step: int, values: Mapping[str, float], max_skipped: int
) -> None:
  """Checks the metrics of an update for signs that the phase learns nothing.

  Args:
    phase: the phase's settings.
    label: what the phase is called in the error.
    step: the number of the update, 1-based.
    values: its metrics.
    max_skipped: how many updates in a row may be not finite.

  Raises:
    TrainingError: no target of the batch has any weight, or too many updates in a row were not
      finite.
  """
  if not values['weight']:
    raise TrainingError(
      f'{label}: the batch of update {step} has no {OBJECTIVES[phase.objective].unit}; '
      f'give chats with assistant turns that fit into length={phase.length}'
    )
  # A phase of max_skipped updates or fewer must not end with all of them skipped.
  allowed = min(max_skipped, phase.updates - 1)
  if values['skipped'] > allowed:
    first = step - int(values['skipped']) + 1
    raise TrainingError(
      f'{label}: updates {first} to {step} were not finite; '
      f'lower phases lr (now {phase.lr}) or raise max_skipped'
    )


def check_skipped(
  phase: PhaseConfig,
  label: str,
  step: int,
  values: Mapping[str, float],
  skipped: int,
  config: ExperimentConfig,
) -> None:
  """Checks that a phase is not made of updates that changed nothing.

  `check_update` sees updates in a row; here they are counted over the whole phase. A phase whose
  last update was not finite ends in parameters that may well be unfit for any text.

  Args:
    phase: the phase's settings.
    label: what the phase is called in the error.
    step: the number of the update, 1-based.
    values: its metrics.
    skipped: how many of all updates up to this one were not finite.
    config: the settings of the experiment; `max_skipped` updates are borne until the phase ends.

  Raises:
    TrainingError: too large a share was not finite, or the last update was not.
  """
  is_last = step == phase.updates
  share = config.max_skipped_share
  allowed = share * phase.updates
  if not is_last:
    allowed = max(allowed, config.max_skipped)
  if skipped > allowed:
    raise TrainingError(
      f'{label}: {skipped} of the {step} updates so far were not finite and changed nothing; '
      f'lower phases lr (now {phase.lr}) or raise max_skipped_share (now {share})'
    )
  if is_last and values['skipped']:
    raise TrainingError(
      f'{label}: the last update, {step}, was not finite; lower phases lr (now {phase.lr})'
    )


def check_checkpoint_matches(saved: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
  """Refuses to go on from a checkpoint of other data or another tokenizer.

  Args:
    saved: the item `meta` of the checkpoint.
    now: the same of this run.
    where: the checkpoint's folder, for the error.

  Raises:
    TrainingError: they differ.
  """
  for key in ('tokenizer', 'data'):
    if saved.get(key) != now.get(key):
      raise TrainingError(
        f'{where}: {key} is {now.get(key)} and was {saved.get(key)} when this was saved; '
        f'restore it, or delete the phase to train it anew'
      )
