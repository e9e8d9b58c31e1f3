// Markdown becomes HTML in the gateway, by a parser that lets no HTML and no scripts through; many texts make one request.

import { post } from "./api.js";

let waiting = [];

export function rendered(element) {
  if (waiting.length === 0) setTimeout(ask, 50);
  waiting.push(element);
}

async function ask() {
  const elements = waiting;
  waiting = [];
  try {
    const { html } = await post("page/markdown", { texts: elements.map((each) => each.textContent) });
    elements.forEach((element, at) => {
      element.innerHTML = html[at];
      element.classList.add("rendered");
    });
  } catch {
    // It stays the plain text that it is.
  }
}
