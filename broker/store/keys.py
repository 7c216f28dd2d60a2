"""Every key in Redis, its type, what it holds and when it goes.

Behind the prefix ``rv:{<namespace>}:``; the braces make a namespace one slot of
a Cluster. The scripts build the same names (``lua/``); nobody else
writes a key's text. Each family has its own prefix, for LLM names hold colons.

=======================  ======  =====================================================
key                      type    what, and its end
=======================  ======  =====================================================
llm:<name>               hash    an LLM row (hold: gives out no more work until it slept), or as _tools/<name>
                                 a publisher's tool server; no TTL, deleted with its cascade
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
                                 deadline, ends, next, spoke (part of the answer is out), priority (of one that waited), noWake (it
                                 waited, and may not wake), given (0: no
                                 channel had it yet, here: the asker writes it); of a public
                                 LLM: llm, reply, owner, state, ends; of a kept one also keep (ttl_ms),
                                 room (bytes left), grace (ms), idem (digest), status (of its answer),
                                 and reply is '' while nobody waits there; of a job's that waited span (ms that it may
                                 take once it began); of a pool's
                                 also request, while it waits tail, asked, not (who failed it), affinity,
                                 wakeLimit, waking (the wait for a slot has not begun); of a job's also job, and loop
                                 of one that is an agent's, whose asks are tasks of their own; deleted at its end
kept:<tid>               stream  a kept reply: first its owner (o), then its parts (p); TTL
followers:<tid>          set     replicas where somebody follows a kept task besides its asker;
                                 goes with the task
idem:<digest>            string  of an Idempotency-Key: "<tid> <fingerprint of the request>"; TTL
nudges:<replica>         stream  ends its blocking read of kept replies; one entry, TTL
response:<id>            hash    a stored response: owner, created (s), previous, job, input, answer, ended; TTL
file:<id>                hash    a file: owner, filename, purpose, bytes, created, expires (s); TTL
batch:<id>               hash    a batch (store/batches.py); TTL from its end on
batches                  zset    unfinished batches by the end (ms) of the lease under which one is run; 0: nobody runs it
batches-of:<owner>       zset    an owner's batches by age; TTL of the longest
files-of:<owner>         zset    an owner's files by age; TTL of the longest
leases:<llm>             zset    slots in use: task by lease expiry (ms)
waiting:<llm>            zset    requests beyond the slots, by whose turn it is (lua/shared/lines.lua)
line-tags:<llm>          hash    owner → the tag of its last request in the line; goes with the line
arrivals                 string  counts arrivals
load:<llm>               hash    waitingBytes, clock (of the line); avgMs, the mean time of an answer; most, mostBefore,
                                 mostSince: clients' requests at once, at most (lua/shared/attempts.lua)
wake:<llm>               hash    the one wake in flight
pool:<name>              hash    a pool's row: name, description, members (JSON), affinity (0: none), owner, version,
                                 createdAt, updatedAt; until it is deleted
pools                    set     the names of those rows
order:<pool>             zset    members of a pool in use, best first (lua/shared/pools.lua); <pool> is m:<model>, a:<alias>
                                 or p:<name>, and its line is waiting:<\\1><pool> and so on; TTL
order-load:<pool>        hash    member → what it adds to the sums beside them: leases and capacity by class, slots; and how
                                 many turns of conversations it and its class had, fading; TTL
pool-members:<pool>      hash    member → "<tier> <weight>"; TTL
broken:<pool>            zset    members that are left out, by when one request may probe them (ms); TTL
pools-of:<llm>           set     pools in use that an LLM is in; goes with the row
health:<llm>             hash    how it failed pools' requests: last, earlier (the last two times), openUntil (left out till then),
                                 coolMs, probe (the task that is one), backAt; TTL
affinity:<pool>:<hash>   string  the member that had that conversation; TTL
explain:<request>        list    what was decided for a request to a pool; TTL
job:<id>                 hash    a durable task (lua/shared/jobs.lua); in its owner's list until it is dropped, by a timer after
                                 its end
jobs-of:<owner>          zset    an owner's jobs by when they were made (µs)
job-keys:<digest>        string  of an Idempotency-Key: "<job> <fingerprint of the request>"; TTL
queue:<target>           zset    queued jobs by whose turn it is; <target> is what they ask for
queue-tags:<target>      hash    owner → the tag of its last job there, \\1 → the queue's clock, \\2 → since when nobody is
                                 there for it (ms); goes with the queue
queues                   zset    targets with queued jobs, by when one may be able to begin (ms)
jobs-queued              string  how many are in all queues; goes with the last
loops:<llm>              zset    attempts that are an agent's loop at that LLM, by when they count no more (ms); TTL
queue-ahead:<target>     string  the attempt that waits in a line of requests for all jobs of a queue; TTL
job-timers               zset    "r:<job>" (waits again), "d:" (its deadline), "s:" (its attempt is looked at), "x:" (it is
                                 dropped) by due time (ms)
hooks                    zset    jobs whose webhook is to be told, by when (ms)
timers                   zset    "task:<tid>", "grace:<sid>", "wake:<llm>", "orphan:<tid>" (kept, and
                                 nobody waits for it), "probe:<llm>" (left out, and some wait for
                                 its pools) by due time (ms)
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
