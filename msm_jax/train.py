"""One step and one loop for every phase. Pretraining, midtraining and fine-tuning differ in the data and schedule they are given."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import checkpointing, multihost, sharding
from msm_jax.base.errors import Interrupted, UserError
from msm_jax.config import ExperimentConfig, ModelConfig, OptimizerConfig, PhaseConfig
from msm_jax.input_pipeline import Batch, Source, batches
from msm_jax.metrics import PhaseMetrics
from msm_jax.model import flops_per_token, forward, init_params, unembedding
from msm_jax.objectives.next_token import cross_entropy_sums
from msm_jax.optim import learning_rate, make_optimizer
from msm_jax.tokenizer import Tokenizer

ASK_EVERY = 8  # steps between the times when several processes ask each other whether to stop


class TrainingError(UserError, RuntimeError):
  """A phase that cannot go on; one line with cause and mend."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
  """step: updates done; params: what is trained; skipped: how many updates in a row were not finite; frozen: parameters that stay as they are;
  seed: of dropout."""

  step: jax.Array
  params: Any
  opt_state: Any
  skipped: jax.Array
  frozen: Any
  seed: jax.Array


# ---------------------------------------------------------------------------------------------------------------------- the step


def split(model: ModelConfig, params: Any) -> tuple[Any, Any]:
  """(what is trained, what is not) of a model's parameters: all of them and none, or the adapters and the rest."""
  adapters = {k: v for k, v in params.items() if k.endswith(('_a', '_b'))}
  return (
    (adapters, {k: v for k, v in params.items() if k not in adapters})
    if model.lora
    else (params, {})
  )


def loss_sums(
  model: ModelConfig,
  loss_chunk: int,
  params: Any,
  batch: dict[str, jax.Array],
  frozen: Any = None,
  key: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """(sum of weighted nats, (sum of weights, sum of weighted right guesses)) of one micro-batch of (B, T) arrays. `key`: of dropout."""
  frozen = frozen or {}
  x_BTD = forward(
    model, frozen | params, batch['tokens'], batch['positions'], batch['segment_ids'], key
  )
  loss, right = cross_entropy_sums(
    x_BTD.reshape(-1, x_BTD.shape[-1]), unembedding(frozen | params), batch['targets'].reshape(-1), batch['weights'].reshape(-1), loss_chunk,
    model.logit_softcap, bool(frozen),
  )  # fmt: skip
  return loss, (jnp.sum(batch['weights']), right)


def train_step(
  model: ModelConfig,
  tx: optax.GradientTransformation,
  loss_chunk: int,
  state: TrainState,
  batch: dict[str, jax.Array],
  lr: jax.Array,
) -> tuple[TrainState, dict[str, jax.Array]]:
  """One update on a batch of (A, B, T) arrays: A micro-batches, whose sums are added and divided once by the weight of them all.

  `lr` (2,) holds the rates of everything but the embeddings and of the embeddings.

  An update that is not finite changes nothing and is counted: parameters are finite always.
  """
  dropout = (
    jax.random.fold_in(jax.random.key(state.seed), state.step)
    if model.lora and model.lora.dropout
    else None
  )

  def one(micro_batch, n):
    key = dropout if dropout is None else jax.random.fold_in(dropout, n)
    return jax.value_and_grad(functools.partial(loss_sums, model, loss_chunk), has_aux=True)(
      state.params, micro_batch, state.frozen, key
    )

  def accumulate(totals, part):
    (loss, (weight, right)), grads = one(*part)
    return jax.tree.map(jnp.add, totals, (loss, weight, right, grads)), None

  parts = batch['tokens'].shape[0]
  if parts == 1:
    (loss, (weight, right)), grads = one(jax.tree.map(lambda x: x[0], batch), 0)
  else:
    zero = jnp.float32(0)
    zeros = (zero, zero, zero, jax.tree.map(jnp.zeros_like, state.params))
    (loss, weight, right, grads), _ = jax.lax.scan(accumulate, zeros, (batch, jnp.arange(parts)))

  per_token = 1 / jnp.maximum(weight, 1)
  grads = jax.tree.map(lambda g: g * per_token, grads)
  grad_norm = optax.tree.norm(grads)
  updates, opt_state = tx.update(grads, state.opt_state, state.params)
  finite = jnp.isfinite(loss + grad_norm + optax.tree.norm(updates) + jnp.sum(lr))
  params = jax.tree_util.tree_map_with_path(
    lambda path, p, u: jnp.where(finite, p + lr[_is_embedding(path)] * u, p), state.params, updates
  )
  opt_state = jax.tree.map(lambda new, old: jnp.where(finite, new, old), opt_state, state.opt_state)
  skipped = jnp.where(finite, 0, state.skipped + 1)
  metrics = {
    'loss': loss * per_token, 'accuracy': right * per_token, 'weight': weight, 'grad_norm': grad_norm, 'skipped': skipped, 'lr': lr[0],
  }  # fmt: skip
  return dataclasses.replace(
    state, step=state.step + 1, params=params, opt_state=opt_state, skipped=skipped
  ), metrics


def _is_embedding(path: tuple[Any, ...]) -> int:
  return int(path[0].key in ('embed', 'unembed'))


class Program(NamedTuple):
  """What is compiled once and serves every phase of an experiment.

  Attributes:
    init: key -> state of a new model (or of new adapters).
    start: trained parameters -> state of a new phase (fresh optimizer, step 0).
    step: (state, batch, learning rate) -> (state, metrics); the state is donated.
    like: the state's shapes, dtypes and shardings. Frozen parameters, which `init` and `start` leave out, are in the dtype that the model works in.
  """

  init: Callable[[jax.Array], TrainState]
  start: Callable[[Any], TrainState]
  step: Callable[..., tuple[TrainState, dict[str, jax.Array]]]
  like: TrainState


@functools.lru_cache(maxsize=8)
def prepare(model: ModelConfig, optimizer: OptimizerConfig, loss_chunk: int, mesh: Mesh) -> Program:
  tx = make_optimizer(optimizer)

  def start(params: Any) -> TrainState:
    return TrainState(jnp.int32(0), params, tx.init(params), jnp.int32(0), {}, jnp.uint32(0))

  def init(key: jax.Array) -> TrainState:
    return start(split(model, init_params(model, key))[0])

  key = jax.random.key(0)
  shapes, frozen = (
    jax.eval_shape(init, key),
    split(model, jax.eval_shape(functools.partial(init_params, model), key))[1],
  )
  frozen = jax.tree_util.tree_map_with_path(
    lambda path, x: x if path[-1].key.endswith('norm') else x.update(dtype=jnp.dtype(model.dtype)),
    frozen,
  )
  begun = sharding.shardings(shapes, mesh)  # a state before it is given what is frozen
  layout, shapes = (
    dataclasses.replace(x, frozen=f)
    for x, f in ((begun, sharding.shardings(frozen, mesh)), (shapes, frozen))
  )
  whole = NamedSharding(mesh, P())
  step = jax.jit(
    functools.partial(train_step, model, tx, loss_chunk),
    in_shardings=(layout, sharding.batch_sharding(mesh, 1), whole),
    out_shardings=(layout, whole),
    donate_argnums=0,
  )
  start = jax.jit(start, out_shardings=begun, donate_argnums=0)
  return Program(
    jax.jit(init, out_shardings=begun), start, step, checkpointing.abstract(shapes, layout)
  )


def to_device(batch: Batch, micro_batches: int, mesh: Mesh) -> dict[str, jax.Array]:
  """This process's rows (B, T) of a batch -> device batch (A, all rows / A, T), divided over the devices."""
  layout = sharding.batch_sharding(mesh, 1)
  return {
    k: jax.make_array_from_process_local_data(layout, v.reshape(micro_batches, -1, *v.shape[1:]))
    for k, v in batch.items()
  }


# ---------------------------------------------------------------------------------------------------------------------- the loop


def train_phase(
  config: ExperimentConfig,
  phase: PhaseConfig,
  label: str,
  seed: int,
  tokenizer: Tokenizer,
  sources: Sequence[tuple[Source, float]],
  parent_params: Callable[[Any], Any] | None,
  folder: Path,
  meta: dict,
  stop: Callable[[], bool],
  weights: Callable[[Any], Any] | None = None,
) -> None:
  """Trains one phase to its end and leaves its checkpoints in `folder`.

  Where it starts, in this order: its own newest checkpoint; its parent's parameters (`parent_params`, given the abstract tree; None where
  the parent leaves none); fresh. `weights`, given the same, is where frozen parameters come from.

  Raises:
    TrainingError: no supervised token, too many non-finite updates, or a checkpoint of something else.
    Interrupted: `stop()` turned true, in whichever process; the state is saved.
  """
  mesh = sharding.make_mesh(**dataclasses.asdict(config.mesh))
  check_rows(phase, label, mesh)
  program = prepare(config.model, config.optimizer, config.loss_chunk, mesh)
  like = program.like
  checkpoints = checkpointing.Checkpoints(folder / 'checkpoints')
  mine = sharding.local_rows(mesh, phase.micro_batches, phase.batch_size)
  data = batches(sources, tokenizer, phase.batch_size, phase.length, seed, mine)

  # resume own phase > parent's parameters (which may be imported ones) > fresh
  start = multihost.broadcast_from_first(checkpoints.latest())
  if start is not None:
    saved = {'step': like.step, 'opt_state': like.opt_state, 'skipped': like.skipped}
    params, rest, data_state, saved_meta = checkpoints.restore(start, like.params, saved)
    check_same(saved_meta, meta, checkpoints.folder / str(start))
    state = dataclasses.replace(
      like, step=rest['step'], params=params, opt_state=rest['opt_state'], skipped=rest['skipped']
    )
    data.set_state(data_state)
  else:
    params = parent_params(like.params) if parent_params else None
    state, start = (
      program.init(jax.random.key(seed)) if params is None else program.start(params),
      0,
    )
  everywhere = NamedSharding(mesh, P())
  seed_on_device = multihost.place_replicated(np.uint32(seed), everywhere)
  state = dataclasses.replace(
    state, frozen=weights(like.frozen) if like.frozen else {}, seed=seed_on_device
  )

  def save(step: int) -> None:
    rest = {'step': state.step, 'opt_state': state.opt_state, 'skipped': state.skipped}
    metrics.flush()
    checkpoints.save(step, state.params, rest, data.get_state(), meta | {'step': step})

  metrics = PhaseMetrics(
    folder,
    label,
    phase.updates,
    start,
    flops_per_token(config.model, phase.length),
    config.tensorboard,
  )
  tokens = phase.batch_size * phase.length
  late: tuple[int, dict] | None = None
  single = jax.process_count() == 1

  def report() -> None:
    """Reads the numbers of the step before: the device is already busy with the next."""
    nonlocal late
    if late is None:
      return
    step, values = late[0], {k: float(v) for k, v in jax.device_get(late[1]).items()}
    if not values['weight']:
      raise TrainingError(
        f'{label}: the batch of update {step} has no supervised token; give chats with assistant turns that fit into length={phase.length}'
      )
    if values['skipped'] > min(
      config.max_skipped, phase.updates - 1
    ):  # a short phase of nothing else learned nothing
      raise TrainingError(
        f'{label}: updates {step - int(values["skipped"]) + 1} to {step} were not finite; lower phases lr (now {phase.lr}) or raise max_skipped'
      )
    metrics.log(step, values, tokens)
    late = None

  try:
    with jax.set_mesh(mesh):
      for step in range(start + 1, phase.updates + 1):
        batch = to_device(next(data), phase.micro_batches, mesh)
        lr = multihost.place_replicated(learning_rate(phase, step - 1), everywhere)
        state, values = program.step(state, batch, lr)
        report()
        late = (step, values)
        stopped = (
          single or step % ASK_EVERY == 0 or step == phase.updates
        ) and multihost.any_process(stop())
        if stopped or (step % phase.checkpoint_every == 0 and step < phase.updates):
          report()  # metrics.jsonl never knows less than a checkpoint
          save(step)
        if stopped:
          raise Interrupted(f'{label}: saved at step {step}')
      report()
      if start < phase.updates:
        save(phase.updates)
  finally:
    checkpoints.close()
    metrics.close()
    data.close()


def check_rows(phase: PhaseConfig, label: str, mesh: Mesh) -> None:
  """Raises TrainingError if a phase's micro-batches cannot be divided over the devices."""
  rows = phase.batch_size // phase.micro_batches
  if rows % sharding.batch_parts(mesh):
    raise TrainingError(
      f'{label}: {rows} rows per micro-batch cannot be split over data x fsdp = {mesh.shape["data"]} x {mesh.shape["fsdp"]} devices; '
      f'change batch_size, micro_batches or config.mesh'
    )


def check_same(saved: dict, now: dict, where: Path) -> None:
  """Refuses to go on from a checkpoint of other data or another tokenizer."""
  for key in ('tokenizer', 'data'):
    if saved.get(key) != now.get(key):
      raise TrainingError(
        f'{where}: {key} is {now.get(key)} and was {saved.get(key)} when this was saved; restore it, or delete the phase to train it anew'
      )
