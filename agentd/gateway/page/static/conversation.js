// One conversation, made from its events alone: what is stored and what is to come look the same.

import { events, post, Refused } from "./api.js";
import { rendered } from "./markdown.js";

const ENDED = { "run.succeeded": "", "run.failed": "failed", "run.canceled": "was interrupted", "run.timed_out": "timed out" };
const ROLES = { user: "You", assistant: "Agent", system: "System", parent: "Parent", child: "Child" };

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
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
    if (this.active === null) return this.queued.size > 0 ? "queued" : "idle";
    return this.requests.size > 0 ? "waits for you" : "working";
  }

  stop() {
    this.stopped.abort();
  }

  async interrupt() {
    if (this.active !== null) await post(`runs/${this.active}/cancel`, {});
  }

  take({ event_type: type, run_id: run, data }) {
    const atEnd = this.place.scrollHeight - this.place.scrollTop - this.place.clientHeight < 80;
    switch (type) {
      case "message.created": this.message(run, data); break;
      case "run.queued": this.begin(run, true); break;
      case "run.started": this.begin(run, false); break;
      case "run.output": this.answer(run, data.message ?? 0).append(data.text ?? ""); break;
      case "run.tool_started": this.tool(data); break;
      case "run.tool_completed": this.toolEnded(data); break;
      case "run.awaiting_input": this.ask(run, data); break;
      case "run.awaiting_parent": this.note(`Waits for its parent: ${data.text ?? ""}`); break;
      case "backend.event": if (data.kind === "permission_resolved") this.resolve(data.request_id, data.decision); break;
      case "child.spawned": this.note(`Began a child: ${data.task ?? ""}`); break;
      case "parent.request": this.note(`A child asks: ${data.text ?? ""}`); break;
      case "session.closed": this.close(); break;
      default: if (type in ENDED) this.end(type, run, data);
    }
    if (atEnd) this.place.scrollTop = this.place.scrollHeight;
  }

  message(run, { role, text }) {
    if (role === "assistant") this.whole(run, text);
    else this.place.append(this.bubble(role, element("div", { class: "text" }, text)));
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

  // The last message of a run as the agent recorded it.
  whole(run, text) {
    const keys = [...this.answers.keys()].filter((each) => each.startsWith(`${run} `));
    const last = keys.length === 0 ? this.answer(run, 0) : this.answers.get(keys.at(-1));
    if (last.textContent !== text && !last.classList.contains("rendered")) last.textContent = text;
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
    const answer = async (decision, said) => {
      try {
        await post(`runs/${run}/answer`, { request_id: id, decision, ...(said === undefined ? {} : { text: said }) });
      } catch (error) {
        this.failed(error.message);
      }
    };
    const button = (label, decision, said) => element("button", { type: "button", onclick: () => answer(decision, said) }, label);
    const buttons = element("div", { class: "buttons" });
    if (kind === "question") {
      for (const each of choices ?? []) buttons.append(button(each, "allow", each));
      const own = element("input", { "aria-label": "Your answer", placeholder: "Another answer" });
      buttons.append(own, element("button", { type: "button", onclick: () => answer("allow", own.value) }, "Answer"));
    } else {
      buttons.append(button("Allow", "allow"), button("Allow always", "allow_always"), button("Deny", "deny"));
    }
    const said = kind === "question" ? text : `May the agent use ${name ?? "a tool"}?\n${text ?? ""}`;
    const card = element("section", { class: "request", "aria-label": "The agent asks", "data-run": run }, element("p", {}, said ?? ""), buttons);
    this.requests.set(id, card);
    this.place.append(card);
    this.changed();
  }

  resolve(id, decision) {
    const card = this.requests.get(id);
    if (card === undefined) return;
    this.requests.delete(id);
    card.querySelector(".buttons").replaceChildren(`→ ${decision}`);
    this.changed();
  }

  note(text, bad = false) {
    this.place.append(element("p", { class: bad ? "note bad" : "note" }, text));
  }
}
