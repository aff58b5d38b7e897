// One file as raw text columns, every row with the line on which it begins.
//
// Nothing is interpreted here: "NA", "", "007" and "1,5" stay the texts they are until the codebook says what they mean.
// What a file is follows from its first bytes, never from its name; limits are checked before anything is parsed. A
// column is kept as its distinct texts and the position of each row's text among them.

import { decimalOf, delimiterOf, Records } from "./delimited.js";
import { decode } from "./encoding.js";
import { Report } from "./report.js";
import { strip } from "./text.js";

const MAX_FILE_BYTES = 2 ** 28; // a browser holds a text several times; the command line reads more
const MAX_COLUMNS = 4096;
const PAUSE_EVERY = 50; // milliseconds

const COMMAND_LINE = "save it as CSV in UTF-8, or use the command line: python -m providers check and upload read it";
const ELSEWHERE = [
  ["PK\x03\x04", "an Excel workbook or another zip archive"],
  ["HEADER RECORD*******LIBRARY HEADER RECORD!!!!!!!", "a SAS transport file"],
  ["HEADER RECORD*******LIBV8   HEADER RECORD!!!!!!!", "a SAS transport file"],
  ["\0".repeat(12) + "\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00\x09\xc7\x31\x8c\x18\x1f\x10\x11", "a SAS data set"],
  ["PAR1", "a Parquet file"],
];
const FOREIGN = [
  ["\xd0\xcf\x11\xe0", "an old Excel workbook, or one with a password"],
  ["\x1f\x8b", "a gzip archive"],
  ["BZh", "a bzip2 archive"],
  ["\xfd7zXZ", "an xz archive"],
  ["7z\xbc\xaf", "a 7z archive"],
  ["(\xb5/\xfd", "a zstd archive"],
  ["%PDF", "a PDF document"],
  ["$FL2", "an SPSS file"],
  ["<stata_dta>", "a Stata file"],
];

/**
 * The table in a file: { name, header, columns, lines, rows, decimal, problems }.
 *
 * columns   a Map of header to { distinct: [text], index: Int32Array }; null where the file cannot be read as a table,
 *           which `problems` then explain
 * lines     Int32Array, the line of each row in the file
 * progress  is called with 0 to 1; signal stops the reading with an AbortError
 */
export async function readTable(blob, name, { progress = () => {}, signal = undefined } = {}) {
  const report = new Report();
  const table = await new Reading(blob, name, report, progress, signal).table();
  progress(1);
  const nothing = { header: [], columns: null, lines: new Int32Array(0), rows: 0, decimal: "." };
  return { name, ...(table ?? nothing), problems: report.problems };
}

/** One row of a table as raw texts, in the order of its header. */
export function rowOf({ header, columns }, row) {
  return header.map((name) => columns.get(name).distinct[columns.get(name).index[row]]);
}

class Reading {
  constructor(blob, file, report, progress, signal) {
    Object.assign(this, { blob, file, report, progress, signal, paused: performance.now() });
  }

  async table() {
    const { blob, file, report } = this;
    if (await this.isNoText()) return null;
    if (blob.size > MAX_FILE_BYTES) {
      report.error(
        "file_too_large",
        `the file has more than ${MAX_FILE_BYTES} bytes`,
        "use the command line (python -m providers), or split the table by columns into several files, each with the primary key",
        { file },
      );
      return null;
    }
    let text;
    try {
      text = decode(new Uint8Array(await blob.arrayBuffer()), file, report);
    } catch (wrong) {
      if (wrong.name !== "NotReadableError" && wrong.name !== "NotFoundError") throw wrong;
      report.error("unreadable", "the file cannot be read: it was moved or changed", "choose it again", { file });
      return null;
    }
    this.signal?.throwIfAborted();
    this.progress(0.1);
    return text === null ? null : this.parsed(text);
  }

  async isNoText() {
    const head = String.fromCharCode(...new Uint8Array(await this.blob.slice(0, 64).arrayBuffer()));
    const said = (kinds) => kinds.find(([magic]) => head.startsWith(magic))?.[1];
    const elsewhere = said(ELSEWHERE);
    if (elsewhere) {
      this.report.error("not_read_here", `the file is ${elsewhere}, which is not read in the browser`, COMMAND_LINE, { file: this.file });
      return true;
    }
    const foreign = said(FOREIGN);
    if (foreign) {
      this.report.error("not_csv", `the file is ${foreign}, not a table`, "export the table as CSV in UTF-8", { file: this.file });
    }
    return foreign !== undefined;
  }

  async parsed(text) {
    const { file, report } = this;
    const delimiter = delimiterOf(text);
    const records = new Records(text, delimiter, file, report);
    const names = records.read()?.map(strip);
    if (!names) {
      if (!report.errors.length) report.error("empty_file", "the file is empty", "give a table with a header line", { file });
      return null;
    }
    if (!this.headersHold(names, records.line)) return null;
    const before = report.errors.length;
    const columns = names.map(() => new Growing());
    const [lines, ragged, empty] = [[], [], []];
    for (let cells = records.read(); cells; cells = records.read()) {
      if (cells.length !== names.length) ragged.push(records.line);
      else if (cells.every((cell) => cell === "")) empty.push(records.line);
      else {
        for (let n = 0; n < cells.length; n++) columns[n].add(cells[n]);
        lines.push(records.line);
      }
      if ((lines.length & 1023) === 0) await this.pause(records.at / text.length);
    }
    report.lines(
      "ragged_row",
      `the row has another number of cells than the header (${names.length})`,
      "quote cells that contain a comma, and give every row all its cells",
      ragged,
      { file },
    );
    report.lines("empty_row", "all cells of the row are empty: it is left out", "delete empty rows", empty, { file }, "warning");
    // A quote that swallowed the rest: what it hid cannot be checked.
    if (report.errors.length > before && !ragged.length) return null;
    if (!lines.length) {
      report.error("no_rows", "there is a header but no row", "give at least one row", { file, line: 1 });
      return null;
    }
    const named = new Map(names.flatMap((name, n) => (name ? [[name, columns[n].column()]] : [])));
    return {
      header: [...named.keys()],
      columns: named,
      lines: Int32Array.from(lines),
      rows: lines.length,
      decimal: decimalOf(delimiter, named.values()),
    };
  }

  /** Let others have the thread from time to time: a worker then hears that it is to stop. */
  async pause(part) {
    if (performance.now() - this.paused < PAUSE_EVERY) return;
    await new Promise((resolve) => setTimeout(resolve));
    this.signal?.throwIfAborted();
    this.progress(0.1 + 0.9 * part);
    this.paused = performance.now();
  }

  headersHold(names, line) {
    const { file, report } = this;
    const place = { file, line };
    const before = report.errors.length;
    if (names.length > MAX_COLUMNS) {
      report.error(
        "too_many_columns",
        `the header has ${names.length} columns, more than ${MAX_COLUMNS}`,
        "keep the columns that the codebook names",
        place,
      );
    }
    const seen = new Set();
    names.forEach((name, n) => {
      if (name && seen.has(name)) {
        report.error(
          "duplicate_header",
          `column ${n + 1} has the same header as an earlier column`,
          "give every column its own header",
          { ...place, column: name },
        );
      }
      seen.add(name);
    });
    const unnamed = names.filter((name) => name === "").length;
    if (unnamed === names.length) {
      report.error("no_header", "the header names no column", "begin the file with a header line", place);
    } else if (unnamed > 1) {
      report.error("empty_header", `${unnamed} columns have an empty header`, "give every column a header", place);
    } else if (unnamed === 1) {
      report.warning("empty_header", "the column without a header is left out", "give it a header to use it", place);
    }
    return report.errors.length === before;
  }
}

/** A column that grows: each distinct text once, and which of them every row holds. */
class Growing {
  constructor() {
    this.places = new Map();
    this.index = new Int32Array(1024);
    this.rows = 0;
  }

  add(text) {
    let place = this.places.get(text);
    if (place === undefined) this.places.set(text, (place = this.places.size));
    if (this.rows === this.index.length) {
      const grown = new Int32Array(2 * this.rows);
      grown.set(this.index);
      this.index = grown;
    }
    this.index[this.rows++] = place;
  }

  column() {
    return { distinct: [...this.places.keys()], index: this.index.slice(0, this.rows) };
  }
}
