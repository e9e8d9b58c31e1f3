// One conversation, made from its events alone: what is stored and what is to come look the same.

import { events, post, Refused } from "./api.js";
import { rendered } from "./markdown.js";
import { visible } from "./visible.js";

const ENDED = { "run.succeeded": "", "run.failed": "failed", "run.canceled": "was interrupted", "run.timed_out": "timed out" };
const ROLES = { user: "You", assistant: "Agent", system: "System", parent: "Parent", child: "Child" };

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.map((each) => (typeof each === "string" ? visible(each) : each)));
  return made;
}

// How agents name the tool of an MCP server.
function namesOf({ server_name: server, tool_name: tool }) {
  const clean = (text) => text.replace(/[^A-Za-z0-9_-]/g, "_");
  const pairs = [[server, tool], [clean(server), clean(tool)]];
  return pairs.flatMap(([s, t]) => [`mcp__${s}__${t}`, `${s}_${t}`, `mcp_${s}_${t}`, `${s}__${t}`]);
}

export class Conversation {
  // `changed` is called when a run begins or ends; `failed` with what to tell the user.
  constructor(session, place, { changed, failed }) {
    this.session = session;
    this.active = null;
    this.closed = false;
    this.queued = new Set();
    this.place = place;
    this.changed = changed;
    this.failed = failed;
    this.cursor = 0;
    this.answers = new Map();
    this.tools = new Map();
    this.requests = new Map();
    this.stopped = new AbortController();
  }

  async follow() {
    while (!this.stopped.signal.aborted) {
      try {
        for await (const event of events(this.session, this.cursor, this.stopped.signal)) {
          this.cursor = event.cursor;
          this.take(event);
        }
      } catch (error) {
        if (this.stopped.signal.aborted) return;
        if (error instanceof Refused && error.status === 404) {
          this.failed("This conversation is gone.");
          return;
        }
      }
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }

  get state() {
    if (this.closed) return "closed";
    if (this.requests.size > 0) return "waits for you";
    if (this.active === null) return this.queued.size > 0 ? "queued" : "idle";
    return "working";
  }

  stop() {
    this.stopped.abort();
  }

  async interrupt() {
    if (this.active !== null) await post(`runs/${this.active}/cancel`, {});
  }

  take({ event_type: type, run_id: run, data }) {
    switch (type) {
      case "message.created": this.message(run, data); break;
      case "run.queued": this.begin(run, true); break;
      case "run.started": this.begin(run, false); break;
      case "run.output": this.output(this.answer(run, data.message ?? 0), data.text ?? ""); break;
      case "run.tool_started": this.tool(data); break;
      case "run.tool_completed": this.toolEnded(data); break;
      case "run.awaiting_input": this.ask(run, data); break;
      case "run.awaiting_parent": this.note(`Waits for its parent: ${data.text ?? ""}`); break;
      case "backend.event": if (data.kind === "permission_resolved") this.resolve(data.request_id, data.decision); break;
      case "tool_confirmation_request": this.confirm(data); break;
      case "tool_confirmation_response": this.resolve(data.request_id, this.decision(data)); break;
      case "child.spawned": this.note(`Began a child: ${data.task ?? ""}`); break;
      case "parent.request": this.note(`A child asks: ${data.text ?? ""}`); break;
      case "session.closed": this.close(); break;
      default: if (type in ENDED) this.end(type, run, data);
    }
  }

  message(run, { role, text }) {
    if (role === "assistant" && run !== null) {
      this.whole(run, text);
      return;
    }
    const shown = element("div", { class: "text" }, text);
    this.place.append(this.bubble(role, shown));
    if (role === "assistant") rendered(shown);
  }

  bubble(role, text) {
    return element("article", { class: `said ${role}` }, element("p", { class: "role" }, ROLES[role] ?? role), text);
  }

  // The element of an agent's message, by its run and its number in it.
  answer(run, number) {
    const key = `${run} ${number}`;
    let text = this.answers.get(key);
    if (text === undefined) {
      text = element("div", { class: "text" });
      this.answers.set(key, text);
      this.place.append(this.bubble("assistant", text));
    }
    return text;
  }

  output(answer, text) {
    answer.append(visible(text, answer.lastChild?.data?.slice(-4)));
  }

  // The last message of a run as the agent recorded it.
  whole(run, text) {
    const keys = [...this.answers.keys()].filter((each) => each.startsWith(`${run} `));
    const last = keys.length === 0 ? this.answer(run, 0) : this.answers.get(keys.at(-1));
    const shown = visible(text);
    if (last.textContent !== shown && !last.classList.contains("rendered")) last.textContent = shown;
  }

  begin(run, queued) {
    if (queued) this.queued.add(run);
    else {
      this.queued.delete(run);
      this.active = run;
    }
    this.changed();
  }

  end(type, run, data) {
    for (const [key, text] of this.answers) {
      if (key.startsWith(`${run} `) && !text.classList.contains("rendered")) rendered(text);
    }
    for (const [id, card] of this.requests) if (card.dataset.run === run) this.resolve(id, "expired");
    if (ENDED[type] !== "") this.note(`The turn ${ENDED[type]}${data.error ? `: ${data.error.message}` : "."}`, true);
    this.queued.delete(run);
    if (this.active === run) this.active = null;
    this.changed();
  }

  close() {
    this.closed = true;
    this.note("This conversation is closed.");
    this.changed();
  }

  tool({ tool, name, text }) {
    const lines = (text ?? "").split("\n");
    const shown = element("details", { class: "tool", "data-state": "running" },
      element("summary", {}, `${name ?? "tool"} ${lines[0]}`), element("pre", {}, text ?? ""));
    this.tools.set(tool, shown);
    this.place.append(shown);
  }

  toolEnded({ tool, ok }) {
    const shown = this.tools.get(tool);
    if (shown !== undefined) shown.dataset.state = ok ? "done" : "failed";
    if (shown !== undefined && !ok) shown.firstChild.append(" (failed)");
  }

  ask(run, { request_id: id, kind, name, text, choices }) {
    // What has to be confirmed is asked for as that, before or after this.
    if (kind === "permission" && [...this.requests.values()].some((each) => each.names?.includes(name))) return;
    const path = `runs/${run}/answer`;
    const answer = (decision, said) => this.answered(path, { request_id: id, decision, ...(said === undefined ? {} : { text: said }) });
    const buttons = element("div", { class: "buttons" });
    if (kind === "question") {
      for (const each of choices ?? []) buttons.append(this.button(each, () => answer("allow", each)));
      const own = element("input", { "aria-label": "Your answer", placeholder: "Another answer" });
      buttons.append(own, this.button("Answer", () => answer("allow", own.value)));
    } else {
      const decide = (label, decision) => buttons.append(this.button(label, () => answer(decision)));
      decide("Allow", "allow");
      decide("Allow always", "allow_always");
      decide("Deny", "deny");
    }
    const said = kind === "question" ? text : `May the agent use ${name ?? "a tool"}?\n${text ?? ""}`;
    this.card(id, said ?? "", buttons, { "data-run": run, "data-tool": kind === "question" ? undefined : name });
  }

  // A tool of an agent that a user made: whoever answers first decides, here, by the API or by a broker.
  confirm(asked) {
    const [user, ...name] = asked.agent_name.split("--");
    const id = asked.request_id;
    const path = `agents/${encodeURIComponent(name.join("--"))}/confirmations/${id}?username=${encodeURIComponent(user)}`;
    const names = namesOf(asked);
    for (const [other, card] of this.requests) {
      if (names.includes(card.dataset.tool)) {
        this.requests.delete(other);
        card.remove();
      }
    }
    const answer = (confirmed) => this.answered(path, { confirmed });
    const buttons = element("div", { class: "buttons" }, this.button("Confirm", () => answer(true)), this.button("Reject", () => answer(false)));
    const until = new Date(new Date(asked.timestamp).getTime() + asked.timeout_ms).toLocaleTimeString();
    const what = `May the agent use ${asked.tool_name} of ${asked.server_name}? Until ${until}.\n${JSON.stringify(asked.arguments)}`;
    this.card(id, what, buttons).names = names;
  }

  decision({ confirmed, decided_by: by }) {
    const said = confirmed ? "confirmed" : "rejected";
    return { default: `${said}: nobody answered in time`, terminal: `${said} at the terminal`, nobody: "the agent went on without it" }[by] ?? said;
  }

  button(label, act) {
    return element("button", { type: "button", onclick: act }, label);
  }

  async answered(path, body) {
    try {
      await post(path, body);
    } catch (error) {
      this.failed(error.message);
    }
  }

  card(id, text, buttons, attributes = {}) {
    const card = element("section", { class: "request", "aria-label": "The agent asks", ...attributes }, element("p", {}, text), buttons);
    this.requests.set(id, card);
    this.place.append(card);
    this.changed();
    return card;
  }

  resolve(id, decision) {
    const card = this.requests.get(id);
    if (card === undefined) return;
    this.requests.delete(id);
    card.querySelector(".buttons").replaceChildren(visible(`→ ${decision}`));
    this.changed();
  }

  note(text, bad = false) {
    this.place.append(element("p", { class: bad ? "note bad" : "note" }, text));
  }
}
