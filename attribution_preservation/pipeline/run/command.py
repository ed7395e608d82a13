"""The command of a stage: `python -m stages.NAME`, for the instances that its arguments choose."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable

from attribution_preservation.pipeline.run.code_manifest import check_manifest
from attribution_preservation.pipeline.run.failures import foreseen, in_one_line, lost_process
from attribution_preservation.pipeline.run.graph import Stage, axes_of, instances, served_by
from attribution_preservation.pipeline.run.lock import STATE, held
from attribution_preservation.pipeline.run.watchdog import end_with_dvc
from attribution_preservation.process.environment import environment
from attribution_preservation.process.rank import leads, number
from attribution_preservation.process.streams import prepare_streams, tell
from attribution_preservation.storage.files import write_json


def run(module: str, main: Callable[[Stage], str]) -> None:
    """Run the instances of a stage that the command line asks for (all of them where it names none).

    `main` does one instance and returns the line that tells the user what was made. A foreseeable failure ends the
    process with one line and exit code 2 (docs/errors.md); `--debug` shows where it came from. So does the end of the
    DVC process that started the stage.

    Args:
        module: of `stages`. The stage has its name, or, where the module serves several, that of the first argument.
        main: does one instance.
    """
    prepare_streams()
    name, debug = module, "--debug" in sys.argv
    try:
        name = _chosen_stage(module)
        end_with_dvc(name)
        chosen = _chosen_instances(module, name)
        for stage in instances(name, chosen):
            _run_one(stage, main)
    except KeyboardInterrupt:
        tell(f"{name}: interrupted; the same command goes on where it stopped", sys.stderr)
        # 128 + SIGINT, as a shell reports it. os._exit: worker threads must not delay the end.
        os._exit(130)
    except Exception as error:
        line = foreseen(error) or lost_process(error)
        if line is None:
            raise
        if debug:
            traceback.print_exc()
        who = f"{name} ({number()})" if number() else name
        tell(f"{who}: error: {in_one_line(line)}", sys.stderr)
        # Where several processes train together, the others' end must not wait for this one's threads, nor theirs.
        sys.exit(2) if leads() else os._exit(2)


def _chosen_stage(module: str) -> str:
    """The stage that the command line asks for: the module's own, or one of those that it serves."""
    served = served_by(module)
    if served == [module]:
        return module
    word = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if word not in served:
        parser = _parser(module)
        parser.add_argument("stage", choices=served, help="one of the stages that this module serves")
        parser.parse_args()  # ends the process: it lists the choices, or says how the command is used
    return str(word)


def _chosen_instances(module: str, name: str) -> dict[str, str]:
    """The values of axes that the command line gives."""
    parser = _parser(module if name == module else f"{module} {name}")
    for axis in axes_of(name):
        parser.add_argument(f"--{axis}", help="one value of this axis of the stage's matrix (default: all)")
    words = sys.argv[1:]
    if name != module:
        words.remove(name)
    arguments = vars(parser.parse_args(words))
    del arguments["debug"]
    return {axis: value for axis, value in arguments.items() if value is not None}


def _parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m stages.{command}", description=sys.modules["__main__"].__doc__, allow_abbrev=False
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of a failure")
    return parser


def _run_one(stage: Stage, main: Callable[[Stage], str]) -> None:
    if not leads():
        check_manifest(stage)
        main(stage)
        return
    with held(STATE / "stages" / stage.instance, stage.instance):
        check_manifest(stage)
        made = main(stage)
        if stage.environment:
            write_json(stage.environment, environment())
        tell(f"{stage.name}: {made}")
