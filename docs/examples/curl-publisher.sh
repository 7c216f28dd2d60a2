#!/usr/bin/env bash
# A whole publisher in plain curl calls: register, heartbeat, listen, answer.
#
#   BROKER=http://127.0.0.1:8080 NAME=parrot bash curl-publisher.sh
#
# Its "model" says four words. A real one would pass the frame's `request` on to an LLM server.
# BROKER_TOKEN is needed once the broker has tokens; HEARTBEAT is in seconds.
set -euo pipefail

api=${BROKER:-http://127.0.0.1:8080}/api/v1/llms
name=${NAME:-parrot}
words=(I am a parrot)

headers=(--header "Content-Type: application/json" --header "Authorization: Bearer ${BROKER_TOKEN:-}")

call() {
  curl --silent --show-error --fail-with-body "${headers[@]}" "$@"
}

# One result frame of a task.
result() {
  call --output /dev/null --data "$2" "$api/_provider-task/$1/result"
}

# The answer in one piece.
answer() {
  result "$1" '{"status": 200, "body": {"object": "chat.completion", "choices": [{"index": 0,
    "message": {"role": "assistant", "content": "'"${words[*]}"'"}, "finish_reason": "stop"}]}}'
}

# The answer word by word: `data` is the payload of one event, a JSON text in a JSON string.
answer_as_stream() {
  for word in "${words[@]}"; do
    result "$1" '{"chunk": {"data": "{\"object\": \"chat.completion.chunk\", \"choices\": [{\"index\": 0, \"delta\": {\"content\": \"'"$word"' \"}}]}"}}'
  done
  result "$1" '{"chunk": {"data": "[DONE]", "done": true}}'
}

# 1. Register. The reply names our session, which every further call bears.
registered=$(call --data '{"providers": [{"name": "'"$name"'", "type": "openai"}]}' "$api/_provider-register")
[[ $registered =~ \"providerSessionId\":\"([^\"]+)\" ]]
session=${BASH_REMATCH[1]}
headers+=(--header "X-Provider-Session: $session")
echo "registered $name as session $session"

# 2. Heartbeat, for as long as we live.
while sleep "${HEARTBEAT:-30}"; do call --output /dev/null --request POST "$api/_provider-heartbeat" || true; done &
heartbeat=$!

# 3. Open the channel: one frame on each `data:` line.
exec 3< <(exec curl --silent --no-buffer "${headers[@]}" "$api/_provider-stream")
channel=$!
trap 'kill $heartbeat $channel 2> /dev/null' EXIT
trap exit INT TERM
echo "listening"

# 4. Answer what comes. The broker's own fields stand before the client's `request`.
while IFS= read -r line <&3; do
  [[ $line == 'data: {"kind":"infer"'* ]] || continue
  [[ $line =~ \"taskId\":\"([^\"]+)\" ]]
  task=${BASH_REMATCH[1]}
  [[ $line =~ \"streaming\":true ]] && way=answer_as_stream || way=answer
  echo "$way $task"
  $way "$task" || echo "$task was not taken: it may have been cancelled"
done
echo "the broker closed the channel"
