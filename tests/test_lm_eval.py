"""lm-evaluation-harness, the package itself, asks our server; its own backend for transformers is
the judge."""

import json

import pytest
import tiny
from serving import running_server

from msm_jax.evals import capability

lm_eval = pytest.importorskip('lm_eval', exc_type=ImportError)
pytest.importorskip('torch')
pytest.importorskip('transformers')
pytest.importorskip('aiohttp')

pytestmark = pytest.mark.slow

# The bar for a difference of log-likelihoods, in nats.
BAR = 1e-3

TASK = """
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: {output}
doc_to_text: "{text}"
"""
CHOICE = """
doc_to_choice: "{{options}}"
doc_to_target: "{{answer}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
ROLLING = """
doc_to_target: "{{text}}"
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
"""
GENERATE = """
doc_to_target: "{{options[0]}}"
generation_kwargs:
  until: ["."]
  max_gen_toks: 6
  do_sample: false
metric_list:
  - metric: exact_match
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory, texts):
  """A random Llama whose tokenizer puts a token in front of every text, as that of Llama does."""
  import tokenizers

  made = tiny.weights(tmp_path_factory.mktemp('lm_eval') / 'little', texts[:200])
  tokenizer = tokenizers.Tokenizer.from_file(str(made / 'tokenizer.json'))
  begin = '<|begin|>'
  tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
    single=f'{begin} $A', special_tokens=[(begin, tokenizer.token_to_id(begin))]
  )
  tokenizer.save(str(made / 'tokenizer.json'))
  # Otherwise transformers would rebuild the tokenizer as that of Llama.
  settings = json.loads((made / 'tokenizer_config.json').read_text())
  settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
  (made / 'tokenizer_config.json').write_text(json.dumps(settings))
  return made


@pytest.fixture(scope='module')
def tasks(tmp_path_factory):
  """A folder of local task files: a multiple choice, running text, and short answers."""
  where = tmp_path_factory.mktemp('tasks')
  rows = []
  for n in range(12):
    rows.append(
      {
        'question': f'Which cheese is number {n}? It is',
        'options': [' Colby.', ' old and handmade Gouda.', f' number {n} of them.'],
        'answer': n % 3,
        'text': f'The plan number {n} is cheap. ' * (1 + n % 4),
      }
    )
  data = where / 'rows.jsonl'
  data.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  kinds = {
    'little_choice': ('multiple_choice', '{{question}}', CHOICE),
    'little_rolling': ('loglikelihood_rolling', '', ROLLING),
    'little_answers': ('generate_until', '{{question}}', GENERATE),
  }
  for name, (output, text, rest) in kinds.items():
    task = TASK.format(name=name, data=data, output=output, text=text)
    (where / f'{name}.yaml').write_text(task + rest)
  return where


@pytest.fixture(scope='module')
def server(folder):
  """A server with two names for the same weights. For `stops`, every other token ends an answer: so
  the one token that the harness asks for is often one that has no text."""
  from msm_jax.inference.open_model import load_weights
  from msm_jax.inference.sampling import Sampler

  loaded = load_weights(folder, dtype='float32')
  plain = Sampler(loaded.model, loaded.params, loaded.tokenizer)
  every_other = range(0, loaded.model.vocab_size, 2)
  stops = Sampler(loaded.model, loaded.params, loaded.tokenizer, stop_ids=every_other)
  with running_server({'plain': plain, 'stops': stops}) as (address, _):
    yield address


@pytest.fixture
def ask(tasks, monkeypatch, tmp_path):
  """Runs tasks and returns what `simple_evaluate` returns."""
  monkeypatch.setenv('HF_HUB_OFFLINE', '1')
  monkeypatch.setenv('HF_DATASETS_CACHE', str(tmp_path / 'datasets'))
  import lm_eval.tasks

  manager = lm_eval.tasks.TaskManager(include_path=str(tasks), include_defaults=False)

  def run(model, arguments, names):
    return lm_eval.simple_evaluate(
      model=model,
      model_args=arguments,
      tasks=list(names),
      task_manager=manager,
      bootstrap_iters=0,
      batch_size=4,
      device='cpu',
    )

  return run


def responses(results, task):
  """Every answer to a task, in the order of its documents."""
  samples = sorted(results['samples'][task], key=lambda sample: sample['doc_id'])
  return [sample['resps'] for sample in samples]


def numbers(value):
  """The numbers of nested lists; flags (whether a continuation is the likeliest) are left as they
  are."""
  if isinstance(value, (list, tuple)):
    out = []
    for part in value:
      out += numbers(part)
    return out
  return [value]


def check_that_results_are_read_back(results, outputs):
  """The harness writes its results as its command does, and an experiment reads them."""
  from lm_eval.loggers import EvaluationTracker

  tracker = EvaluationTracker(output_path=str(outputs / 'capability' / 'base'))
  tracker.general_config_tracker.model_name_sanitized = 'stops'
  tracker.save_results_aggregated(results=results, samples=None)
  read = capability.read(outputs, {'base': 'read'})['base']
  accuracy = results['results']['little_choice']['acc,none']
  assert read['little_choice/acc']['value'] == pytest.approx(accuracy, abs=1e-6)
  assert read['little_choice/acc']['documents'] == 12
  assert 'little_rolling/word_perplexity' in read


@pytest.mark.parametrize('with_bos', [True, False])
def test_log_likelihoods_are_those_of_the_backend_for_transformers(
  ask, server, folder, with_bos, tmp_path
):
  """The bar: the same log-likelihoods to 1e-3, and the same verdicts and perplexities."""
  names = ('little_choice', 'little_rolling')
  wanted = ask('hf', dict(pretrained=str(folder), dtype='float32', add_bos_token=with_bos), names)
  found = ask(
    'local-completions',
    dict(
      model='stops',
      base_url=f'{server}/v1/completions',
      tokenizer=str(folder),
      tokenizer_backend='huggingface',
      add_bos_token=with_bos,
      max_length=128,
    ),
    names,
  )
  compared = 0
  for name in names:
    ours = numbers(responses(found, name))
    theirs = numbers(responses(wanted, name))
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
      assert float(a) == pytest.approx(float(b), abs=BAR)
      compared += 1
  assert compared >= 12 * 3 * 2 + 12
  check_that_results_are_read_back(found, tmp_path)
  for name in names:
    for metric, value in wanted['results'][name].items():
      if isinstance(value, float):
        assert found['results'][name][metric] == pytest.approx(value, rel=1e-3), metric


def test_answers_are_those_of_the_backend_for_transformers(ask, server, folder):
  wanted = ask('hf', dict(pretrained=str(folder), dtype='float32'), ['little_answers'])
  found = ask(
    'local-completions',
    dict(
      model='plain',
      base_url=f'{server}/v1/completions',
      tokenizer=str(folder),
      tokenizer_backend='huggingface',
      add_bos_token=True,
      max_length=128,
      num_concurrent=3,
    ),
    ['little_answers'],
  )
  ours, theirs = responses(found, 'little_answers'), responses(wanted, 'little_answers')
  assert ours == theirs
  assert len({str(answer) for answer in ours}) > 1


def test_the_tokenizer_of_the_server_counts_as_the_file_does(ask, server, folder):
  """`tokenizer_backend=remote`: for arms whose tokenizer the harness cannot open itself."""
  arguments = dict(base_url=f'{server}/v1/completions', model='stops', max_length=128)
  by_file = dict(tokenizer=str(folder), tokenizer_backend='huggingface')
  wanted = ask('local-completions', arguments | by_file, ['little_choice'])
  found = ask('local-completions', arguments | dict(tokenizer_backend='remote'), ['little_choice'])
  ours = numbers(responses(found, 'little_choice'))
  theirs = numbers(responses(wanted, 'little_choice'))
  assert [float(x) for x in ours] == pytest.approx([float(x) for x in theirs], abs=1e-4)
