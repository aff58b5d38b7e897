// What a check found: problems by file, line and column, a profile of each column, counts at each step. Nothing is sent.

import { byId, make, notice, table } from "./element.js";

const MOST_SHOWN = 200;
const SVG = "http://www.w3.org/2000/svg";

/** Show the answer of the background's `check`. */
export function showFindings({ problems, profile = [], counts = [], patients = 0, fit = false }) {
  byId("findings").hidden = false;
  const errors = problems.filter(({ severity }) => severity === "error");
  const warnings = problems.length - errors.length;
  const said = [
    errors.length ? `${errors.length} problem${errors.length === 1 ? "" : "s"} to solve` : null,
    warnings ? `${warnings} warning${warnings === 1 ? "" : "s"} to read` : null,
  ].filter(Boolean).join(", ");
  if (errors.length) byId("verdict").replaceChildren(notice("error", `${said}. Nothing can be sent before they are solved.`));
  else if (fit) byId("verdict").replaceChildren(notice("success", `${patients} patients fit the codebook${said ? `; ${said}` : ""}.`));
  else byId("verdict").replaceChildren(notice("", "Nothing speaks against the codebook. Now choose files."));
  showProblems([...errors, ...problems.filter(({ severity }) => severity !== "error")]);
  showProfile(profile);
  showCounts(counts);
}

function showProblems(problems) {
  const rows = problems.slice(0, MOST_SHOWN).map(({ file, line, column, rule, message, remedy, severity }) => [
    severity, file ?? "", line === null ? "" : String(line), column ?? "",
    make("span", {}, message, " ", make("code", { class: "quiet", text: rule })), remedy,
  ]);
  const list = table("Problems", ["", "File", "Line", "Column", "What is wrong", "What to do"], rows, {
    numbers: [2], classOf: (row) => `problem-row ${problems[row].severity}`,
  });
  const more = problems.length > MOST_SHOWN ? make("p", { text: `${problems.length - MOST_SHOWN} more are not shown.` }) : null;
  byId("problems").replaceChildren(...(rows.length ? [list, more].filter(Boolean) : []));
}

function showProfile(profile) {
  if (!profile.length) return byId("profile").replaceChildren();
  const rows = profile.map((column) => [column.field, String(column.n), String(column.missing), shape(column)]);
  byId("profile").replaceChildren(
    make("h3", { text: "Profile of each column" }),
    make("p", { class: "quiet", text: "For your eyes: it stays in this browser." }),
    table("Profile of each column", ["Column", "Patients", "Missing", "Values"], rows, { numbers: [1, 2] }),
  );
}

function shape({ kind, unit, levels, minimum, median, maximum, histogram, field }) {
  if (kind !== "number") {
    return levels.map(({ label, value, patients }) => `${label ?? value} ${patients}`).join(", ");
  }
  const said = [minimum, median, maximum].every((x) => x !== undefined && x !== null)
    ? `${minimum} to ${maximum}, half at most ${median}${unit ? ` ${unit}` : ""}` : "";
  return make("span", {}, said, histogram ? bars(histogram, field) : null);
}

function bars(histogram, field) {
  const most = Math.max(1, ...histogram.map(({ patients }) => patients));
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "histogram");
  svg.setAttribute("viewBox", `0 0 ${histogram.length * 10} 40`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${field}: ${histogram.map(({ from, to, patients }) => `${patients} from ${round(from)} to ${round(to)}`).join(", ")}`);
  histogram.forEach(({ patients }, n) => {
    const bar = document.createElementNS(SVG, "rect");
    const height = patients ? Math.max(1, (38 * patients) / most) : 0;
    for (const [name, value] of Object.entries({ x: n * 10 + 1, y: 40 - height, width: 8, height })) bar.setAttribute(name, value);
    svg.append(bar);
  });
  return svg;
}

const round = (value) => Number(value.toPrecision(4));
const STEPS = {
  text: "rows read", missingValues: "not missing", recodes: "after recodes", where: "rows kept", reduce: "one value a patient",
  derive: "derived", cut: "cut", round: "rounded", range: "within the range", result: "sent as codes",
};

function showCounts(counts) {
  if (!counts.length) return byId("counts").replaceChildren();
  const cell = (value) => (value === null || value === undefined ? "" : String(value));
  const rows = counts.map(({ field, step, before, after, detail }) => [
    field, STEPS[step] ?? step, cell(before), cell(after), recoded(detail),
  ]);
  byId("counts").replaceChildren(
    make("details", {},
      make("summary", { text: "Counts before and after each step" }),
      table("Counts before and after each step", ["Column", "Step", "Before", "After", "Texts"], rows, { numbers: [2, 3] })),
  );
}

/** The texts that a step maps, with their rows, where it says so: "1 to imatinib (201)". */
function recoded(detail) {
  return (detail.texts ?? []).slice(0, 20).map(({ text, coded, rows }) => {
    const shown = text === "" ? "(empty)" : text;
    const target = coded === undefined || coded === text ? "" : ` to ${coded ?? "no level"}`;
    return `${shown}${target} (${rows})`;
  }).join(", ");
}
