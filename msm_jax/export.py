"""python -m msm_jax.export --workdir=runs/smollm2 --arm=msm_affordability_aft --out=FOLDER [--adapter] [--dtype=bfloat16]

An arm as a folder that `transformers`, vLLM and the like load as it is; its adapter is added to the matrices. With --adapter, the adapter alone, as
PEFT loads it over the weights that the experiment began with.
"""

from msm_jax.base import command
from msm_jax.base.errors import ConfigError


def main(argv: list[str]) -> None:
  parser = command.Parser(
    prog='python -m msm_jax.export',
    description='An arm of an experiment as a folder of Hugging Face.',
  )
  parser.add_argument('--workdir', required=True, help='of an experiment')
  parser.add_argument('--arm', required=True)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument('--out', required=True, help='the new folder')
  parser.add_argument('--adapter', action='store_true', help='the adapter alone')
  parser.add_argument(
    '--dtype',
    default='',
    help='float32, bfloat16 or float16 (default: as the weights it began with were stored)',
  )
  args = parser.parse_args(argv)

  from msm_jax import train
  from msm_jax.base.console import say
  from msm_jax.inference import open_model as arms
  from msm_jax.interop import huggingface, peft

  opened = arms.open_arm(args.workdir, args.arm, args.seed, dtype='float32')
  if not opened.weights:
    raise ConfigError(
      f'{args.arm} began with no weights of Hugging Face but with its own tokenizer, which transformers does not read; it stays here'
    )
  if args.adapter:
    if not opened.model.lora:
      raise ConfigError(
        f'{args.arm} has no adapter (it is the weights themselves, or model.lora is not set); leave --adapter out'
      )
    adapters, _ = train.split(opened.model, opened.params)
    peft.check_effect(adapters, args.arm)
    peft.export(args.out, opened.model, adapters, opened.weights)
  else:
    huggingface.export(args.out, opened.model, opened.params, opened.weights, args.dtype)
  say(f'export     {opened.description}, in {args.out}')


if __name__ == '__main__':
  command.run_command(main)
