// What a terminal shows, as elements. Only colours and weights of SGR are understood; every other sequence is left out.

import { visible } from "./visible.js";

const SEQUENCE = /\x1b\[([0-9;:]*)m|\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;
const BASIC = ["#24292f", "#e5534b", "#57ab5a", "#c69026", "#539bf5", "#b083f0", "#39c5cf", "#adbac7",
  "#768390", "#ff938a", "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#f0f6fc"];

function indexed(n) {
  if (n < 16) return BASIC[n];
  if (n >= 232) return `rgb(${Array(3).fill(8 + (n - 232) * 10).join()})`;
  const level = (each) => (each === 0 ? 0 : 55 + each * 40);
  const at = n - 16;
  return `rgb(${level(Math.floor(at / 36))},${level(Math.floor(at / 6) % 6)},${level(at % 6)})`;
}

function extended(codes, at) {
  if (codes[at + 1] === 5 && codes[at + 2] <= 255) return [indexed(codes[at + 2]), 2];
  if (codes[at + 1] === 2) return [`rgb(${codes.slice(at + 2, at + 5).map((each) => each & 255).join()})`, 4];
  return [undefined, codes.length];
}

function apply(style, codes) {
  for (let at = 0; at < codes.length; at += 1) {
    const code = codes[at];
    if (code === 0) for (const name of Object.keys(style)) delete style[name];
    else if (code === 1) style.fontWeight = "bold";
    else if (code === 2) style.opacity = "0.7";
    else if (code === 3) style.fontStyle = "italic";
    else if (code === 4) style.textDecoration = "underline";
    else if (code === 7) style.inverse = "yes";
    else if (code === 22) { delete style.fontWeight; delete style.opacity; }
    else if (code === 23) delete style.fontStyle;
    else if (code === 24) delete style.textDecoration;
    else if (code === 27) delete style.inverse;
    else if (code >= 30 && code <= 37) style.color = BASIC[code - 30];
    else if (code >= 90 && code <= 97) style.color = BASIC[code - 82];
    else if (code === 39) delete style.color;
    else if (code >= 40 && code <= 47) style.backgroundColor = BASIC[code - 40];
    else if (code >= 100 && code <= 107) style.backgroundColor = BASIC[code - 92];
    else if (code === 49) delete style.backgroundColor;
    else if (code === 38 || code === 48) {
      const [colour, used] = extended(codes, at);
      if (colour !== undefined) style[code === 38 ? "color" : "backgroundColor"] = colour;
      at += used;
    }
  }
}

function piece(text, style) {
  const element = document.createElement("span");
  const { inverse, ...shown } = style;
  if (inverse) [shown.color, shown.backgroundColor] = [shown.backgroundColor ?? "#101418", shown.color ?? "#d8dee4"];
  Object.assign(element.style, shown);
  element.textContent = visible(text);
  return element;
}

export function render(text) {
  const shown = document.createDocumentFragment();
  const style = {};
  let from = 0;
  for (const found of text.matchAll(SEQUENCE)) {
    if (found.index > from) shown.append(piece(text.slice(from, found.index), style));
    if (found[1] !== undefined) apply(style, found[1].split(/[;:]/).map(Number));
    from = found.index + found[0].length;
  }
  if (from < text.length) shown.append(piece(text.slice(from), style));
  return shown;
}
