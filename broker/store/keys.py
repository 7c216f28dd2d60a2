"""Every key in Redis, its type, what it holds and when it goes.

Behind the prefix ``rv:{<namespace>}:``; the braces make a namespace one slot of
a Cluster. The scripts build the same names (``lua/``); nobody else
writes a key's text. Each family has its own prefix, for LLM names hold colons.

=======================  ======  =====================================================
key                      type    what, and its end
=======================  ======  =====================================================
llm:<name>               hash    an LLM row, or as _tools/<name> a publisher's tool server;
                                 no TTL, deleted with its cascade
agent:<name>             hash    an agent row; likewise
llms, agents             set     the names of the rows
llm-ids, agent-ids       hash    id → name
llm-agents:<llm>         set     agents pinned to an LLM
model-llms:<model>       set     LLMs with that model; goes with the last
secret:<name>            hash    a secret: sealed, key (which one sealed it), createdAt, updatedAt
secrets                  set     the names of the secrets
secret-llms:<name>       set     LLMs that name that secret; goes with the last
alias:<alias>            set     LLMs that have that other name; goes with the last
project:<name>           hash    id, name, description, servers (JSON list: its tool servers), owner, version,
                                 createdAt, updatedAt; until it is deleted
personality:<name>       hash    likewise; prompts (JSON list of ids) and params (JSON) in place of servers
prompt:<id>              hash    likewise; content, scope (global | project | agent) and of (the name of that
                                 project or agent, which need not be there); goes with it when it is deleted
projects, personalities  set     the names of the rows
prompts                  set     the ids of the prompts
project-ids              hash    id → name
personality-ids          hash    likewise
project-agents:<name>    set     agents that name that project, which need not be there; goes with the last
personality-agents:<name> set    agents that name that personality; goes with the last
prompt-names:<scope>:<of> hash   name → id of the prompts of one project, of one agent, or of none; goes with the last
prompt-personalities:<id> set    personalities that have that prompt; goes with the last
secret-projects:<name>   set     projects that name that secret; goes with the last
thread:<id>              hash    id, agent (its name), agentId (when it was made), owner, title, lastTurnAt, createdAt,
                                 updatedAt, turns (how many there were), running (the fence of the turn that runs,
                                 or ''), runningIndex, replica, cancel (asked for), ended (the last fence), events (how
                                 many the last turn wrote), keepMs, bytes (of its messages); until it is deleted
thread-messages:<id>     list    its messages, JSON: id, turnIndex, createdAt (ms), role, content …; goes with it
thread-errors:<id>       hash    turn → why it failed, JSON; goes with it
threads-of:<length>:<owner> zset threads of an owner (length in bytes) by their last activity (ms); with
                                 ":<agent>" behind it those with one agent; goes with the last
thread-events:<id>:<turn> stream what a turn said, entries <n>-0; TTL
turns:<replica>          set     threads whose turn runs at a replica; goes with the last
expiring:llm, :agent     zset    inactive rows by the time (ms) they are deleted
session:<sid>            hash    owner, instance, channel, replica, heartbeatAt, accepts,
                                 closed, graceUntil, leaving, down; until its last row goes
sessions                 set     their ids; each until its last row goes
session-rows:<sid>       set     "llm:<name>", "agent:<name>"
alive:<sid>              string  the heartbeat; TTL 90 s
heartbeats               zset    live sessions by their last heartbeat (ms)
session-tasks:<sid>      stream  unfinished tasks in order; entries deleted at their end
task:<tid>               hash    one attempt: llm, session, reply, owner, state, frame, body,
                                 deadline, ends, next, spoke (part of the answer is out), given (0: no
                                 channel had it yet, here: the asker writes it); of a public
                                 LLM: llm, reply, owner, state, ends;
                                 deleted at its end
leases:<llm>             zset    slots in use: task by lease expiry (ms)
waiting:<llm>            zset    requests beyond the slots, by arrival
arrivals                 string  counts arrivals
load:<llm>               hash    waitingBytes; avgMs, the mean time of an answer
wake:<llm>               hash    the one wake in flight
timers                   zset    "task:<tid>", "grace:<sid>", "wake:<llm>" by due time (ms)
replicas                 zset    replica by the time (ms) at which it counts as dead
channels:<replica>       set     sessions whose channel a replica holds
asked:<replica>          set     requests whose client is at a replica
inbox:<replica>          stream  frames for its channels; TTL, trimmed as read
reply:<replica>          stream  parts for its requests; TTL, trimmed as read
sweep-lock               string  who sweeps now; TTL
pulse                    hash    last and first tick of the reaper since an outage
events                   stream  changes of state, the last 10,000
=======================  ======  =====================================================

Outside any namespace: ``rv:token:<sha256>`` (hash: id, name, roles, owner,
namespace, createdAt, expiresAt) and ``rv:tokens:<namespace>`` (set of the digests of
every token ever made there: revoking the last one opens no broker).
"""

from __future__ import annotations


def prefix(namespace: str) -> str:
    """What every key of a namespace begins with."""
    return "rv:{%s}:" % namespace


def tokens(namespace: str) -> str:
    return f"rv:tokens:{namespace}"


def token(digest: str) -> str:
    return f"rv:token:{digest}"
