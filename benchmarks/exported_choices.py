"""Does an exported arm make the same choices in transformers?

    python benchmarks/exported_choices.py --workdir=runs/smollm2_cpu --arm=msm_affordability_aft

The benchmark exports the arm and goes through the whole evaluation of forced choices. For each
question it asks transformers, in float32 on the CPU, for the log-likelihoods of both answers in
both orders, and compares the margins with results.jsonl. It ends with exit code 1 if a choice
differs.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_pipelines.records import ForcedChoice
from msm_jax import export
from msm_jax.base.checks import from_mapping
from msm_jax.config import ExperimentConfig
from msm_jax.experiment import Experiment
from msm_jax.suites.choices import ChoiceSuite

# (messages of a chat, an answer) -> the log-likelihood of the answer in nats
LogLikelihood = Callable[[list[dict[str, str]], str], float]


def open_exported(workdir: Path, arm: str, seed: int) -> LogLikelihood:
  """Exports an arm and opens it in transformers.

  Args:
    workdir: the folder of the experiment.
    arm: the arm.
    seed: the seed of its run.

  Returns:
    A function that scores answers.
  """
  # Both are slow to import, and the arguments are checked before.
  import torch
  import transformers

  with tempfile.TemporaryDirectory() as folder:
    out = f'{folder}/exported'
    export.main([f'--workdir={workdir}', f'--arm={arm}', f'--seed={seed}', f'--out={out}'])
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)

  def log_likelihood(messages: list[dict[str, str]], answer: str) -> float:
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    answer_ids = tokenizer(answer, add_special_tokens=False)['input_ids']
    ids = torch.tensor([prompt + answer_ids])
    with torch.no_grad():
      # The logits at one position are about the next token.
      logprobs = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return float(logprobs.gather(1, ids[0, len(prompt) :, None]).sum())

  return log_likelihood


def margin(log_likelihood: LogLikelihood, question: ForcedChoice) -> float:
  """Computes by how much the first option is likelier than the second.

  Args:
    log_likelihood: scores an answer.
    question: the question.

  Returns:
    The difference of the log-likelihoods in nats, as a mean over both orders of the options.
  """
  scores = [0.0, 0.0]
  for first, second in (question.options, question.options[::-1]):
    messages = []
    if question.system:
      messages.append({'role': 'system', 'content': question.system})
    asked = question.question.format(first=first, second=second)
    messages.append({'role': 'user', 'content': asked})
    for k in (0, 1):
      answer = question.answer.format(chosen=question.options[k], other=question.options[1 - k])
      scores[k] += log_likelihood(messages, answer) / 2
  return scores[0] - scores[1]


def main() -> None:
  """Runs the benchmark on one arm."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--arm', required=True)
  args = parser.parse_args()
  workdir = Path(args.workdir)
  config = from_mapping(ExperimentConfig, json.loads((workdir / 'config.json').read_text()))
  seed = config.seeds[0]
  our_margin = {}  # id of a question -> margin
  with (workdir / 'results.jsonl').open() as lines:
    for line in lines:
      row = json.loads(line)
      if (row['arm'], row['evaluator'], row['seed']) == (args.arm, 'preferences', seed):
        our_margin[row['item']] = row['margin']
  suite = Experiment(config, workdir).design.suite
  if not isinstance(suite, ChoiceSuite):
    sys.exit(f'{workdir} asks for no choices between two things; give a run of another setting')
  questions = [q for q in suite.assistant_questions if q.id in our_margin]

  log_likelihood = open_exported(workdir, args.arm, seed)
  same = 0
  worst = 0.0
  for question in questions:
    theirs = margin(log_likelihood, question)
    ours = our_margin[question.id]
    same += (theirs > 0) == (ours > 0)
    worst = max(worst, abs(theirs - ours))
  print(
    f'{same} of {len(questions)} choices are the same; margins differ by at most {worst:.1e} nats'
  )
  sys.exit(same != len(questions))


if __name__ == '__main__':
  main()
