// The bytes of a text file as text: UTF-8, UTF-16 with its mark, or Latin-1, and nothing by guesswork.
//
// Every byte string is Latin-1, so whatever is nearly UTF-8, or uses the control codes that Windows-1252 and Shift-JIS
// put letters on, is refused rather than read as other letters.

const LF = 10;
const CR = 13;

/** The text, without byte order marks; null where the report says why there is none. */
export function decode(bytes, file, report) {
  const text = decoded(bytes, file, report);
  // Programs that put files together leave a second mark, which would become part of the first header.
  return text === null ? null : text.replace(/^\ufeff+/, "");
}

function decoded(bytes, file, report) {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return utf16(bytes, true, file, report);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return utf16(bytes, false, file, report);
  if (bytes.length > 1 && (bytes[0] === 0) !== (bytes[1] === 0)) {
    report.error(
      "encoding",
      "the file is in UTF-16 and does not begin with a byte order mark",
      "save it as CSV in UTF-8 (Excel: 'CSV UTF-8 (comma delimited)')",
      { file, line: 1 },
    );
    return null;
  }
  const nul = bytes.indexOf(0);
  if (nul >= 0) {
    holdsNul(file, lineOf(bytes, nul), report);
    return null;
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return latin1(bytes, file, report);
  }
}

function latin1(bytes, file, report) {
  const bad = firstInvalid(bytes);
  const control = bytes.findIndex((byte) => byte >= 0x80 && byte <= 0x9f);
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  const halfUtf8 = marked || holdsPair(bytes.subarray(0, bad));
  if (control >= 0 || halfUtf8) {
    report.error("encoding", "the text is neither UTF-8 nor Latin-1", "save it as CSV in UTF-8", {
      file,
      line: lineOf(bytes, halfUtf8 || control < 0 ? bad : control),
    });
    return null;
  }
  report.warning(
    "encoding",
    "the text is not UTF-8 and is read as Latin-1",
    "save it as UTF-8 if letters with accents come out wrong",
    { file, line: lineOf(bytes, bad) },
  );
  return new TextDecoder("latin1").decode(bytes); // Windows-1252 to a browser, which differs in the codes refused above
}

/** Whether a letter of two bytes, as UTF-8 writes it, is there. */
function holdsPair(bytes) {
  return bytes.some((byte, n) => byte >= 0xc3 && byte <= 0xf4 && bytes[n + 1] >= 0x80 && bytes[n + 1] <= 0xbf);
}

/** Where the first sequence begins that is no UTF-8 (Unicode, table 3-7). */
function firstInvalid(bytes) {
  for (let at = 0; at < bytes.length; ) {
    const lead = bytes[at];
    if (lead < 0x80) {
      at += 1;
      continue;
    }
    const size = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (!size) return at;
    const low = { 0xe0: 0xa0, 0xf0: 0x90 }[lead] ?? 0x80;
    const high = { 0xed: 0x9f, 0xf4: 0x8f }[lead] ?? 0xbf;
    if (!(bytes[at + 1] >= low && bytes[at + 1] <= high)) return at;
    for (let n = 2; n < size; n++) if (!(bytes[at + n] >= 0x80 && bytes[at + n] <= 0xbf)) return at;
    at += size;
  }
  return bytes.length;
}

function utf16(bytes, little, file, report) {
  let text;
  try {
    text = new TextDecoder(little ? "utf-16le" : "utf-16be", { fatal: true, ignoreBOM: true }).decode(bytes.subarray(2));
  } catch {
    report.error(
      "encoding",
      "the file begins like UTF-16 and is broken",
      "save it again, as CSV in UTF-8; the file may be damaged or cut off",
      { file, line: brokenLine(bytes, little) },
    );
    return null;
  }
  const nul = text.indexOf("\0");
  if (nul < 0) return text;
  holdsNul(file, text.slice(0, nul).split("\n").length, report);
  return null;
}

/** The line of the first half character. */
function brokenLine(bytes, little) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let line = 1;
  for (let at = 2; at + 1 < bytes.length; at += 2) {
    const unit = view.getUint16(at, little);
    if (unit === LF) line += 1;
    if (unit < 0xd800 || unit > 0xdfff) continue;
    const next = at + 3 < bytes.length ? view.getUint16(at + 2, little) : 0;
    if (unit > 0xdbff || next < 0xdc00 || next > 0xdfff) return line;
    at += 2;
  }
  return line;
}

function holdsNul(file, line, report) {
  report.error(
    "nul_byte",
    "the file contains a NUL byte",
    "export the table again as plain text; the file may be damaged",
    { file, line },
  );
}

/** The line of a byte, counting LF, CRLF and CR. */
function lineOf(bytes, at) {
  let line = 1;
  for (let n = 0; n < at; n++) {
    if (bytes[n] === LF || (bytes[n] === CR && !(bytes[n + 1] === LF && n + 1 < at))) line += 1;
  }
  return line;
}
