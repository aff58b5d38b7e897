// Files that come in by drag and drop or the browser's dialogue: each read at once, listed with a number, removable.

import { bytesText, byId, make, notice, table } from "./element.js";

/** The files chosen so far; `changed` is called after each that came or went. `background` as of background.js. */
export class Files {
  constructor(background, changed) {
    Object.assign(this, { background, changed });
    this.chosen = new Map(); // name -> File
    this.read = []; // [{ name, header, rows, problems }]
    this.reading = Promise.resolve();
    const drop = byId("drop");
    const chooser = byId("files");
    chooser.addEventListener("change", () => {
      this.take([...chooser.files]);
      chooser.value = "";
    });
    // A file dropped beside the frame must not replace the page.
    for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
    drop.addEventListener("dragover", () => drop.classList.add("over"));
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      drop.classList.remove("over");
      this.take([...event.dataTransfer.files]);
    });
  }

  get size() {
    return this.chosen.size;
  }

  /** Read files beside those that are there; one of the same name replaces what was there. */
  take(files) {
    for (const file of files) this.chosen.set(file.name, file);
    return this.again(files.map(({ name }) => name).join(", "));
  }

  remove(name) {
    this.chosen.delete(name);
    byId("files").focus();
    return this.again("the files that stay");
  }

  /** One reading after another: the background holds one set of tables. */
  again(said) {
    this.reading = this.reading.then(() => this.readAll(said));
    return this.reading;
  }

  async readAll(said) {
    const files = [...this.chosen.values()];
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    const bar = make("progress", { max: 1, value: 0, "aria-label": "Reading" });
    if (files.length) byId("reading").replaceChildren(make("p", { text: `Reading ${said} (${bytesText(bytes)} in all)` }), bar);
    try {
      this.read = await this.background.read({ files }, { progress: (part) => { bar.value = part; } });
      const rows = this.read.reduce((sum, table) => sum + table.rows, 0);
      byId("reading").replaceChildren(make("p", { class: "unseen", text: `${files.length} files are read: ${rows} rows.` }));
    } catch (wrong) {
      this.read = [];
      byId("reading").replaceChildren(notice("error", `The files cannot be read: ${wrong.message}`));
    }
    this.show();
    await this.changed();
  }

  show() {
    const rows = this.read.map(({ name, rows, header, problems }, n) => {
      const wrong = problems.filter(({ severity }) => severity === "error").length;
      const remove = make("button", { type: "button", class: "plain", onclick: () => this.remove(name) },
        "Remove", make("span", { class: "unseen", text: ` ${name}` }));
      return [
        String(n + 1), make("span", {}, name, wrong ? make("span", { class: "badge bad", text: "cannot be read" }) : null),
        bytesText(this.chosen.get(name).size), String(rows), String(header.length), remove,
      ];
    });
    const list = table("Your files", ["#", "File name", "Size", "Rows", "Columns", ""], rows, { numbers: [2, 3, 4] });
    byId("file-list").replaceChildren(...(rows.length ? [list] : []));
  }
}
