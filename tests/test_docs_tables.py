"""The numbers of the documentation come from stored results (docs/tables.py)."""

import copy
import json

import pytest
import tables
from helpers import ROOT
from published import blocks, numbers
from published import stored as stored_files

from msm_jax.report import numbers as shown_numbers

MARGIN = 'margin/conflict/new_domains'
SHARE = 'preferences/conflict/new_domains'


def number(mean, low=None, high=None, lowest=None, highest=None, each=()):
  return {
    'mean': mean,
    'low': low,
    'high': high,
    'lowest': lowest,
    'highest': highest,
    'runs': len(each),
    'items': 4,
    'each': list(each),
    'seeds': len(each),
  }


PAIRS = {
  'pairs': 40,
  'exclude_zero': 2,
  'share': 0.05,
  'rms': 0.4,
  'one_seed_pairs': 120,
  'one_seed_exclude_zero': 50,
}
STORED = {
  'command': 'make run CONFIG=configs/cheese.py:confirm',
  'commit': '0123456789abcdef',
  'dirty': False,
  'date': '2026-11-29',
  'config': {'world_seeds': [0, 1]},
  'layout': {
    'main': SHARE,
    'share': 'conflict: share choosing cheap',
    'columns': [SHARE],
    'effects': [SHARE],
    'controls': [],
  },
  'summary': {
    'setting': 'world',
    'assistant': 'Ari',
    'value': 'price:cheap',
    'rival': 'origin:home',
    'primary': 'midtraining',
    'seeds': [3, 4, 10],
    'what_varies': ['initialisation', 'corpora'],
    'arms': {
      'aft': {SHARE: number(0.5, None, None, 0.25, 0.75, (0.25, 0.5, 0.75))},
      'msm_aft': {
        SHARE: number(0.93, None, None, 0.83, 0.99, (0.83, 0.97, 0.99)),
        MARGIN: number(5.2, 3.1, 7.3, 4.0, 6.0, (4.0, 5.6, 6.0)),
      },
    },
    'effects': {
      'midtraining': {
        'arms': ['msm_aft', 'aft'],
        SHARE: number(0.43, None, None, 0.24, 0.58, (0.58, 0.47, 0.24)),
        MARGIN: number(-0.001, -1.0, 1.0, -0.5, 0.5, (-0.5, 0.0, 0.5)),
      }
    },
    'gates': {
      'base: document-only personas': {
        'value': 0.953,
        'floor': 0.9,
        'passed': True,
        'rows': 256,
        'standard_error': 0.0132,
      },
      'facts: perplexity': {'value': 1.3, 'ceiling': 1.25, 'passed': False},
    },
  },
  'placebo': {'bar': 0.07, 'measures': {MARGIN: PAIRS}, 'kinds': {'filler': {MARGIN: PAIRS}}},
}


@pytest.fixture
def stored(tmp_path, monkeypatch):
  """A stored file `mine` in a folder of its own."""
  monkeypatch.setattr(stored_files, 'DATA', tmp_path)
  (tmp_path / 'mine.json').write_text(stored_files.dumped(STORED))
  return copy.deepcopy(STORED)


def block(asked):
  page = f'Before.\n\n<!-- table: {asked} -->\n<!-- end -->\n'
  return tables.filled(page).split('-->\n', 1)[1].rsplit('<!-- end', 1)[0].strip()


def test_the_tables_of_all_pages_are_those_that_the_script_makes():
  """After `make tables` this passes; CI fails where a table was edited by hand."""
  for page in tables.pages():
    text = page.read_text()
    assert tables.filled(text) == text, f'{page}: run `make tables`'


@pytest.mark.slow
def test_every_figure_of_a_page_occurs_in_a_stored_result():
  for page in tables.pages():
    assert not tables.unsupported(page.read_text()), page


def test_few_pages_have_numbers_that_no_stored_file_holds():
  """These hold the audit of a corpus, and an earlier design until the log has it."""
  exempt = {str(p.relative_to(ROOT)) for p in tables.pages() if '<!-- not stored' in p.read_text()}
  assert exempt <= {'docs/results/oversight_earlier.md', 'docs/results/corpora.md'}


def test_stored_files_say_where_they_come_from():
  for path in sorted(stored_files.DATA.glob('*.json')):
    found = json.loads(path.read_text())
    missing = {'command', 'commit', 'dirty', 'date', 'config', 'summary', 'layout'} - set(found)
    assert not missing, f'{path} lacks {missing}'


def test_numbers_have_an_interval_or_a_range():
  arm = STORED['summary']['arms']['msm_aft']
  assert shown_numbers.show(arm[MARGIN]) == '5.20 [3.10, 7.30]'
  assert shown_numbers.show(arm[SHARE]) == '0.93 {0.83..0.99}'
  assert shown_numbers.show(arm[SHARE], sign='+') == '+0.93 {+0.83..+0.99}'
  assert shown_numbers.show(number(-0.001)) == '0.00'
  # Whether an interval excludes 0 must not be rounded away.
  assert shown_numbers.show(number(-4.5, -8.9, -0.012), 1, '+') == '-4.5 [-8.9, -0.01]'
  assert shown_numbers.show(number(1.1, 0.004, 2.3), 1, '+') == '+1.1 [+0.004, +2.3]'
  assert shown_numbers.show(number(1.1, 0.0, 2.3), 1, '+') == '+1.1 [+0.0, +2.3]'
  assert shown_numbers.show(None) == '-'


def test_blocks_are_filled_in(stored):
  assert block('mine arms') == (
    '| arm | conflict, new domains |\n'
    '| --- | --: |\n'
    '| aft | 0.50 {0.25..0.75} |\n'
    '| msm_aft | 0.93 {0.83..0.99} |'
  )
  assert block(f'mine arms rows=msm* columns={MARGIN}').endswith('| +5.2 [+3.1, +7.3] |')
  assert block(f'mine effects columns={MARGIN},{SHARE}').splitlines()[2] == (
    '| midtraining (primary) | msm_aft - aft | +0.0 [-1.0, +1.0] | +0.43 {+0.24..+0.58} |'
  )
  assert block('mine effects contrast=no').startswith('| effect | conflict, new domains |')
  assert block('mine seeds').splitlines()[0] == (
    '| conflict, new domains | seed 3, world 1 | seed 4, world 0 | seed 10, world 0 |'
  )
  assert block(f'mine worlds measure={SHARE}').splitlines()[2] == (
    '| midtraining | +0.35 | +0.58 |'
  )
  assert block('mine gates').splitlines()[2:] == [
    '| base: document-only personas | 0.953 ± 0.013 | 256 | ≥ 0.9 | passed |',
    '| facts: perplexity | 1.300 |  | ≤ 1.25 | **missed** |',
  ]
  assert block('mine origin') == (
    'Made by `make run CONFIG=configs/cheese.py:confirm` at commit 0123456 on 2026-11-29; '
    'seeds 3, 4, 10. Between seeds vary: initialisation, corpora. Braces: range over 3 seeds; '
    'brackets: 95% interval over 3 seeds (Student t), for these questions.'
  )
  assert block("mine row aft='no handbook' midtraining=difference").splitlines() == [
    '| no handbook | difference |',
    '| --- | --: |',
    '| 0.50 {0.25..0.75} | +0.43 {+0.24..+0.58} |',
  ]
  counted = '| 40 | 2 | 5.0% | 0.40 | 50 of 120 |'
  assert f'new domains (primary) {counted}' in block('mine placebo')
  assert f'| filler {counted}' in block('mine placebo by=kind')
  verdict = block('mine verdict')
  assert '2 (5.0%) exclude zero; at most 7% may. The bar is met.' in verdict.replace('\n', ' ')
  assert max(map(len, verdict.splitlines())) <= 100
  # Seeds 4 and 10 share world 0, so two worlds are too few for an interval.
  firm = block('mine robustness').splitlines()
  assert firm[0] == '| effect | nats | seeds above 0 | p | p, corrected | over worlds |'
  assert firm[2] == '| midtraining (primary) | +0.0 [-1.0, +1.0] | 1 of 3 | 1.000 | - | - |'


def test_p_values_are_corrected_for_the_rows_that_are_shown(stored):
  # Two equal effects: Holm multiplies the first of them by their number.
  change = number(1.0, 0.5, 1.5, 0.8, 1.2, (0.8, 1.0, 1.2))
  effects = stored['summary']['effects']
  for name in ('change by a', 'change by b', 'filler'):
    effects[name] = {'arms': ['msm_aft', 'aft'], MARGIN: change}
  (stored_files.DATA / 'mine.json').write_text(stored_files.dumped(stored))
  rows = block('mine robustness rows="change by *"').splitlines()[2:]
  assert [row.split(' | ')[3:5] for row in rows] == [['0.013', '0.026'], ['0.013', '0.026']]
  corrected = [row.split(' | ')[4] for row in block('mine robustness').splitlines()[3:]]
  assert corrected == ['0.039'] * 3


def test_p_values_of_another_measure_can_be_shown(stored):
  """A plan may name another measure as primary than the main one of the report."""
  effects = stored['summary']['effects']
  effects['midtraining']['margin/conflict/criteria'] = number(
    2.0, 1.5, 2.5, 1.8, 2.2, (1.8, 2.0, 2.2)
  )
  effects['filler'] = {
    'arms': ['msm_aft', 'aft'],
    'margin/conflict/criteria': number(1.0, 0.5, 1.5, 0.8, 1.2, (0.8, 1.0, 1.2)),
  }
  (stored_files.DATA / 'mine.json').write_text(stored_files.dumped(stored))
  for measure in ('stated/conflict/criteria', 'margin/conflict/criteria'):
    assert block(f'mine robustness measure={measure}').splitlines()[2:] == [
      '| midtraining (primary) | +2.0 [+1.5, +2.5] | 3 of 3 | 0.003 | - | - |',
      '| filler | +1.0 [+0.5, +1.5] | 3 of 3 | 0.013 | 0.013 | - |',
    ]
  with pytest.raises(stored_files.TableError, match=r'no effect of mine\.json has margin/a/b'):
    block('mine robustness measure=stated/a/b')


def test_an_effect_is_shown_in_every_wording(stored):
  with pytest.raises(stored_files.TableError, match='has no effects by wordings'):
    block('mine wordings')
  stored['summary']['wordings'] = {
    'examples': {'conflict/criteria': {'wording 00': 'The price or the country?'}},
    'effects': {
      'midtraining': {'conflict/criteria': {'wording 00': [1.0, 1.2, 1.5]}},
      'filler': {'conflict/criteria': {'wording 00': [-0.4, -0.5, -0.6]}},
    },
  }
  (stored_files.DATA / 'mine.json').write_text(stored_files.dumped(stored))
  assert block('mine wordings').splitlines() == [
    '| what | one of the questions | midtraining (nats) |',
    '| --- | --: | --: |',
    '| conflict/criteria | The price or the country? | +1.2 |',
  ]
  assert block('mine wordings effect=filler what=*/criteria').endswith('| -0.5 |')
  with pytest.raises(stored_files.TableError, match='effect=none is none of midtraining, filler'):
    block('mine wordings effect=none')


def test_an_effect_is_shown_with_and_without_some_wordings(stored):
  """Means over wordings and seeds, with Student's t over the means of three seeds."""
  of_wordings = {
    'wording 00': [1.0, 2.0, 3.0],
    'wording 01': [3.0, 4.0, 5.0],
    'wording 02': [-1.0, -1.0, -2.5],
  }
  stored['summary']['wordings'] = {
    'examples': {'conflict/criteria': dict.fromkeys(of_wordings, 'The price or the country?')},
    'effects': {'midtraining': {'conflict/criteria': of_wordings}, 'filler': {}},
  }
  (stored_files.DATA / 'mine.json').write_text(stored_files.dumped(stored))
  asked = 'mine wordings_together what=conflict/criteria'
  # The means of seeds are 2, 3 and 4; -1, -1 and -2.5; and 1, 1.667 and 1.833. Each interval has
  # 4.303 standard errors to either side.
  assert block(f"{asked} some='wording 00,*01' name='of training texts'").splitlines() == [
    '| wordings | above zero | midtraining (nats) |',
    '| --- | --: | --: |',
    '| all | 2 of 3 | +1.5 [+0.4, +2.6] |',
    '| of training texts | 2 of 2 | +3.0 [+0.5, +5.5] |',
    '| the others | 0 of 1 | -1.5 [-3.7, +0.7] |',
  ]
  assert len(block(asked).splitlines()) == 3
  with pytest.raises(stored_files.TableError, match=r'what=None is none of conflict/criteria'):
    block('mine wordings_together')
  # A name that another row has takes no row away.
  named = block(f"{asked} some='wording 00,*01' name='the others'").splitlines()[3:]
  assert named == [
    '| the others | 2 of 2 | +3.0 [+0.5, +5.5] |',
    '| the others | 0 of 1 | -1.5 [-3.7, +0.7] |',
  ]
  for wrong in ('wording 9', 'wording 9*'):
    with pytest.raises(stored_files.TableError, match=r'wording 9.* is none of wording 00, '):
      block(f"{asked} some='{wrong}'")


def test_measures_that_may_show_nothing_have_a_block_of_their_own(stored):
  plans, known = 'preferences/conflict/policy', 'personas/policy/documents_and_chats'
  arms = stored['summary']['arms']
  arms['aft'] |= {plans: number(0.4), known: number(0.53), 'margin/price/policy': number(1.0)}
  stored['summary']['base'] = 'aft'
  (stored_files.DATA / 'mine.json').write_text(stored_files.dumped(stored))
  everything = block('mine arms columns=*')
  assert 'personas' not in everything and 'policy' not in everything
  with pytest.raises(stored_files.TableError, match='blocks of the kind limited alone'):
    block(f'mine arms columns={plans}')
  shown = block('mine limited').splitlines()
  assert shown[0].endswith('So the shares below can show nothing about a handbook.')
  assert shown[2:] == [
    '| who | conflict, policy |',
    '| --- | --: |',
    '| right about people of known conduct (aft) | 0.53 |',
    '| aft | 0.40 |',
  ]


def test_seeds_can_be_left_out(stored):
  # Two seeds have no interval, and the order of the seeds is that of numbers.
  assert block(f'mine arms rows=msm_aft columns={MARGIN},{SHARE} without=4').endswith(
    '| msm_aft | +5.0 {+4.0..+6.0} | 0.91 {0.83..0.99} |'
  )
  kept = numbers.only_seeds(stored, [3, 4, 10])['summary']['arms']['msm_aft']
  assert kept[MARGIN]['mean'] == pytest.approx(5.2)
  # Student's t of three seeds: 4.303 standard errors to either side.
  assert kept[MARGIN]['high'] - kept[MARGIN]['mean'] == pytest.approx(4.303 * 0.6110, rel=1e-3)
  assert kept[SHARE]['low'] is None
  with pytest.raises(stored_files.TableError, match='were not run'):
    numbers.only_seeds(stored, [11])


@pytest.mark.parametrize('without', ['5', '4,5', 'four', '3,4,10', '4,'])
def test_seeds_to_leave_out_must_be_some_of_those_that_were_run(stored, without):
  """The block would show all seeds under the name of some."""
  with pytest.raises(stored_files.TableError, match='must name some of the seeds 3, 4, 10'):
    block(f'mine arms without={without}')
  assert block('mine arms without=10,4') == block('mine arms "without=4, 10"')


def test_blocks_of_all_seeds_alone_refuse_to_leave_some_out(stored):
  """Their numbers would be those of all seeds under the name of some."""
  for kind in ('terminal', 'gates', 'verdict', 'placebo'):
    with pytest.raises(stored_files.TableError, match='no seeds can be left out of this block'):
      block(f'mine {kind} without=4')
  shown = block("mine row aft='no handbook' without=4").splitlines()
  assert shown == ['| no handbook |', '| --- |', '| 0.50 {0.25..0.75} |']


def test_numbers_without_some_seeds_know_how_much_was_asked(stored):
  arm = stored['summary']['arms']['aft']
  arm[SHARE] = {**arm[SHARE], 'clusters': 12}
  # This number is not defined for one of the three seeds.
  arm['consistency/spread/scenes'] = number(0.2, None, None, 0.1, 0.3, (0.1, 0.3))
  kept = numbers.only_seeds(stored, [3, 10])['summary']['arms']['aft']
  assert kept[SHARE]['clusters'] == 12 and kept[SHARE]['items'] == 4
  assert 'consistency/spread/scenes' not in kept


def test_a_world_without_seeds_has_no_mean(stored):
  # Seed 3 alone has world 1.
  left = numbers.only_seeds(stored, [4, 10])
  block = blocks.parsed('name worlds of=arms rows=aft')
  assert blocks.worlds_table(block, left).endswith('| aft | 0.62 | - |')


def test_a_stored_file_without_placebo_pairs_says_how_to_get_them(stored):
  without = {key: value for key, value in stored.items() if key != 'placebo'}
  with pytest.raises(stored_files.TableError, match='no verdict on placebo pairs'):
    blocks.placebo(blocks.parsed('name placebo'), without)


def test_what_is_not_stored_yet_says_so(stored):
  assert block('other arms') == '*Not run yet.*'


@pytest.mark.parametrize(
  'asked, message',
  [
    ('mine curves', 'is none of arms'),
    ('mine arms columns', 'write key=value'),
    ('mine', 'write FILE KIND'),
    ("mine arms rows='x", 'options with closed quotes'),
    ('mine arms columns=preferences/conflict/lost', 'is none of'),
    ("mine row lost='x'", 'neither an arm nor an effect'),
  ],
)
def test_a_block_that_asks_for_what_there_is_not_is_refused(stored, asked, message):
  with pytest.raises(stored_files.TableError, match=message):
    block(asked)


@pytest.mark.parametrize(
  'figure',
  [
    '5.2 [3.1, 7.3]',
    '+5.2 [+3.1,\n+7.3]',
    '**0.93** {0.83..0.99}',
    '5 [3, 7]',
    '0.430 {0.240..0.580}',
  ],
)
def test_figures_of_stored_files_may_stand_in_text(stored, figure):
  assert not tables.unsupported(f'<!-- results: mine -->\nIt is {figure} here.')


def test_other_figures_are_found(stored):
  page = 'It is 0.94 {0.83..0.99}, 5.2 [3.1,\n7.4] and +0.89 [+0.59, +1.00].'
  found = ['0.94 {0.83..0.99}', '5.2 [3.1, 7.4]', '+0.89 [+0.59, +1.00]']
  assert tables.unsupported(f'<!-- results: mine -->\n{page}') == found
  # A page that names no file has no figures.
  assert tables.unsupported('5.2 [3.1, 7.3]') == ['5.2 [3.1, 7.3]']
  marked = f'<!-- not stored: old -->\n{page}\n<!-- end not stored -->'
  assert tables.unsupported(marked) == []


def test_a_run_is_stored_with_its_commit_and_settings(tmp_path, monkeypatch):
  monkeypatch.setattr(stored_files, 'DATA', tmp_path / 'data')
  summary = {**STORED['summary'], 'setting': 'english', 'name': 'mine', 'commit': 'abc'}
  summary['dirty'] = True
  (tmp_path / 'config.json').write_text('{"name": "mine"}')
  (tmp_path / 'summary.json').write_text(json.dumps({**summary, 'commit': ''}))
  with pytest.raises(stored_files.TableError, match='names no commit'):
    stored_files.store(tmp_path, 'kept', 'make run')
  (tmp_path / 'summary.json').write_text(json.dumps(summary))
  stored_files.store(tmp_path, 'kept', 'make run')
  found = stored_files.load('kept')
  assert found['summary'] == summary and found['config'] == {'name': 'mine'}
  assert (found['command'], found['commit'], found['dirty']) == ('make run', 'abc', True)
  assert 'with changes that were not committed' in block('kept origin')


def test_the_check_fails_where_a_page_differs(stored, tmp_path, monkeypatch, capsys):
  monkeypatch.setattr(tables, 'ROOT', tmp_path)
  page = tmp_path / 'README.md'
  page.write_text('<!-- table: mine arms -->\nedited by hand\n<!-- end -->\n')
  monkeypatch.setattr(tables, 'pages', lambda: [page])
  assert tables.update(check=True) == 1
  assert 'edited by hand' in page.read_text()
  assert tables.update(check=False) == 0
  assert tables.update(check=True) == 0
  assert capsys.readouterr().out.count('README.md') == 2
