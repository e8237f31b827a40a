"""Does an exported arm make the same choices in transformers? The whole evaluation of forced choices, question by question.

    python benchmarks/exported_choices.py --workdir=runs/smollm2_cpu --arm=msm_affordability_aft

Exports the arm, asks transformers in float32 on the CPU for the log-likelihoods of both answers in both orders, and compares with results.jsonl.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msm_jax import export
from msm_jax.base.checks import from_mapping
from msm_jax.config import ExperimentConfig
from msm_jax.experiment import Experiment


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True)
  parser.add_argument('--arm', required=True)
  args = parser.parse_args()
  workdir = Path(args.workdir)
  c = from_mapping(ExperimentConfig, json.loads((workdir / 'config.json').read_text()))
  rows = (json.loads(line) for line in (workdir / 'results.jsonl').open())
  ours = {
    r['item']: r
    for r in rows
    if (r['arm'], r['evaluator'], r['seed']) == (args.arm, 'preferences', c.seeds[0])
  }
  questions = [q for q in Experiment(c, workdir).reading.asked if q.id in ours]

  import torch
  import transformers

  with tempfile.TemporaryDirectory() as folder:
    out = f'{folder}/exported'
    export.main(
      [f'--workdir={workdir}', f'--arm={args.arm}', f'--seed={c.seeds[0]}', f'--out={out}']
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(out)

  def log_likelihood(messages: list[dict[str, str]], answer: str) -> float:
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    ids = torch.tensor([prompt + tokenizer(answer, add_special_tokens=False)['input_ids']])
    with torch.no_grad():
      logprobs = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return float(logprobs.gather(1, ids[0, len(prompt) :, None]).sum())

  same, worst = 0, 0.0
  for q in questions:
    theirs = [0.0, 0.0]
    for first, second in (q.options, q.options[::-1]):
      messages = [{'role': 'system', 'content': q.system}] if q.system else []
      messages.append({'role': 'user', 'content': q.question.format(first=first, second=second)})
      for k in (0, 1):
        theirs[k] += (
          log_likelihood(messages, q.answer.format(chosen=q.options[k], other=q.options[1 - k])) / 2
        )
    margin = theirs[0] - theirs[1]
    same += (margin > 0) == (ours[q.id]['margin'] > 0)
    worst = max(worst, abs(margin - ours[q.id]['margin']))
  print(
    f'{same} of {len(questions)} choices are the same; margins differ by at most {worst:.1e} nats'
  )
  sys.exit(same != len(questions))


if __name__ == '__main__':
  main()
