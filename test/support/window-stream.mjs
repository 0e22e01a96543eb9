// Run as a process of its own: windows over a text that is written while it is read, checked on the way, and the memory
// that it took. Prints one JSON object.                            node window-stream.mjs MODEL BYTES SIZE OVERLAP

import { loadTokenizer, windows } from "../../dist/index.js";

const [model, bytes, size, overlap] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const tokenizer = await loadTokenizer(model);
const written = { bytes: 0, tokens: 0 };

/** ASCII prose and code by a linear congruential generator, numbers among it, in parts of 64 kB. */
function* text() {
  const words =
    "the little girl saw a red ball, and she said: fn(x) = 1986; don't stop! Counterrevolutionaries?".split(
      " ",
    );
  let state = 1;
  while (written.bytes < bytes) {
    const parts = [];
    let length = 0;
    while (length < 65_536) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      const word = (state >>> 8) % 37 === 0 ? `${state}\n` : words[(state >>> 8) % words.length];
      parts.push(word);
      length += word.length + 1;
    }
    const part = `${parts.join(" ")} `.slice(0, bytes - written.bytes);
    written.bytes += part.length;
    yield part;
  }
}

const peak = () => process.resourceUsage().maxRSS * 1024;
const baseline = peak();
const began = performance.now();
let count = 0;
let end = 0;
let textEnd = 0;
let length = 0;
let before;
for await (const window of windows(text(), tokenizer, { size, overlap })) {
  const shared = count === 0 ? 0 : end - window.start;
  const isLast = shared > overlap;
  if (window.ids.length !== size || window.end - window.start !== size) throw new Error("size");
  if (count > 0 && !isLast && shared !== overlap) throw new Error("overlap");
  for (let i = 0; i < shared; i++) {
    if (window.ids[i] !== before.ids[size - shared + i])
      throw new Error(`token ${i} of ${window.index}`);
  }
  if (window.text.length !== window.textEnd - window.textStart) throw new Error("text");
  if (window.textStart > textEnd) throw new Error("a gap");
  length += window.textEnd - textEnd;
  ({ end, textEnd } = window);
  before = window;
  count++;
}
const ms = performance.now() - began;
console.log(
  JSON.stringify({
    baseline,
    peak: peak(),
    bytes: written.bytes,
    length,
    tokens: end,
    windows: count,
    ms,
  }),
);
