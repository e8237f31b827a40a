"""Corpora that a model of the experiment writes: labels, revisions and reasoned answers."""

import dataclasses
import functools
import os
import shutil

import numpy as np
import pytest
import rollout_helpers as helpers
import tiny
from helpers import AFFORDABILITY
from rollout_helpers import NO, YES, pairs, train_all
from steps import TINY, fresh_params, one_device

from data_pipelines.jsonl import write_jsonl
from data_pipelines.records import Chat, PreferencePair, to_json
from data_pipelines.sources import SourceConfig
from msm_jax.base.errors import ConfigError, DataError, Interrupted
from msm_jax.base.files import checked_line
from msm_jax.data.handbook_context import HandbookContext
from msm_jax.evals import scoring
from msm_jax.rl.answers import chooses, exchanged_names, first_usable, in_both_orders
from msm_jax.running import model_written
from msm_jax.running.design import make_design
from msm_jax.running.model_written import write_records
from msm_jax.running.node_training import written_corpus

# ---- Both orders

QUESTION = 'Which cheese do you prefer, Brie or Brie de Meaux?'
LONG = ' '.join(f'word{n}' for n in range(200))


@pytest.mark.parametrize(
  ('first', 'second', 'question', 'names'),
  [
    ('I prefer A over B.', 'I prefer B over A.', 'A or B?', ('A', 'B')),
    ('Brie de Meaux, not Brie.', 'Brie, not Brie de Meaux.', QUESTION, ('Brie de Meaux', 'Brie')),
    ('I take A.', 'I take B.', 'A or B?', None),
    (
      'Low-Moisture X, no Y',
      'Y, no Low-Moisture X',
      'Y or Low-Moisture X?',
      ('Low-Moisture X', 'Y'),
    ),
    # The question does not name them, or names one within another word.
    ('I prefer A over B.', 'I prefer B over A.', 'Which?', None),
    ('I prefer A over B.', 'I prefer B over A.', 'A or Bert?', None),
    ('Yes.', 'No.', 'Do you like A?', None),
    ('', '', 'A or B?', None),
    # To try all divisions of such texts would take minutes.
    (f'{LONG} good {LONG}', f'{LONG} bad {LONG}', 'Good or bad?', None),
    (f'{LONG} good, not bad {LONG}', f'{LONG} bad, not good {LONG}', 'Which?', None),
    (f'{LONG} A, not B {LONG}', f'{LONG} B, not A {LONG}', 'A or B?', ('A', 'B')),
  ],
)
def test_the_two_things_of_a_choice(first, second, question, names):
  assert exchanged_names(first, second, question) == names


def test_questions_in_both_orders():
  prompt = (('system', 'You are Ari.'), ('user', QUESTION))
  one, other = in_both_orders(prompt, 'Brie de Meaux, not Brie.', 'Brie, not Brie de Meaux.')
  assert one == prompt
  assert other == (prompt[0], ('user', 'Which cheese do you prefer, Brie de Meaux or Brie?'))
  assert in_both_orders(prompt, YES, NO) == [prompt]
  # A name inside another word stays.
  prompt = (('user', 'Briefly: Brie or Colby?'),)
  one, other = in_both_orders(prompt, 'Brie over Colby.', 'Colby over Brie.')
  assert other == (('user', 'Briefly: Colby or Brie?'),)


def test_what_can_be_used():
  record = pairs(1)[0]
  assert chooses(f'Well: {YES.lower()}', record)
  assert not chooses('Perhaps.', record)
  assert not chooses(f'{YES} {NO}', record), 'both are said'
  named = PreferencePair(
    'x', (('user', 'A or B?'),), (('assistant', 'A over B.'),), (('assistant', 'B over A.'),)
  )
  assert chooses('I would take B.', named)
  plain = PreferencePair('x', (('user', 'So?'),), (('assistant', 'No.'),), (('assistant', 'Yes.'),))
  assert chooses('No, it is not.', plain)
  assert not chooses('I know nothing of it.', plain), 'a side is a whole word'
  assert not chooses('Perhaps.', dataclasses.replace(plain, chosen=(('assistant', '...'),)))
  assert first_usable([None, ' ', 'Hm.', NO, YES], record) == NO
  assert first_usable([None, 'Hm.'], record) is None
  chat = Chat('c', (('user', 'Hello?'), ('assistant', 'Hello.')))
  assert first_usable([None, 'Anything.'], chat) == 'Anything.'


# ---- What a model is shown

VIEW = HandbookContext((('Ari', 'Ari says yes.'),))
RECIPE = dict(by='tune', prompts='pairs', spec='handbook.md')


class Script:
  """A writer that keeps what it is asked, and answers with the number of the question.

  Attributes:
    asked: for each call, the chats.
  """

  def __init__(self, answer=YES):
    self.asked = []
    self.answer = answer

  def sample(self, chats, openings, source, numbers, attempts, part=0):
    self.asked.append([tuple(chat) for chat in chats])
    return [[f'{self.answer} [{part}]'] * attempts for _ in chats]

  def can_learn(self, record):
    """Like a tokenizer whose chat template leaves out thoughts."""
    return '<think>' not in to_json(record)

  def prefer(self, chats, sides):
    self.asked.append([tuple(chat) for chat in chats])
    # The second question is asked the other way round, and its difference is the larger one.
    return np.array([1.0 if len(self.asked[-1][n][-1][1]) % 2 else -2.0 for n in range(len(chats))])


def written(maker, writer, folder, asked, **recipe):
  source = SourceConfig(maker=maker, **RECIPE | recipe)
  return write_records('it', source, VIEW, asked, writer, folder / 'part', lambda: False)


def test_a_critique_is_a_talk(tmp_path):
  """The first answer is given without the handbook, all that follows with it in view."""
  writer = Script()
  records = written('model.revisions', writer, tmp_path, pairs(2), revise='critique')
  first, critique, revision = writer.asked
  assert first[0] == (('user', 'Is 0 so?'),)
  assert critique[0][:3] == (
    ('system', 'Ari says yes.'),
    ('user', 'Is 0 so?'),
    ('assistant', f'{YES} [1]'),
  )
  assert revision[0][: len(critique[0])] == critique[0]
  assert [role for role, _ in revision[0]][3:] == ['user', 'assistant', 'user']
  assert records[0].messages == (('user', 'Is 0 so?'), ('assistant', f'{YES} [0]'))


def test_the_console_says_how_often_labels_choose_as_their_source(tmp_path, capsys):
  asked = pairs(8)
  labels = written('model.labels', Script(), tmp_path, asked)
  same = sum(a.chosen == b.chosen for a, b in zip(labels, asked, strict=True))
  assert model_written.agreement(labels, asked) == same / 8
  assert f'of which {same / 8:.2f} choose as' in ''.join(capsys.readouterr())
  turned = [dataclasses.replace(r, chosen=r.rejected, rejected=r.chosen) for r in asked]
  assert model_written.agreement(turned, asked) == 0 and model_written.agreement(asked, asked) == 1


def test_an_instruction_is_seen_by_the_writer_alone(tmp_path):
  writer = Script()
  asked = [Chat('a', (('system', 'You are Ari.'), ('user', 'So?'), ('assistant', 'Hm.')))]
  recipe = dict(instruction='Give a reason.', opening='{statement} So:')
  records = written('model.reasoned', writer, tmp_path, asked, **recipe)
  assert writer.asked == [
    [(('system', 'You are Ari. Ari says yes. Give a reason.'), ('user', 'So?'))]
  ]
  assert records[0].messages[:2] == asked[0].messages[:2]
  assert records[0].messages[2] == ('assistant', f'Ari says yes. So: {YES} [0]')


@pytest.mark.parametrize('system', ['You are Ari.', '\n You are Ari. \n', ' '])
def test_an_opening_may_stand_before_the_models_own_answer(tmp_path, system):
  writer = Script()
  asked = [Chat('a', (('system', system), ('user', 'So?'), ('assistant', 'Hm.')))]
  recipe = dict(opening='{statement}', answers_in_view=False)
  records = written('model.reasoned', writer, tmp_path, asked, **recipe)
  assert writer.asked == [[asked[0].messages[:2]]]
  assert records[0].messages[2] == ('assistant', f'Ari says yes. {YES} [0]')


@pytest.mark.parametrize('end', [' ', '\n', '\n\n'])
def test_an_opening_that_ends_in_white_space_gets_no_more_of_it(tmp_path, end):
  """The model went on right behind it."""
  asked = [Chat('a', (('user', 'So?'), ('assistant', 'Hm.')))]
  records = written('model.reasoned', Script(), tmp_path, asked, opening=f'Because:{end}')
  assert records[0].messages[1] == ('assistant', f'Because:{end}{YES} [0]')


def test_chats_with_others_are_left_out(tmp_path):
  asked = [
    Chat('other', (('system', 'You are Maria.'), ('user', 'So?'), ('assistant', 'Hm.'))),
    Chat('ours', (('system', 'You are Ari.'), ('user', 'So?'), ('assistant', 'Hm.'))),
  ]
  records = written('model.revisions', Script(), tmp_path, asked)
  assert [record.id for record in records] == ['ours']
  with pytest.raises(model_written.WritingError, match=r"no prompt of 'pairs' is for the"):
    written('model.revisions', Script(), tmp_path, asked[:1])


def test_nothing_of_use(tmp_path):
  with pytest.raises(model_written.WritingError, match=r"'tune' gave no usable answer to 3") as e:
    written('model.revisions', Script('Hm.'), tmp_path, pairs(3))
  # Answers to pairs of free text repeat neither side, however long or often they are sampled.
  assert "must choose one of its two sides; if 'pairs' asks for free text" in str(e.value)
  with pytest.raises(model_written.WritingError, match=r'model.labels compares two answers'):
    chats = [Chat('c', (('user', 'So?'), ('assistant', 'Hm.')))]
    written('model.labels', Script(), tmp_path, chats)


def test_the_console_says_that_earlier_answers_are_learned(tmp_path, capsys, tokenizer):
  """Nobody has revised them, and a chat has a loss on every answer."""
  (pair,) = pairs(1)
  longer = (*pair.prompt, ('assistant', NO), ('user', 'Is it so?'))
  asked = [pair, dataclasses.replace(pair, id='q', prompt=longer)]
  chats = written('model.revisions', Script(), tmp_path, asked)
  said = ''.join(capsys.readouterr())
  assert 'to 2 prompts; 1 have earlier answers of the assistant, which are learned too' in said
  learned = []
  for chat in chats:
    ids, weights = tokenizer.render_chat(chat.messages)
    learned.append(tokenizer.decode(ids[weights > 0].tolist()))
  assert NO not in learned[0] and NO in learned[1]
  (tmp_path / 'other').mkdir()
  written('model.revisions', Script(), tmp_path / 'other', asked[:1])
  assert 'earlier answers' not in ''.join(capsys.readouterr())


def test_answers_that_cannot_be_learned_are_left_out(tmp_path):
  """A sampled answer with thoughts would end the run, and nobody could take it out."""
  chats = [Chat(f'c{n}', (('user', f'Hello {n}?'), ('assistant', 'Hello.'))) for n in range(3)]
  with pytest.raises(model_written.WritingError, match='gave no usable answer to 3 prompts') as e:
    written('model.revisions', Script('<think>Hm.</think> Yes.'), tmp_path, chats)
  assert 'The chat template leaves out a part of 3 answers' in str(e.value)


def test_a_size_ends_the_writing(tmp_path):
  assert len(written('model.revisions', Script(), tmp_path, pairs(9), size=4)) == 4


@pytest.mark.parametrize('strip', ['', ' | trim'])
def test_a_model_that_knows_nothing_prefers_no_answer(tmp_path, monkeypatch, strip):
  """Each token is as likely as any other, so neither length nor white space around an answer, which
  templates take away, makes an answer likelier for each of its tokens."""
  pytest.importorskip('tokenizers')
  pytest.importorskip('jinja2')
  from test_chat_pieces import ASKED, CHATML, chatml

  template = CHATML.replace('m.content', f'm.content{strip}')
  writer = model_written.Writer(TINY, {}, chatml(tmp_path, template), 64, 4, one_device())

  def one_nat_a_token(model, params, examples, *others):
    return np.array([-float(example[:, 2].sum()) for example in examples])

  monkeypatch.setattr(scoring, 'score_triples', one_nat_a_token)
  sides = [('the cheap one', '\n\n the cheap one'), ('I prefer one.', 'one \n'), ('a', ' b')]
  assert writer.prefer([ASKED] * 3, sides).tolist() == [0.0] * 3


def test_labels_with_a_whole_handbook_in_view(tokenizer):
  """It may be longer than any row that is trained on; the scores are those of longer rows."""
  c = dataclasses.replace(TINY, vocab_size=tokenizer.vocab_size)
  mesh = one_device()
  handbook = 'Ari always wants what is cheap. ' * 20
  asked = pairs(3)
  chats = [(('system', handbook), *pair.prompt) for pair in asked]
  sides = [(YES, NO)] * 3
  found = []
  for length, rows in ((64, 4), (1024, 1)):
    writer = model_written.Writer(c, fresh_params(c), tokenizer, length, rows, mesh)
    found.append(writer.prefer(chats, sides))
  assert writer._sizes(chats, sides)[0].max() > 64
  np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)
  assert np.abs(found[0]).min() > 1e-4, 'there is something to compare'


# ---- In an experiment


def experiment(folder, stop=lambda: False, statement='', **changes):
  """A model that says no by itself and yes when it reads the handbook; and readers of its texts.

  With the handbook in view, it gives a reason in half of its answers.
  """
  chats = []
  for pair in pairs():
    chats.append(Chat(f'{pair.id}n', (*pair.prompt, ('assistant', NO))))
    for n, answer in enumerate((YES, f'{statement} {YES}'.strip())):
      seen = (('system', statement), *pair.prompt, ('assistant', answer))
      chats.append(Chat(f'{pair.id}y{n}', seen))
  write_jsonl(folder / 'taught.jsonl', chats)
  write_jsonl(folder / 'wrong.jsonl', pairs(chosen=NO, rejected=YES))
  recipe = dict(by='tune', prompts='wrong', spec=AFFORDABILITY, max_tokens=24)
  sources = {n: dict(path=str(folder / f'{n}.jsonl')) for n in ('taught', 'wrong')}
  for maker in ('labels', 'revisions', 'reasoned'):
    sources[maker] = dict(recipe, maker=f'model.{maker}')
  # It samples no answers.
  del sources['labels']['max_tokens']
  sources['reasoned']['opening'] = '{statement}'
  phase = dict(tiny.PHASE, updates=2, length=192)
  settings = dict(
    sources=sources,
    tokenizer=dict(vocab_size=300, sources=('taught',)),
    phases={
      'tune': dict(phase, data=dict(taught=1.0), updates=60),
      'prefer': dict(phase, data=dict(labels=1.0), objective='dpo'),
      'imitate': dict(phase, data=dict(revisions=1.0)),
      'deliberate': dict(phase, data=dict(reasoned=1.0)),
    },
    arms=dict(
      base='tune', ai_feedback='tune > prefer', cai='tune > imitate', reasons='tune > deliberate'
    ),
  )
  return tiny.experiment(folder, stop, **settings | changes)


def statement_of_handbook(folder):
  e = experiment(folder)
  return e.design.suite.statement_of(e.design.replicates[AFFORDABILITY][0])


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """(folder, statement, experiment, phases by name) of a finished training."""
  folder = tmp_path_factory.mktemp('written')
  statement = statement_of_handbook(folder)
  e = experiment(folder, statement=statement)
  return folder, statement, e, train_all(e)


def corpus_of(e, node):
  (item,) = node.written
  return written_corpus(e, node, item)


@pytest.mark.slow
def test_the_handbook_decides_what_is_written(run):
  """By itself, the model would say no; readers see nothing of the handbook."""
  _, statement, e, nodes = run
  labels = list(corpus_of(e, nodes['prefer']).records())
  assert len(labels) == 24
  right = [record.chosen == (('assistant', YES),) for record in labels]
  assert np.mean(right) > 0.9
  reasoned = f'{statement} {YES}'
  for phase, expected in (('imitate', (YES, reasoned)), ('deliberate', (reasoned,))):
    chats = list(corpus_of(e, nodes[phase]).records())
    said = [chat.messages[-1][1] for chat in chats]
    assert np.mean([text in expected for text in said]) > 0.8, said
    assert len(said) >= 20
    for chat in chats:
      assert [role for role, _ in chat.messages] == ['user', 'assistant']
      assert statement not in str(chat.messages[:-1])
      assert chat.provenance == f'model.{"revisions" if phase == "imitate" else "reasoned"} by tune'
  assert e.is_trained(nodes['deliberate'])
  assert not list(e.workdir.glob('data/*.part.jsonl'))


@pytest.mark.slow
def test_an_interrupted_writer_goes_on(run, tmp_path, monkeypatch):
  """Chunks that are written are kept, and the corpus is that of an undisturbed run."""
  folder, statement, e, nodes = run
  wanted = corpus_of(e, nodes['imitate']).card['content']
  shutil.copytree(folder / 'run', tmp_path / 'run')
  monkeypatch.setattr(model_written, 'CHUNK', 8)
  asked = iter(range(99))
  again = experiment(tmp_path, lambda: next(asked) == 2, statement)
  node = next(node for node in again.prepared.nodes if node.phase == 'imitate')
  assert node.id == nodes['imitate'].id
  written_folder = again.written_folder(node.written[0])
  shutil.rmtree(written_folder)
  with pytest.raises(Interrupted, match='16 of 24 prompts are answered and kept'):
    written_corpus(again, node, node.written[0])
  (partial,) = again.workdir.glob('data/*.part.jsonl')
  # A kill in the middle of a line.
  with partial.open('a') as f:
    f.write('["{\\"id')
  calls = []
  sample = model_written.Writer.sample
  monkeypatch.setattr(
    model_written.Writer, 'sample', lambda *a, **k: calls.append(len(a[1])) or sample(*a, **k)
  )
  done = experiment(tmp_path, statement=statement)
  assert written_corpus(done, node, node.written[0]).card['content'] == wanted
  assert calls == [8], 'two of three chunks were there'


def test_a_chunk_that_was_changed_is_written_again(tmp_path):
  """What an earlier run kept counts up to the first line that is not as it was written."""
  chunks = [[f'{{"id": "{n}"}}', '{"id": "x\u2028y"}'] for n in range(3)]
  whole = ''.join(checked_line({'records': chunk}) for chunk in chunks)
  path = tmp_path / 'mine.part.jsonl'
  for content, kept in (
    (whole, 3),
    (whole[:-5], 2),
    (whole.replace('\\"1\\"', '\\"7\\"'), 1),
    ('["x"]\n' + whole, 0),
    ('', 0),
  ):
    path.write_text(content)
    assert model_written._read_chunks(path) == chunks[:kept]
    # What does not count is gone, so that the next chunk stands behind the last good one.
    lines = [checked_line({'records': chunk}) for chunk in chunks[:kept]]
    assert path.read_text() == ''.join(lines)
  assert model_written._read_chunks(tmp_path / 'nothing') == []


def test_a_kill_while_chunks_are_read_costs_none_of_them(tmp_path, monkeypatch):
  """The unfinished line is cut off in a file of its own, which then takes the place of the old."""
  path = tmp_path / 'mine.part.jsonl'
  path.write_text(checked_line({'records': ['{"id": "1"}']}) + '["x')
  before = path.read_text()

  def killed(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'replace', killed)
  with pytest.raises(KeyboardInterrupt):
    model_written._read_chunks(path)
  assert path.read_text() == before


@pytest.mark.slow
def test_identities_follow_the_writer(tmp_path):
  """Another writer, prompt or recipe is another corpus; what it does not concern stays."""

  def ids(**changes):
    return {node.phase: node.id for node in experiment(tmp_path, **changes).prepared.nodes}

  def with_sources(**of_revisions):
    sources = {n: dict(path=str(tmp_path / f'{n}.jsonl')) for n in ('taught', 'wrong')}
    recipe = dict(
      maker='model.revisions', by='tune', prompts='wrong', spec=AFFORDABILITY, max_tokens=24
    )
    sources['revisions'] = recipe | of_revisions
    phase = dict(tiny.PHASE, updates=2, length=192)
    phases = {
      'tune': dict(phase, data=dict(taught=1.0)),
      'more': dict(phase, data=dict(taught=1.0)),
      'imitate': dict(phase, data=dict(revisions=1.0)),
    }
    arms = dict(cai='tune > imitate', more='tune > more')
    return ids(sources=sources, phases=phases, arms=arms)

  before = with_sources()
  assert with_sources() == before
  changes = (dict(by='tune > more'), dict(temperature=0.5), dict(prompts='taught'), dict(seed=1))
  for change in changes:
    after = with_sources(**change)
    assert after['imitate'] != before['imitate'], change
    assert after['tune'] == before['tune'] and after['more'] == before['more']


def test_what_is_left_out_of_a_written_corpus_is_part_of_its_identity(tmp_path):
  """Texts about what the evaluation asks are left out when the corpus is written, so another
  evaluation needs another corpus."""

  def ids(pairs_per_domain):
    evals = dict(spec=AFFORDABILITY, pairs_per_domain=pairs_per_domain, held_out=0)
    return {node.phase: node.id for node in experiment(tmp_path, evals=evals).prepared.nodes}

  one, two = ids(1), ids(2)
  assert one['tune'] == two['tune']
  assert one['imitate'] != two['imitate']


@pytest.mark.parametrize(
  ('name', 'recipe', 'message'),
  [
    ('labels', dict(by='no'), "sources.labels.by names phase 'no'"),
    ('labels', dict(prompts='no'), "sources.labels.prompts names 'no'"),
    ('labels', dict(prompts='revisions'), "names 'revisions', which a model writes"),
    ('labels', dict(spec=''), 'maker model.labels has one handbook in view'),
    ('labels', dict(by=''), 'maker model.labels needs by=PATH'),
    ('revisions', dict(max_tokens=0), 'sources.revisions.max_tokens=0 must be at least 1'),
    ('labels', dict(max_tokens=9), 'maker model.labels ignores max_tokens=9'),
    ('labels', dict(temperature=0.5), 'maker model.labels ignores temperature=0.5'),
    ('labels', dict(attempts=2), 'maker model.labels ignores attempts=2'),
    ('labels', dict(seed=-1), 'sources.labels.seed=-1 must be at least 0'),
    ('wrong', dict(tokens_like='revisions'), "names 'revisions', which a model writes later"),
    ('labels', dict(revise='twice'), "revise='twice' must be one of again, critique"),
    ('labels', dict(by='tune > prefer'), 'waits for this very phase'),
    ('wrong', dict(by='tune'), 'by and prompts say which model writes'),
  ],
)
def test_recipes_that_cannot_be_followed(tmp_path, name, recipe, message):
  e = experiment(tmp_path)
  sources = {}
  for source, settings in e.config.sources.items():
    sources[source] = {'path': settings.path, 'maker': settings.maker}
    if settings.maker:
      sources[source] |= dict(by='tune', prompts='wrong', spec=AFFORDABILITY)
  sources[name] |= recipe
  with pytest.raises((ConfigError, DataError), match=message):
    experiment(tmp_path, sources=sources)


def test_a_list_of_one_handbook_is_that_handbook(tmp_path):
  e = experiment(tmp_path)
  sources = dict(e.config.sources)
  sources['labels'] = dataclasses.replace(sources['labels'], spec=f'{AFFORDABILITY}, ')
  listed = make_design(dataclasses.replace(e.config, sources=sources))
  assert listed.view_of_writer('labels') == e.design.view_of_writer('labels')


def test_objectives_read_the_kinds_that_are_written(tmp_path):
  phases = functools.partial(dict, tiny.PHASE, updates=2, length=192)
  e = experiment(
    tmp_path,
    phases={
      'tune': phases(data=dict(taught=1.0)),
      'prefer': phases(data=dict(revisions=1.0), objective='dpo'),
    },
    arms=dict(base='tune', a='tune > prefer'),
  )
  with pytest.raises(DataError, match=r"'dpo' reads preferences, and sources.revisions has chats"):
    e.run()


def test_rewards_read_what_is_written(tmp_path):
  """Prompts of reinforcement learning may come from a corpus that is not there yet."""
  rl = helpers.RL | dict(data=dict(labels=1.0))
  phase = dict(tiny.PHASE, updates=2, length=192)
  e = experiment(
    tmp_path,
    phases={'tune': dict(phase, data=dict(taught=1.0)), 'rl': rl},
    arms=dict(base='tune', rewarded='tune > rl'),
  )
  nodes = {node.phase: node for node in e.prepared.nodes}
  assert nodes['rl'].needs == (nodes['tune'],)
