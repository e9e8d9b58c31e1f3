// Markdown becomes HTML in the gateway, by a parser that lets no HTML and no scripts through; many texts make one request.

import { post, Refused } from "./api.js";

const MOST = 200;
const AGAIN = 2000;
const waiting = [];

export function rendered(element) {
  if (waiting.length === 0) setTimeout(ask, 50);
  waiting.push(element);
}

async function ask() {
  const elements = waiting.splice(0, MOST);
  if (waiting.length > 0) setTimeout(ask, 0);
  try {
    const { html } = await post("page/markdown", { texts: elements.map((each) => each.textContent) });
    elements.forEach((element, at) => {
      element.innerHTML = html[at];
      element.classList.add("rendered");
    });
  } catch (error) {
    // It stays the plain text that it is, until the gateway is there again.
    if (error instanceof Refused) return;
    if (waiting.length === 0) setTimeout(ask, AGAIN);
    waiting.push(...elements);
  }
}
