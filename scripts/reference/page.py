"""The text of ``docs/cli.md``: a part that people write, below, and each verb with its options, read from the programs.

Nothing in it depends on the machine or on the width of a terminal. It writes no file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from broker.__main__ import main as broker
from publisher.cli.main import publisher

TOP = """\
# The commands

`broker` runs brokers, and is the client of a running one; `publisher` runs beside an LLM server. This page is written by
`scripts/cli-reference` from the programs' own help.

Contents: [rows from the command line](#rows-from-the-command-line) · [documents](#documents) · [chat](#chat) ·
[durable tasks](#durable-tasks) · [broker](#broker) · [publisher](#publisher)

## Rows from the command line

```sh
export BROKER_URL=http://127.0.0.1:8080 BROKER_TOKEN=…
broker get llms                          # a table; -o wide has more columns
broker get agents -w                     # goes on with what changes, until Ctrl-C
broker get llms -o json                  # what the API answers, for programs
broker describe agent reviewer           # everything, and what belongs to it
broker get agents -o yaml > agents.yaml  # documents
broker apply -f agents.yaml              # created, configured or unchanged
broker edit agent reviewer               # the same in $EDITOR
broker delete agents reviewer other
broker secret set openai                 # asks for the value, and does not show it
broker chat reviewer
broker task submit reviewer "Sum it up"  # answered when somebody is free
broker explain req_0123                  # why a pool chose whom
```

Kinds: `llms`, `pools`, `agents`, `sessions` (publishers), `threads`, `tasks`, `batches`, `projects`, `personalities`, `prompts`, `tool-servers`,
`secrets`; the singular works too. A row is named by its name or id; threads, tasks, batches and sessions have ids only, and a
prompt's name must be unique or its id given. Of threads, tasks and batches `get` shows the last 100, or `--limit`.

The verbs `get`, `describe`, `apply`, `edit`, `delete`, `task`, `explain`, `secret` and `chat` call the broker at `--broker` with `--token`, and look into no
Redis. What a token may do is the API's business: a refusal is shown in the broker's words. `HTTPS_PROXY`, `HTTP_PROXY` and
`NO_PROXY` count, except on the way to this machine itself. Colours are for terminals, and `NO_COLOR` ends them.

| exit code | means |
|---|---|
| 0 | done |
| 1 | the broker refused, does not answer, or has no such row; one line on stderr says what to do |
| 2 | the command or a document cannot be meant like this; nothing was sent |
| 130 | interrupted |

`broker completion bash` (or `zsh`, `fish`) prints a script that completes verbs, options, kinds, and names as the broker has
them.

## Documents

A document is a row as a person decides it: `kind`, `name`, and the API's fields.

```yaml
kind: Agent
name: reviewer
llm: qwen3
systemPrompt: |
  You review code.
defaultParams:
  temperature: 0.2
```

- `kind` is Project, Prompt, Personality, LLM, Pool or Agent. Files are YAML or JSON with any number of documents; a folder stands
  for its `.yaml`, `.yml` and `.json` files.
- YAML is read as version 1.2 says: `yes` and `12:30` are texts.
- Other rows are referred to by name. A prompt belongs to a `project`, to an `agent`, or to nobody; a personality names the
  prompts of one as `{name: style, project: web}`.
- What a pool's entry leaves out is what is usual (`weight: 1`, `tier: 0`). The LLMs that it names need not be there yet.
- A field that is left out stays as it is. `null` takes `project`, `defaultPersonality` and `apiKeyRef` away.
- `broker apply` makes what is not there, edits what differs, and leaves the rest: the same documents again change
  nothing. It looks at all documents before it sends the first. When one is wrong, names what there is not, or is there
  twice, it says where, and sends none. Projects come first, then prompts, personalities, LLMs, pools and agents, whatever
  their order in the files. When the broker refuses one, the ones that name it are not sent, and the others are.
- `-o yaml` leaves out what only happens to a row, as its status. A publisher's rows have `lifecycle: virtual`: `apply` skips
  them, for they are in the publisher's config file. A document of the same name without that word gets the broker's 409.
- Secrets are not in documents. `apiKeyRef` names one, and `broker secret set` keeps it: typed, piped (`pass openai | broker secret set
  openai`) or `--from-file`, never as an argument, which others on the machine could see.
- A file is at most 64 MiB.
- `broker edit` is refused when somebody else edited the row meanwhile. A refused text stays in a file, which is named.

## Chat

`broker chat NAME` talks to an agent, or else to the LLM of that name, alias, pool or model. With an agent the conversation is a
thread at the broker: it outlives the program, and on a terminal the newest one goes on, unless `--new` or `/new` begins another. With an LLM
the conversation is kept by the program and gone at its end.

Ctrl-C cancels the answer, also at the LLM's server; at the prompt, twice, it ends, as Ctrl-D does. An answer whose
connection breaks is taken up where it broke. Calls of tools, and what they answered, are shown in dim lines. With a pool, an
alias or a model `/explain` says why the last answer came from whom it did, as `broker explain` does by a request's id.

```sh
git diff | broker chat reviewer > review.md
```

Piped, stdin is one message, in a new thread unless `--thread` names one. All of the answer is printed at its end and nothing else;
when it fails nothing is printed, and the exit code is 1.

## Durable tasks

```sh
broker task submit qwen3 "Sum it up" --deadline 8h     # task/job_1f0c… queued
git diff | broker task submit reviewer --follow > review.md
broker task submit -f request.json --priority batch --key report-7 --json
broker get tasks --state dead -w
broker describe task job_1f0c…                         # its attempts, how its answer begins, why there is none
broker task follow job_1f0c…                           # to its end, and its answer
broker task retry $(broker get tasks --state dead -o name)
broker task purge done
```

Whoever is named is found as in a chat. `follow` shows states and words as they come on a terminal; piped, it prints the words of
the answer at the end and nothing else, and the exit code is 1 when there is no good one. `--json` prints each event on a line,
and `--after` goes on behind one of them. `result` prints the answer just as the LLM gave it. Ctrl-C ends the command, never the
task: `broker task cancel` does that. What tasks are: [tasks.md](tasks.md).
"""


def page() -> str:
    return "\n".join([TOP, *_command(broker, "broker", 2), *_command(publisher, "publisher", 2)]).rstrip("\n") + "\n"


def _command(command: click.Command, name: str, level: int) -> Iterator[str]:
    context = click.Context(command, info_name=name)
    yield f"{'#' * level} {name}\n"
    yield f"{_told(command.help or '')}\n"
    pieces = [piece for piece in command.collect_usage_pieces(context) if piece not in ("[OPTIONS]", "COMMAND [ARGS]...")]
    if pieces:
        yield f"`{' '.join([name, *pieces])}`\n"
    options = [option for option in command.params if isinstance(option, click.Option)]
    if options:
        yield "| option | what |\n|---|---|"
        yield from (_option(option, context) for option in options)
        yield ""
    if isinstance(command, click.Group):
        for verb in command.list_commands(context):
            yield from _command(command.get_command(context, verb), f"{name} {verb}", level + 1)


def _option(option: click.Option, context: click.Context) -> str:
    names = ", ".join(f"`{name}`" for name in sorted([*option.opts, *option.secondary_opts], key=len))
    value = "" if option.is_flag or option.count else f" `{option.make_metavar(context)}`"
    _, told = option.get_help_record(context) or ("", "")
    return f"| {_cell(names + value)} | {_cell(re.sub(r'  +', ' ', told))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _told(text: str) -> str:
    """A help text as Markdown: paragraphs, and what click leaves as it is in blocks."""
    parts = []
    for part in inspect.cleandoc(text).split("\f")[0].split("\n\n"):
        if part.startswith("\b\n"):
            parts.append("```text\n" + part.removeprefix("\b\n") + "\n```")
        else:
            parts.append(part.replace("\n", " "))
    return "\n\n".join(parts)
