// What leaves this browser and to whom, and the policy that is signed: shown before anything is sealed.

import { byId, bytesText, make, table } from "./element.js";

const epsilon = (micro) => String(micro / 1e6);

/** What a schema (of codebook.js) sends. */
export function showLeaving({ title, capacity, planeNames, fields: columns }) {
  const bytes = planeNames.length * 8 * Math.ceil(capacity / 64);
  byId("leaves").replaceChildren(
    make("dl", { class: "terms leaves" },
      make("dt", { text: `To each of four parties: one sealed bundle of about ${bytesText(bytes)}` }),
      make("dd", { text: "Three of four random-looking components of your coded table. Only that party's key opens it. One party alone learns nothing; any two together could read everything." }),
      make("dt", { text: "To the portal, which analysts read: the codebook, your policy, the signed manifest" }),
      make("dd", { text: `Title "${title}", ${columns.length} columns (${columns.map(({ name }) => name).join(", ")}) with ranges and levels, ${capacity} padded rows. No value.` }),
      make("dt", { text: "To nobody: cells, patients' keys, the number of patients, files and headers that the codebook does not name" }),
      make("dd", { text: "They stay in this browser and are gone when the page is closed." })),
  );
}

export function showPolicy(policy) {
  const exact = policy.modes.includes("exact");
  byId("policy").replaceChildren(
    table("Your policy", ["Term", "Value", "In words"], [
      ["Budget", epsilon(policy.micro_epsilon), "epsilon that all answers may spend together; all later versions share it"],
      ["One question", epsilon(policy.micro_epsilon_per_query), "epsilon at most; less means more noise"],
      ["Smallest cohort", String(policy.minimum_cohort),
        `answers on fewer are withheld; a noised cohort of ${policy.minimum_cohort} may truly hold fewer: the noise protects it, not the threshold`],
      ["Modes", policy.modes.join(" or "), exact ? "exact answers have no epsilon: only the smallest cell protects patients" : "every answer is noised in the protocol"],
      ["Statistics", policy.statistics[0] === "*" ? "all" : policy.statistics.join(", "), "what may be asked"],
      ["Last day", policy.expires, "nothing is answered after it"],
    ]),
    make("p", { class: "small quiet", text: "An operator approves or refuses each question before it runs, within these terms. You sign them: no party answers beyond." }),
  );
}

/** The terms, in words, that a new policy allows more than the one before; null if it grows the budget, which it may not. */
export function loosened(before, after) {
  if (after.micro_epsilon > before.micro_epsilon) return null;
  const terms = [];
  if (after.micro_epsilon_per_query > before.micro_epsilon_per_query) {
    terms.push(`epsilon of one question from ${epsilon(before.micro_epsilon_per_query)} to ${epsilon(after.micro_epsilon_per_query)}`);
  }
  if (after.expires > before.expires) terms.push(`last day from ${before.expires} to ${after.expires}`);
  if (after.minimum_cohort < before.minimum_cohort) terms.push(`smallest cohort from ${before.minimum_cohort} to ${after.minimum_cohort}`);
  for (const name of ["modes", "statistics"]) {
    const more = before[name].includes("*") ? [] : after[name].filter((one) => !before[name].includes(one));
    if (more.length) terms.push(`${name} with ${more.join(", ")}`);
  }
  return terms;
}
