// Elements of a page, made without markup: what a file or a person wrote is always text.

/** An element; `properties` are set as they are (`text` is its text, `aria-*` and `data-*` attributes), null children left out. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined) continue;
    if (name === "text") element.textContent = value;
    else if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.includes("-")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export const notice = (kind, ...children) => make("p", { class: `notice ${kind}` }, ...children);

/** A table in a frame that scrolls; rows are lists of cells (texts or elements), the first of each its header. */
export function table(label, heads, rows, { numbers = [], classOf = () => "" } = {}) {
  const cellClass = (n) => (numbers.includes(n) ? "number" : "");
  return make(
    "div",
    { class: "scroll", tabIndex: 0, role: "region", "aria-label": label },
    make(
      "table",
      {},
      make("caption", { class: "unseen", text: label }),
      make("thead", {}, make("tr", {}, heads.map((head, n) => make("th", { scope: "col", class: cellClass(n), text: head })))),
      make(
        "tbody",
        {},
        rows.map((cells, row) =>
          make("tr", { class: classOf(row) }, cells.map((cell, n) =>
            n === 0
              ? make("th", { scope: "row", class: cellClass(n) }, cell)
              : make("td", { class: cellClass(n) }, cell))),
        ),
      ),
    ),
  );
}

/** Such as "3.4 MB". */
export function bytesText(count) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) {
    if (count >= size) return `${Number((count / size).toPrecision(3))} ${unit}`;
  }
  return `${count} B`;
}

/** 32 hex digits in groups, for eyes that compare. */
export const grouped = (digits) => digits.match(/.{1,4}/g).join(" ");
