"""The tools of the mail desk for models that call tools through their provider."""

from typing import Any

from inspect_ai.tool import ToolDef, ToolParam, ToolParams

from msm_jax.interop.inspect_tasks.office import TOOLS, Office, ToolSpec


def tools_of(office: Office) -> list[ToolDef]:
  """The tools of one desk.

  Args:
    office: the desk that they work on.

  Returns:
    A definition for each tool of `office.TOOLS`.
  """
  return [_tool(office, spec) for spec in TOOLS]


def _tool(office: Office, spec: ToolSpec) -> ToolDef:
  # Inspect hands over all arguments as they are if this parameter has this name and this type.
  async def execute(**kwargs: Any) -> str:
    return office.call(spec.name, kwargs)

  properties = {}
  for argument in spec.arguments:
    properties[argument.name] = ToolParam(type='string', description=argument.about)
  required = [argument.name for argument in spec.arguments if argument.required]
  return ToolDef(
    execute,
    name=spec.name,
    description=spec.about,
    parameters=ToolParams(properties=properties, required=required),
  )
