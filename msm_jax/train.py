"""Trains one phase. This is the file to read first.

Pretraining, midtraining and fine-tuning are *phases*: each is data, an objective and a schedule.
There is one step and one loop for all of them. `train_phase` is the loop: batch, update, metrics,
checkpoint. What it uses:

- training/train_step.py: the state of a phase, the update as a pure function, and its compiled
  program. The loss comes from objectives/.
- training/phase_data.py and rl/rollouts.py: batches of text that is read, and of answers that are
  sampled.
- training/phase_checkpoints.py: where a phase starts (resume, parent, import, fresh), and what it
  saves.
- training/training_checks.py: what ends a phase that learns nothing.
- metrics.py: where its numbers go.

running/node_training.py opens everything that a phase gets, the `PhaseJob`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from msm_jax import multihost, sharding
from msm_jax.base.errors import Interrupted, UserError
from msm_jax.checkpointing import Checkpoints
from msm_jax.config import ExperimentConfig, PhaseConfig
from msm_jax.data.tokenized import Source
from msm_jax.input_pipeline import batches
from msm_jax.metrics import PhaseMetrics, UpdateLog, count_skipped
from msm_jax.model import training_flops_per_token
from msm_jax.objectives import registry
from msm_jax.optim import learning_rate
from msm_jax.rl.rewards import Rewards
from msm_jax.rl.rollouts import Rollouts
from msm_jax.tokenizer import Tokenizer
from msm_jax.training.phase_checkpoints import Origin, PhaseSaver, starting_state
from msm_jax.training.phase_data import PhaseData, TextBatches
from msm_jax.training.train_step import make_program
from msm_jax.training.training_checks import UpdateGuard, check_rows

# Several processes ask one another whether to stop once in so many steps: asking after every step
# would make the fast ones wait for the slow ones.
STOP_POLL_STEPS = 8


@dataclasses.dataclass(frozen=True)
class PhaseJob:
  """Everything that a phase gets."""

  # The settings of the experiment and of this phase.
  config: ExperimentConfig
  phase: PhaseConfig
  # What the phase is called on the console and in errors.
  label: str
  # The seed of the data's order, of fresh parameters and of dropout.
  seed: int
  tokenizer: Tokenizer
  # The corpora, each with its share of the rows.
  sources: Sequence[tuple[Source, float]]
  # The phase's folder, which exists. It gets `checkpoints/` and metrics.jsonl.
  folder: Path
  # What is written into each checkpoint. `tokenizer` and `data` must match when resuming.
  meta: dict[str, Any]
  # Says whether somebody wants the run to stop, such as a signal.
  stop: Callable[[], bool]
  # Where parameters come from that are not fresh.
  origin: Origin = Origin()
  # The updates after which the parameters are kept for evaluation, and where.
  kept_points: Sequence[int] = ()
  points: Checkpoints | None = None
  # If given, training ends after this update and saves no checkpoint then: it only had to pass the
  # updates of `kept_points`.
  until: int | None = None
  # What judges the answers that the model samples; for reinforcement learning only.
  rewards: Rewards | None = None


def train_phase(job: PhaseJob) -> None:
  """Trains one phase to its end and leaves its checkpoints and metrics in its folder.

  A phase that was stopped goes on from its newest checkpoint; one that is finished is left as it
  is.

  Args:
    job: what the phase gets.

  Raises:
    TrainingError: the devices cannot share the rows of a micro-batch, a batch has no supervised
      token, too many updates were not finite (or the last one), or the checkpoint is of something
      else.
    CheckpointError: a checkpoint cannot be read or written.
    Interrupted: `job.stop()` returned True in any process; the state is saved.
    UserError: reinforcement learning cannot go on; the state is saved.
  """
  config, phase = job.config, job.phase
  mesh = sharding.make_mesh(**dataclasses.asdict(config.mesh))
  check_rows(phase, job.label, mesh)
  replicated = NamedSharding(mesh, P())

  # ---- The program, the data and the state in which the phase starts
  objective, settings = phase.objective, registry.settings_of(phase)
  program = make_program(
    config.model, config.optimizer, config.loss_chunk, mesh, objective, settings
  )
  checkpoints = Checkpoints(job.folder / 'checkpoints')
  data = _open_data(job, mesh)
  state = starting_state(program, checkpoints, data, job.origin, job.seed, job.meta)
  first_step = int(state.step)
  last_step = phase.updates if job.until is None else job.until
  data.resume(first_step)

  # ---- What is checked, logged and saved
  # Updates before an interruption count too.
  skipped = multihost.broadcast_from_first(count_skipped(job.folder, first_step))
  guard = UpdateGuard(config, phase, job.label, skipped)
  log = UpdateLog(_open_metrics(job, first_step, last_step), guard.check)
  saver = PhaseSaver(checkpoints, job.points, job.kept_points, data, log, job.meta, first_step)

  # ---- The loop
  with contextlib.ExitStack() as at_the_end, jax.set_mesh(mesh):
    # The saver is closed first. If that fails, as on a full disk, the others are closed too.
    for opened in (data, log, saver):
      at_the_end.callback(opened.close)

    if first_step == 0:
      saver.keep_point(0, state)
    for step in range(first_step + 1, last_step + 1):
      try:
        batch, sampled = data.batch(step, state)
      except UserError:
        # A reward that fails or a judge that cannot be asked costs none of the updates before.
        saver.save(step - 1, state)
        raise
      # Two rates: that of the embeddings may be another one.
      lr = multihost.make_global(learning_rate(phase, step - 1), replicated)
      state, measured = program.step(state, batch, lr)
      log.add(step, measured | sampled, batch['tokens'].size)
      saver.keep_point(step, state)

      # All processes must take the same branch, so they are asked together.
      stopped = may_stop_after(step, phase) and multihost.any_process(job.stop())
      is_due = step % phase.checkpoint_every == 0 and step != last_step
      if stopped or is_due:
        saver.save(step, state)
      if stopped:
        raise Interrupted(f'{job.label}: saved at step {step}')
    if job.until is not None:
      log.log_pending()
    elif first_step < phase.updates:
      saver.save(phase.updates, state)
      guard.say_skipped()


def _open_data(job: PhaseJob, mesh: Mesh) -> PhaseData:
  """Opens the batches: rows of text, or in reinforcement learning answers of the model itself."""
  config, phase = job.config, job.phase
  if job.rewards is not None:
    return Rollouts(
      job.label,
      config,
      phase,
      job.tokenizer,
      job.sources,
      job.rewards,
      job.seed,
      mesh,
      job.folder,
    )
  local_rows = sharding.local_rows(mesh, phase.micro_batches, phase.batch_size)
  rows = batches(job.sources, job.tokenizer, phase.batch_size, phase.length, job.seed, local_rows)
  return TextBatches(rows, phase.micro_batches, mesh)


def _open_metrics(job: PhaseJob, first_step: int, last_step: int) -> PhaseMetrics:
  """Opens metrics.jsonl and the console's line, which counts up to the last update."""
  flops = training_flops_per_token(job.config.model, job.phase.length)
  return PhaseMetrics(job.folder, job.label, last_step, first_step, flops, job.config.tensorboard)


def may_stop_after(step: int, phase: PhaseConfig) -> bool:
  """Says whether a phase may stop after an update; the processes then ask one another.

  Args:
    step: the number of the update, 1-based.
    phase: the phase's settings.

  Returns:
    Whether it may. Reinforcement learning may after the last update of each rollout, and after no
    other: a stop within a rollout would lose the answers that were sampled for it.
  """
  if phase.objective == 'grpo':
    return step % phase.grpo.updates_per_rollout == 0
  return jax.process_count() == 1 or step == phase.updates or step % STOP_POLL_STEPS == 0
