"""What stands beside the table of arms, in the terminal and on the page."""

import warnings

import pytest
from published import blocks

from msm_jax.report import beside, figures, limited
from msm_jax.report.page import write_report
from msm_jax.report.terminal import table
from msm_jax.suites.choices import choice_layout
from msm_jax.suites.registry import layout_of

MAIN = 'preferences/conflict/new_domains'


def number(mean):
  """A number of one seed, as summary.json holds it."""
  return {
    'mean': mean,
    'low': None,
    'high': None,
    'lowest': mean,
    'highest': mean,
    'runs': 1,
    'items': 8,
    'clusters': 8,
    'each': [mean],
    'seeds': 1,
  }


def summary():
  measures = {
    MAIN: number(0.5),
    'preferences/price/new_domains': number(0.5),
    'preferences/age/new_domains': number(0.5),
    'personas/ceiling/price:cheap': number(0.97),
    'personas/ceiling/origin:home': number(0.03),
  }
  no_model = {'bag of words': {'new_domains': 1.0, 'policy': 0.4}}
  return {
    'name': 't <t>',
    'setting': 'world',
    'assistant': 'Ari',
    'value': 'price:cheap',
    'rival': 'origin:home',
    'seeds': [0],
    'base': 'start',
    'arms': {
      'aft': measures | {'personas/ceiling/price:cheap': number(0.11)},
      'start': measures,
      'msm': measures,
      'msm_aft': measures,
    },
    'effects': {},
    'gates': {},
    'no_model': {'msm': no_model, 'msm_aft': no_model},
  }


def test_people_of_the_base_and_arms_that_count_alike():
  contents = summary()
  layout = choice_layout(contents)
  rows = beside.reference_rows(contents, layout, lambda stat: f'{stat["mean"]:.2f}')
  assert rows == [
    ['document-only people who choose by price:cheap (start)', '0.97'],
    ['document-only people who choose by origin:home (start)', '0.03'],
    ['no model, bag of words: msm, msm_aft', '1.00'],
  ]
  contents['no_model']['msm_aft'] = {'bag of words': {'new_domains': 0.2}}
  rows = beside.reference_rows(contents, layout)
  names = [name for name, _ in rows[2:]]
  assert names == ['no model, bag of words: msm', 'no model, bag of words: msm_aft']


def test_terminal_and_page_show_them(tmp_path):
  contents = summary()
  layout = choice_layout(contents)
  shown = table(contents, layout)
  assert 'no model, bag of words: msm, msm_aft' in shown
  assert 'document-only people who choose by origin:home (start)' in shown
  write_report(tmp_path / 'report.html', contents, [], layout)
  page = (tmp_path / 'report.html').read_text()
  assert beside.TITLE in page
  assert 'no model, bag of words: msm, msm_aft' in page


@pytest.mark.slow
def test_the_page_says_what_varies_and_whose_corpora_it_shows(tmp_path):
  contents = summary()
  layout = choice_layout(contents)
  contents['corpora'] = {'facts': {'kind': 'documents', 'records': 9, 'tokens': 99}}
  of_seed = 'Every seed has corpora of its own.'

  def page():
    write_report(tmp_path / 'report.html', contents, [], layout)
    return (tmp_path / 'report.html').read_text()

  contents['what_varies'] = ['initialisation', 'corpora']
  assert of_seed not in page() and 'Between seeds vary' not in page()
  contents['seeds'] = [3, 4]
  assert 'Words are counted in the corpora of the first seed' in page()
  assert of_seed in page() and 'Between seeds vary: initialisation, corpora.' in page()
  contents['what_varies'] = ['initialisation', 'corpora (facts)']
  assert 'Every seed has some corpora of its own.' in page()
  contents['what_varies'] = ['initialisation']
  assert of_seed not in page()


PLANS, KNOWN = 'preferences/conflict/policy', 'personas/policy/documents_and_chats'


def summary_with_plans(ceiling):
  """Every arm chooses between held-out plans, and the base is right so often about people."""
  contents = summary()
  for measures in contents['arms'].values():
    measures[PLANS] = number(0.37)
  contents['arms']['start'] = contents['arms']['start'] | {KNOWN: number(ceiling)}
  effect = {'arms': ['msm_aft', 'aft'], MAIN: number(0.1), PLANS: number(0.2)}
  return contents | {'effects': {'midtraining': effect}}


def test_a_measure_that_can_show_nothing_stands_beside_its_ceiling_alone(tmp_path):
  contents = summary_with_plans(0.53)
  layout = choice_layout(contents)
  assert layout.limited == {PLANS: KNOWN}
  assert not {PLANS, KNOWN} & {*layout.columns, *layout.effects, *layout.tiers, *layout.ceilings}
  rows = limited.rows_of(contents, layout, lambda stat: f'{stat["mean"]:.2f}')[PLANS]
  assert rows[0] == ['right about people of known conduct (start)', '0.53']
  assert rows[1:] == [[arm, '0.37'] for arm in contents['arms']]
  shown = table(contents, layout)
  said = 'right about people of known conduct in 0.53 of such questions; 0.5 is chance'
  in_one_line = ' '.join(shown.split())
  assert said in in_one_line and 'can show nothing about a handbook' in in_one_line
  # The tables of arms and of effects have no such column.
  assert shown.count('policy') == 2
  write_report(tmp_path / 'report.html', contents, [], layout)
  page = (tmp_path / 'report.html').read_text()
  assert said in page and limited.TITLE in page
  assert page.count('conflict/<wbr>policy') == 1


def test_where_the_base_knows_people_their_share_is_the_ceiling():
  contents = summary_with_plans(0.97)
  said = limited.verdict(contents, choice_layout(contents), PLANS)
  assert said.endswith('Shares below are to be compared with this one')


def test_a_measure_without_people_of_known_conduct_has_no_table():
  contents = summary_with_plans(0.53)
  del contents['arms']['start'][KNOWN]
  layout = choice_layout(contents)
  assert layout.limited == {} and limited.rows_of(contents, layout) == {}
  # The ceiling is the base's; another arm's answers about people are none.
  contents['arms']['aft'][KNOWN] = number(0.97)
  assert limited.rows_of(contents, choice_layout(contents)) == {}


def test_older_summaries_have_nothing_to_compare_with():
  contents = summary()
  layout = choice_layout(contents)
  del contents['base'], contents['no_model']
  assert beside.reference_rows(contents, layout) == []
  assert 'to compare with' not in table(contents, layout)


def test_attributes_that_no_handbook_speaks_of_are_among_the_effects():
  layout = choice_layout(summary())
  assert 'preferences/age/new_domains' in layout.effects
  # Nobody was asked about making, and the handbook speaks of price.
  assert 'preferences/making/new_domains' not in layout.effects
  assert 'preferences/price/new_domains' not in layout.effects
  assert layout.controls == ['preferences/age/new_domains']


def test_names_in_any_writing_are_drawn_without_a_word():
  """The font of matplotlib lacks most letters of the world; a page shows them in the reader's."""
  pytest.importorskip('matplotlib')
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    page = figures.svg_figure(lambda fig: fig.subplots().set_title('节俭 🙂'), 'salt', '')
  assert '节俭 🙂' in page


def test_a_measure_that_an_experiment_names_has_no_ceilings_of_another(tmp_path):
  """Words are counted for conflict pairs, and people are asked about them."""
  contents = summary() | {'primary_measure': 'preferences/price/new_domains'}
  layout = layout_of(contents)
  assert layout.main == 'preferences/price/new_domains'
  own = choice_layout(contents)
  assert beside.reference_rows(contents, layout) == beside.reference_rows(contents, own)
  heads = [line for line in table(contents, layout).splitlines() if 'to compare with' in line]
  above = table(contents, layout).split(heads[0])[0].splitlines()[-1]
  assert above.strip() == 'conflict' and heads[0].endswith('new_domains')
  write_report(tmp_path / 'report.html', contents, [], layout)
  section = (tmp_path / 'report.html').read_text().split(beside.TITLE)[1]
  assert section.startswith(f'</h2><p>Shares of {MAIN}, which is not the primary measure here, on')
  assert '<th scope="col">conflict/<wbr>new_domains</th>' in section.split('</thead>')[0]
  # The block of the documentation.
  stored = {'summary': contents}
  shown = blocks.KINDS['beside'](blocks.parsed('x beside'), stored)
  assert shown.startswith('| what | share: conflict, new domains |')
