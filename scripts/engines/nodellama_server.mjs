// A small OpenAI server around node-llama-cpp, which is a library and brings none:
// `node nodellama_server.mjs <node_modules> <model> <port>`.
// Chat only, as text and as a stream. A client that goes away ends its generation.

import { createServer } from "node:http";
import { basename, join } from "node:path";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const SLOTS = 2;
const CONTEXT = 1024;
const MOST_TOKENS = 24;
const SEED = 7;

const [modules, modelPath, port] = process.argv.slice(2);
const { getLlama, LlamaCompletion } = await import(pathToFileURL(join(modules, "node-llama-cpp", "dist", "index.js")));
const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1 });
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({ sequences: SLOTS, contextSize: CONTEXT });
const name = basename(modelPath, ".gguf");

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function chat(request, response) {
  const asked = await read(request);
  const gone = new AbortController();
  response.on("close", () => gone.abort());
  if (context.sequencesLeft === 0) throw new Refused(503, "every slot is taken");
  const sequence = context.getSequence();
  try {
    await (asked.stream ? stream : whole)(asked, sequence, gone.signal, response);
  } finally {
    sequence.dispose();
  }
}

async function whole(asked, sequence, signal, response) {
  const { answer, reason, usage } = await generate(asked, sequence, signal, () => {});
  const message = { role: "assistant", content: answer };
  send(response, 200, { ...head("chat.completion"), choices: [{ index: 0, message, finish_reason: reason }], usage });
}

async function stream(asked, sequence, signal, response) {
  const shape = head("chat.completion.chunk");
  const say = (event) => response.write(`data: ${event}\n\n`);
  const piece = (delta, reason = null) => JSON.stringify({ ...shape, choices: [{ index: 0, delta, finish_reason: reason }] });
  response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-cache" });
  say(piece({ role: "assistant", content: "" }));
  const { reason, usage } = await generate(asked, sequence, signal, (content) => say(piece({ content })));
  say(piece({}, reason));
  if (asked.stream_options?.include_usage) say(JSON.stringify({ ...shape, choices: [], usage }));
  say("[DONE]");
  response.end();
}

async function generate(asked, sequence, signal, hear) {
  const prompt = asked.messages.map((one) => `${one.role}: ${one.content}\n`).join("") + "assistant: ";
  let tokens = 0;
  const made = await new LlamaCompletion({ contextSequence: sequence }).generateCompletionWithMeta(prompt, {
    maxTokens: Math.min(asked.max_completion_tokens ?? asked.max_tokens ?? MOST_TOKENS, MOST_TOKENS),
    temperature: asked.temperature ?? 1, seed: SEED, signal, stopOnAbortSignal: true, onTextChunk: hear,
    onToken: (more) => (tokens += more.length),
  });
  const given = model.tokenize(prompt).length;
  return {
    answer: made.response, reason: made.metadata.stopReason === "maxTokens" ? "length" : "stop",
    usage: { prompt_tokens: given, completion_tokens: tokens, total_tokens: given + tokens },
  };
}

async function read(request) {
  let asked;
  try {
    asked = JSON.parse(await text(request));
  } catch {
    throw new Refused(400, "the body is not JSON");
  }
  if (!Array.isArray(asked?.messages)) throw new Refused(400, "messages must be a list");
  return asked;
}

const head = (kind) => ({ id: `chatcmpl-${Date.now()}`, object: kind, created: Math.floor(Date.now() / 1000), model: name });

function send(response, status, body) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
}

async function answer(request, response) {
  const route = `${request.method} ${request.url}`;
  try {
    if (route === "POST /v1/chat/completions") await chat(request, response);
    else if (route === "GET /v1/models") send(response, 200, { object: "list", data: [{ id: name, object: "model" }] });
    else throw new Refused(404, `there is no ${route}`);
  } catch (error) {
    // Once the head is out, the only way to tell is to break off.
    if (response.headersSent) response.destroy();
    else send(response, error.status ?? 500, { error: { message: error.message, type: "error", code: null, param: null } });
  }
}

createServer(answer).listen(Number(port), "127.0.0.1", () => {
  console.log(`llama.cpp listens on http://127.0.0.1:${port}/v1`);
});
