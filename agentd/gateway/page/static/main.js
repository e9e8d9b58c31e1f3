// The page: which agent and which conversation are shown, and what the buttons do.

import { get, getText, keepToken, onUnauthorized, post, remove } from "./api.js";
import { render } from "./ansi.js";
import { stayAtEnd } from "./at_end.js";
import { Conversation } from "./conversation.js";
import { visible } from "./visible.js";

const EVERY = 1500;
const LOG_LINES = 500;
const TABS = ["chat", "screen", "log"];
const WAITS = "waits for you";
const WORDS = {
  working: "working", waiting_permission: "asks for a permission", waiting_input: "asks a question", idle: "idle",
  usage_limit: "at its usage limit", auth_error: "credentials refused", unknown: "running",
};

const $ = (id) => document.getElementById(id);
const followAnew = stayAtEnd($("messages"));
const page = { agents: [], agent: null, session: null, conversation: null, tab: "chat", unsent: null, sending: false, waiting: new Map() };

// -- what is chosen stands in the address

function chosen() {
  try {
    const [agent, session] = location.hash.slice(1).split("/").map(decodeURIComponent);
    return [agent || null, session || null];
  } catch {
    return [null, null];
  }
}

function choose(agent, session = null) {
  view("agent");
  location.hash = [agent, session].filter((each) => each !== null).map(encodeURIComponent).join("/");
}

// A phone shows the agent or, of the one that stays chosen, the list of it and its conversations.
function view(part) {
  const focused = document.activeElement;
  $("page").dataset.view = part;
  if (focused?.offsetParent !== null) return;
  (part === "agent" ? $("back") : $("agents").querySelector("[aria-current]"))?.focus();
}

async function show() {
  const [agent, session] = chosen();
  page.conversation?.stop();
  Object.assign(page, { agent, session, conversation: null });
  view(agent === null ? "agents" : "agent");
  $("main").hidden = agent === null;
  $("hint").hidden = agent !== null;
  $("skip").hidden = agent === null;
  $("conversations-part").hidden = agent === null;
  $("messages").replaceChildren();
  followAnew();
  if (session !== null) {
    page.conversation = new Conversation(session, $("messages"), { changed: showState, failed: tell });
    page.conversation.follow();
  }
  showState();
  await look();
}

// -- the lists

function state(agent) {
  if (!agent.running) return agent.state;
  const said = WORDS[agent.activity] ?? agent.activity ?? agent.state;
  return agent.activity_text ? `${said}: ${agent.activity_text}` : said;
}

function line(name, below, activity, current, act) {
  const button = document.createElement("button");
  button.type = "button";
  if (current) button.setAttribute("aria-current", "true");
  const title = Object.assign(document.createElement("span"), { className: "agent-name", textContent: visible(name) });
  const more = Object.assign(document.createElement("span"), { className: "state", textContent: visible(below) });
  // Where it is cut off.
  button.title = `${title.textContent}\n${more.textContent}`;
  if (activity !== null) more.dataset.activity = activity;
  button.append(title, more);
  button.addEventListener("click", act);
  const item = document.createElement("li");
  item.append(button);
  return item;
}

// Which conversations wait for somebody, and whose they are: each has an agent of its own, which is in no list.
async function lookWhoWaits() {
  const { runs } = await get("runs?status=awaiting_input&limit=100");
  const agentOf = async (id) => page.waiting.get(id) ?? (await get(`sessions/${id}`).catch(() => null))?.session.agent;
  const ids = [...new Set(runs.map((each) => each.session_id))];
  page.waiting = new Map(await Promise.all(ids.map(async (id) => [id, await agentOf(id)])));
  document.title = ids.length > 0 ? `(${ids.length}) agentd` : "agentd";
  showAgents();
}

// Only what changed is put in anew, so that the focus stays where it is.
function fill(list, items) {
  items.forEach((item, at) => {
    const old = list.children[at];
    if (old === undefined) list.append(item);
    else if (old.outerHTML !== item.outerHTML || old.key !== item.key) {
      const focused = old.contains(document.activeElement);
      old.replaceWith(item);
      if (focused) item.firstChild.focus();
    }
  });
  while (list.children.length > items.length) list.lastChild.remove();
}

function showAgents() {
  const waiting = new Set(page.waiting.values());
  fill($("agents"), page.agents.map((each) => {
    const [below, activity] = waiting.has(each.name) ? [`a conversation ${WAITS}`, "waiting_input"]
      : [state(each), each.running ? each.activity : each.state];
    const item = line(each.name, below, activity, each.name === page.agent, () => choose(each.name));
    item.key = each.name;
    return item;
  }));
  const shown = page.agents.find((each) => each.name === page.agent);
  $("name").textContent = page.agent ?? "";
  $("activity").textContent = shown === undefined ? "" : visible(`${shown.harness}, ${page.conversation?.state ?? state(shown)}`);
}

async function showConversations() {
  const agent = page.agent;
  const { sessions } = await get(`sessions?status=open&limit=100&agent=${encodeURIComponent(agent)}`);
  if (agent !== page.agent) return;
  fill($("conversations"), sessions.map((each) => {
    const own = each.tmux_session.includes("--s-") ? "" : "the agent's own terminal, ";
    const [below, activity] = page.waiting.has(each.id) ? [WAITS, "waiting_input"]
      : [`${own}${new Date(each.created_at).toLocaleString()}`, null];
    const item = line(each.title ?? each.id, below, activity, each.id === page.session, () => choose(agent, each.id));
    item.key = each.id;
    return item;
  }));
}

// -- the chosen conversation

function showState() {
  const conversation = page.conversation;
  $("interrupt").hidden = conversation?.active == null;
  $("close").hidden = conversation?.closed ?? true;
  $("message").disabled = conversation?.closed ?? false;
  $("send").disabled = $("message").disabled || page.sending;
  showAgents();
}

function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
}

async function send() {
  const text = $("message").value;
  if (text.trim() === "" || page.sending) return;
  page.sending = true;
  showState();
  // A message whose answer was lost is sent again under its key, and so taken once.
  if (page.unsent?.text !== text) page.unsent = { text, key: freshKey(), session: page.session };
  try {
    if (page.unsent.session === null) {
      const title = text.trim().split("\n")[0].slice(0, 60);
      page.unsent.session = (await post("sessions", { agent: page.agent, title }, `${page.unsent.key}-session`)).session.id;
    }
    await post(`sessions/${page.unsent.session}/messages`, { text }, page.unsent.key);
    // What was written meanwhile stays.
    if ($("message").value === text) $("message").value = "";
    const session = page.unsent.session;
    page.unsent = null;
    if (page.session !== session) choose(page.agent, session);
  } catch (error) {
    tell(error.message);
  } finally {
    page.sending = false;
    showState();
    $("message").focus();
  }
}

async function close() {
  const { agent, session } = page;
  if (!window.confirm("Close this conversation? Its agent ends, and it cannot be gone on with.")) return;
  try {
    await remove(`sessions/${session}`);
    if (session === page.session) choose(agent);
  } catch (error) {
    tell(error.message);
  }
}

// -- its screen and its log

function source(what) {
  return page.session === null ? `page/agents/${encodeURIComponent(page.agent)}/${what}` : `page/sessions/${page.session}/${what}`;
}

async function showTab() {
  const { agent, session, tab } = page;
  if (agent === null || tab === "chat") return;
  const place = $(`${tab}-text`);
  let text;
  let failed = false;
  try {
    text = await getText(source(tab) + (tab === "log" ? `?tail=${LOG_LINES}` : ""));
  } catch (error) {
    [text, failed] = [error.message, true];
  }
  // Another one may have been chosen meanwhile.
  if (agent !== page.agent || session !== page.session || (place.source === text && place.failed === failed)) return;
  Object.assign(place, { source: text, failed });
  const panel = $(tab);
  const atEnd = panel.scrollHeight - panel.scrollTop - panel.clientHeight < 40;
  place.replaceChildren(failed ? visible(text) : render(text));
  if (tab === "log" && atEnd) panel.scrollTop = panel.scrollHeight;
}

function openTab(tab) {
  page.tab = tab;
  for (const each of TABS) {
    $(each).hidden = each !== tab;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === tab));
    $(`tab-${each}`).tabIndex = each === tab ? 0 : -1;
  }
  showTab();
}

// -- looking again and again

async function look() {
  const agents = get("page/agents").then((found) => { page.agents = found.agents; showAgents(); });
  const waiting = lookWhoWaits();
  const conversations = page.agent === null ? null : waiting.catch(() => {}).then(() => page.agent === null ? null : showConversations());
  const looks = await Promise.allSettled([agents, waiting, conversations, showTab()]);
  const error = looks.find((each) => each.status === "rejected")?.reason;
  $("connection").textContent = error instanceof TypeError ? "not connected" : (error?.message ?? "");
}

async function lookOn() {
  if (!document.hidden) await look();
  setTimeout(lookOn, EVERY);
}

let told;

function tell(text) {
  $("problem").textContent = visible(text);
  $("problem").hidden = false;
  clearTimeout(told);
  told = setTimeout(() => { $("problem").hidden = true; }, 8000);
}

let signing = null;

onUnauthorized((refused) => {
  signing ??= new Promise((resolve) => {
    const dialog = $("sign-in");
    $("refused").hidden = !refused;
    dialog.showModal();
    dialog.addEventListener("close", () => {
      keepToken($("token").value);
      $("token").value = "";
      signing = null;
      resolve();
    }, { once: true });
  });
  return signing;
});

window.addEventListener("hashchange", show);
$("back").addEventListener("click", () => view("agents"));
$("close").addEventListener("click", close);
$("skip").addEventListener("click", () => { openTab("chat"); $("message").focus(); });
$("new").addEventListener("click", () => { choose(page.agent); openTab("chat"); $("message").focus(); });
$("interrupt").addEventListener("click", () => page.conversation?.interrupt().catch((error) => tell(error.message)));
$("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
$("message").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
});
for (const each of TABS) $(`tab-${each}`).addEventListener("click", () => openTab(each));
$("tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step === undefined) return;
  openTab(TABS[(TABS.indexOf(page.tab) + step + TABS.length) % TABS.length]);
  $(`tab-${page.tab}`).focus();
});
await show();
lookOn();
