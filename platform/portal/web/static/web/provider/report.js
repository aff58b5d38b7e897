// What is wrong with a table: place, rule, remedy, and never a patient's value.
//
// A report lists the first places of each problem and counts the rest. Errors stop an upload; warnings are for a person
// to read. Problems stay in this browser.

const PLACES_SHOWN = 20;

/** Problems { file, line, column, rule, message, remedy, severity } in the order in which they were found. */
export class Report {
  constructor(problems = []) {
    this.problems = problems;
  }

  add(severity, rule, message, remedy, { file = null, line = null, column = null } = {}) {
    this.problems.push({ file, line, column, rule, message, remedy, severity });
  }

  error(rule, message, remedy, place) {
    this.add("error", rule, message, remedy, place);
  }

  warning(rule, message, remedy, place) {
    this.add("warning", rule, message, remedy, place);
  }

  /** One problem a line for the first places; the rest as a count in a last problem. `lines` is consumed. */
  lines(rule, message, remedy, lines, place = {}, severity = "error") {
    const found = Float64Array.from(lines).sort();
    for (const line of found.subarray(0, PLACES_SHOWN)) this.add(severity, rule, message, remedy, { ...place, line });
    const further = found.length - PLACES_SHOWN;
    if (further <= 0) return;
    const counted = `${message}; ${further} further line${further === 1 ? "" : "s"} like this`;
    this.add(severity, rule, counted, remedy, { ...place, line: found[PLACES_SHOWN] });
  }

  get errors() {
    return this.problems.filter((problem) => problem.severity === "error");
  }
}
