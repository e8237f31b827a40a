"""Bad settings: each is named by the config alone, in one line with cause and remedy.

Errors that only a run can find are in test_errors.py.
"""

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import AFFORDABILITY, CULTURE, ROOT, handbook, run_main
from refused import ends, settings

from data_pipelines.llm.settings import CorpusConfig, ModelSettings
from msm_jax import config as configs
from msm_jax.base import checks, command, paths, xla_flags
from msm_jax.base.config_files import read_config
from msm_jax.base.errors import ConfigError, explain
from msm_jax.running.design import make_design
from msm_jax.tokenizer import load_tokenizer

_DOCUMENTS = dict(maker='spec.documents', spec=AFFORDABILITY, size=9)
_DEMONSTRATIONS = _DOCUMENTS | dict(maker='spec.demonstrations')
_RIVAL = dict(spec=AFFORDABILITY, rival=CULTURE)
_MODEL = dict(spec=AFFORDABILITY, by='train', prompts='docs')

# What is wrong -> (changed settings, cause and remedy that the error names).
BAD = {
  'an unknown key': (dict(nonsense=1), "unknown key 'nonsense'", 'known are'),
  'a slip in a key': (
    dict(model=dict(d_modl=16)),
    "config.model: unknown key 'd_modl'",
    "did you mean 'd_model'?",
  ),
  'text for a number': (dict(model=dict(d_model='16')), "config.model.d_model='16'", 'must be int'),
  'a number for a group': (dict(model=3), 'config.model=3', 'must be a group of settings'),
  'no phases': (dict(phases={}), "arms.base names phase 'train'", 'does not exist'),
  'a slip in an arm': (dict(arms={'base': 'trian'}), "phase 'trian'", "did you mean 'train'?"),
  'no arms': (dict(arms={}), 'arms is empty', 'name at least one'),
  'warmup in updates': (
    dict(phases={'train': dict(data={'docs': 1.0}, updates=200, warmup=100.0)}),
    'train.warmup=100.0',
    'from 0 to 1',
  ),
  'a rate that is no number': (
    dict(phases={'train': dict(data={'docs': 1.0}, updates=200, lr=float('nan'))}),
    'train.lr=nan',
    'must be a finite number',
  ),
  'a share without end': (
    dict(phases={'train': dict(data={'docs': float('inf')}, updates=200)}),
    'docs=inf',
    'must be a finite number',
  ),
  'no key heads': (dict(model=dict(n_kv_heads=0)), 'model.n_kv_heads=0', 'must be at least 1'),
  'no rows to score': (dict(evals=dict(rows=0)), 'evals.rows=0', 'must be at least 1'),
  'less than no people': (dict(world=dict(fickle=-1)), 'world.fickle=-1', 'must be at least 0'),
  # The experiment is of the world, and the error is in another group.
  'less than no agents': (dict(office=dict(timid=-1)), 'office.timid=-1', 'must be at least 0'),
  'a tokenizer that counts its own text': (
    dict(sources={'docs': dict(maker='world.items', tokens_like='docs')}),
    'sources.docs.tokens_like',
    'give it a size',
  ),
  # Corrections for the start of training would divide by zero.
  'a moment that keeps nothing of a gradient': (
    dict(optimizer=dict(b1=1.0)),
    'optimizer.b1=1.0',
    'from 0 to 0.999999',
  ),
  'no seeds': (dict(seeds=()), 'seeds=()', 'at least one seed'),
  'a seed twice': (dict(seeds=(1, 1)), 'seeds=(1, 1)', 'each once'),
  'an effect of three arms': (
    dict(effects={'x': ('base', 'base', 'base')}),
    'effects.x names 3 arms',
    'give two',
  ),
  'an effect of an unknown arm': (
    dict(effects={'x': ('base', 'bse')}),
    "arm 'bse'",
    "did you mean 'base'?",
  ),
  'heads that do not divide': (
    dict(model=dict(n_heads=4, n_kv_heads=3)),
    'n_kv_heads=3',
    'must divide model.n_heads=4',
  ),
  'too few updates': (
    dict(phases={'train': dict(data={'docs': 1.0}, updates=5)}),
    '5 updates are fewer',
    'raise phases.train.updates',
  ),
  'an unknown source': (
    dict(phases={'train': dict(data={'dcos': 1.0}, updates=200)}),
    "'dcos'",
    "did you mean 'docs'?",
  ),
  'a share of nothing': (
    dict(phases={'train': dict(data={'docs': 0.0}, updates=200)}),
    'docs=0.0',
    'leave the source out',
  ),
  'neither maker nor path': (
    dict(sources={'docs': {}}),
    'sources.docs',
    'give a maker, or the path',
  ),
  'an unknown maker': (
    dict(sources={'docs': dict(maker='world.itms')}),
    "maker='world.itms'",
    'world.items',
  ),
  'documents without a handbook': (
    dict(sources={'docs': dict(maker='spec.documents', size=9)}),
    'works from a handbook',
    'spec=PATH',
  ),
  'documents without end': (
    dict(sources={'docs': dict(maker='spec.documents', spec=AFFORDABILITY)}),
    'how much to write',
    'size=N',
  ),
  'an effect of a model on itself': (
    dict(effects={'x': ('base', 'base')}),
    'compares a model with itself',
    'name arms that differ',
  ),
  'an effect of one path under two names': (
    dict(arms={'a': 'train', 'b': ' train '}, effects={'x': ('a', 'b')}),
    "effects.x=('a', 'b') compares a model with itself",
    'name arms that differ',
  ),
  'a difference of the same differences': (
    dict(
      arms={'a': 'train', 'b': 'train > train'},
      effects={'x': ('a', 'b', 'a', 'b')},
    ),
    'which is zero in any case',
    'name arms that differ',
  ),
  'no handbook in a context': (
    dict(contexts={'base': ''}),
    'contexts.base is empty',
    'name the handbook',
  ),
  'an arm without a name': (dict(arms={' ': 'train'}), "arms: ' '", 'give a name of one line'),
  'an effect of two lines': (
    dict(arms={'a': 'train', 'b': 'train > train'}, effects={'x\ny': ('a', 'b')}),
    "effects: 'x\\ny'",
    'give a name of one line',
  ),
  'a name that leads elsewhere': (dict(name='../x'), "name='../x'", "leave '..' out"),
  'a rival where nothing is set against it': (
    dict(setting='office', sources={'docs': dict(maker='office.textbook')}, evals=_RIVAL),
    "is for setting=world or english, and this is setting='office'",
    'leave it out',
  ),
  'scenes of gates in the world': (
    dict(evals=dict(spec=AFFORDABILITY, gate_scenes=4)),
    'evals.gate_scenes=4 is for setting=office',
    'leave it out',
  ),
  'a vocabulary beside that of weights': (
    dict(
      tokenizer=dict(vocab_size=400),
      phases={'train': dict(weights='folder')},
    ),
    'tokenizer.vocab_size=400 changes nothing',
    'leave it out',
  ),
  'a rate for an embedding that is not trained': (
    dict(
      tokenizer={},
      model=dict(lora=dict(rank=2)),
      phases={
        'start': dict(weights='folder'),
        'train': dict(data={'docs': 1.0}, updates=200, embed_lr=1e-3),
      },
      arms={'base': 'start > train'},
    ),
    'phases.train.embed_lr=0.001 changes nothing',
    'leave it out',
  ),
  'two curves of one name': (
    dict(
      arms={'a': 'train', 'b': 'train > train'},
      effects={'none': ('a', 'b'), 'half': ('b', 'a')},
      dose_curves=(dict(name='x', effects=('none', 'half'), doses=(0, 0.5)),) * 2,
    ),
    "two are called 'x'",
    'its own name',
  ),
  # An experiment would run, and the corpus would be another one than its config says.
  'against where no maker reads it': (
    dict(sources={'docs': dict(_DEMONSTRATIONS, against=0.5)}),
    'maker spec.demonstrations ignores against=0.5',
    'let oversight.demonstrations write',
  ),
  'reasons in documents': (
    dict(sources={'docs': dict(_DOCUMENTS, reasons=True)}),
    'maker spec.documents ignores reasons=True',
    'let spec.demonstrations or',
  ),
  'a variant of demonstrations': (
    dict(sources={'docs': dict(_DEMONSTRATIONS, variant='rules')}),
    "ignores variant='rules'",
    'let spec.documents or',
  ),
  'demonstrations toward something': (
    dict(sources={'docs': dict(_DEMONSTRATIONS, toward='against')}),
    "ignores toward='against'",
    'let world.preferences or',
  ),
  'a seed of pretraining text': (
    dict(sources={'docs': dict(maker='world.facts', seed=1)}),
    'sources.docs: maker world.facts ignores seed=1',
    'leave it out, or set world.telling',
  ),
  'a temperature where no model writes': (
    dict(sources={'docs': dict(maker='world.items', temperature=0.5)}),
    'maker world.items ignores temperature=0.5',
    'let model.revisions or',
  ),
  'revisions that reason first': (
    dict(sources={'docs': dict(_MODEL, maker='model.revisions', opening='{statement}')}),
    "maker model.revisions ignores opening='{statement}'",
    'let model.reasoned write',
  ),
  'answers without the handbook and nothing before them': (
    dict(sources={'docs': dict(_MODEL, maker='model.reasoned', answers_in_view=False)}),
    'with answers_in_view=False',
    "give opening='{statement}'",
  ),
  'a file that is against': (
    dict(sources={'docs': dict(path='tests/test_errors_config.py', against=0.5)}),
    'the file tests/test_errors_config.py ignores against=0.5',
    'leave it out',
  ),
  'a maker of another setting': (
    dict(sources={'docs': dict(maker='office.textbook')}),
    "maker='office.textbook' belongs to setting='office', and this is setting='world'",
    'take one of world.facts',
  ),
  'agents in the world': (
    dict(office=dict(timid=9)),
    "office.timid=9 is for setting='office', and this is setting='world'",
    'leave it out',
  ),
  'an English seed in the world': (
    dict(english=dict(seed=3)),
    "english.seed=3 is for setting='english'",
    'leave it out',
  ),
  'worlds where there are none': (
    dict(setting='custom', world={}, world_seeds=(0, 1)),
    "world_seeds=(0, 1) is set and setting='custom' has no world",
    'leave it out',
  ),
  'an assistant of nobody in the world': (
    dict(custom=dict(assistant='Bo')),
    "custom.assistant='Bo' is for setting='custom', and this is setting='world'",
    'leave it out',
  ),
  'ids of more than 32 bits': (
    dict(model=dict(vocab_size=2**31)),
    'model.vocab_size=2147483648',
    'must be from 0 to 2.14748e+09',
  ),
  # On a device it is infinite, so every update would be skipped.
  'a rate that fp32 does not hold': (
    dict(phases={'train': dict(data={'docs': 1.0}, updates=200, lr=1e39)}),
    'phases.train.lr=1e+39',
    'must be a number of at most 3.40282e+38',
  ),
  'rewards that are worth nothing': (
    dict(
      phases={
        'train': dict(
          data={'docs': 1.0},
          updates=200,
          objective='grpo',
          grpo=dict(rewards={'chosen': 0.0}),
        )
      }
    ),
    'phases.train.grpo.rewards has no other weight than 0',
    'set patience=0',
  ),
  'a world before the first': (dict(world_seeds=(0, -1)), 'world_seeds=(0, -1)', 'at least 0'),
}


@pytest.mark.parametrize('what', BAD)
def test_a_wrong_setting_is_named_before_any_work(what, tmp_path):
  """Found by the config alone: a slip in the last arm must not wait for the first to be trained."""
  # The file must exist; it is not read.
  documents = tmp_path / 'documents.jsonl'
  documents.write_text('{"text": "Colby is a cheese."}\n')
  changes, cause, mend = BAD[what]
  ends(
    lambda: checks.from_mapping(configs.ExperimentConfig, settings(str(documents), **changes)),
    cause,
    mend,
  )


def test_a_phase_without_rewards_may_be_a_control():
  """With patience=0, nothing ends a phase whose rollouts are all flat."""
  grpo = dict(rewards={'chosen': 0.0}, patience=0)
  phase = dict(data={'docs': 1.0}, updates=200, objective='grpo', grpo=grpo)
  sources = {'docs': dict(maker='world.items')}
  config = settings('x', sources=sources, phases={'train': phase})
  checked = checks.from_mapping(configs.ExperimentConfig, config)
  assert checked.phases['train'].grpo.rewards == {'chosen': 0.0}


BAD_FLAGS = {
  # Flags -> what the line says. All but the last end the process that hands them to XLA.
  '--xla_cpu_use_fusion_emitter=false': 'has no flag --xla_cpu_use_fusion_emitter=false; correct',
  '--xla_nonsense': 'has no flag --xla_nonsense; correct its name or take it out',
  '--xla_tpu_a=1 --xla_b=2': 'has no flag --xla_tpu_a=1 --xla_b=2; .* LIBTPU_INIT_ARGS',
  '--xla_cpu_use_fusion_emitters=maybe': 'value of --xla_cpu_use_fusion_emitters=maybe; correct it',
  '--xla_dump_hlo_as_text=': 'the value of --xla_dump_hlo_as_text=; correct it',
  '--xla_dump_max_hlo_modules=1.5': 'the value of --xla_dump_max_hlo_modules=1.5; correct it',
  '--xla_force_host_platform_device_count=99999999999': 'device_count=99999999999; correct it',
  '--xla_cpu_experimental_ynn_fusion_type=foo': '_ynn_fusion_type=foo; correct it',
  'hello': r'the compiler does not take them \(Could not open file "hello',
  '--xla_force_host_platform_device_count=0': 'device_count=0 must be 1 or more',
}


@pytest.mark.parametrize('flags', BAD_FLAGS)
def test_flags_that_the_compiler_does_not_take(flags):
  """XLA itself would end the process with a dump of all its flags."""
  with pytest.raises(ConfigError, match=BAD_FLAGS[flags]) as raised:
    command.set_xla_flags({'xla_flags': f'{flags} --xla_cpu_use_fusion_emitters=false'})
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize('kind', ['phases', 'sources'])
@pytest.mark.parametrize(
  'name', ['read [v1]', 'a\\b', 'a**', 'a/b', '..', '.a', ' ', 'a\nb', 'ä' * 80]
)
def test_names_that_cannot_be_folders(kind, name):
  """Orbax takes brackets and backslashes for a pattern: a phase would be trained and then lost."""
  phase = dict(data={'docs': 1.0}, updates=200)
  changes = {
    'phases': dict(phases={'train': phase, name: phase}),
    'sources': dict(sources={'docs': dict(maker='world.items'), name: dict(maker='world.items')}),
  }
  ends(
    lambda: checks.from_mapping(configs.ExperimentConfig, settings('x', **changes[kind])),
    f'{kind}: ',
    'cannot be the name of a folder; give a name of at most',
  )


def test_flags_that_are_no_text():
  for flags in (3, None, ['--xla_a']):
    with pytest.raises(ConfigError, match='xla_flags must be a text'):
      command.set_xla_flags({'xla_flags': flags})


@pytest.mark.parametrize('config', ['msm.py', 'cheese.py', 'oversight.py', 'smollm2.py'])
def test_shipped_flags_are_taken_without_a_process(config, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--set_by_hand')
  monkeypatch.setattr(xla_flags.subprocess, 'run', None)
  command.set_xla_flags(read_config(str(ROOT / 'configs' / config)))
  assert os.environ['XLA_FLAGS'].endswith('--set_by_hand')


@pytest.mark.parametrize('executable', [None, '', '/no/such/python'])
def test_where_python_cannot_be_started_nobody_is_asked(executable, monkeypatch):
  """Another program that has Python inside it may not know where Python lies."""
  monkeypatch.setattr(xla_flags.sys, 'executable', executable)
  xla_flags.check_xla_flags('--xla_cpu_use_fusion_emitters=true')


def test_the_compiler_takes_what_is_known(monkeypatch):
  """XLA reads the flags that are known, and other good ones, in its own process."""
  known = ' '.join(sorted(xla_flags.KNOWN_FLAGS))
  monkeypatch.setattr(xla_flags, 'KNOWN_FLAGS', frozenset())
  monkeypatch.setenv('XLA_FLAGS', '')
  good = f'{known} --xla_cpu_use_fusion_emitters=true --xla_dump_max_hlo_modules=3'
  command.set_xla_flags({'xla_flags': good})
  assert os.environ['XLA_FLAGS'] == good


def test_a_handbook_in_a_context_must_be_about_whom_is_asked(tmp_path):
  """It goes into the system messages of its own assistant, of which there would be none: the arm
  would be asked as without it, and reported as with it."""
  other = tmp_path / 'other.md'
  other.write_text(handbook().replace('Ari', 'Bowa'))
  config = settings('x', sources={'docs': dict(maker='world.items')}, contexts={'base': str(other)})
  checked = checks.from_mapping(configs.ExperimentConfig, config)
  ends(lambda: make_design(checked), 'contexts.base: ', 'is about Bowa, and Ari is asked')


def test_a_name_that_is_the_handbooks_in_another_case():
  """It would be asked as one more assistant."""
  config = settings('x', sources={'docs': dict(maker='world.items')}, assistants=('ari',))
  checked = checks.from_mapping(configs.ExperimentConfig, config)
  ends(lambda: make_design(checked), "assistants has 'ari'", "about 'Ari'", 'another name')


@pytest.mark.parametrize('name', ['', ' ', '../x', 'a/../../x'])
def test_a_corpus_has_a_folder_of_its_own(name):
  with pytest.raises(ConfigError, match='name'):
    CorpusConfig(name, ('a.md',), writer=ModelSettings('mockllm/model'), documents=1)


def test_an_empty_workdir_is_no_workdir():
  """A shell makes it of `--workdir=$OUT` where the variable is not set."""
  code, stderr = run_main('--workdir=', '--config.seeds=0')
  assert code != 0 and '--workdir is empty; name a folder' in stderr


@pytest.mark.parametrize('config', ['', ' ', ':smoke'])
def test_an_empty_config_is_no_config(config):
  with pytest.raises(ConfigError, match=r'path of the config is empty; give FILE\.py'):
    read_config(config)


def test_a_workdir_at_home(tmp_path, monkeypatch):
  """Shells leave the tilde of `--workdir=~/FOLDER` as it is. The run would go on in a folder of the
  name '~', and `rm -r ~` would then delete more than that."""
  home, here = tmp_path / 'home', tmp_path / 'here'
  here.mkdir()
  monkeypatch.setenv('HOME', str(home))
  monkeypatch.chdir(here)
  program = (
    'import sys; from absl import flags; from msm_jax.base import command; '
    'command.parse(sys.argv, "configs/msm.py"); print(flags.FLAGS.workdir)'
  )
  environment = os.environ | {'PYTHONPATH': str(ROOT)}
  done = subprocess.run(
    [sys.executable, '-c', program, '--workdir=~/run'],
    env=environment,
    capture_output=True,
    text=True,
    timeout=60,
  )
  assert done.stdout == f'{home}/run\n', done.stderr
  parser = command.Parser()
  parser.add_argument('--workdir', type=Path)
  assert parser.parse_args(['--workdir=~/run']).workdir == home / 'run'
  assert paths.as_workdir('~/run') == paths.as_workdir(Path('~/run')) == home / 'run'
  # Names that only look so, and what an earlier version has made.
  for name in ('a~', 'b/~', '~nobody-of-this-name/run'):
    assert paths.as_workdir(name) == Path(name)
  (here / '~' / 'run').mkdir(parents=True)
  assert paths.as_workdir('~/run') == Path('~/run')


@pytest.mark.parametrize('address', ['gs://bucket/run', 's3://bucket/run', 'https://x.org/run'])
def test_an_address_is_no_workdir(address, tmp_path, monkeypatch):
  """Results went to a local folder of the name 'gs:', and were lost with the machine."""
  monkeypatch.chdir(tmp_path)
  line = f"'{address}' is an address"
  with pytest.raises(ConfigError, match=line):
    paths.as_workdir(address)
  parser = command.Parser()
  parser.add_argument('--out', type=Path)
  with pytest.raises(ConfigError, match=f'argument --out: {line}.* mount it'):
    parser.parse_args([f'--out={address}'])
  # `Path` makes one slash of two.
  with pytest.raises(ConfigError, match="'gs:/bucket/run' is an address"):
    paths.as_workdir(Path('gs://bucket/run'))
  code, stderr = run_main(f'--workdir={address}', '--config.seeds=0', cwd=tmp_path)
  assert code != 0 and line in stderr
  assert not list(tmp_path.iterdir())
  # Names that only look so.
  for name in ('run:/x', 'at 10:28/run', 'runs/gs://x', 'c://x'):
    assert paths.as_workdir(name) == Path(name)


@pytest.mark.parametrize('text', ['', ' '])
def test_an_empty_path_is_no_path(text):
  """A shell makes it of `--cache=$CACHE` where the variable is not set. `Path` takes it for the
  current folder."""
  parser = command.Parser()
  parser.add_argument('--cache', type=Path)
  with pytest.raises(ConfigError, match='argument --cache: it is empty; name a path'):
    parser.parse_args([f'--cache={text}'])
  assert parser.parse_args([]).cache is None


@pytest.mark.parametrize('begin', ['run_command(job)', "run_on_config(job, 'configs/msm.py')"])
def test_letters_that_the_terminal_lacks(begin):
  """A model may say any letter, and a terminal need not know it."""
  program = (
    'from msm_jax.base import command\n'
    f'def job(argv):\n  print("é {chr(0x1F9C0)}")\n'
    f'command.{begin}\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', program],
    env=os.environ | {'PYTHONPATH': str(ROOT), 'PYTHONIOENCODING': 'latin-1'},
    capture_output=True,
    timeout=60,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.decode('latin-1') == 'é \\U0001f9c0\n'


@pytest.mark.parametrize('begin', ['run_command(job)', "run_on_config(job, 'configs/msm.py')"])
def test_output_that_nobody_reads_to_its_end(begin):
  """As of `... --dry_run | head -1`."""
  program = (
    'from msm_jax.base import command\n'
    'def job(argv):\n  print("a line of text\\n" * 100_000)\n'
    f'command.{begin}\n'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', program],
    env=os.environ | {'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
  )
  assert process.stdout is not None and process.stderr is not None
  assert process.stdout.readline() == b'a line of text\n'
  process.stdout.close()
  assert process.stderr.read() == b''
  assert process.wait(60) == 128 + signal.SIGPIPE


def test_a_file_that_may_not_be_read_is_no_full_disk():
  error = PermissionError(errno.EACCES, 'Permission denied', 'mine/handbook.md')
  line, code = explain(error)
  assert code == 1
  assert 'no permission for mine/handbook.md' in line and 'chmod' in line
  assert 'cannot write' not in line and 'space' not in line


@pytest.mark.parametrize('content', [None, b'', b'no model', b'another'])
def test_a_tokenizer_that_is_gone_or_damaged(content, tmp_path):
  """Whoever needs space deletes data/ of a finished run, and talks with its arms later."""
  path = tmp_path / 'tokenizer-1.model'
  if content is not None:
    path.write_bytes(content)
  if content == b'another':
    path.with_suffix('.sha256').write_text(hashlib.sha256(b'what was trained').hexdigest())
  ends(
    lambda: load_tokenizer(path), f'the tokenizer {path} cannot be read', 'run the experiment again'
  )
