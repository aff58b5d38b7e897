// Texts as the other implementation (Python) reads them: what is space, what two spellings share, which comes first.
//
// JavaScript's own trim, toLowerCase and < differ from it in rare characters; a hash must not.

const SPACES = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
export const SPACE = `[${SPACES}]`;
const ENDS = new RegExp(`^${SPACE}+|${SPACE}+$`, "g");
const SPLIT = new RegExp(`${SPACE}+`);
const FORMLESS = new RegExp(`[${SPACES}_\\p{Pd}]`, "gu");
const ASCII = /^[\x00-\x7f]*$/;
const LONE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;

/** The text without spaces at its ends. */
export function strip(text) {
  if (text === "") return text;
  const first = text.charCodeAt(0);
  const last = text.charCodeAt(text.length - 1);
  if (first > 32 && first < 127 && last > 32 && last < 127) return text;
  return text.replace(ENDS, "");
}

/** The words between spaces. */
export function wordsOf(text) {
  return text.split(SPLIT).filter(Boolean);
}

/** How many characters (not UTF-16 units) a text has. */
export function length(text) {
  if (ASCII.test(text)) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

/** Whether a text has more than `most` characters; quick where it is plainly short. */
export function longer(text, most) {
  return text.length > most && length(text) > most;
}

/** The first `most` characters. */
export function head(text, most) {
  return text.length <= most ? text : Array.from(text).slice(0, most).join("");
}

/** Negative, zero or positive: the order of code points, as a sort of texts in Python has it. */
export function compare(a, b) {
  const shared = Math.min(a.length, b.length);
  for (let i = 0; i < shared; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x === y) continue;
    // A surrogate stands for a code point above all others of one unit.
    const high = (unit) => (unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit);
    return high(x) - high(y);
  }
  return a.length - b.length;
}

/** Whether a text holds half a character, which no UTF-8 can write. */
export function isBroken(text) {
  return LONE.test(text);
}

/** Full case folding: upper and lower case of one letter become the same text. */
export function casefold(text) {
  if (ASCII.test(text)) return text.toLowerCase();
  let folded = "";
  for (const char of text) folded += foldedChar(char);
  return folded;
}

function foldedChar(char) {
  const code = char.codePointAt(0);
  if (code === 0x131) return char;
  if (code === 0x1e9e) return "ss";
  if ((code >= 0x13a0 && code <= 0x13fd) || (code >= 0xab70 && code <= 0xabbf)) return char.toUpperCase();
  return char.toUpperCase().toLowerCase();
}

const forms = new Map();

/** What two spellings of one name share: case folded, without spaces, underscores and hyphens. */
export function normalForm(text) {
  let form = forms.get(text);
  if (form === undefined) {
    form = casefold(text.normalize("NFKC")).normalize("NFKC").replace(FORMLESS, "");
    if (forms.size > 32768) forms.clear();
    forms.set(text, form);
  }
  return form;
}
