// Requests to the gateway. The token stays in this tab: sessionStorage ends with it.

const KEY = "agentd-token";

export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let askForToken = async () => {};

export function onUnauthorized(ask) {
  askForToken = ask;
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

function headers(more = {}) {
  const token = sessionStorage.getItem(KEY);
  return token === null ? more : { ...more, Authorization: `Bearer ${token}` };
}

async function refusal(answer) {
  let told = {};
  try {
    told = (await answer.json()).error ?? {};
  } catch {
    // Not ours: a proxy in between, perhaps.
  }
  return new Refused(answer.status, told.code ?? "", told.message ?? `the gateway answered ${answer.status}`);
}

async function ask(path, options) {
  for (;;) {
    const shown = sessionStorage.getItem(KEY);
    const answer = await fetch(path, { ...options, headers: headers(options.headers) });
    if (answer.ok) return answer;
    if (answer.status !== 401) throw await refusal(answer);
    // Unless another one was given meanwhile.
    if (sessionStorage.getItem(KEY) === shown) await askForToken(shown !== null);
  }
}

export async function get(path) {
  return (await ask(path, {})).json();
}

export async function getText(path) {
  return (await ask(path, {})).text();
}

export async function post(path, body, key = undefined) {
  const more = key === undefined ? {} : { "Idempotency-Key": key };
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...more } };
  return (await ask(path, options)).json();
}

export async function remove(path) {
  return (await ask(path, { method: "DELETE" })).json();
}

// Gives the events of a session after a cursor: the stored ones, and then those to come. EventSource cannot send a token.
export async function* events(session, cursor, signal) {
  const path = `stream?sessionId=${encodeURIComponent(session)}&cursor=${cursor}`;
  const answer = await ask(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let received = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    received += value;
    const lines = received.split("\n");
    received = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) {
        const event = JSON.parse(line.slice(5));
        if (typeof event.cursor === "number") yield event;
      }
    }
  }
}
