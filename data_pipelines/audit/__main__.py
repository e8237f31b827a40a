"""The command `python -m data_pipelines.audit`."""

from data_pipelines.audit.run import main
from msm_jax.base import command

if __name__ == '__main__':
  command.run_command(main)
