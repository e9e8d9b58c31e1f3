// What agents write may hold characters that are not seen and change how it is read: what is asked for must look as it is.
// They stand as their numbers, by the same rule as in a terminal (agentd/text/quoting.py).

const HIDDEN = new RegExp([
  // Controls, but for tabs and line breaks.
  "[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]|\\r(?!\\n)",
  // Soft hyphen, grapheme joiner, bidi marks, fillers; zero widths, separators, bidi embeddings and isolates; tags.
  "[\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180e\\u3164\\uffa0\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff]",
  "[\\ufff0-\\ufffb\\u{1bca0}-\\u{1bca3}\\u{1d173}-\\u{1d17a}\\u{e0000}-\\u{e00ff}\\u{e01f0}-\\u{e0fff}]",
  // A variation selector after another one.
  "(?<=[\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}])[\\ufe00-\\ufe0f\\u{e0100}-\\u{e01ef}]",
  // A joiner, but after a letter, mark or symbol beyond ASCII: in Persian and Indic words, and in emoji.
  "(?<!(?![\\x00-\\x7f])[\\p{L}\\p{M}\\p{So}\\p{Sk}])[\\u200c\\u200d]",
].join("|"), "gu");

function escaped(character) {
  const number = character.codePointAt(0);
  const [mark, digits] = number < 0x100 ? ["x", 2] : number < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${mark}${number.toString(16).padStart(digits, "0")}`;
}

// `before` is the end of what is shown already, where this goes on from it.
export function visible(text, before = "") {
  const shown = `${before}${text}`.replace(HIDDEN, (found, at) => (at < before.length ? found : escaped(found)));
  return shown.slice(before.length);
}
