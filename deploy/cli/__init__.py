"""`rosterhub`: one command for those who run a hub and for those who send rosters to one.

Results go to standard output, everything else to standard error. The exit statuses are in
`deploy/messages.py`. Commands import what they need when they run, so that `--help` is quick.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NoReturn

import click

from deploy.cli.aliases import aliases
from deploy.cli.audit import audit
from deploy.cli.check import check
from deploy.cli.clients import clients
from deploy.cli.dev import dev
from deploy.cli.districts import districts
from deploy.cli.erasures import erasures
from deploy.cli.exports import exports
from deploy.cli.findings import findings
from deploy.cli.keys import keys
from deploy.cli.lens import lens
from deploy.cli.mappings import mappings
from deploy.cli.migrate import migrate
from deploy.cli.policy import policy
from deploy.cli.push import push
from deploy.cli.review import approve, diff, reject, rekey_map
from deploy.cli.runs import runs
from deploy.cli.sample import sample
from deploy.cli.schedules import schedules
from deploy.cli.screen import Screen
from deploy.cli.serve import serve, work
from deploy.cli.versions import versions
from deploy.cli.webhooks import webhooks
from deploy.messages import BAD_USAGE, INTERRUPTED, LANGS, Failure, Lang, spoken


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command; the process ends with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run a command and answer its exit status."""
    screen = Screen(asked(arguments) or spoken(os.environ))
    try:
        status = rosterhub.main(arguments, "rosterhub", standalone_mode=False)
    except Failure as failure:
        return screen.fail(failure)
    except click.ClickException as error:
        return screen.fail(Failure(BAD_USAGE, reason=reason(error), command=place(error)))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(status or 0)


def asked(arguments: Sequence[str]) -> Lang | None:
    """The language of `--lang`, known even where the rest cannot be understood."""
    pairs = pairwise(arguments)
    words = [f"{name}={value}" for name, value in pairs] + list(arguments)
    return next((lang for lang in LANGS if f"--lang={lang}" in words), None)


def reason(error: click.ClickException) -> str:
    """Click's sentence."""
    return error.format_message()


def place(error: click.ClickException) -> str:
    """The command that was misused."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else "rosterhub"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lang", type=click.Choice(LANGS), help="Language of messages (default: LANG).")
@click.option("-q", "--quiet", is_flag=True, help="Print results and failures only.")
@click.version_option(package_name="rosterhub", prog_name="rosterhub")
@click.pass_context
def rosterhub(context: click.Context, lang: Lang | None, *, quiet: bool) -> None:
    """Roster data hub: OneRoster packages in, OneRoster REST out.

    `rosterhub dev` starts everything here. Exit status: 0 done, 1 findings in the data, 2 wrong
    usage, 3 could not do it, 4 not signed in or not allowed, 5 held for approval, 130 interrupted.
    """
    context.obj = Screen(lang or spoken(os.environ), quiet=quiet)


def prefer(context: click.Context, option: click.Parameter, value: object) -> None:
    """Take a preference that stands behind the command instead of before it."""
    if value:
        context.obj = replace(context.obj, **{str(option.name): value})


def everywhere(command: click.Command) -> click.Command:
    """Let --lang and --quiet stand behind the command too: that is where people write them."""
    option = partial(click.Option, hidden=True, expose_value=False, callback=prefer)
    command.params += [
        option(["--lang"], type=click.Choice(LANGS)),
        option(["-q", "--quiet"], is_flag=True),
    ]
    for part in getattr(command, "commands", {}).values():
        everywhere(part)
    return command


for part in (findings, diff, rekey_map, approve, reject):
    runs.add_command(part)
clients.add_command(lens)
for command in (
    *(dev, push, check, runs, versions, erasures, aliases, mappings, policy),
    *(exports, schedules, sample, clients, webhooks, keys, districts, audit),
    *(serve, work, migrate),
):
    rosterhub.add_command(everywhere(command))
